"""Knowledge distillation: trained models whose answers a training follows beside the labels.

Hinton et al. 2015, https://arxiv.org/abs/1503.02531. The teachers judge each changed face as the network sees it, which
Beyer et al. 2022, https://arxiv.org/abs/2106.05237, found to be what makes it work.
"""

from typing import Any

from fer_tasks.errors import TrainingError
from fer_tasks.initial_weights import load_named_model, width_of
from fer_tasks.model import build_crop_model
from fer_tasks.settings import RunSettings
from fer_tasks.training_layers import TrainingLayers

NO_TEACHERS = "none"


def teacher_names(setting: str) -> list[str]:
    """What RunSettings.teachers names: a list of model names and paths."""
    return [] if setting == NO_TEACHERS else [name.strip() for name in setting.split(",") if name.strip()]


def load_teachers(settings: RunSettings) -> list[Any]:
    """The models that `teachers` names, as they were saved. Raises TrainingError for one that cannot teach.

    A network that takes whole faces only cannot judge what one sees that is trained on crops.
    """
    teachers = [load_named_model(name, settings) for name in teacher_names(settings.teachers)]
    for name, teacher in zip(teacher_names(settings.teachers), teachers, strict=True):
        if teacher.name != settings.architecture:
            raise TrainingError(
                f"Teacher {name!r} is a {teacher.name} and the network to train a {settings.architecture}; "
                f"`teachers` takes models of the same architecture, of any width."
            )
    return teachers


def crop_teacher(teacher: Any, settings: RunSettings, *, side: int | None, precision: str) -> Any:
    """A teacher's network for crops as the trained network sees them: (n, side, side, 1) -> (n, 7), rows sum to 1."""
    network = build_crop_model(
        settings.architecture,
        side=side,
        precision=precision,
        width=width_of(teacher, settings),
        layers=TrainingLayers(),
    )
    network.set_weights(teacher.get_weights())
    network.trainable = False
    return network
