"""The teachers: networks of five to seven million parameters that are different in kind, so that their votes are too.

Built-in Keras layers only, so that their code and weights are the same on every backend. Each takes faces of any side;
44 of the 48 pixels, another part in every step, is what WuJie1010/Facial-Expression-Recognition.Pytorch trains on.
"""

from typing import Any

from fer_tasks.emotions import NUM_EMOTIONS
from fer_tasks.model import build_crop_model, import_keras

VGG_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512))
RESNET_WIDTHS = (48, 96, 192, 384)
SE_STAGES = ((128,), (256, 256), (512,))
_DROPOUT = 0.3


def build_network(kind: str, *, side: int, precision: str) -> Any:
    """An untrained network of a kind in KINDS: float32 (n, side, side, 1) -> logits, (n, 7).

    precision: `float32` or `mixed_bfloat16`; the logits are of the type that it computes in. `resnet` is the network
    of the pipeline, whose weights, in this order, fit fer_tasks.model.build_model.
    """
    keras = import_keras()
    if kind == "resnet":
        model = build_crop_model(kind, side=side, precision=precision)
        return keras.Model(model.input, model.get_layer("logits").output, name=kind)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return _teacher(keras, kind, side)
    finally:
        keras.config.set_dtype_policy(policy)


def _teacher(keras: Any, kind: str, side: int) -> Any:
    layers = keras.layers
    crop = keras.Input((side, side, 1), name="crop", dtype="float32")
    x = layers.LayerNormalization(axis=[1, 2, 3], center=False, scale=False, epsilon=1e-4, name="standardise")(crop)
    x = layers.GlobalAveragePooling2D()(TEACHERS[kind](layers, x))
    x = layers.Dropout(_DROPOUT)(x)
    return keras.Model(crop, layers.Dense(NUM_EMOTIONS, name="logits")(x), name=kind)


def _vgg(layers: Any, x: Any) -> Any:
    """Plain convolutions, halved between stages. 5.3 million parameters, 0.45 GMAC at 44x44.

    The trunk of VGG (Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556) without its dense layers, which
    hold most of its parameters.
    """
    for number, widths in enumerate(VGG_STAGES):
        if number > 0:
            x = layers.MaxPooling2D(2)(x)
        for width in widths:
            x = _convolution(layers, x, width)
    return x


def _resnet18(layers: Any, x: Any) -> Any:
    """ResNet-18 (He et al. 2015, https://arxiv.org/abs/1512.03385) with CIFAR's stem, three quarters as wide.

    6.3 million parameters, 0.61 GMAC at 44x44.
    """
    x = _convolution(layers, x, RESNET_WIDTHS[0])
    for number, width in enumerate(RESNET_WIDTHS):
        for stride in (1 if number == 0 else 2, 1):
            branch = _convolution(layers, x, width, stride=stride)
            branch = _convolution(layers, branch, width, activation=None)
            if x.shape[-1] != width:
                x = _convolution(layers, x, width, size=1, stride=stride, activation=None)
            x = layers.ReLU()(layers.Add()([x, branch]))
    return x


def _se_resnet(layers: Any, x: Any) -> Any:
    """The pipeline's own shape, larger: wide residual blocks at a half, a quarter and an eighth of the size, with SiLU
    and squeeze-and-excitation (Hu et al. 2017, https://arxiv.org/abs/1709.01507).

    6.1 million parameters, 0.50 GMAC at 44x44.
    """
    x = _convolution(layers, x, 64, activation="silu")
    x = layers.MaxPooling2D(2)(x)
    for stage, widths in enumerate(SE_STAGES):
        for block, width in enumerate(widths):
            shrink = stage > 0 and block == 0
            branch = _convolution(layers, x, width, stride=2 if shrink else 1, activation="silu")
            branch = _convolution(layers, branch, width, activation=None)
            if shrink:
                x = layers.AveragePooling2D(2, padding="same")(x)
            if x.shape[-1] != width:
                x = _convolution(layers, x, width, size=1, activation=None)
            x = layers.Activation("silu")(layers.Add()([x, _squeeze_excite(layers, branch)]))
    return x


def _squeeze_excite(layers: Any, x: Any) -> Any:
    width = x.shape[-1]
    share = layers.GlobalAveragePooling2D(keepdims=True)(x)
    share = layers.Dense(width // 16, activation="relu")(share)
    return layers.Multiply()([x, layers.Dense(width, activation="sigmoid")(share)])


def _convolution(
    layers: Any, x: Any, width: int, *, size: int = 3, stride: int = 1, activation: str | None = "relu"
) -> Any:
    """Convolution, batch normalisation and `activation`."""
    x = layers.Conv2D(width, size, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation(activation)(x) if activation else x


TEACHERS = {"vgg": _vgg, "resnet18": _resnet18, "se_resnet": _se_resnet}
KINDS = ("resnet", *TEACHERS)
