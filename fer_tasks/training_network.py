"""The network as it is trained: on growing crops, in two halves of a batch at once, against targets that it corrects,
with a running average of its weights, which is the model that is kept.

The halves share all weights. On two cores, one half each is faster than both on every layer together, and batch
normalisation over half a batch is the usual "ghost" one (Hoffer et al. 2017, https://arxiv.org/abs/1705.08741).
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from fer_tasks.augmentation import blend
from fer_tasks.emotions import IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.model import build_crop_model, import_keras
from fer_tasks.settings import RunSettings
from fer_tasks.teachers import crop_teacher
from fer_tasks.training_layers import TrainingLayers

SIDE_STEP = 4
"""Pixels from one side of the crops to the next: what the three halvings of the network leave whole most often."""

BELIEF_KEPT = 0.8
"""Of what was noted of a face in self-distillation, each time that it is seen again."""


def trained_side(settings: RunSettings) -> int:
    """Side in pixels of what the network sees of a face in the end. The paper's dense layer takes whole faces only."""
    return settings.crop_side if settings.architecture == "resnet" else IMAGE_SIDE


def side_in_epoch(settings: RunSettings, epoch: int) -> int:
    """Side in pixels of the crops of `epoch` (from 1): each side in turn for an equal part of the epochs.

    Small crops first cost less and are as good for what is learned first (progressive resizing, Touvron et al. 2019,
    https://arxiv.org/abs/1906.06423, who also found that a last part on larger ones helps).
    """
    last = trained_side(settings)
    first = last if settings.architecture == "paper_cnn" else min(settings.first_crop_side, last)
    sides: list[int] = [*range(first, last, SIDE_STEP), last]
    return sides[-(-epoch * len(sides) // settings.epochs) - 1]


def use_cores() -> None:
    """One half of a batch a half of the cores. Without effect once TensorFlow has computed something."""
    import_keras()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(2)
        tf.config.threading.set_intra_op_parallelism_threads(max(1, len(os.sched_getaffinity(0)) // 2))


def build_training_network(
    settings: RunSettings, *, num_faces: int, precision: str, teachers: Sequence[Any] = ()
) -> Any:
    """Keras model: float32 (batch, side, side, 1) -> logits, float32 (batch, 7), uncompiled; batch is even.

    teachers: of `load_teachers`. Its `network` is a model of `build_crop_model`; `average` holds the running average of
    that one's variables, in their order, and is what to keep. Fit it on what `EpochPlan.finished` gives.
    """
    keras: Any = import_keras()
    ops = keras.ops

    class TrainingNetwork(keras.Model):  # type: ignore[misc]
        """Self-distillation: each face's target moves from its label towards what the network has said of it so far.

        PS-KD, Kim et al. 2021, https://arxiv.org/abs/2006.12000, with the running average of the answers that came in
        training as the teacher (Laine & Aila 2017, https://arxiv.org/abs/1610.02242; Huang et al. 2020,
        https://arxiv.org/abs/2002.10319): it costs nothing, and a wrong label is believed less and less.
        """

        def __init__(self, network: Any, **functional: Any) -> None:
            super().__init__(**functional)
            self.network = network
            self.side = 0  # of the crops that its training function is made for
            self.belief = self.add_weight(
                shape=(num_faces, NUM_EMOTIONS), initializer="zeros", trainable=False, name="belief", dtype="float32"
            )
            self.trust = self.add_weight(shape=(), initializer="zeros", trainable=False, name="trust", dtype="float32")
            self.average = [
                self.add_weight(shape=variable.shape, initializer="zeros", trainable=False, dtype="float32")
                for variable in network.variables
            ]

        def train_step(self, data: Any) -> Any:
            logs = super().train_step(data)
            steps = ops.cast(self.optimizer.iterations, "float32")
            kept = ops.minimum(settings.weight_averaging, (steps - 1) / (steps + 9))
            for average, variable in zip(self.average, self.network.variables, strict=True):
                average.assign(variable + kept * (average - variable))
            return logs

        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            target = y["target"] * (1 - settings.label_smoothing) + settings.label_smoothing / NUM_EMOTIONS
            if settings.self_distillation > 0:
                target += self.trust * (ops.take(self.belief, y["face"], axis=0) - target)
                self._remember(y, ops.softmax(ops.stop_gradient(y_pred)))
            target = blend(target, y["share"])
            if crop_teachers:
                target += settings.teacher_share * (self._taught(x) - target)
            return ops.mean(sample_weight * ops.categorical_crossentropy(target, y_pred, from_logits=True))

        def _taught(self, x: Any) -> Any:
            """What the teachers say on average: float32 (batch, 7)."""
            halves = ops.split(x, 2, axis=0)
            said = [ops.concatenate([teacher(half) for half in halves]) for teacher in crop_teachers]
            return ops.stop_gradient(sum(said) / len(said))

        def _remember(self, y: Any, said: Any) -> None:
            """Note what the network says of the faces that are themselves, and no mixture."""
            known = ops.take(self.belief, y["face"], axis=0)
            is_known = ops.sum(known, axis=1, keepdims=True) > 0
            noted = ops.where(is_known, BELIEF_KEPT * known + (1 - BELIEF_KEPT) * said, said)
            noted = ops.where(y["share"][:, None] == 1.0, noted, known)
            self.belief.assign(ops.scatter_update(self.belief, y["face"][:, None], noted))

        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
            return dict(super().compute_metrics(x, y["target"], y_pred, sample_weight))

    side = None if settings.architecture == "resnet" else IMAGE_SIDE
    # Not attributes of the model: Keras would count their weights as its own.
    crop_teachers = [crop_teacher(teacher, settings, side=side, precision=precision) for teacher in teachers]
    network = build_crop_model(
        settings.architecture, side=side, precision=precision, width=settings.network_width, layers=TrainingLayers()
    )
    faces = keras.Input((side, side, 1), name="face", dtype="float32")
    logits = keras.Model(network.input, network.get_layer("logits").output)
    halves = [logits(half) for half in ops.split(faces, 2, axis=0)]
    return TrainingNetwork(network, inputs=faces, outputs=keras.layers.Concatenate(axis=0, dtype="float32")(halves))


def build_judge(settings: RunSettings, precision: str) -> Any:
    """The network that is measured after each epoch, compiled, in the arithmetic of the training."""
    keras = import_keras()
    model = build_crop_model(
        settings.architecture,
        side=trained_side(settings),
        precision=precision,
        width=settings.network_width,
        layers=TrainingLayers(),
    )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    model.compile(loss=loss, metrics=["accuracy"])
    return model
