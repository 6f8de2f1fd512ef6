"""What a training step is fed when the training faces do not fit into memory: batches drawn from a shuffle buffer.

Parquet row groups (of 256 faces, as preprocess_faces writes them) are read in an order drawn for each epoch, in turn
from all stretches of the set, since faces which stand together are alike: those of one emotion in a folder data set.
Each batch is drawn evenly from a buffer of a quarter of the memory limit. It gives as soon as it holds a hundred row
groups and fills up while it gives, so that no epoch begins with a wait for a full buffer.
"""

import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_tasks.dataset import load_split
from fer_tasks.emotions import IMAGE_SIDE, NUM_PIXELS
from fer_tasks.errors import DatasetError
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.shuffle_buffer import Drawn, ShuffleBuffer
from fer_tasks.stored_faces import RowGroup, StoredFaces, open_split, read_group
from fer_tasks.training_batches import EpochPlan, TrainingBatches

if TYPE_CHECKING:
    import tensorflow as tf

_log = logging.getLogger(__name__)

LOADED_BYTES_A_FACE = (4 + 1) * NUM_PIXELS
"""While the faces are loaded: as float32, and as the grey levels that are kept."""

BUFFER_SHARE = 1 / 4
"""Of the memory limit; TensorFlow and its activations take about half of the default."""

FIRST_GROUPS = 128
"""So many row groups, or half the buffer, are mixed before the first batch; reading them takes about a second."""

NUM_STRETCHES = 16
"""Of the set, in each round of reading one row group of each. With the emotions one after another and a buffer of a
quarter of FER-2013, ten batches so differ from the set by 6% in their emotions, by 10% in any order, by 2.5% by chance
alone."""

_READY_BATCHES = 16


class StreamedBatches:
    """The same batches as TrainingBatches makes, in another order, from faces that stay on disk.

    What is drawn follows from the seed, the epoch, the memory limit and the files alone.
    failure: why the last epoch could not be read to its end; TensorFlow passes on no more than its text.
    """

    is_streamed = True

    def __init__(self, faces: StoredFaces, settings: RunSettings) -> None:
        """Raises DatasetError when the memory limit is too small for the files' row groups."""
        self._faces = faces
        self._seed = settings.seed
        self.plan = EpochPlan(faces.labels, settings)
        self.buffer_size = int(settings.memory_limit_mb * 2**20 * BUFFER_SHARE) // NUM_PIXELS
        self.fingerprint = f"{faces.fingerprint} {self.buffer_size}"
        self.failure: DatasetError | None = None
        self._largest = max(group.num_faces for group in faces.groups)
        if self._largest + self.plan.batch_size > self.buffer_size:
            raise DatasetError(
                f"The training faces lie in row groups of up to {self._largest:,}, and the shuffle buffer has room for "
                f"{self.buffer_size:,}. Raise the setting `memory_limit_mb`, or write smaller row groups."
            )

    def of_epoch(self, epoch: int) -> "tf.data.Dataset":
        """The batches of `epoch` (from 1), as `EpochPlan.finished` returns them."""
        import tensorflow as tf

        size = self.plan.batch_size
        signature = (
            tf.TensorSpec((size,), tf.int64),
            tf.TensorSpec((size, IMAGE_SIDE, IMAGE_SIDE, 1), tf.uint8),
        )
        drawn = tf.data.Dataset.from_generator(lambda: self._noting_failure(epoch), output_signature=signature)
        counted = drawn.apply(tf.data.experimental.assert_cardinality(self.plan.steps))
        return self.plan.finished(counted.prefetch(_READY_BATCHES), epoch)

    def drawn(self, epoch: int) -> Iterator[Drawn]:
        """The faces of each step of `epoch`; the last step is filled up with the first ones."""
        rng = np.random.default_rng([self._seed, epoch])
        buffer = ShuffleBuffer(self.buffer_size, rng)
        groups = _read_ahead([self._faces.groups[number] for number in mixed_order(len(self._faces.groups), rng)])
        size = self.plan.batch_size
        for step in range(self.plan.steps):
            while buffer.size < self._wanted(step) and (group := next(groups, None)):
                buffer.add(*group)
            faces, pixels = buffer.draw(min(size, buffer.size))
            if step == 0:
                first = faces, pixels
            if len(faces) < size:
                faces, pixels = np.append(faces, first[0])[:size], np.append(pixels, first[1], axis=0)[:size]
            yield faces, pixels

    def _wanted(self, step: int) -> int:
        """How many faces the buffer should hold before `step` (from 0) draws; another row group always fits."""
        first = min(FIRST_GROUPS * self._largest, self.buffer_size // 2)
        return max(self.plan.batch_size, min(first + step * self.plan.batch_size, self.buffer_size - self._largest))

    def _noting_failure(self, epoch: int) -> Iterator[Drawn]:
        try:
            yield from self.drawn(epoch)
        except DatasetError as error:
            self.failure = error
            raise


def choose_batches(run_dir: RunDirectory, settings: RunSettings) -> TrainingBatches | StreamedBatches:
    """The run's training faces: in memory where that takes at most `memory_limit_mb`, else streamed. Says which."""
    stored = open_split(run_dir, "train")
    needed_mb = len(stored) * LOADED_BYTES_A_FACE / 2**20
    is_streamed = needed_mb > settings.memory_limit_mb
    _log.info(
        "%d training faces take %.0f MB while they are loaded, the limit is %d MB: %s.",
        len(stored), needed_mb, settings.memory_limit_mb, "streamed from disk" if is_streamed else "held in memory",
    )  # fmt: skip
    if is_streamed:
        return StreamedBatches(stored, settings)
    return TrainingBatches(load_split(run_dir, "train").in_grey_levels(), settings)


def mixed_order(num_groups: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """int64 (num_groups,), all of them: in each round a random one of each stretch, the stretches in random order."""
    stretches = np.array_split(np.arange(num_groups), NUM_STRETCHES)
    times = [
        (rng.permutation(len(groups)) + rng.random(len(groups))) / len(groups) for groups in stretches if len(groups)
    ]
    return np.argsort(np.concatenate(times))


def _read_ahead(groups: list[RowGroup]) -> Iterator[Drawn]:
    """Each group's faces, in the order of `groups`, read by threads while earlier ones are used."""
    num_threads = max(1, len(os.sched_getaffinity(0)) // 4)
    waiting: deque[Future[Drawn]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="read-faces") as pool:
        for group in groups:
            waiting.append(pool.submit(_numbered, group))
            if len(waiting) > num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _numbered(group: RowGroup) -> Drawn:
    return np.arange(group.first, group.first + group.num_faces), read_group(group)
