"""The emotion maps of a run: those of its model, and beside them those of the champion that it was compared with."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks import champion_comparison
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.dataset import Faces
from fer_tasks.emotion_maps import EmotionMap, FaceSet, choose_confused, choose_recognised, summarise, weigh_regions
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.errors import PipelineError
from fer_tasks.explained_network import Network, network_to_explain
from fer_tasks.face_regions import FACE_REGIONS
from fer_tasks.lime_surrogate import FloatArray, Weights
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MappedSet:
    """One map with what it was made of. faces: float32 (n, 48, 48). weights: float64 (n, 11). position: int64 (n,)."""

    summary: EmotionMap
    faces: FloatArray
    weights: Weights
    position: NDArray[np.int64]


def map_model(
    network: Network, test: Faces, predicted: NDArray[np.int32], settings: RunSettings
) -> tuple[list[MappedSet], list[MappedSet]]:
    """Of what was recognised, and of the commonest confusions; predicted: int32 (n,), of each test face."""
    faces = test.pixels[..., 0]
    recognised = _map(_drawn(choose_recognised, test, predicted, settings), network, faces, test, settings)
    return recognised, _map(_drawn(choose_confused, test, predicted, settings), network, faces, test, settings)


def map_champion(
    run_dir: RunDirectory, test: Faces, settings: RunSettings
) -> tuple[int | None, list[MappedSet], str | None]:
    """Its version and what it looks at in the test faces that it recognises, as it was trained to see them.

    Without a comparison there is neither; where the champion has changed since or cannot be loaded, a sentence says so.
    """
    from fer_tasks.registry import find_champion

    path = run_dir.champion_comparison_json
    comparison = run_dir.load_json(path, ChampionComparison) if path.exists() else None
    if comparison is None or comparison.outcome != "compared" or not settings.lime_map_images:
        return None, [], None
    try:
        champion = find_champion(comparison.registered_model)
        if champion is None or champion.version != comparison.version:
            return None, [], f"Version {comparison.version} is no longer champion, so what it looks at is not shown."
        records = champion.load_records()
        network = network_to_explain(champion.load_model(), settings.precision)
        seen = champion_comparison.as_the_champion_sees(run_dir, test, records)
    except PipelineError as error:
        return None, [], f"What the champion looks at cannot be shown: {error}"
    chosen = _drawn(choose_recognised, test, _predictions(run_dir, test), settings)
    classes = champion_comparison.recorded_emotions(records)
    return champion.version, _map(chosen, network, seen[..., 0], test, settings, classes=classes), None


def save_arrays(maps: Sequence[MappedSet]) -> dict[str, NDArray[Any]]:
    """What explanation_maps.npz holds of the maps, in the order of explanations.json, the champion's last.

    `map_faces` float32 (m, 48, 48), the mean faces; and a row an image: `map_number` int64 (n,), the map it is of,
    `map_position` int64 (n,), and `map_weights` float64 (n, 11).
    """
    means = [mapped.faces.mean(axis=0) for mapped in maps]
    return {
        "map_faces": np.array(means, np.float32).reshape(-1, IMAGE_SIDE, IMAGE_SIDE),
        "map_number": np.repeat(np.arange(len(maps)), [len(mapped.faces) for mapped in maps]),
        "map_position": np.concatenate([np.empty(0, np.int64), *(mapped.position for mapped in maps)]),
        "map_weights": np.concatenate([np.empty((0, len(FACE_REGIONS))), *(mapped.weights for mapped in maps)]),
    }


def _drawn(
    choose: Callable[..., list[FaceSet]], test: Faces, predicted: NDArray[np.int32], settings: RunSettings
) -> list[FaceSet]:
    if not settings.lime_map_images:
        return []
    return choose(test.labels, predicted, test.image_id, num_images=settings.lime_map_images, seed=settings.seed)


def _map(
    sets: Sequence[FaceSet],
    network: Network,
    faces: FloatArray,
    test: Faces,
    settings: RunSettings,
    classes: Sequence[str] = EMOTIONS,
) -> list[MappedSet]:
    """faces: float32 (n, 48, 48), the test faces as the network sees them. classes: its emotions in its order."""
    mapped = []
    for chosen in sets:
        rows = list(chosen.rows)
        weights = weigh_regions(faces[rows], classes.index(EMOTIONS[chosen.predicted]), network, settings)
        summary = summarise(chosen, weights, seed=settings.seed)
        mapped.append(MappedSet(summary, faces[rows], weights, test.position[rows]))
        logger.info("Mapped %s taken for %s: %d images", summary.true, summary.predicted, summary.num_images)
    return mapped


def _predictions(run_dir: RunDirectory, test: Faces) -> NDArray[np.int32]:
    """int32 (n,), what the champion says of the test faces, in their order."""
    import pyarrow.parquet as pq

    told = pq.read_table(run_dir.champion_predictions, columns=["position", "predicted"])
    said = dict(zip(told["position"].to_pylist(), told["predicted"].to_pylist(), strict=True))
    return np.array([said[position] for position in test.position.tolist()], np.int32)
