"""Judge: what a network in training says of the validation faces, on the device."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import NUM_EMOTIONS
from pretraining.epoch import Network, State, Values, make_network
from pretraining.faces_file import SplitFaces
from pretraining.recipe import Recipe
from pretraining.views import ten_crops
from pretraining.weights_file import assign_weights, check_faces

_BATCH = 512


class Judge:
    """Fast in the recipe's arithmetic after each epoch, and exact in float32 at the end."""

    def __init__(self, recipe: Recipe, validation: SplitFaces) -> None:
        self._side, self._keeps_average = recipe.side, recipe.ema > 0
        self._views = ten_crops(validation.pixels, recipe.side)
        self._labels = validation.labels
        self._middle = jax.device_put(_in_batches(self._views[0]))
        fast, self._exact = make_network(recipe), make_network(recipe, precision="float32")
        self._fast_predict, self._exact_predict = _predictor(fast), _predictor(self._exact)

    def accuracy(self, state: State) -> float:
        """Share of the validation faces that the kept weights name rightly from the face itself."""
        said = np.asarray(self._fast_predict(*self._kept(state), self._middle))
        return float((said.reshape(-1, NUM_EMOTIONS)[: len(self._labels)].argmax(axis=1) == self._labels).mean())

    def weights(self, state: State) -> list[NDArray[Any]]:
        """The weights to keep, in the order of the model's `weights`."""
        self._assign(*self._kept(state))
        return [np.asarray(variable.value) for variable in self._exact.model.weights]

    def measure(self, weights: list[NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Probabilities by `weights` in float32: of the check faces, float32 (64, 7), and of the validation faces,
        float16 (2, n, 7): of the face itself, and the mean of ten views."""
        assign_weights(self._exact.model, [array.astype(np.float32) for array in weights])
        views = np.stack([self._probabilities(view) for view in self._views])
        outputs = self._probabilities(ten_crops(check_faces(), self._side)[0])
        return outputs, np.stack([views[0], views.mean(axis=0)]).astype(np.float16)

    def _probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (n, 7). At the highest precision: else a GPU computes float32 with ten bits of mantissa."""
        model = self._exact.model
        values = ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])
        with jax.default_matmul_precision("highest"):
            said = np.asarray(self._exact_predict(*values, _in_batches(crops)))
        return said.reshape(-1, NUM_EMOTIONS)[: len(crops)]

    def _kept(self, state: State) -> tuple[Values, Values]:
        if self._keeps_average:
            return state.averaged_trainable, state.averaged_non_trainable
        return state.trainable, state.non_trainable

    def _assign(self, trainable: Values, non_trainable: Values) -> None:
        model = self._exact.model
        for variables, values in (
            (model.trainable_variables, trainable),
            (model.non_trainable_variables, non_trainable),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)


def _predictor(network: Network) -> Any:
    """(trainable, non-trainable, uint8 (batches, batch, side, side)) -> probabilities, float32 (batches, batch, 7)."""

    def predict(trainable: Values, non_trainable: Values, batches: jax.Array) -> jax.Array:
        def one(batch: jax.Array) -> jax.Array:
            pixels = batch.astype(jnp.float32)[..., None] / 255
            return jax.nn.softmax(network.logits(trainable, non_trainable, pixels, training=False)[0])

        return jax.lax.map(one, batches)

    return jax.jit(predict)


def _in_batches(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (batches, batch, side, side), the last one filled up with black."""
    batch = min(_BATCH, len(crops))
    missing = -len(crops) % batch
    filled = np.pad(crops, ((0, missing), (0, 0), (0, 0)))
    return filled.reshape(-1, batch, *crops.shape[1:])
