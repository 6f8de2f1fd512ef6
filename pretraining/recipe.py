"""Recipe: all that decides how a network is trained, one field an option of `pretraining.train`."""

import argparse
import math
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretraining.augmentation import Limits
from pretraining.teachers import KINDS


def _option(default: Any, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, **more})


@dataclass(frozen=True)
class Recipe:
    """Nesterov SGD, its rate warmed up in a line and lowered to zero along a cosine; the rest is told by the fields."""

    network: str = _option("resnet", "kind of network", choices=KINDS)
    side: int = _option(44, "pixels each way that it sees of a face")
    epochs: int = _option(100, "passes over the training faces")
    batch_size: int = _option(128, "faces a step")
    learning_rate: float = _option(0.1, "peak of the learning rate")
    momentum: float = _option(0.9, "of SGD, Nesterov's")
    weight_decay: float = _option(5e-4, "on kernels, not on biases and batch normalisation")
    warm_up_share: float = _option(0.1, "part of the training in which the rate rises")
    label_smoothing: float = _option(0.1, "share of a label that all emotions share")
    mixup: float = _option(0.0, "alpha of mixup (Zhang et al. 2017, arXiv:1710.09412); 0 mixes nothing")
    ema: float = _option(0.0, "decay of the average of the weights that is kept instead of the last; 0 keeps the last")
    precision: str = _option("mixed_bfloat16", "arithmetic", choices=("mixed_bfloat16", "float32"))
    distillation_weight: float = _option(0.9, "share of the teachers in the loss, where there are teachers")
    distillation_temperature: float = _option(1.0, "at which teachers and network are compared")
    limits: Limits = field(default=Limits(), metadata={"help": "of the augmentation"})

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be trained."""
        if self.network not in KINDS:
            raise ValueError(f"There is no network {self.network!r}; there are {', '.join(KINDS)}.")
        if min(self.epochs, self.batch_size, self.side) < 1 or self.side > 48:
            raise ValueError(f"epochs {self.epochs}, batch_size {self.batch_size} or side {self.side} is out of range.")
        for name in ("momentum", "label_smoothing", "ema", "warm_up_share", "distillation_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to 1.")

    def rates(self, epoch: int, steps: int) -> NDArray[np.float32]:
        """float32 (steps,): learning rate of each step of `epoch`, which counts from 1. steps: of an epoch."""
        total = steps * self.epochs
        warm_up = max(1, round(total * self.warm_up_share))
        step = np.arange((epoch - 1) * steps, epoch * steps)
        fallen = 0.5 * (1 + np.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))
        return (self.learning_rate * np.where(step < warm_up, (step + 1) / warm_up, fallen)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """JSON object; `from_dict` turns it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        return cls(**{**values, "limits": Limits(**values["limits"])})


def add_options(parser: argparse.ArgumentParser) -> None:
    """One option a field of Recipe and of Limits."""
    for owner in (Recipe, Limits):
        for spec in fields(owner):
            if spec.name != "limits":
                _add_option(parser, spec)


def _add_option(parser: argparse.ArgumentParser, spec: "Field[Any]") -> None:
    parser.add_argument(
        f"--{spec.name.replace('_', '-')}",
        type=type(spec.default),
        default=spec.default,
        choices=spec.metadata.get("choices"),
        help=f"{spec.metadata.get('help', 'of the augmentation')} (%(default)s)",
    )


def from_options(options: argparse.Namespace) -> Recipe:
    """The recipe that the options of `add_options` say."""
    limits = Limits(**{spec.name: getattr(options, spec.name) for spec in fields(Limits)})
    chosen = {spec.name: getattr(options, spec.name) for spec in fields(Recipe) if spec.name != "limits"}
    return replace(Recipe(**chosen), limits=limits)
