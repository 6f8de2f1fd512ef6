"""Temperature scaling: one number that brings a model's confidence to the share of times it is right.

Guo et al. 2017, https://arxiv.org/abs/1706.04599. The number is fitted on validation and folded into the last layer,
so that every user of the saved model gets calibrated probabilities without knowing of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import NUM_EMOTIONS
from fer_tasks.errors import DatasetError

TEMPERATURES = (0.2, 5.0)


def fit_temperature(labels: NDArray[np.int32], views: NDArray[np.float32]) -> float:
    """The temperature with the lowest log loss of the probabilities averaged over views.

    labels: int (n,). views: probabilities, (v, n, 7). Raises DatasetError if n == 0.
    """
    from scipy.optimize import minimize_scalar

    if len(labels) == 0:
        raise DatasetError("There are no validation images to fit a temperature on.")

    def log_loss(log_temperature: float) -> float:
        mean = at_temperature(views, float(np.exp(log_temperature))).mean(axis=0)
        return float(-np.log(np.maximum(mean[np.arange(len(labels)), labels], 1e-12)).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(log_loss, bounds=(low, high), method="bounded").x))


def at_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Softmax of the logits behind `probabilities` (..., 7), divided by `temperature`; 1 changes nothing."""
    from scipy.special import softmax

    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-12)) / temperature
    return np.asarray(softmax(logits, axis=-1), dtype=np.float32)


def fold_temperature(model: Any, temperature: float) -> None:
    """Divide the logits of a model of `build_model` by `temperature`, in its weights."""
    layer = model.get_layer("logits")
    if layer.units != NUM_EMOTIONS:
        raise ValueError(f"The layer 'logits' has {layer.units} outputs; expected {NUM_EMOTIONS}.")
    layer.set_weights([weights / temperature for weights in layer.get_weights()])
