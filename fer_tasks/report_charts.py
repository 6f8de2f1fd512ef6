"""Geometry of the report's charts. The template draws it as inline SVG, so that the page's own colours (light, dark,
print) apply and each chart stays a few kilobytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 22, 38
"""Drawing area and its margins, in SVG units."""


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Series:
    """points: SVG x, y pairs. role: `train` is drawn dashed and quiet, `validation` solid and in the accent colour."""

    name: str
    role: Literal["train", "validation"]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Marker:
    """A vertical line. role: `best` is the chosen epoch, `resumed` the first epoch after a restart."""

    at: float
    text: str
    role: Literal["best", "resumed"]


@dataclass(frozen=True)
class LineChart:
    title: str
    description: str
    x_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    markers: tuple[Marker, ...]


@dataclass(frozen=True)
class ReliabilityPoint:
    """x, y: mean confidence and accuracy of a bin in SVG units; radius grows with the number of its images."""

    x: float
    y: float
    ideal_y: float
    radius: float
    text: str


@dataclass(frozen=True)
class ReliabilityChart:
    description: str
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    diagonal: tuple[float, float, float, float]
    points: tuple[ReliabilityPoint, ...]


@dataclass(frozen=True)
class TimelineBar:
    """One try of a step: start and length in percent of the whole run. seconds is None where its end is unknown.

    reused_from: the run that had computed what this try took over.
    """

    step: str
    status: str
    start: float
    length: float
    seconds: float | None
    reused_from: str | None = None


def round_ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Round numbers that enclose low..high, about so many steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def line_chart(
    title: str,
    *,
    train: Sequence[float | None],
    validation: Sequence[float | None],
    best_epoch: int,
    resumed_at_epochs: Sequence[int],
    as_percent: bool,
) -> LineChart:
    """Training curves over epochs 1, 2, ...; values that are None or not finite are left out."""
    ticks = round_ticks(*_range([*train, *validation]))
    num_epochs = max(len(train), 1)

    def x(epoch: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (0.5 if num_epochs == 1 else (epoch - 1) / (num_epochs - 1)), 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (ticks[-1] - value) / (ticks[-1] - ticks[0]), 1)

    def points(values: Sequence[float | None]) -> tuple[tuple[float, float], ...]:
        return tuple((x(epoch), y(v)) for epoch, v in enumerate(values, 1) if v is not None and math.isfinite(v))

    return LineChart(
        title=title,
        description=_description(title, validation, best_epoch, as_percent),
        x_title="epoch",
        x_ticks=tuple(Tick(x(epoch), str(epoch)) for epoch in _epoch_ticks(num_epochs)),
        y_ticks=tuple(Tick(y(value), label) for value, label in zip(ticks, _labels(ticks, as_percent), strict=True)),
        series=(Series("training", "train", points(train)), Series("validation", "validation", points(validation))),
        markers=(
            *(Marker(x(epoch), f"resumed at {epoch}", "resumed") for epoch in resumed_at_epochs),
            Marker(x(best_epoch), f"chosen: {best_epoch}", "best"),
        ),
    )


def reliability_chart(bins: Sequence[tuple[float, float, int]]) -> ReliabilityChart:
    """bins: (mean confidence, accuracy, number of images), the empty ones left out."""
    side = HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * value, 1)

    def y(value: float) -> float:
        return round(TOP + side * (1 - value), 1)

    most = max((count for *_, count in bins), default=1)
    percent = [0.0, 0.25, 0.5, 0.75, 1.0]
    return ReliabilityChart(
        description="Accuracy against confidence: "
        + "; ".join(f"{accuracy:.0%} at {confidence:.0%} ({count} images)" for confidence, accuracy, count in bins),
        ticks_x=tuple(Tick(x(value), f"{value:.0%}") for value in percent),
        ticks_y=tuple(Tick(y(value), f"{value:.0%}") for value in percent),
        diagonal=(x(0), y(0), x(1), y(1)),
        points=tuple(
            ReliabilityPoint(
                x=x(confidence),
                y=y(accuracy),
                ideal_y=y(confidence),
                radius=round(3 + 9 * math.sqrt(count / most), 1),
                text=f"{count} images: confidence {confidence:.1%}, accuracy {accuracy:.1%}",
            )
            for confidence, accuracy, count in bins
        ),
    )


def timeline(tries: Sequence[tuple[str, str, str, float | None]], *, now: datetime) -> tuple[TimelineBar, ...]:
    """tries: (step, status, ISO start, seconds or None) in any order; one with no end is drawn up to the next start."""
    if not tries:
        return ()
    starts = [datetime.fromisoformat(started_at) for _, _, started_at, _ in tries]
    origin = min(starts)

    def length(start: datetime, seconds: float | None) -> float:
        if seconds is not None:
            return seconds
        return (min((later for later in starts if later > start), default=max(now, start)) - start).total_seconds()

    offsets = [(start - origin).total_seconds() for start in starts]
    lengths = [length(start, seconds) for start, (*_, seconds) in zip(starts, tries, strict=True)]
    whole = max(*(offset + long for offset, long in zip(offsets, lengths, strict=True)), 1.0)
    return tuple(
        TimelineBar(step, status, round(100 * offset / whole, 2), round(max(100 * long / whole, 0.4), 2), seconds)
        for (step, status, _, seconds), offset, long in zip(tries, offsets, lengths, strict=True)
    )


def _range(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return min(known, default=0.0), max(known, default=1.0)


def _description(title: str, validation: Sequence[float | None], best_epoch: int, as_percent: bool) -> str:
    at_best = validation[best_epoch - 1] if 0 < best_epoch <= len(validation) else None
    chosen = "" if at_best is None else f"; {_number(at_best, as_percent)} at the chosen epoch {best_epoch}"
    return f"{title} over {len(validation)} epochs, training and validation{chosen}."


def _epoch_ticks(num_epochs: int) -> list[int]:
    every = max(1, int(round_ticks(0, num_epochs, about=8)[1]))
    return [epoch for epoch in range(1, num_epochs + 1) if epoch == 1 or epoch % every == 0]


def _labels(ticks: Sequence[float], as_percent: bool) -> list[str]:
    """Every tick with the decimals that the step between them needs."""
    factor = 100 if as_percent else 1
    decimals = max(0, -math.floor(math.log10((ticks[1] - ticks[0]) * factor) + 1e-9))
    return [f"{tick * factor:.{decimals}f}{'%' if as_percent else ''}" for tick in ticks]


def _number(value: float, as_percent: bool) -> str:
    return f"{value:.0%}" if as_percent else f"{value:.4g}"
