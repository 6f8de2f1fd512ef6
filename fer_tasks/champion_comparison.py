"""The champion on this run's test faces: what evaluate_model measures of it, beside the new model.

The champion is scored again, never taken at an old number: only two answers to the same images can be compared.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_tasks.data_profile import DataProfile
from fer_tasks.dataset import Faces
from fer_tasks.drift import Drift, compare
from fer_tasks.emotion_changes import EmotionChange, count_changes
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.errors import DatasetError, PipelineError, SettingsError
from fer_tasks.face_filters import prepare_face
from fer_tasks.paired_test import PairedTest, compare_paired
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.views import predict_views

if TYPE_CHECKING:
    from fer_tasks.registry import Champion

_log = logging.getLogger(__name__)

_FILTERS = ("denoise", "contrast")
"""The settings that change what a model sees of a face."""


@dataclass(frozen=True)
class ChampionComparison:
    """The champion beside this run's model.

    test_set_sha256   of the test images' ids and labels in their order, whatever the filters made of them
    outcome           `no champion`, `not comparable` (the notes say why), or `compared`
    version, run_folder, model_sha256   of the champion; None where there is none or the registry does not tell
    paired            None unless compared
    per_emotion       what changes for each emotion, in EMOTIONS order; empty unless compared
    drift             of data and predictions since the champion's run; empty where its data_profile is not on record
    notes             sentences on what a reader of the numbers has to know
    """

    registered_model: str
    test_set_sha256: str
    outcome: Literal["no champion", "not comparable", "compared"] = "no champion"
    version: int | None = None
    run_folder: str | None = None
    model_sha256: str | None = None
    paired: PairedTest | None = None
    per_emotion: tuple[EmotionChange, ...] = ()
    drift: tuple[Drift, ...] = ()
    notes: tuple[str, ...] = ()


def run(
    run_dir: RunDirectory, faces: Faces, predicted: NDArray[Any], profile: DataProfile | None = None
) -> ChampionComparison:
    """Let the champion predict the test faces; write champion_comparison.json and champion_predictions.parquet.

    predicted: int (n,), the new model's classes. profile: of this run, to compare with the champion's.
    Raises DatasetError when raw_faces does not belong to the faces.
    """
    from fer_tasks.registry import find_champion

    name = run_dir.load_settings().registered_model
    run_dir.remove(run_dir.champion_predictions)
    champion = find_champion(name)
    comparison = ChampionComparison(name, fingerprint(faces))
    if champion is not None:
        records = champion.load_records()
        comparison = replace(
            comparison,
            version=champion.version,
            run_folder=champion.run_folder,
            model_sha256=champion.model_sha256,
            drift=_drift(profile, records),
            **_compare(run_dir, faces, predicted, champion, records, comparison.test_set_sha256),
        )
    run_dir.save_json(run_dir.champion_comparison_json, comparison)
    _log.info("%s", _sentence(comparison))
    return comparison


def fingerprint(faces: Faces) -> str:
    """sha256 (hex) of image ids and labels in their order; the same whatever filters the faces went through."""
    lines = (f"{image_id} {label}\n" for image_id, label in zip(faces.image_id, faces.labels, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def faces_prepared_by(settings: RunSettings, run_dir: RunDirectory, faces: Faces) -> NDArray[np.float32]:
    """The same faces from raw_faces.parquet, with the filters of other settings: float32 (n, 48, 48, 1) in [0, 1].

    Raises DatasetError when raw_faces does not hold them.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    columns = ["position", "image_id", "height", "width", "pixels"]
    is_wanted = ds.field("position").isin(pa.array(faces.position))
    prepared, seen = np.empty((len(faces), IMAGE_SIDE, IMAGE_SIDE, 1), np.float32), 0
    for batch in ds.dataset(str(run_dir.raw_faces), format="parquet").to_batches(columns=columns, filter=is_wanted):
        for image in batch.to_pylist():
            place = int(np.searchsorted(faces.position, image["position"]))
            if faces.image_id[place] == image["image_id"]:
                grey = np.frombuffer(image["pixels"], np.uint8).reshape(image["height"], image["width"])
                prepared[place, ..., 0] = prepare_face(grey, settings)
                seen += 1
    if seen != len(faces):
        raise DatasetError(
            f"{run_dir.raw_faces} holds {seen} of the {len(faces)} test images, so the champion's faces cannot be "
            "prepared its way. Clear preprocess_faces and let it run again: its faces do not belong to this raw_faces."
        )
    return prepared


def as_the_champion_sees(run_dir: RunDirectory, faces: Faces, records: Mapping[str, Any]) -> NDArray[np.float32]:
    """The test faces with the filters of its own run: float32 (n, 48, 48, 1). records: `Champion.load_records()`."""
    return _its_faces(run_dir, faces, run_dir.load_settings(), recorded_settings(records))[0]


def _compare(
    run_dir: RunDirectory,
    faces: Faces,
    predicted: NDArray[Any],
    champion: "Champion",
    records: Mapping[str, Any],
    test_set_sha256: str,
) -> dict[str, Any]:
    """The fields outcome, paired, per_emotion and notes of a ChampionComparison."""
    settings = run_dir.load_settings()
    emotions = recorded_emotions(records)
    try:
        model = champion.load_model()
    except PipelineError as error:
        return {"outcome": "not comparable", "notes": (f"It cannot be loaded: {error}",)}
    if obstacle := obstacle_to(model, emotions):
        return {"outcome": "not comparable", "notes": (obstacle,)}
    pixels, notes = _its_faces(run_dir, faces, settings, recorded_settings(records))
    number_of = np.array([EMOTIONS.index(emotion) for emotion in emotions])
    views = predict_views(model, pixels, tta=settings.test_time_augmentation)
    guesses = number_of[views.mean(axis=0).argmax(axis=1)]
    _save_predictions(run_dir, faces, guesses)
    if emotions != EMOTIONS:
        notes = (*notes, "Its classes are in another order; they were matched by name.")
    return {
        "outcome": "compared",
        "paired": compare_paired(faces.labels, predicted, guesses, seed=settings.seed),
        "per_emotion": count_changes(faces.labels, predicted, guesses),
        "notes": (*notes, *_told_of_test_set(records, test_set_sha256)),
    }


def _drift(profile: DataProfile | None, records: Mapping[str, Any]) -> tuple[Drift, ...]:
    theirs = recorded_profile(records)
    return () if profile is None or theirs is None else compare(profile, theirs)


def recorded_profile(records: Mapping[str, Any]) -> DataProfile | None:
    """Of the champion's run; None where it is not on record, or another version of the program wrote it."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(DataProfile).validate_python(records.get("data_profile"))
    except ValidationError:
        return None


def recorded_emotions(records: Mapping[str, Any]) -> tuple[str, ...]:
    """The champion's classes in its order; EMOTIONS where that is not on record."""
    rows = records.get("evaluation", {}).get("per_emotion") or [{"emotion": emotion} for emotion in EMOTIONS]
    return tuple(row["emotion"] for row in rows)


def recorded_settings(records: Mapping[str, Any]) -> RunSettings | None:
    """Of the champion's run; None where they are not on record, or are no settings of this version of the program."""
    try:
        return RunSettings.from_params(records["settings"])
    except (KeyError, SettingsError):
        return None


def note_on_training(settings: RunSettings | None) -> str:
    """What a user of the champion has to know of its training; may be empty. settings: as recorded."""
    if settings is None:
        return "The registry has no settings of its run, so faces are prepared by the default ones."
    if settings.is_sample:
        return "It was trained on drawn faces: do not rely on what it says of photographs."
    return ""


def obstacle_to(model: Any, emotions: tuple[str, ...]) -> str | None:
    """Why the champion's answers cannot be held against the truth, in words; None where they can."""
    if sorted(emotions) != sorted(EMOTIONS):
        return f"It knows other classes ({', '.join(emotions)}) than this run's {', '.join(EMOTIONS)}."
    expected = ((None, IMAGE_SIDE, IMAGE_SIDE, 1), (None, len(EMOTIONS)))
    if (model.input_shape, model.output_shape) != expected:
        return (
            f"It turns {model.input_shape} into {model.output_shape}; a face is {expected[0]} and the emotions are "
            f"{expected[1]}."
        )
    return None


def _its_faces(
    run_dir: RunDirectory, faces: Faces, ours: RunSettings, its: RunSettings | None
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The test faces as the champion was trained to see them, and what has to be said of that."""
    if its is None:
        return faces.pixels, ("The registry has no settings of it, so it sees the faces as this run prepared them.",)
    if all(getattr(its, name) == getattr(ours, name) for name in _FILTERS):
        return faces.pixels, ()
    told = ", ".join(f"{name} {getattr(its, name)}" for name in _FILTERS)
    return faces_prepared_by(its, run_dir, faces), (f"It sees the faces prepared its way ({told}).",)


def _told_of_test_set(records: Mapping[str, Any], test_set_sha256: str) -> tuple[str, ...]:
    theirs = records.get("champion_comparison", {}).get("test_set_sha256")
    if theirs is None:
        return ("Which test images it was evaluated on when it was promoted is not on record.",)
    if theirs != test_set_sha256:
        return ("It was promoted on another test set, and may have been trained on some of these images.",)
    return ()


def _sentence(comparison: ChampionComparison) -> str:
    name, paired = comparison.registered_model, comparison.paired
    if paired is None:
        return f"{name}: {comparison.outcome}. {' '.join(comparison.notes)}".strip()
    return (
        f"Champion {name} version {comparison.version}: {paired.champion_accuracy:.1%} on the same faces; "
        f"this model {paired.challenger_accuracy:.1%}."
    )


def _save_predictions(run_dir: RunDirectory, faces: Faces, predicted: NDArray[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "position": pa.array(faces.position, pa.int64()),
        "image_id": pa.array(faces.image_id, pa.string()),
        "predicted": pa.array(predicted, pa.int32()),
    }
    with run_dir.replacing(run_dir.champion_predictions) as temporary:
        pq.write_table(pa.table(columns), temporary)
