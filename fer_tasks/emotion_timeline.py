"""Emotions over time, of each face of a video: a page, or a picture. A row an emotion, its height the probability.

Rows instead of coloured lines: seven lines cross and hide each other, and their colours are too many to tell apart.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_tasks.emotions import EMOTIONS, NUM_EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.report_charts import Tick, round_ticks
from fer_tasks.run_directory import utc_now
from fer_tasks.video import SeenFace
from fer_tasks.video_frames import Frame

MAX_FACES = 12
"""Shown at most: those seen longest."""

_MAX_BINS = 240
_ACCENT, _QUIET, _LINE, _INK = "#1d4f8c", "#5a606a", "#dfdfda", "#1b1d21"  # the report's

_LEFT, _WIDTH, _ROW = 84, 720, 30
"""Where the rows begin, how wide the drawing is and how high a row: as in the template, in SVG units."""


@dataclass(frozen=True)
class Row:
    """bottom: y of its zero line. path: of the area above it, for an SVG `d`."""

    emotion: str
    bottom: float
    path: str


@dataclass(frozen=True)
class FaceTimeline:
    """picture: a data URI of the face at its surest. summary: when it was seen, and what it mostly was.

    values: float64 (bins, 7), mean probabilities, NaN where the face was not seen.
    """

    track: int
    picture: str
    summary: str
    rows: tuple[Row, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class TimelinePage:
    """edges: float64 (bins + 1,), seconds. num_faces: all of them, of which `faces` are shown."""

    source: str
    written_at: str
    facts: tuple[tuple[str, str], ...]
    faces: tuple[FaceTimeline, ...]
    num_faces: int
    ticks: tuple[Tick, ...]
    edges: NDArray[np.float64]


class Timelines:
    """Gathers what was seen, frame by frame."""

    def __init__(self) -> None:
        self._seen: dict[int, list[tuple[float, NDArray[np.float32]]]] = {}
        self._surest: dict[int, SeenFace] = {}
        self._num_frames, self._seconds = 0, 0.0

    def add(self, frame: Frame, faces: list[SeenFace]) -> None:
        self._num_frames, self._seconds = self._num_frames + 1, frame.seconds
        for face in faces:
            self._seen.setdefault(face.track, []).append((frame.seconds, face.probabilities))
            before = self._surest.get(face.track)
            if before is None or face.probabilities.max() > before.probabilities.max():
                self._surest[face.track] = face

    def page(self, source: str) -> TimelinePage:
        """source: the video, as people call it."""
        duration = self._seconds * self._num_frames / max(self._num_frames - 1, 1) or 1.0  # with the last frame's own
        edges = np.linspace(0.0, duration, min(_MAX_BINS, max(self._num_frames, 1)) + 1)
        longest = sorted(self._seen, key=lambda track: len(self._seen[track]), reverse=True)[:MAX_FACES]
        ticks = [second for second in round_ticks(0.0, duration, about=6) if second <= duration + 1e-6]
        return TimelinePage(
            source=source,
            written_at=utc_now(),
            facts=(("length", _time(duration)), ("frames", f"{self._num_frames:,}"), ("faces", str(len(self._seen)))),
            faces=tuple(self._timeline(track, edges) for track in sorted(longest)),
            num_faces=len(self._seen),
            ticks=tuple(Tick(round(_x(second / duration), 1), _time(second)) for second in ticks),
            edges=edges,
        )

    def _timeline(self, track: int, edges: NDArray[np.float64]) -> FaceTimeline:
        from fer_tasks.report_pictures import face_picture

        seconds = np.array([second for second, _ in self._seen[track]])
        shares = np.stack([probabilities for _, probabilities in self._seen[track]])
        values = _binned(seconds, shares, edges)
        counts = np.bincount(shares.argmax(axis=1), minlength=NUM_EMOTIONS)
        most = int(counts.argmax())
        return FaceTimeline(
            track=track,
            picture=face_picture(self._surest[track].pixels),
            summary=f"{_time(seconds[0])} to {_time(seconds[-1])}, "
            f"{EMOTIONS[most]} in {counts[most] / len(seconds):.0%} of its frames",
            rows=tuple(
                Row(emotion, _ROW * (number + 1.0), _area(values[:, number], _ROW * (number + 1.0)))
                for number, emotion in enumerate(EMOTIONS)
            ),
            values=values,
        )


def check_names(paths: list[Path]) -> None:
    """Raises DatasetError for another ending than .html or .png."""
    for path in paths:
        if path.suffix.lower() not in (".html", ".png"):
            raise DatasetError(f"--plot is {path}; let its name end in .html or .png.")


def write(page: TimelinePage, path: Path) -> None:
    """As a page or a picture, by the name's ending. Raises OSError where it cannot be written."""
    if path.suffix.lower() == ".html":
        from fer_tasks.page_rendering import render

        path.write_text(render(page, "timeline.html.j2"), encoding="utf-8", errors="backslashreplace")
    else:
        _write_picture(page, path)


def _write_picture(page: TimelinePage, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6 * max(len(page.faces), 1)), dpi=110, layout="constrained")
    if not page.faces:
        figure.text(0.5, 0.5, "No face was found.", ha="center", va="center", color=_INK, size=14)
    for number, face in enumerate(page.faces, 1):
        axes = figure.add_subplot(len(page.faces), 1, number)
        for row in range(NUM_EMOTIONS):
            bottom = NUM_EMOTIONS - 1.0 - row
            axes.axhline(bottom, color=_LINE, linewidth=0.8)
            axes.stairs(bottom + 0.9 * face.values[:, row], page.edges, baseline=bottom, fill=True, color=_ACCENT)
        axes.set_title(f"Face {face.track}: {face.summary}", loc="left", size=11, color=_INK, weight="bold")
        axes.set_yticks(np.arange(NUM_EMOTIONS)[::-1] + 0.4, EMOTIONS)
        axes.set_xlim(page.edges[0], page.edges[-1])
        axes.set_ylim(-0.05, NUM_EMOTIONS)
        axes.tick_params(length=0, labelcolor=_QUIET, labelsize=9)
        axes.spines[:].set_visible(False)
        if number == len(page.faces):
            axes.set_xlabel("seconds", color=_QUIET, size=9)
    figure.savefig(path)


def _binned(
    seconds: NDArray[np.float64], shares: NDArray[np.float32], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean of what was told in each bin."""
    counts, _ = np.histogram(seconds, edges)
    sums = np.stack([np.histogram(seconds, edges, weights=column)[0] for column in shares.T], axis=1)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = sums / counts[:, None]
    return means


def _area(values: NDArray[np.float64], bottom: float) -> str:
    """Steps above the zero line; a new part behind each gap."""
    parts, is_open = [], False
    for number, value in enumerate(values):
        if np.isnan(value):
            parts += [f"V{bottom:g}Z"] if is_open else []
            is_open = False
            continue
        if not is_open:
            parts.append(f"M{_x(number / len(values)):.1f} {bottom:g}")
        parts.append(f"V{bottom - 0.9 * _ROW * value:.1f}H{_x((number + 1) / len(values)):.1f}")
        is_open = True
    return "".join(parts) + (f"V{bottom:g}Z" if is_open else "")


def _x(share: float) -> float:
    return _LEFT + (_WIDTH - _LEFT) * share


def _time(seconds: float) -> str:
    """3.2 -> `3.2 s`, 75 -> `1:15`."""
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
