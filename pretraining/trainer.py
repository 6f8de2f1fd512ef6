"""Trainer: trains networks of one recipe, seed after seed, with one compilation."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from fer_tasks.errors import TrainingError
from fer_tasks.model import import_keras
from pretraining.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from pretraining.epoch import Inputs, Network, State, Values, build_epoch, first_state, make_network, make_optimizer
from pretraining.faces_file import FacesFile
from pretraining.judge import Judge
from pretraining.recipe import Recipe
from pretraining.weights_file import Training, WeightsFile, assign_weights, check_faces, rounded, save_weights

CHECKPOINT_EPOCHS = 10
_PLANNED_SHARE = 0.92
"""Of the time is planned for epochs; the rest is for the last measurement, files, and what a probe misses."""
_DIVERGED_LOSS = 100.0


@dataclass(frozen=True)
class Teacher:
    """A trained network that teaches. name: as in its training's record."""

    name: str
    content: WeightsFile


class Trainer:
    """Call `plan` if the time decides the epochs, then `train` for each seed. Faces and teachers stay on the device."""

    def __init__(self, recipe: Recipe, faces: FacesFile, teachers: list[Teacher]) -> None:
        """Raises TrainingError when there are fewer faces than a batch."""
        if len(faces.train) < recipe.batch_size:
            raise TrainingError(f"{len(faces.train)} faces are fewer than a batch of {recipe.batch_size}.")
        self.recipe = recipe
        self._steps = len(faces.train) // recipe.batch_size
        self._faces, self._teachers, self._data_sha256 = faces, teachers, faces.sha256()
        self._pixels, self._labels = jax.device_put((faces.train.pixels, faces.train.labels))
        networks = [_teacher_network(teacher.content) for teacher in teachers]
        self._teacher_values = [_values(network.model) for network in networks]
        self._network = make_network(recipe)
        optimizer = make_optimizer(recipe, self._network.model)
        self._epoch = build_epoch(recipe, self._network, optimizer, networks)
        self._judge = Judge(recipe, faces.validation)

    def plan(self, seconds: float, *, num_seeds: int) -> float:
        """Lower the recipe's epochs to what fits into `seconds` for all seeds. Returns the seconds of an epoch.

        Compiles, measures as at the end and times a second epoch; nothing of it is kept, its time is part of `seconds`.
        """
        start = time.monotonic()
        state, spent = self._fresh_state(seed=0), 0.0
        self._judge.measure(self._judge.weights(state))
        seconds -= time.monotonic() - start
        for _ in range(2):
            start = time.monotonic()
            state, _ = self._train_epoch(state, seed=0, epoch=1)
            spent = time.monotonic() - start
            seconds -= spent
        fitting = int(max(seconds, 0.0) * _PLANNED_SHARE / (spent * num_seeds))
        self.recipe = replace(self.recipe, epochs=max(1, min(self.recipe.epochs, fitting)))
        return spent

    def train(self, seed: int, folder: Path, *, deadline: float, half_size: bool) -> Training:
        """Train to the recipe's last epoch, or to the end of the one in which `deadline` (time.monotonic) passes.

        Goes on from the checkpoint in `folder`, with the epochs planned there. Writes weights.npz (the last epoch's,
        never chosen by validation) and log.jsonl. half_size: kernels as float16. Raises TrainingError on divergence.
        """
        folder.mkdir(parents=True, exist_ok=True)
        fingerprint = self._fingerprint(seed)
        now = load_checkpoint(folder, fingerprint, self._fresh_state(seed))
        now = now or Checkpoint(self._fresh_state(seed), 0, self.recipe.epochs, 0.0)
        self.recipe = replace(self.recipe, epochs=now.epochs)
        while now.epochs_done < now.epochs and time.monotonic() < deadline:
            state, record = self._train_epoch(now.state, seed, now.epochs_done + 1)
            now = Checkpoint(state, now.epochs_done + 1, now.epochs, now.seconds + record["seconds"])
            _log(folder, record)
            if now.epochs_done % CHECKPOINT_EPOCHS == 0:
                save_checkpoint(folder, fingerprint, now)
        save_checkpoint(folder, fingerprint, now)
        return self._finish(now, seed, folder, half_size=half_size)

    def _train_epoch(self, state: State, seed: int, epoch: int) -> tuple[State, dict[str, Any]]:
        """The state after `epoch`, and the line of the log."""
        start = time.monotonic()
        state, losses = self._epoch(state, self._inputs(seed, epoch))
        loss, accuracy = float(losses.loss), float(losses.accuracy)
        trained = time.monotonic()
        if not loss < _DIVERGED_LOSS:  # NaN is not smaller either
            raise TrainingError(f"In epoch {epoch} the loss became {loss:.3g}: lower --learning-rate.")
        return state, {
            "epoch": epoch,
            "epochs": self.recipe.epochs,
            "loss": round(loss, 4),
            "accuracy": round(accuracy, 4),
            "val_accuracy": round(self._judge.accuracy(state), 4),
            "images_per_second": round(self._steps * self.recipe.batch_size / (trained - start)),
            "seconds": round(time.monotonic() - start, 2),
        }

    def _inputs(self, seed: int, epoch: int) -> Inputs:
        rates = jnp.asarray(self.recipe.rates(epoch, self._steps))
        key = jax.random.fold_in(jax.random.key(seed), epoch)
        return Inputs(self._pixels, self._labels, rates, key, self._teacher_values)

    def _fresh_state(self, seed: int) -> State:
        """First values by Keras's initialisers, from `seed`."""
        import_keras().utils.set_random_seed(seed)
        network = make_network(self.recipe)
        return first_state(self.recipe, network, make_optimizer(self.recipe, network.model))

    def _fingerprint(self, seed: int) -> str:
        """Of everything that decides how the training goes on; the number of epochs is the checkpoint's own."""
        told = {**self.recipe.to_dict(), "epochs": None, "seed": seed, "data": self._data_sha256}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for teacher in self._teachers:
            digest.update(teacher.content.check_outputs.tobytes())
        return digest.hexdigest()

    def _finish(self, end: Checkpoint, seed: int, folder: Path, *, half_size: bool) -> Training:
        weights = self._judge.weights(end.state)
        weights = rounded(weights) if half_size else weights
        outputs, validation = self._judge.measure(weights)
        single, ten = (float((said.argmax(axis=1) == self._faces.validation.labels).mean()) for said in validation)
        training = Training(
            name=folder.name,
            recipe=self.recipe.to_dict(),
            seed=seed,
            data_sha256=self._data_sha256,
            teachers=tuple(teacher.name for teacher in self._teachers),
            num_parameters=self._network.model.count_params(),
            seconds=round(end.seconds, 1),
            cut_after_epoch=end.epochs_done if end.epochs_done < end.epochs else None,
            single_view_accuracy=single,
            ten_view_accuracy=ten,
        )
        save_weights(folder / "weights.npz", WeightsFile(training, weights, check_faces(), outputs, validation))
        _log(folder, {"finished": {**asdict(training), "recipe": None}})
        return training


def _teacher_network(content: WeightsFile) -> Network:
    """The teacher in bfloat16, whatever it was trained in."""
    network = make_network(Recipe.from_dict(content.training.recipe), precision="mixed_bfloat16")
    assign_weights(network.model, content.weights)
    return network


def _values(model: Any) -> tuple[Values, Values]:
    return [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]


def _log(folder: Path, record: dict[str, Any]) -> None:
    line = json.dumps({"name": folder.name, **record})
    print(line, flush=True)
    with (folder / "log.jsonl").open("a") as log:
        log.write(line + "\n")
