"""What a .keras file may hold, looked at before Keras sees it: layers that compute, and their weights.

Keras's safe mode refuses Python code in a file, and has had holes. Here only what networks of this kind are made of is
let through, whatever Keras knows: nothing that runs code, reads a file or fetches an address.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_tasks.errors import TrainingError

MEMBERS = {"metadata.json": 2**20, "config.json": 16 * 2**20, "model.weights.h5": 4 * 2**30}
"""All that a .keras file consists of, and how long each may be unpacked."""
MAX_RATIO = 100
"""Unpacked over packed size of the weights; Keras stores them as they are."""

CLASSES = {
    "keras": {"DTypePolicy", "Functional", "Model", "Sequential"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
    "keras.initializers": {
        *("Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "Ones", "RandomNormal"),
        *("TruncatedNormal", "RandomUniform", "VarianceScaling", "Zeros"),
    },
    "keras.layers": {
        *("Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "CenterCrop", "Concatenate"),
        *("Conv2D", "Dense", "DepthwiseConv2D", "Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        *("GroupNormalization", "InputLayer", "LayerNormalization", "MaxPooling2D", "Multiply", "ReLU", "Rescaling"),
        *("Reshape", "SeparableConv2D", "Softmax", "Subtract", "ZeroPadding2D"),
    },
    None: {"__keras_tensor__", "__tuple__"},
}
"""{module: classes} that a file may name; None for Keras's own notes."""


def check(path: Path) -> None:
    """Raise TrainingError unless the file is a zip of MEMBERS whose config names nothing but CLASSES."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive.infolist())
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, RecursionError, zlib.error) as error:
        raise TrainingError(f"{path} cannot be read as a Keras model ({error}); train it again.") from error
    if isinstance(config, dict):
        config.pop("compile_config", None)  # the model is read without it
    for module, name in _classes(config):
        if str(name) not in CLASSES.get(module if isinstance(module, str | None) else "", set()):
            raise TrainingError(
                f"{path} cannot be read as a Keras model: it asks for {module}.{name}, which no network of this "
                "pipeline has and which may run code or read files. Train it again."
            )


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = sorted(member.filename for member in members)
    if names != sorted(MEMBERS):
        raise TrainingError(
            f"{path} cannot be read as a Keras model: it holds {', '.join(map(repr, names[:5])) or 'nothing'}; "
            f"expected {', '.join(MEMBERS)}."
        )
    for member in members:
        longest = min(MEMBERS[member.filename], max(MAX_RATIO * member.compress_size, 2**20))
        if member.file_size > longest:
            raise TrainingError(
                f"{path} cannot be read as a Keras model: {member.filename} would unpack to "
                f"{member.file_size:,} bytes; allowed: {longest:,}."
            )


def _classes(config: Any) -> Iterator[tuple[Any, Any]]:
    """(module, class) of everything that the config would have Keras build."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "class_name" in part or "module" in part or "registered_name" in part:
                yield part.get("module"), part.get("class_name")
                registered = part.get("registered_name")
                if registered not in (None, part.get("class_name")):
                    yield "the registered class", registered
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
