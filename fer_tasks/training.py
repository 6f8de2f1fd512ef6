"""train_model: trains the network on the training faces and keeps the epoch that is best on the validation faces.

A killed training goes on from its last finished epoch and ends as an unbroken one would: order, augmentation and
learning rate follow from the seed and the step's number, and the rest is in the checkpoint.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from fer_tasks.calibration import fit_temperature, fold_temperature
from fer_tasks.checkpoint import Arrays, TrainingCheckpoint, load_checkpoint, save_checkpoint, training_fingerprint
from fer_tasks.dataset import Faces, load_split
from fer_tasks.errors import TrainingError
from fer_tasks.initial_weights import find_initial_model, transfer, width_of
from fer_tasks.initial_weights import fingerprint as weights_fingerprint
from fer_tasks.model import build_model, choose_precision, import_keras
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.streamed_batches import StreamedBatches, choose_batches
from fer_tasks.teachers import load_teachers
from fer_tasks.training_batches import TrainingBatches, validation_batches
from fer_tasks.training_history import EpochRecord, History, Progress, best_epoch, has_stalled, progress_line
from fer_tasks.training_layers import nesterov_sgd
from fer_tasks.training_network import build_judge, build_training_network, trained_side, use_cores
from fer_tasks.views import predict_views

_log = logging.getLogger(__name__)

Batches = TrainingBatches | StreamedBatches

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP_SHARE = 0.1
DIVERGED_LOSS = 100.0
"""Guessing costs about 2."""


def run(run_dir: RunDirectory) -> History:
    """Train on the run's faces; write model.keras and history.json.

    Raises DatasetError when a split is empty, and TrainingError when the training diverged.
    """
    with run_dir.attempt("train_model"):
        settings = run_dir.load_settings()
        batches = choose_batches(run_dir, settings)
        validation = load_split(run_dir, "validation").in_grey_levels()
        model, history = train(batches, validation, settings, run_dir)
        tta = settings.test_time_augmentation
        views = [predict_views(model, pixels, tta=tta) for pixels in validation.pixel_parts()]
        temperature = fit_temperature(validation.labels, np.concatenate(views, axis=1))
        fold_temperature(model, temperature)
        history = replace(
            history,
            temperature=temperature,
            is_streamed=batches.is_streamed,
            weights_sha256=weights_fingerprint(model),
        )
        with run_dir.replacing(run_dir.model) as temporary:
            model.save(temporary)
        run_dir.save_json(run_dir.history_json, history)
        run_dir.remove(run_dir.checkpoint_folder)
    return history


OnEpoch = Callable[[EpochRecord], None]
"""Is told each epoch before its checkpoint is written, so that no resumed training has one untold. What it raises ends
the training."""


def train(
    batches: Batches,
    validation: Faces,
    settings: RunSettings,
    run_dir: RunDirectory,
    *,
    on_epoch: OnEpoch = lambda record: None,
) -> tuple[Any, History]:
    """The best model, uncompiled and in float32 whatever it was trained in, and how it came about."""
    keras = import_keras()
    use_cores()
    keras.utils.set_random_seed(settings.seed)
    precision = choose_precision(settings.precision)
    initial = find_initial_model(settings)
    settings = replace(settings, network_width=width_of(initial, settings))
    teachers = load_teachers(settings)
    model = compiled_network(settings, precision, batches, initial=initial, teachers=teachers)
    judge = build_judge(settings, precision)
    initial_sha256, *teacher_sha256 = (weights_fingerprint(model) for model in (initial, *teachers))
    fingerprint = training_fingerprint(
        settings, (precision, initial_sha256, *teacher_sha256), (batches.fingerprint, validation.fingerprint)
    )
    progress, best = _resume(model, run_dir, fingerprint)
    _log.info(
        "Training %s (%s parameters) in %s on %d faces, %d for validation.",
        settings.architecture, f"{model.network.count_params():,}", precision, batches.plan.num_faces, len(validation),
    )  # fmt: skip
    steps, judged = batches.plan.steps, validation_batches(validation, trained_side(settings))
    rates = learning_rates(settings, steps)
    sides = [batches.plan.side(epoch) for epoch in range(1, settings.epochs + 1)]
    while len(progress.epochs) < settings.epochs and not has_stalled(progress.epochs, settings.patience):
        epoch = len(progress.epochs) + 1
        model.trust.assign(settings.self_distillation * (epoch - 1) / settings.epochs)
        record = _train_epoch(model, judge, batches, judged, epoch=epoch, rate=float(rates(steps * epoch - 1)))
        progress = replace(progress, epochs=(*progress.epochs, record))
        _log.info("%s", progress_line(progress.epochs, sides))
        on_epoch(record)
        if best_epoch(progress.epochs) == record.epoch:
            best = _values(model.average)
        save_checkpoint(run_dir, _checkpoint(model, fingerprint, progress, best))
    history = _history(model, precision, progress, settings)
    return _finished_model(settings, best), replace(
        history, initial_weights_sha256=initial_sha256 or None, teachers_sha256=tuple(teacher_sha256)
    )


def learning_rates(settings: RunSettings, steps: int) -> Any:
    """Keras schedule, step (from 0) -> rate: up in a line, then down to zero along a cosine. steps: of an epoch."""
    total = steps * settings.epochs
    warm_up = max(1, round(total * WARM_UP_SHARE))
    return import_keras().optimizers.schedules.CosineDecay(
        0.0, max(1, total - warm_up), warmup_target=settings.learning_rate, warmup_steps=warm_up
    )


def compiled_network(
    settings: RunSettings, precision: str, batches: Batches, *, initial: Any | None, teachers: Sequence[Any] = ()
) -> Any:
    """The training network with its optimizer built: Nesterov SGD, or the plain one that the paper trains with."""
    model = build_training_network(settings, num_faces=batches.plan.num_faces, precision=precision, teachers=teachers)
    if initial is not None:
        transfer(initial, model.network, settings)
    momentum = 0.0 if settings.architecture == "paper_cnn" else MOMENTUM
    # Keras multiplies the decay by the rate alone; in the usual SGD it goes through the momentum as well.
    optimizer = nesterov_sgd()(
        learning_rates(settings, batches.plan.steps),
        momentum=momentum,
        nesterov=momentum > 0,
        weight_decay=WEIGHT_DECAY / (1 - momentum),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer=optimizer, metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def _resume(model: Any, run_dir: RunDirectory, fingerprint: str) -> tuple[Progress, Arrays]:
    """Put the model where the run's checkpoint left it. Returns its progress and the best epoch's values."""
    checkpoint = load_checkpoint(
        run_dir, fingerprint, (model.variables, model.optimizer.variables, model.network.variables)
    )
    if checkpoint is None:
        return Progress(), []
    progress = TypeAdapter(Progress).validate_python(checkpoint.progress)
    _assign(model.variables, checkpoint.model)
    _assign(model.optimizer.variables, checkpoint.optimizer)
    next_epoch = len(progress.epochs) + 1
    _log.info("Going on from the checkpoint after epoch %d.", next_epoch - 1)
    if next_epoch not in progress.resumed_at_epochs:
        progress = replace(progress, resumed_at_epochs=(*progress.resumed_at_epochs, next_epoch))
    return progress, checkpoint.best


def _checkpoint(model: Any, fingerprint: str, progress: Progress, best: Arrays) -> TrainingCheckpoint:
    return TrainingCheckpoint(
        fingerprint, asdict(progress), _values(model.variables), _values(model.optimizer.variables), best
    )


def _train_epoch(model: Any, judge: Any, batches: Batches, validation: Any, *, epoch: int, rate: float) -> EpochRecord:
    """rate: of the epoch's last step. Raises TrainingError when the training diverged."""
    start = time.monotonic()
    logs = fit_epoch(model, batches, epoch)
    trained = time.monotonic()
    _assign(judge.variables, _values(model.average))
    judged = judge.evaluate(validation, verbose=0, return_dict=True)
    loss = logs["loss"][0]
    if not (loss < DIVERGED_LOSS and judged["loss"] < DIVERGED_LOSS):  # NaN is not smaller either
        raise TrainingError(
            f"In epoch {epoch} the loss became {loss:.3g} at a learning rate near {rate:.3g}: the training diverged. "
            "Lower the setting `learning_rate` and run again."
        )
    return EpochRecord(
        epoch=epoch,
        loss=loss,
        accuracy=logs["accuracy"][0],
        val_loss=judged["loss"],
        val_accuracy=judged["accuracy"],
        learning_rate=rate,
        seconds=time.monotonic() - start,
        images_per_second=batches.plan.num_images / (trained - start),
    )


def fit_epoch(model: Any, batches: Batches, epoch: int, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
    """One pass of a model of `compiled_network`. callbacks: Keras's, beside its own.

    Raises DatasetError when the faces cannot be read to its end.
    """
    if (side := batches.plan.side(epoch)) != model.side:
        model.make_train_function(force=True)  # else Keras makes one for crops of any size, which is slower
        model.side = side
    try:
        fitted = model.fit(batches.of_epoch(epoch), shuffle=False, verbose=0, callbacks=list(callbacks))
        logs: dict[str, list[float]] = fitted.history
    except Exception:
        if batches.failure:
            raise batches.failure from None
        raise
    return logs


def _finished_model(settings: RunSettings, best: Arrays) -> Any:
    model = build_model(settings.architecture, crop_side=trained_side(settings), width=settings.network_width)
    _assign(model.variables, best)
    return model


def _history(model: Any, precision: str, progress: Progress, settings: RunSettings) -> History:
    return History(
        architecture=settings.architecture,
        num_parameters=model.network.count_params(),
        precision=precision,
        epochs=progress.epochs,
        best_epoch=best_epoch(progress.epochs),
        stopped_early=len(progress.epochs) < settings.epochs,
        resumed_at_epochs=tuple(epoch for epoch in progress.resumed_at_epochs if epoch <= len(progress.epochs)),
        seconds=sum(epoch.seconds for epoch in progress.epochs),
    )


def _values(variables: Any) -> Arrays:
    return [variable.numpy() for variable in variables]


def _assign(variables: Any, values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
