"""The records of slices and of the champion turned into sections of the report."""

from collections.abc import Sequence

from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.drift import Drift
from fer_tasks.emotions import EMOTIONS
from fer_tasks.paired_test import PairedTest
from fer_tasks.report_parts import ChampionSection, ChangeRow, DriftRow, SliceGroup, SliceRow, SlicesSection
from fer_tasks.report_text import UNKNOWN, grouped, percent, points
from fer_tasks.slices import Slice, SlicedAccuracy

_SUBJECTS = {
    "labels": "Labels",
    "brightness": "Brightness (mean grey level)",
    "contrast": "Contrast (standard deviation)",
    "sharpness": "Sharpness (variance of the Laplacian)",
    "predicted": "Predicted emotions",
}


def slices_section(sliced: SlicedAccuracy, overall: float | None) -> SlicesSection:
    """overall: accuracy on all test images."""
    worse = [f"{part.name} ({cut.by})" for cut in sliced.slicings for part in cut.slices if part.is_worse]
    if worse:
        lead = f"Worse than on the other test images, and not by chance: {', '.join(worse)}."
    elif sliced.slicings:
        lead = "On no part of the test images is the model found worse than on the others."
    else:
        lead = "The test images could not be cut into parts."
    return SlicesSection(
        lead=lead,
        overall=overall,
        groups=tuple(
            SliceGroup(cut.by[:1].upper() + cut.by[1:], tuple(_slice_row(part) for part in cut.slices), cut.note)
            for cut in sliced.slicings
        ),
        notes=sliced.notes,
    )


def champion_section(comparison: ChampionComparison) -> ChampionSection:
    """Of a comparison with a champion, whether it could be compared or not."""
    name = f"{comparison.registered_model} version {comparison.version}"
    paired = comparison.paired
    return ChampionSection(
        lead=f"{name} cannot be compared with this model." if paired is None else _told(name, paired),
        name=name,
        changes=() if paired is None else _changes(comparison, paired),
        notes=comparison.notes,
        drift=tuple(drift_row(line) for line in comparison.drift),
        drift_told=_drift_told(comparison.drift),
    )


def _slice_row(part: Slice) -> SliceRow:
    span = "" if part.low is None or part.high is None else f"{_short(part.low)} to {_short(part.high)}"
    chance = UNKNOWN if part.p is None else ("< 0.001" if part.p < 0.001 else f"{part.p:.3f}")
    return SliceRow(
        name=part.name,
        span=span,
        num_images=part.num_images,
        accuracy=part.accuracy,
        low=part.accuracy_low,
        high=part.accuracy_high,
        is_worse=part.is_worse,
        chance=chance,
    )


def _told(name: str, paired: PairedTest) -> str:
    gained, lost = paired.only_challenger_right, paired.only_champion_right
    return (
        f"On the same {grouped(paired.num_images)} test images this model has {percent(paired.challenger_accuracy)}, "
        f"{name} {percent(paired.champion_accuracy)}: {points(paired.difference)} "
        f"(95% interval {points(paired.difference_low)} to {points(paired.difference_high)}). "
        f"{grouped(gained)} {_images(gained)} gained, {grouped(lost)} lost."
    )


def _images(number: int) -> str:
    return "image is" if number == 1 else "images are"


def _changes(comparison: ChampionComparison, paired: PairedTest) -> tuple[ChangeRow, ...]:
    whole = ChangeRow(
        emotion="all",
        recall=paired.challenger_accuracy,
        champion_recall=paired.champion_accuracy,
        gained=paired.only_challenger_right,
        lost=paired.only_champion_right,
        num_images=paired.num_images,
    )
    rows = (
        ChangeRow(line.emotion, line.recall, line.champion_recall, line.gained, line.lost, line.num_images)
        for line in comparison.per_emotion
    )
    return (*rows, whole)


def drift_row(line: Drift) -> DriftRow:
    """A line of a drift in words."""
    then, now = _shares(line) if line.now else (f"median {_of(line.median_then)}", f"median {_of(line.median_now)}")
    return DriftRow(_SUBJECTS.get(line.subject, line.subject), then, now, line.index, line.chance, line.reading)


def _shares(line: Drift) -> tuple[str, str]:
    """The emotion whose share changed most, then and now."""
    most = max(range(len(EMOTIONS)), key=lambda number: abs(line.now[number] - line.then[number]))
    return f"{EMOTIONS[most]} {percent(line.then[most])}", f"{EMOTIONS[most]} {percent(line.now[most])}"


def _drift_told(lines: Sequence[Drift]) -> str:
    if not lines:
        return (
            "What its run's images and predictions looked like is not on record (data_profile.json among the records "
            "of its MLflow run), so nothing can be said about drift."
        )
    return moved_told(lines, since="the champion's run")


def moved_told(lines: Sequence[Drift], *, since: str) -> str:
    """What has drifted, in a sentence."""
    moved = [_SUBJECTS[line.subject].split(" (")[0].lower() for line in lines if line.reading != "stable"]
    if moved:
        return f"Since {since} these have moved beyond chance: {', '.join(moved)}."
    return f"Neither the data nor the predictions have moved noticeably since {since}."


def _of(value: float | None) -> str:
    return UNKNOWN if value is None else _short(value)


def _short(value: float) -> str:
    return grouped(round(value)) if value >= 10 else f"{value:.1f}"
