"""The values of the report's sections on weak spots, the champion, explanations and limits, without any HTML."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SliceRow:
    """Some of the test images. span: the range that they were cut by, in words. low, high: 95% interval, in 0..1."""

    name: str
    span: str
    num_images: int
    accuracy: float
    low: float
    high: float
    is_worse: bool
    chance: str


@dataclass(frozen=True)
class SliceGroup:
    title: str
    rows: tuple[SliceRow, ...]
    note: str


@dataclass(frozen=True)
class SlicesSection:
    """overall: accuracy on all test images, in 0..1; None where it is not on record."""

    lead: str
    overall: float | None
    groups: tuple[SliceGroup, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ChangeRow:
    """One emotion, or all together. Recalls in 0..1, None without images; gained and lost: numbers of images."""

    emotion: str
    recall: float | None
    champion_recall: float | None
    gained: int
    lost: int
    num_images: int


@dataclass(frozen=True)
class DriftRow:
    """One distribution, now and in the champion's run. then, now: in words."""

    subject: str
    then: str
    now: str
    index: float
    chance: float
    reading: Literal["stable", "moderate", "large"]


@dataclass(frozen=True)
class ChampionSection:
    """changes: empty where the champion could not be compared; drift: empty where it is not on record, which
    drift_told says."""

    lead: str
    name: str
    changes: tuple[ChangeRow, ...]
    notes: tuple[str, ...]
    drift: tuple[DriftRow, ...]
    drift_told: str


@dataclass(frozen=True)
class MapRegion:
    """SVG path in the 48 x 48 face, and the weight's strength in 0..1 against the strongest of the map."""

    path: str
    name: str
    weight: float
    strength: float


@dataclass(frozen=True)
class WeightMap:
    """evidence: in words. doubts: why it is drawn grey; none for a reliable one."""

    emotion: str
    probability: float
    prediction: float
    evidence: str
    doubts: tuple[str, ...]
    regions: tuple[MapRegion, ...]


@dataclass(frozen=True)
class ExplainedFace:
    """note: in words; empty where the explained answer is the verdict."""

    kind: Literal["hit", "mistake"]
    source: str
    true: str
    predicted: str
    picture: str
    maps: tuple[WeightMap, ...]
    note: str


@dataclass(frozen=True)
class ExplainedPair:
    """The faces that show one emotion; None where there is no hit or no mistake."""

    emotion: str
    hit: ExplainedFace | None
    mistake: ExplainedFace | None


@dataclass(frozen=True)
class MeanMap:
    """The mean weights of the parts of the face over the mean face. size, strongest: in words."""

    title: str
    picture: str
    regions: tuple[MapRegion, ...]
    size: str
    strongest: tuple[str, ...]


@dataclass(frozen=True)
class EmotionMaps:
    """What the model looks at for an emotion; told: in sentences. Absent maps are None."""

    emotion: str
    recognised: MeanMap | None
    confused: MeanMap | None
    champion: MeanMap | None
    told: tuple[str, ...]


@dataclass(frozen=True)
class ExplanationSection:
    """maps: in EMOTIONS order; empty where the run made none. part_sizes, notes: in words."""

    method: str
    facts: tuple[tuple[str, str], ...]
    pairs: tuple[ExplainedPair, ...]
    maps: tuple[EmotionMaps, ...]
    part_sizes: str
    champion_version: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ModelCard:
    """limits: (headline, sentences)."""

    facts: tuple[tuple[str, str], ...]
    limits: tuple[tuple[str, str], ...]
