"""explain_predictions: which regions of a face decided, by LIME, for the most confident hit and mistake an emotion, and
on average over many faces of each emotion."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_tasks.dataset import Faces, load_split
from fer_tasks.emotion_maps import EmotionMap
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.errors import ReportError
from fer_tasks.explained_network import ExplainedNetwork, Network, network_to_explain
from fer_tasks.face_regions import face_segments, region_names
from fer_tasks.model import load_model
from fer_tasks.model_maps import MappedSet, map_champion, map_model, save_arrays
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.surrogates import ShuffledCheck, Surrogate, check_shuffled, surrogates
from fer_tasks.training_network import use_cores

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float32]

_COLUMNS = ["position", "image_id", "source", "label", "predicted", "confidence"]


@dataclass(frozen=True)
class Choice:
    """A test image worth explaining; `label` and `predicted` index EMOTIONS."""

    kind: Literal["hit", "mistake"]
    position: int
    image_id: str
    source: str
    label: int
    predicted: int


@dataclass(frozen=True)
class Explanation:
    """One face with the stand-in for the predicted emotion and, for a mistake, also the one for the true emotion.

    region_names: of the face's regions, in the order of their weights.
    """

    kind: Literal["hit", "mistake"]
    position: int
    image_id: str
    source: str
    true: str
    predicted: str
    region_names: tuple[str, ...]
    for_predicted: Surrogate
    for_true: Surrogate | None
    seconds: float


@dataclass(frozen=True)
class Explanations:
    """What explanations.json holds: hit and mistake an emotion in EMOTIONS order, and why some are not there.

    shuffled: the check that a network which has learned nothing is explained otherwise; None without an explanation.
    recognised, confused: what the model looks at for each emotion and for its commonest confusion; champion_recognised
    the same of champion_version, where the run has a champion. seconds: of the whole step.
    """

    regions: str
    grid: int
    fill: str
    samples: int
    design: str
    kernel_width: float
    seed: int
    explanations: tuple[Explanation, ...]
    shuffled: ShuffledCheck | None
    notes: tuple[str, ...]
    recognised: tuple[EmotionMap, ...] = ()
    confused: tuple[EmotionMap, ...] = ()
    champion_version: int | None = None
    champion_recognised: tuple[EmotionMap, ...] = ()
    seconds: float | None = None


def choose(predictions: Mapping[str, list[Any]]) -> tuple[list[Choice], list[str]]:
    """The most confident hit and the most confident mistake an emotion (a mistake belongs to its true emotion).

    predictions: columns of predictions.parquet as lists. Of equally confident images the first one counts. Returns
    the choices in EMOTIONS order, hit before mistake, and a sentence for each one that does not exist.
    """
    rows = sorted(zip(*(predictions[name] for name in _COLUMNS), strict=True), key=lambda row: (-row[5], row[0]))
    best: dict[tuple[int, bool], Choice] = {}
    for position, image_id, source, label, predicted, _ in rows:
        is_hit = label == predicted
        choice = Choice("hit" if is_hit else "mistake", position, image_id, source, label, predicted)
        best.setdefault((label, is_hit), choice)
    labels = {label for label, _ in best}
    notes = []
    for label, emotion in enumerate(EMOTIONS):
        if label not in labels:
            notes.append(f"No test image shows {emotion}.")
        elif (label, True) not in best:
            notes.append(f"No {emotion} face of the test images was recognised.")
        elif (label, False) not in best:
            notes.append(f"No {emotion} face of the test images was mistaken for another emotion.")
    return [best[key] for key in sorted(best, key=lambda key: (key[0], not key[1]))], notes


def explain(choice: Choice, face: FloatArray, network: Network, *, settings: RunSettings) -> Explanation:
    """Explain the predicted emotion of one chosen face and, where it is a mistake, also its true one."""
    started = time.monotonic()
    labels = [choice.predicted] if choice.kind == "hit" else [choice.predicted, choice.label]
    around = Neighbourhood.of(face, network, settings)
    for_predicted, *for_true = surrogates(around, labels, settings=settings)
    return Explanation(
        kind=choice.kind,
        position=choice.position,
        image_id=choice.image_id,
        source=choice.source,
        true=EMOTIONS[choice.label],
        predicted=EMOTIONS[choice.predicted],
        region_names=region_names(around.segments, settings),
        for_predicted=for_predicted,
        for_true=for_true[0] if for_true else None,
        seconds=round(time.monotonic() - started, 3),
    )


def run(run_dir: RunDirectory) -> None:
    """Choose, explain, and write explanations.json and explanation_maps.npz.

    The npz holds, in the order of explanations.json, `images` float32 (n, 48, 48), `segments` int64 (n, 48, 48), and
    `weights` and `true_weights` float64 (n, regions). NaN stands where a face has fewer regions than another one, and
    in `true_weights` of a hit. The maps' arrays are those of `model_maps.save_arrays`.
    """
    with run_dir.attempt("explain_predictions"):
        import pyarrow.parquet as pq

        started = time.monotonic()
        use_cores()
        settings = run_dir.load_settings()
        predictions = pq.read_table(run_dir.predictions, columns=_COLUMNS).to_pydict()
        choices, notes = choose(predictions)
        test = load_split(run_dir, "test")
        rows = _rows_at(run_dir, test, predictions["position"])
        faces = test.pixels[[rows[choice.position] for choice in choices], :, :, 0]
        network = network_to_explain(load_model(run_dir.model), settings.precision)
        record = _explain_all(choices, faces, network, settings, notes)
        predicted = np.full(len(test), -1, np.int32)
        predicted[[rows[position] for position in predictions["position"]]] = predictions["predicted"]
        record, maps = _with_maps(record, run_dir, network, test, predicted)
        _save_maps(run_dir, faces, record, settings, maps)
        run_dir.save_json(run_dir.explanations_json, replace(record, seconds=round(time.monotonic() - started, 1)))


def _with_maps(
    record: Explanations, run_dir: RunDirectory, network: ExplainedNetwork, test: Faces, predicted: NDArray[np.int32]
) -> tuple[Explanations, list[MappedSet]]:
    """predicted: int32 (n,), what the model says of each test face."""
    settings = run_dir.load_settings()
    recognised, confused = map_model(network, test, predicted, settings)
    version, of_champion, obstacle = map_champion(run_dir, test, settings)
    summarised = replace(
        record,
        recognised=tuple(mapped.summary for mapped in recognised),
        confused=tuple(mapped.summary for mapped in confused),
        champion_version=version,
        champion_recognised=tuple(mapped.summary for mapped in of_champion),
        notes=(*record.notes, *([obstacle] if obstacle else [])),
    )
    return summarised, [*recognised, *confused, *of_champion]


def _explain_all(
    choices: list[Choice], faces: FloatArray, network: ExplainedNetwork, settings: RunSettings, notes: list[str]
) -> Explanations:
    """The record without maps; faces: float32 (n, 48, 48), those of the choices."""
    explanations = []
    for number, (choice, face) in enumerate(zip(choices, faces, strict=True), start=1):
        explanations.append(explain(choice, face, network, settings=settings))
        logger.info("Explained %d of %d: %s, %s", number, len(choices), choice.kind, choice.source)
    return Explanations(
        regions=settings.lime_regions,
        grid=settings.lime_grid,
        fill=settings.lime_fill,
        samples=settings.lime_samples,
        design=settings.lime_design,
        kernel_width=settings.lime_kernel_width,
        seed=settings.seed,
        explanations=tuple(explanations),
        shuffled=check_shuffled(network, faces, [item.for_predicted for item in explanations], settings=settings),
        notes=tuple(notes),
    )


def _rows_at(run_dir: RunDirectory, test: Faces, positions: list[int]) -> dict[int, int]:
    """Where the test faces at these positions stand. Raises ReportError where one is gone."""
    row_of = {int(position): row for row, position in enumerate(test.position)}
    missing = [position for position in positions if position not in row_of]
    if missing:
        raise ReportError(
            f"{run_dir.predictions} names {len(missing)} images that {run_dir.faces} does not hold, the first at "
            f"position {missing[0]}; clear evaluate_model and let it run again."
        )
    return row_of


def _save_maps(
    run_dir: RunDirectory, faces: FloatArray, record: Explanations, settings: RunSettings, maps: list[MappedSet]
) -> None:
    items = record.explanations
    num_regions = max((len(item.region_names) for item in items), default=0)
    segments = np.array([face_segments(face, settings) for face in faces], np.int64)
    with run_dir.replacing(run_dir.explanation_maps) as temporary:
        np.savez_compressed(
            temporary,
            images=faces,
            segments=segments.reshape(-1, IMAGE_SIDE, IMAGE_SIDE),
            weights=_rows([item.for_predicted for item in items], num_regions),
            true_weights=_rows([item.for_true for item in items], num_regions),
            **save_arrays(maps),  # type: ignore[arg-type]  # names of arrays, not its own options
        )


def _rows(surrogates: list[Surrogate | None], num_regions: int) -> NDArray[np.float64]:
    """float64 (n, num_regions): the weights, NaN where there are none."""
    rows = np.full((len(surrogates), num_regions), np.nan)
    for row, surrogate in zip(rows, surrogates, strict=True):
        if surrogate is not None:
            row[: len(surrogate.weights)] = surrogate.weights
    return rows
