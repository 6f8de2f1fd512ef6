"""The champion as a run of fer_scoring uses it: pinned at the start, whoever is promoted meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer_tasks.champion_comparison import (
    note_on_training,
    obstacle_to,
    recorded_emotions,
    recorded_profile,
    recorded_settings,
)
from fer_tasks.cpu_model import export
from fer_tasks.data_profile import DataProfile
from fer_tasks.errors import RegistryError
from fer_tasks.model import load_model
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.settings import RunSettings

if TYPE_CHECKING:
    from fer_tasks.registry import Champion


@dataclass(frozen=True)
class ScoredModel:
    """Which version scores, and what has to be known of its own run.

    accuracy            on the test split of its own run, in 0..1; None where that is not on record
    emotions            its classes in its order
    denoise, contrast   the filters of its run, which the images go through, too
    profile             of its run's images and predictions; None where that is not on record
    notes               sentences on its training and on what is not on record
    """

    registered_model: str
    version: int
    accuracy: float | None
    run_folder: str | None
    model_sha256: str | None
    emotions: tuple[str, ...]
    denoise: str
    contrast: str
    profile: DataProfile | None
    notes: tuple[str, ...]

    @property
    def filters(self) -> RunSettings:
        """Settings for `prepare_face`."""
        return RunSettings(denoise=self.denoise, contrast=self.contrast)


def pin_champion(run_dir: ScoringDirectory, registered_model: str, *, precision: str) -> ScoredModel:
    """Copy the champion's file into the run's folder, beside it for `int8` its export, and tell what it is.

    Raises RegistryError when there is no champion, when its files are gone, or when it is no classifier of EMOTIONS;
    TrainingError where the export answers otherwise.
    """
    from fer_tasks.registry import champion_in_use

    champion = champion_in_use(registered_model)
    with run_dir.replacing(run_dir.champion_model) as temporary:
        champion.copy_model(temporary)
    records = champion.load_records()
    model = load_model(run_dir.champion_model)
    if obstacle := obstacle_to(model, recorded_emotions(records)):
        raise RegistryError(f"{registered_model} version {champion.version} cannot score faces. {obstacle}")
    if precision == "int8":
        with run_dir.replacing(run_dir.champion_int8) as temporary:
            export(model, temporary, "int8")
    return _described(champion, records)


def _described(champion: "Champion", records: Mapping[str, Any]) -> ScoredModel:
    settings, profile = recorded_settings(records), recorded_profile(records)
    notes = [note] if (note := note_on_training(settings)) else []
    if profile is None:
        notes.append("What the images and predictions of its run looked like is not on record (data_profile.json).")
    prepared = settings or RunSettings()
    return ScoredModel(
        registered_model=champion.registered_model,
        version=champion.version,
        accuracy=champion.accuracy,
        run_folder=champion.run_folder,
        model_sha256=champion.model_sha256,
        emotions=recorded_emotions(records),
        denoise=prepared.denoise,
        contrast=prepared.contrast,
        profile=profile,
        notes=tuple(notes),
    )
