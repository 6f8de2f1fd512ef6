"""ScoringPage: everything the page of a scoring says, as plain values without any HTML."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_tasks.drift import Drift
from fer_tasks.emotions import EMOTIONS
from fer_tasks.report_comparison_sections import drift_row, moved_told
from fer_tasks.report_data_sections import expectation_lines
from fer_tasks.report_page import ExpectationLine, Gallery, SettingLine, StepStatus, Verdict
from fer_tasks.report_parts import DriftRow
from fer_tasks.report_pictures import clipped
from fer_tasks.report_text import UNKNOWN, grouped, percent
from fer_tasks.score_checks import FormerBatch, ScoreChecks
from fer_tasks.scoring_plan import ScoringPlan

_MAX_REASONS = 20


@dataclass(frozen=True)
class EmotionRow:
    """share, usual: of the images taken for the emotion, now and among the champion's test images, in 0..1; usual is
    None where that is not on record."""

    emotion: str
    num_images: int
    share: float
    usual: float | None
    mean_probability: float


@dataclass(frozen=True)
class DriftSection:
    """told: in a sentence. then: what the rows are held against."""

    title: str
    told: str
    then: str
    rows: tuple[DriftRow, ...]


@dataclass(frozen=True)
class PlanSection:
    """What was found, and which model scores. counts, model: (what, in words). told: where it was found, a sentence."""

    counts: tuple[tuple[str, str], ...]
    told: str
    model: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ScoresSection:
    """What the scores say. emotions: in EMOTIONS order, empty without a scored image, whose mean confidence is None."""

    num_scored: int
    emotions: tuple[EmotionRow, ...]
    mean_confidence: float | None
    drift: tuple[DriftSection, ...]
    expectations: tuple[ExpectationLine, ...]


@dataclass(frozen=True)
class ImagesSection:
    """reasons: (why images were refused, how many), the commonest first."""

    faces: tuple[Gallery, ...]
    refused: tuple[Gallery, ...]
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ScoringPage:
    """plan, scores: None where the run did not come to them. read_line: Python that reads the table; None where the run
    has stored nothing. problems: what could not be read."""

    run_name: str
    written_at: str
    is_sample: bool
    verdict: Verdict
    steps: tuple[tuple[str, StepStatus], ...]
    plan: PlanSection | None
    scores: ScoresSection | None
    images: ImagesSection | None
    settings: tuple[tuple[str, tuple[SettingLine, ...]], ...]
    read_line: str | None
    problems: tuple[str, ...]


def plan_section(plan: ScoringPlan, checks: ScoreChecks | None) -> PlanSection:
    """checks: None before there are any."""
    return PlanSection(_count_facts(plan, checks), _source_told(plan), _model_facts(plan), plan.model.notes)


def scores_section(plan: ScoringPlan, checks: ScoreChecks) -> ScoresSection:
    """Of scores that passed or were refused."""
    return ScoresSection(
        num_scored=checks.num_scored,
        emotions=_emotion_rows(plan, checks),
        mean_confidence=checks.mean_confidence,
        drift=_drift_sections(plan, checks),
        expectations=expectation_lines(checks.expectations),
    )


def _count_facts(plan: ScoringPlan, checks: ScoreChecks | None) -> tuple[tuple[str, str], ...]:
    counts = [
        ("Images found", plan.num_found),
        ("Scored before", plan.num_known),
        ("New", plan.num_planned),
        *((("Scored", checks.num_scored), ("Refused", checks.num_refused)) if checks else ()),
    ]
    return tuple((name, grouped(count)) for name, count in counts)


def _source_told(plan: ScoringPlan) -> str:
    source = "Drawn by the program." if plan.is_sample else f"From {clipped(str(plan.source.path))}."
    if not plan.num_ignored:
        return source
    examples = ", ".join(clipped(name) for name in plan.ignored_examples[:3])
    files = "file there is" if plan.num_ignored == 1 else "files there are"
    return f"{source} {grouped(plan.num_ignored)} other {files} no image by the name, such as {examples}."


def _emotion_rows(plan: ScoringPlan, checks: ScoreChecks) -> tuple[EmotionRow, ...]:
    if not checks.num_scored:
        return ()
    usual = plan.model.profile.predicted if plan.model.profile else ()
    shares = [count / sum(usual) for count in usual] if sum(usual) else [None] * len(EMOTIONS)
    return tuple(
        EmotionRow(emotion, count, count / checks.num_scored, share, mean)
        for emotion, count, share, mean in zip(
            EMOTIONS, checks.emotions, shares, checks.mean_probabilities, strict=True
        )
    )


def _drift_sections(plan: ScoringPlan, checks: ScoreChecks) -> tuple[DriftSection, ...]:
    if plan.model.profile is None:
        since_training = "What the images and predictions of the champion's run looked like is not on record."
    else:
        since_training = moved_told(checks.training_drift, since="the champion's run")
    return (
        _section("Since training", since_training, "Champion's run", checks.training_drift),
        _section(
            "Since the last batch", _batch_told(checks.former, checks.batch_drift), "Last batch", checks.batch_drift
        ),
    )


def reason_counts(reasons: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """The commonest first, at most 20 of them."""
    return tuple((clipped(reason), count) for reason, count in Counter(reasons).most_common(_MAX_REASONS))


def _model_facts(plan: ScoringPlan) -> tuple[tuple[str, str], ...]:
    model = plan.model
    return (
        ("Model", f"{model.registered_model} version {model.version}"),
        ("Test accuracy in its run", percent(model.accuracy)),
        ("Its run", model.run_folder or UNKNOWN),
        ("SHA-256 of its file", model.model_sha256 or UNKNOWN),
        ("Images prepared with", f"noise reduction {model.denoise}, contrast {model.contrast}"),
    )


def read_line(table: Path) -> str:
    """Python that reads the scores of all runs, with date, version and run as columns."""
    return f"pandas.read_parquet({str(table)!r})"


def _section(title: str, told: str, then: str, lines: Sequence[Drift]) -> DriftSection:
    return DriftSection(title, told, then, tuple(drift_row(line) for line in lines))


def _batch_told(former: FormerBatch | None, lines: Sequence[Drift]) -> str:
    if former is None:
        return "No batch was stored before this one."
    told = f"The last batch is of {former.scored_on}: {grouped(former.num_images)} images, by version {former.version}."
    return f"{told} {moved_told(lines, since='then')}"
