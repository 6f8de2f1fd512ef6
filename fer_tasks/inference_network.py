"""A trained network made fast for questions: batch normalisation folded into the convolutions, bfloat16 on request.

In training it cannot be folded, since it follows the batch there; afterwards it is a factor and a constant a channel.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from fer_tasks.model import import_keras


def inference_network(model: Any, precision: str) -> Any:
    """The same function as a Keras model: what `model` says, to rounding.

    precision: `float32`, or `mixed_bfloat16`, of all that works on maps of features. The normalisation of the face, the
    pooled features and all behind them stay float32, where rounding would cost most and time is short.
    """
    keras = import_keras()
    original = keras.Model(model.inputs, model.outputs[0])  # a Sequential one, too, has a graph then
    folded = _folded(original)
    gone = {normalisation.name for normalisation in folded.values()}

    def copied(layer: Any) -> Any:
        if layer.name in gone:
            return keras.layers.Activation("linear", name=layer.name, dtype=precision)
        config = layer.get_config()
        if layer.name in folded:
            config["use_bias"] = True
        if isinstance(layer, _on_maps(keras.layers)):
            config["dtype"] = precision
        return type(layer).from_config(config)

    def called(layer: Any, *inputs: Any, **options: Any) -> Any:
        return layer(*inputs, **({} if layer.name in gone else options))  # it has no mask to take, unlike before

    fast = keras.models.clone_model(original, clone_function=copied, call_function=called)
    for layer in original.layers:
        if layer.weights and layer.name not in gone:
            fast.get_layer(layer.name).set_weights(_weights(layer, folded.get(layer.name)))
    return fast


def without_crop(network: Any) -> tuple[Any, int]:
    """The part behind the layer that cuts the middle out of a face, and the side in pixels of what it takes."""
    keras = import_keras()
    crops = [layer for layer in network.layers if isinstance(layer, keras.layers.CenterCrop)]
    if len(crops) != 1 or network.input is not crops[0].input:
        return network, int(network.input_shape[1])
    return keras.Model(crops[0].output, network.output), int(crops[0].output.shape[1])


def _folded(model: Any) -> Mapping[str, Any]:
    """{name of a convolution: the batch normalisation that alone takes what it gives}."""
    keras = import_keras()
    takers: dict[str, list[Any]] = {}
    for node in chain.from_iterable(model._nodes_by_depth.values()):
        for tensor in node.input_tensors:
            takers.setdefault(tensor._keras_history.operation.name, []).append(node.operation)
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.activation is keras.activations.linear:
            taker = takers.get(layer.name, [])
            if len(taker) == 1 and isinstance(taker[0], keras.layers.BatchNormalization) and taker[0].axis in (-1, 3):
                found[layer.name] = taker[0]
    return found


def _weights(layer: Any, normalisation: Any | None) -> list[Any]:
    """What the layer gets; normalisation: the one that is folded into it."""
    weights: list[Any] = layer.get_weights()
    if normalisation is None:
        return weights
    kernel, bias = weights if layer.use_bias else (weights[0], np.zeros(layer.filters, np.float32))
    names = [variable.name for variable in normalisation.weights]
    values = dict(zip(names, normalisation.get_weights(), strict=True))
    scale = values.get("gamma", 1.0) / np.sqrt(values["moving_variance"] + normalisation.epsilon)
    return [kernel * scale, (bias - values["moving_mean"]) * scale + values.get("beta", 0.0)]


def _on_maps(layers: Any) -> tuple[type, ...]:
    return layers.Conv2D, layers.BatchNormalization, layers.ReLU, layers.Activation, layers.Add, layers.MaxPooling2D
