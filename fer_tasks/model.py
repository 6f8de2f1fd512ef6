"""The two networks, the arithmetic they compute in, and how a saved one is read back.

Only built-in Keras layers, so that a model file loads in safe mode and without this project.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks import model_file
from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import TrainingError

STEM_WIDTHS = (32, 64)
RESNET_WIDTHS = (128, 256, 256)
_BATCH_NORM_MOMENTUM = 0.9  # an epoch of a small data set has ten steps; 0.99 would remember the untrained network
_PREDICTION_BATCH = 256


def import_keras() -> Any:
    """Keras on TensorFlow. Every module of the project that needs either goes through here first.

    oneDNN is off by default on processors without AVX-512, where it still made training 1.5 times as fast.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not Path("/dev/nvidiactl").exists():
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # else its absence stands in the log as an error
    import keras

    return keras


def build_model(architecture: str, *, crop_side: int = IMAGE_SIDE, width: float = 1.0) -> Any:
    """An untrained, uncompiled network: float32 (n, 48, 48, 1) in [0, 1] -> float32 (n, 7), rows summing to 1.

    It looks at the middle crop_side pixels each way, brought to mean 0 and deviation 1 inside the model. width: factor
    of `resnet`'s channels; `paper_cnn` has the paper's. Weights come from Keras's global seed.
    """
    keras = import_keras()
    face = keras.Input((IMAGE_SIDE, IMAGE_SIDE, 1), name="face", dtype="float32")
    crop = keras.layers.CenterCrop(crop_side, crop_side, name="crop")(face) if crop_side < IMAGE_SIDE else face
    return keras.Model(face, _emotions(keras.layers, architecture, crop, width), name=architecture)


def build_crop_model(
    architecture: str, *, side: int | None, precision: str, width: float = 1.0, layers: Any = None
) -> Any:
    """The same network for crops: float32 (n, side, side, 1). Its weights fit `build_model`, in the same order.

    side: None for crops of any size, of which `paper_cnn` takes none. precision: `float32` or `mixed_bfloat16`, of all
    but the input and the answer. layers: keras.layers, or a TrainingLayers.
    """
    keras = import_keras()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        crop = keras.Input((side, side, 1), name="crop", dtype="float32")
        return keras.Model(crop, _emotions(layers or keras.layers, architecture, crop, width), name=architecture)
    finally:
        keras.config.set_dtype_policy(policy)


def _emotions(layers: Any, architecture: str, crop: Any, width: float) -> Any:
    x = layers.LayerNormalization(axis=[1, 2, 3], center=False, scale=False, epsilon=1e-4, name="standardise")(crop)
    x = _resnet(layers, x, width) if architecture == "resnet" else _paper_cnn(layers, x)
    logits = layers.Dense(NUM_EMOTIONS, name="logits")(x)
    return layers.Softmax(dtype="float32", name="emotions")(logits)


def _resnet(layers: Any, x: Any, factor: float) -> Any:
    """Two convolutions, the second of stride 2, three stages with a residual block each and max-pooling between them,
    global average pooling.

    2.3 million parameters at factor 1, for faces of any size, in four stages, each ending in a layer of its name. Few
    and wide convolutions, only a narrow one of them at full size, since these keep a CPU busiest: see docs/model.md.
    """
    eye, stem, *widths = (16 * max(1, round(width * factor / 16)) for width in (*STEM_WIDTHS, *RESNET_WIDTHS))
    x = _convolution(layers, x, eye)
    x = _convolution(layers, x, stem, stride=2, name="stage_1")
    for stage, width in enumerate(widths):
        if stage > 0:
            x = layers.MaxPooling2D(2)(x)
        x = _convolution(layers, x, width)
        x = layers.Add(name=f"stage_{stage + 2}")([x, _convolution(layers, x, width)])
    return layers.GlobalAveragePooling2D()(x)


def _convolution(layers: Any, x: Any, width: int, *, stride: int = 1, name: str | None = None) -> Any:
    """3x3 convolution, batch normalisation, and ReLU of that name."""
    x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM)(x)
    return layers.ReLU(name=name)(x)


def _paper_cnn(layers: Any, x: Any) -> Any:
    """3x3 convolutions with ReLU, each followed by 2x2 max-pooling, and a dense layer. 0.8 million parameters."""
    for stage, width in enumerate((32, 64, 128, 128), start=1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2, name=f"stage_{stage}")(x)
    x = layers.Flatten()(x)
    return layers.Dense(512, activation="relu")(x)


def choose_precision(setting: str) -> str:
    """What `setting` (RunSettings.precision) means on this machine: `float32` or `mixed_bfloat16`.

    `auto` takes bfloat16 only where it is computed in hardware: AMX or AVX-512 BF16, or a GPU from Ampere on.
    """
    if setting != "auto":
        return setting
    if has_gpu():
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if capability >= (8, 0) else "float32"
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return "mixed_bfloat16" if flags & {"amx_bf16", "avx512_bf16"} else "float32"


def has_gpu() -> bool:
    """Whether TensorFlow sees one."""
    import_keras()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def load_model(path: Path) -> Any:
    """The model saved at `path`, for prediction. Nothing in the file is executed: see fer_tasks.model_file.

    Raises TrainingError when there is none, it cannot be read, or it holds more than a network.
    """
    keras = import_keras()
    if not path.is_file():
        raise TrainingError(f"There is no model at {path}; run train_model first, or give the path of a .keras file.")
    model_file.check(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except MemoryError:
        raise  # of the machine, and may pass
    except Exception as error:  # Keras and HDF5 raise nearly anything at damaged files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrainingError(f"{path} cannot be read as a Keras model ({reason}); train it again.") from error


def predict_probabilities(model: Any, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """pixels: float32 (n, 48, 48, 1) in [0, 1]. Returns float32 (n, 7), rows sum to 1, columns in EMOTIONS order."""
    batches = [
        model.predict_on_batch(pixels[start : start + _PREDICTION_BATCH])
        for start in range(0, len(pixels), _PREDICTION_BATCH)
    ]
    return np.concatenate(batches) if batches else np.empty((0, NUM_EMOTIONS), np.float32)
