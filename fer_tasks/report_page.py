"""ReportPage: everything the report says, as plain values without any HTML. The template only lays it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fer_tasks.report_charts import LineChart, ReliabilityChart, TimelineBar
from fer_tasks.report_parts import ChampionSection, ExplanationSection, ModelCard, SlicesSection

Outcome = Literal["accepted", "rejected", "refused", "failed"]
StepStatus = Literal[
    "succeeded", "refused", "failed", "killed", "running", "to follow", "skipped", "outdated", "not reached"
]
"""`outdated`: its last try succeeded before a step that it needs was run again and stopped the run."""


@dataclass(frozen=True)
class Verdict:
    """headline: `Accepted`, `Rejected by the gate`, `Data refused`, `Failed in <step>`... reason: why, in words."""

    outcome: Outcome
    headline: str
    reason: str


@dataclass(frozen=True)
class AttemptLine:
    """One try of a step, as a person reads it. started_at: ISO 8601, UTC. reused_from: a run's name."""

    status: StepStatus
    started_at: str
    seconds: float | None
    reason: str | None
    reused_from: str | None


@dataclass(frozen=True)
class StepLine:
    """A step with the status of its last try. is_eventful: something else happened than one try that succeeded."""

    step: str
    status: StepStatus
    attempts: tuple[AttemptLine, ...]
    is_eventful: bool

    @property
    def reused_from(self) -> str | None:
        """The run that computed the step's result, where this one took it over."""
        return self.attempts[-1].reused_from if self.attempts else None


@dataclass(frozen=True)
class ScaleRow:
    """One line of the accuracy scale: a value, or a range where low and high are given; all in 0..1."""

    label: str
    value: float
    low: float | None
    high: float | None
    kind: Literal["model", "threshold", "reference"]


@dataclass(frozen=True)
class CriterionLine:
    """One criterion of the gate. Values as text; a dash where nothing was measured or asked."""

    title: str
    verdict: Literal["passed", "failed", "not asked"]
    value: str
    interval: str
    asked: str
    reason: str


@dataclass(frozen=True)
class Cell:
    count: int
    share: float


@dataclass(frozen=True)
class EmotionRow:
    """Scores of one emotion in 0..1, None where undefined; support: its test images."""

    emotion: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class EvaluationSection:
    """confusion: one row a true emotion, one cell a predicted one, shares of the row."""

    lead: str
    figures: tuple[tuple[str, str], ...]
    calibration: tuple[tuple[str, str], ...]
    confusion: tuple[tuple[Cell, ...], ...]
    emotions: tuple[EmotionRow, ...]
    reliability: ReliabilityChart


@dataclass(frozen=True)
class TrainingSection:
    lead: str
    facts: tuple[tuple[str, str], ...]
    loss: LineChart
    accuracy: LineChart


@dataclass(frozen=True)
class Thumbnail:
    """An image of the data set. picture: a PNG data URI, or None where nothing could be decoded."""

    picture: str | None
    size: str
    lines: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Gallery:
    """`shown` of `total` images, or groups of equal images, of one sort."""

    title: str
    total: int
    shown: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class CountTable:
    """Whole numbers by row and column. corner: what the rows are."""

    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class ExpectationLine:
    name: str
    column: str
    severity: str
    status: Literal["passed", "blocked", "warned", "noted"]
    observed: str
    description: str


@dataclass(frozen=True)
class DataQualitySection:
    """data_docs: where GX's own pages lie beside the report; None where they were not written."""

    passed: bool
    lead: str
    blocking: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    per_split: CountTable
    expectations: tuple[ExpectationLine, ...]
    galleries: tuple[Gallery, ...]
    data_docs: str | None


@dataclass(frozen=True)
class PreprocessingSection:
    lead: str
    per_split: CountTable
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SettingLine:
    name: str
    title: str
    value: str
    default: str
    is_changed: bool


@dataclass(frozen=True)
class ReportPage:
    """settings: by section of the form. gaps: {section: why it has no content} for each that is None or empty.
    problems: what else could not be read."""

    run_name: str
    written_at: str
    is_sample: bool
    verdict: Verdict
    scale: tuple[ScaleRow, ...]
    criteria: tuple[CriterionLine, ...]
    steps: tuple[StepLine, ...]
    time_told: str
    timeline: tuple[TimelineBar, ...]
    champion: ChampionSection | None
    evaluation: EvaluationSection | None
    slices: SlicesSection | None
    mistakes: tuple[Gallery, ...]
    training: TrainingSection | None
    explanations: ExplanationSection | None
    data_quality: DataQualitySection | None
    preprocessing: PreprocessingSection | None
    card: ModelCard
    settings: tuple[tuple[str, tuple[SettingLine, ...]], ...]
    lineage: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    gaps: Mapping[str, str]
    problems: tuple[str, ...]
