"""The model's accuracy on parts of the test images: dark and bright, flat and strong, blurred and sharp ones, those
that also stand in training, and those on which it agrees with the champion. evaluate_model measures it.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.dataset import Faces
from fer_tasks.errors import DatasetError
from fer_tasks.intervals import wilson_interval
from fer_tasks.run_directory import RunDirectory

_log = logging.getLogger(__name__)

SIGNIFICANT_P = 0.05
AGREEMENT = "agreement with the champion"
_MEASURES = {
    "brightness": ("mean", ("dark", "medium", "bright")),
    "contrast": ("standard_deviation", ("flat", "medium", "strong")),
    "sharpness": ("sharpness", ("blurred", "medium", "sharp")),
}
"""{what is told: (column of raw_faces, names of the thirds from low to high)}"""


@dataclass(frozen=True)
class Slice:
    """Some of the test images; shares are in [0, 1].

    low, high                     least and greatest measure in it; None where it is not cut by a measure
    accuracy_low, accuracy_high   95% Wilson interval
    p                             of the test against all other images, corrected; None where it is not tested
    is_worse                      less accurate than the rest, and p < SIGNIFICANT_P
    """

    name: str
    low: float | None
    high: float | None
    num_images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    p: float | None = None
    is_worse: bool = False


@dataclass(frozen=True)
class Slicing:
    """The test images cut by one property; each is in just one slice. note: what to know when reading it."""

    by: str
    slices: tuple[Slice, ...]
    note: str = ""


@dataclass(frozen=True)
class SlicedAccuracy:
    """Record slices.json. notes: why a property is missing."""

    slicings: tuple[Slicing, ...]
    notes: tuple[str, ...]


def run(run_dir: RunDirectory, faces: Faces, predicted: NDArray[Any]) -> SlicedAccuracy:
    """Write slices.json. predicted: int (n,), in the order of the faces; champion_predictions may lie there.

    Raises DatasetError when raw_faces does not hold the faces.
    """
    right = predicted == faces.labels
    cuts, notes = _cuts_by_measure(run_dir, faces, right)
    agreement = _by_agreement(run_dir, faces, predicted)
    if agreement is None:
        notes.append("Agreement with the champion: there are no predictions of a champion on these images.")
    else:
        cuts.append(agreement)
    sliced = SlicedAccuracy(mark_worse(cuts, right), tuple(notes))
    run_dir.save_json(run_dir.slices_json, sliced)
    worse = [f"{s.name} ({cut.by}) {s.accuracy:.1%}" for cut in sliced.slicings for s in cut.slices if s.is_worse]
    _log.info("Slices that are worse than the rest: %s", ", ".join(worse) or "none")
    return sliced


def thirds(by: str, values: NDArray[np.float64], names: Sequence[str], right: NDArray[np.bool_]) -> Slicing:
    """Cut where a third and two thirds of the images lie; equal values stay together, so a slice may be missing."""
    place = np.searchsorted(np.quantile(values, (1 / 3, 2 / 3)), values, side="left")
    slices = []
    for number, name in enumerate(names):
        inside = place == number
        if inside.any():
            low, high = float(values[inside].min()), float(values[inside].max())
            slices.append(replace(_measured(name, right[inside]), low=low, high=high))
    return Slicing(by, tuple(slices))


def mark_worse(slicings: Iterable[Slicing], right: NDArray[np.bool_]) -> tuple[Slicing, ...]:
    """The same slices with p and is_worse.

    Each slice is held against all other test images by Fisher's exact test (two-sided; exact, so that it holds for few
    images), and the p values of all slices are corrected together after Holm, whatever their dependence: the chance
    that any slice is marked without being worse is at most SIGNIFICANT_P. Not tested is agreement with the champion:
    where two models differ, at most one is right, so that slice is worse by construction.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6.
    """
    from scipy.stats import fisher_exact

    cuts, total, hits = list(slicings), len(right), int(right.sum())
    tested = [s for cut in cuts if cut.by != AGREEMENT for s in cut.slices if s.num_images < total]
    raw = []
    for part in tested:
        inside = round(part.accuracy * part.num_images)
        outside, others = hits - inside, total - part.num_images
        raw.append(fisher_exact([[inside, part.num_images - inside], [outside, others - outside]]).pvalue)
    p_of = {id(part): p for part, p in zip(tested, holm(raw), strict=True)}

    def marked(part: Slice) -> Slice:
        p = p_of.get(id(part))
        return replace(part, p=p, is_worse=p is not None and p < SIGNIFICANT_P and part.accuracy < hits / total)

    return tuple(replace(cut, slices=tuple(marked(part) for part in cut.slices)) for cut in cuts)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p values, in the order given; at most 1."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p_values, np.float64)[order] * factors), 1.0)
    return [float(p) for p in corrected]


def _cuts_by_measure(run_dir: RunDirectory, faces: Faces, right: NDArray[np.bool_]) -> tuple[list[Slicing], list[str]]:
    """What raw_faces tells of the faces, cut into thirds and by whether training has an equal image."""
    if not run_dir.raw_faces.exists():
        return [], ["Brightness, contrast, sharpness and duplicates: raw_faces.parquet is not there."]
    measures = _measures(run_dir, faces)
    cuts = [thirds(by, measures[column], names, right) for by, (column, names) in _MEASURES.items()]
    notes = [f"{cut.by.capitalize()}: all test images are alike." for cut in cuts if len(cut.slices) == 1]
    cuts = [cut for cut in cuts if len(cut.slices) > 1]
    is_copy = _stands_in_training(run_dir, faces)
    if not is_copy.any():
        return cuts, [*notes, "Duplicates of training images: no test image is one."]
    dropped = run_dir.load_settings().drop_leaked
    note = f"Their copies were {'left out of' if dropped else 'kept in'} training (drop_leaked)."
    return [*cuts, _by_flag("duplicate of a training image", ("yes", "no"), is_copy, right, note)], notes


def _measures(run_dir: RunDirectory, faces: Faces) -> dict[str, NDArray[np.float64]]:
    """{column: float64 (n,)} in the order of the faces."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    columns = [column for column, _ in _MEASURES.values()]
    wanted = ds.field("position").isin(pa.array(faces.position))
    table = ds.dataset(str(run_dir.raw_faces), format="parquet").to_table(["position", "image_id", *columns], wanted)
    table = table.sort_by("position")
    if table["image_id"].to_pylist() != list(faces.image_id):
        raise DatasetError(
            f"{run_dir.raw_faces} does not hold the {len(faces)} test images, so they cannot be sliced. Clear "
            "preprocess_faces and let it run again: its faces do not belong to this raw_faces."
        )
    return {column: table[column].to_numpy().astype(np.float64) for column in columns}


def _stands_in_training(run_dir: RunDirectory, faces: Faces) -> NDArray[np.bool_]:
    """Whether an image that was published for training has the same pixels, also where it was left out of it."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    is_copy = (ds.field("usage") == "Training") & ds.field("image_id").isin(pa.array(faces.image_id, pa.string()))
    table = ds.dataset(str(run_dir.raw_faces), format="parquet").to_table(["image_id"], is_copy)
    return np.isin(faces.image_id.astype(str), np.asarray(table["image_id"].to_pylist(), str))


def _by_agreement(run_dir: RunDirectory, faces: Faces, predicted: NDArray[Any]) -> Slicing | None:
    import pyarrow.parquet as pq

    if not run_dir.champion_predictions.exists():
        return None
    agrees = pq.read_table(run_dir.champion_predictions)["predicted"].to_numpy() == predicted
    note = "Not tested: where two models differ, at most one is right."
    return _by_flag(AGREEMENT, ("same emotion", "another emotion"), agrees, predicted == faces.labels, note)


def _by_flag(by: str, names: tuple[str, str], flag: NDArray[np.bool_], right: NDArray[np.bool_], note: str) -> Slicing:
    parts = zip(names, (right[flag], right[~flag]), strict=True)
    return Slicing(by, tuple(_measured(name, part) for name, part in parts if len(part)), note)


def _measured(name: str, right: NDArray[np.bool_]) -> Slice:
    hits, total = int(right.sum()), len(right)
    return Slice(name, None, None, total, hits / total, *wilson_interval(hits, total))
