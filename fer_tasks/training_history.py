"""The record of a training: its epochs, which of them is kept, and when it has stalled."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training faces. Epochs count from 1; accuracies are in [0, 1].

    learning_rate is that of the last step. seconds covers training and validation, images_per_second training alone.
    loss is against the corrected targets, val_loss against the smoothed labels; val_* are measured after the epoch, on
    the averaged weights and in the arithmetic of the training.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class History:
    """How a model came about. resumed_at_epochs: the first epoch of each retry that went on from a checkpoint.

    temperature: fitted on validation and folded into the model's last layer; see calibration.py.
    is_streamed: the training faces stayed on disk; see streamed_batches.py.
    initial_weights_sha256, teachers_sha256, weights_sha256: of the values of the weights that training began with (None
    from scratch), of each teacher's, and of the kept model's (None in a trial, which keeps none); however saved.
    """

    architecture: str
    num_parameters: int
    precision: str
    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_early: bool
    resumed_at_epochs: tuple[int, ...]
    seconds: float
    temperature: float = 1.0
    is_streamed: bool = False
    initial_weights_sha256: str | None = None
    teachers_sha256: tuple[str, ...] = ()
    weights_sha256: str | None = None


@dataclass(frozen=True)
class Progress:
    """What a training has behind it."""

    epochs: tuple[EpochRecord, ...] = ()
    resumed_at_epochs: tuple[int, ...] = ()


def best_epoch(epochs: tuple[EpochRecord, ...]) -> int:
    """Number of the epoch with the highest validation accuracy, among equals the lowest validation loss, the first."""
    return min(epochs, key=lambda epoch: (-epoch.val_accuracy, epoch.val_loss, epoch.epoch)).epoch


def has_stalled(epochs: tuple[EpochRecord, ...], patience: int) -> bool:
    """Whether the last `patience` epochs all failed to raise the best validation accuracy so far."""
    if not epochs:
        return False
    first_best = max(epochs, key=lambda epoch: (epoch.val_accuracy, -epoch.epoch)).epoch
    return len(epochs) - first_best >= patience


def progress_line(epochs: tuple[EpochRecord, ...], sides: Sequence[int]) -> str:
    """The last epoch for the log. sides: of the crops of each epoch of the training, in pixels; the time that is left
    is that of the last epoch, as many times as there are pixels to come."""
    last = epochs[-1]
    seconds_left = last.seconds * sum(side**2 for side in sides[last.epoch :]) / sides[last.epoch - 1] ** 2
    left = f"{seconds_left / 60:.0f} min" if seconds_left >= 90 else f"{seconds_left:.0f} s"
    return (
        f"epoch {last.epoch}/{len(sides)}  loss {last.loss:.2f}  accuracy {last.accuracy:.1%}  "
        f"val {last.val_accuracy:.1%}  {last.images_per_second:.0f} images/s  {left} left"
    )
