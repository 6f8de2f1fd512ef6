"""check_scores: whether a run's scores are whole and sound, what they say, and how far they have drifted."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer_tasks import scoring_plan
from fer_tasks.data_profile import MEASURES, DataProfile, histogram
from fer_tasks.drift import Drift, compare
from fer_tasks.emotions import EMOTIONS, NUM_EMOTIONS, PROBABILITIES
from fer_tasks.errors import DataQualityError
from fer_tasks.expectation_outcome import ExpectationOutcome, judge, quiet_great_expectations
from fer_tasks.score_expectations import SUITE_NAME, score_expectations
from fer_tasks.score_store import last_batch
from fer_tasks.score_table import score_table
from fer_tasks.scoring_directory import ScoreFolder, ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

_REMEDIES = {
    "refused_share": "refused.parquet of the run lists them with reasons; mend the images or raise max_refused_share.",
    "mean_confidence": "Look at the sample faces in the report, or lower min_mean_confidence.",
    "training_drift": "Train on images like these, or raise max_training_drift.",
    "batch_drift": "Find out what has changed since then, or raise max_batch_drift.",
    "counts_add_up": "Clear score_faces and let it run again.",
}
_MODEL_IS_BROKEN = "A sound model gives no such answer: roll the champion back (make rollback), and clear plan_scoring."


@dataclass(frozen=True)
class FormerBatch:
    """The batch stored before this one. scored_on: ISO date."""

    run: str
    version: int
    scored_on: str
    num_images: int


@dataclass(frozen=True)
class ScoreChecks:
    """Record score_checks.json.

    passed, blocking        whether the scores may be stored; sentences, empty when passed
    emotions                images taken for each emotion, in EMOTIONS order
    mean_probabilities      of each emotion over the scored images, in 0..1; empty without one
    mean_confidence         None without a scored image
    training_drift          since the champion's run; empty where its profile is not on record
    batch_drift             since `former`, the last batch of any version; empty without one
    """

    passed: bool
    blocking: tuple[str, ...]
    num_scored: int
    num_refused: int
    emotions: tuple[int, ...]
    mean_probabilities: tuple[float, ...]
    mean_confidence: float | None
    training_drift: tuple[Drift, ...]
    batch_drift: tuple[Drift, ...]
    former: FormerBatch | None
    expectations: tuple[ExpectationOutcome, ...]


def run(run_dir: ScoringDirectory) -> ScoreChecks:
    """Judge scores.parquet and refused.parquet of the run; write score_checks.json.

    Raises DataQualityError, when all is written, where the scores are refused.
    """
    with run_dir.attempt("check_scores"):
        quiet_great_expectations()
        checks = _check(run_dir)
        run_dir.save_json(run_dir.checks_json, checks)
        told = " ".join(checks.blocking)
        _log.info("%d scored, %d refused: %s", checks.num_scored, checks.num_refused, told or "passed")
        if not checks.passed:
            raise DataQualityError(f"The scores were refused. {told}")
    return checks


def _check(run_dir: ScoringDirectory) -> ScoreChecks:
    plan = scoring_plan.load(run_dir)
    scores, refused = _read(run_dir.scores), _read(run_dir.refused)
    profile = profile_of(scores)
    former, batch_drift = _since_last_batch(run_dir, plan.model.registered_model, profile)
    training_drift = compare(profile, plan.model.profile) if plan.model.profile else ()
    table = score_table(_read(run_dir.plan), scores, refused)
    table = table.assign(training_drift=beyond_chance(training_drift), batch_drift=beyond_chance(batch_drift))
    outcomes = judge(table, score_expectations(ScoringSettings.load(run_dir)), None, suite=SUITE_NAME)
    blocking = tuple(_sentence(outcome) for outcome in outcomes if not outcome.passed)
    return ScoreChecks(
        passed=not blocking,
        blocking=blocking,
        **_told(scores),
        num_refused=len(refused),
        emotions=profile.predicted,
        training_drift=training_drift,
        batch_drift=batch_drift,
        former=former,
        expectations=tuple(outcomes),
    )


def load(run_dir: ScoringDirectory) -> ScoreChecks:
    """What `run` wrote. Raises FileNotFoundError before that."""
    return run_dir.load_json(run_dir.checks_json, ScoreChecks)


def profile_of(scores: "pd.DataFrame") -> DataProfile:
    """Of the scored images, whose labels nobody knows. scores: `emotion` and the measures of the table scores."""
    known = scores["emotion"].map({emotion: label for label, emotion in enumerate(EMOTIONS)}).dropna().astype(int)
    counts = np.bincount(known, minlength=NUM_EMOTIONS)
    measures = {name: histogram(name, scores[name].to_numpy(np.float64)) for name in MEASURES}
    return DataProfile(
        labels=(0,) * NUM_EMOTIONS,
        measures={name: tuple(map(int, bins)) for name, bins in measures.items()},
        predicted=tuple(map(int, counts)),
    )


def _told(scores: "pd.DataFrame") -> dict[str, Any]:
    """The fields of ScoreChecks that are numbers of the scores."""
    means = [float(scores[name].mean()) for name in PROBABILITIES] if len(scores) else []
    return {
        "num_scored": len(scores),
        "mean_probabilities": tuple(means),
        "mean_confidence": float(scores["confidence"].mean()) if len(scores) else None,
    }


def beyond_chance(lines: Sequence[Drift]) -> float:
    """The largest index that chance does not explain; 0 without one."""
    return max((line.index for line in lines if line.index > line.chance), default=0.0)


def _since_last_batch(
    run_dir: ScoringDirectory, registered_model: str, profile: DataProfile
) -> tuple[FormerBatch | None, tuple[Drift, ...]]:
    folder = ScoreFolder.for_model(registered_model)
    folder.pull()
    last = last_batch(folder, but=run_dir.root.name)
    if last is None:
        return None, ()
    scores = _read(last.folder, ["emotion", *MEASURES])
    former = FormerBatch(last.run, last.version, last.scored_on, len(scores))
    return former, compare(profile, profile_of(scores))


def _read(table: Path, columns: list[str] | None = None) -> "pd.DataFrame":
    import pyarrow.parquet as pq

    found: pd.DataFrame = pq.read_table(table, columns=columns, partitioning=None).to_pandas()
    return found


def _sentence(outcome: ExpectationOutcome) -> str:
    return f"{outcome.description} Found: {outcome.observed}. {_REMEDIES.get(outcome.name, _MODEL_IS_BROKEN)}"
