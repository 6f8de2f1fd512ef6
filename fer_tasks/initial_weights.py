"""Transfer learning: where a training's first weights come from, and which of them stay as they are."""

import hashlib
from pathlib import Path
from typing import Any

from fer_tasks.data_roots import check_allowed
from fer_tasks.errors import TrainingError
from fer_tasks.model import STEM_WIDTHS, load_model
from fer_tasks.settings import RunSettings

WEIGHTS_BY_NAME = ("none", "pretrained", "champion")
PRETRAINED = Path(__file__).resolve().parent / "pretrained"
"""Folder of the weights that come with the project: model.keras, settings.json and model_card.json."""


def find_initial_model(settings: RunSettings) -> Any | None:
    """The Keras model that `initial_weights` names, or None for `none`.

    Raises TrainingError when it cannot be read, and RegistryError when there is no champion.
    """
    return None if settings.initial_weights == "none" else load_named_model(settings.initial_weights, settings)


def load_named_model(name: str, settings: RunSettings) -> Any:
    """`pretrained`, `champion` (of the registered model of the settings), or a path: a run's folder or a .keras file.

    Raises TrainingError when it cannot be read, RegistryError when there is no champion, and SettingsError for a path
    outside of FER_DATA_ROOTS.
    """
    if name == "champion":
        from fer_tasks.registry import load_champion

        return load_champion(settings.registered_model)
    if name == "pretrained":
        return load_model(model_file(PRETRAINED))
    check_allowed("initial_weights or teachers", model_file(Path(name)))
    return load_model(model_file(Path(name)))


def model_file(path: Path) -> Path:
    """The model inside a run's folder, or the file itself."""
    return path / "model.keras" if path.is_dir() else path


def width_of(initial: Any | None, settings: RunSettings) -> float:
    """`network_width` of the network that can take the weights of `initial`; the setting where there are none."""
    if settings.architecture != "resnet" or initial is None:
        return settings.network_width
    stems = [layer.output.shape[-1] for layer in initial.layers if layer.name == "stage_1"]
    return stems[0] / STEM_WIDTHS[-1] if stems else settings.network_width


def transfer(initial: Any, network: Any, settings: RunSettings) -> None:
    """Give `network` (of build_model) the weights of `initial`, and freeze its first `frozen_stages` stages.

    A frozen batch normalisation also keeps its moments. Raises TrainingError when the two are not the same network.
    """
    values = initial.get_weights()
    theirs, ours = ([weights.shape for weights in model.get_weights()] for model in (initial, network))
    if theirs != ours:
        raise TrainingError(
            f"The initial weights {settings.initial_weights!r} are of {len(theirs)} arrays with "
            f"{initial.count_params():,} values; {settings.architecture} has {len(ours)} with "
            f"{network.count_params():,}. Choose the architecture that they were trained with."
        )
    network.set_weights(values)
    freeze(network, settings.frozen_stages)


def freeze(network: Any, num_stages: int) -> None:
    """Make the layers of the first stages untrainable: the convolution at full size, then each residual block.

    Raises TrainingError when the network has fewer stages.
    """
    if num_stages == 0:
        return
    names = [layer.name for layer in network.layers]
    last = f"stage_{num_stages}"
    if last not in names:
        raise TrainingError(
            f"{network.name} has {sum(name.startswith('stage_') for name in names)} stages; `frozen_stages` is "
            f"{num_stages}. Lower it."
        )
    for layer in network.layers[: names.index(last) + 1]:
        layer.trainable = False


def fingerprint(initial: Any | None) -> str:
    """SHA-256 of a model's weights; empty for none."""
    digest = hashlib.sha256()
    for weights in initial.get_weights() if initial is not None else []:
        digest.update(weights.tobytes())
    return digest.hexdigest() if initial is not None else ""
