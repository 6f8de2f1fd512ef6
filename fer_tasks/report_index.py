"""runs/index.html: the reports of all runs, newest first, the trend of their accuracy, and who is champion.

Airflow's API server shows the same page, so nothing heavy is imported. A runs folder outlives many versions of the
pipeline, so of each record only the fields that are told here are read, and a folder without them is no obstacle.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fer_tasks.page_rendering import render
from fer_tasks.report_charts import LineChart, line_chart
from fer_tasks.report_page import Verdict
from fer_tasks.report_records import RunRecords
from fer_tasks.report_story import GateVerdict, judge, tell_steps
from fer_tasks.report_text import UNKNOWN
from fer_tasks.run_directory import RunDirectory

_log = logging.getLogger(__name__)

_MOST_LINES = 1000
"""A line has some 500 bytes, a page at most 3 MB."""


@dataclass(frozen=True)
class _Criterion:
    """The part of a line of gate.json that the index tells; of accuracy the values are in 0..1."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None


@dataclass(frozen=True)
class _Gate:
    """The part of gate.json that the index tells."""

    passed: bool
    reason: str
    criteria: tuple[_Criterion, ...]

    @property
    def judged(self) -> _Criterion | None:
        """Accuracy with its interval and threshold; None where the model gave no number."""
        return next((line for line in self.criteria if line.metric == "accuracy" and line.value is not None), None)


@dataclass(frozen=True)
class _Promotion:
    """The part of promotion.json that the index tells. promoted_at: ISO 8601, UTC."""

    registered_model: str
    version: int
    promoted_at: str


@dataclass(frozen=True)
class _Settings:
    dataset: str


@dataclass(frozen=True)
class ReportLine:
    """A run that has a report. started_at: ISO 8601, UTC. gate is None where the run did not come to it, promotion
    where the model was not promoted, verdict where the records cannot be read."""

    folder: str
    started_at: str
    dataset: str
    gate: _Gate | None
    promotion: _Promotion | None
    verdict: Verdict | None
    is_champion: bool = False

    @property
    def champion_told(self) -> str:
        return f"version {self.promotion.version}, run {self.folder}" if self.promotion else UNKNOWN


@dataclass(frozen=True)
class IndexPage:
    """lines: newest first, num_hidden older ones left out. champions: (registered model, its champion in words).
    trend: of the data set that the newest judged model was tested on; None below two such runs."""

    written_at: str
    lines: tuple[ReportLine, ...]
    num_hidden: int
    champions: tuple[tuple[str, str], ...]
    trend: LineChart | None


def publish(runs: Path) -> None:
    """Write index.html into the runs folder. It fails no step: a fault is logged, and the next run writes it again."""
    try:
        html = render_index(runs)
        folder = RunDirectory(runs)
        with folder.replacing(folder.root / "index.html") as temporary:
            temporary.write_text(html, encoding="utf-8", errors="backslashreplace")
    except Exception:
        _log.warning("The index of reports in %s could not be written.", runs, exc_info=True)


def render_index(runs: Path) -> str:
    """The index as HTML. Its links are relative, `<folder>/report.html`."""
    return render(build_page(runs), "index.html.j2")


def find_report(runs: Path, folder: str) -> Path | None:
    """The report in a run's folder, free of symbolic links; None where there is none.

    A name that is no run's, and a link that leads out of the runs folder or to another file, count as none: whoever
    asks may have made them.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", folder):
        return None
    root = runs.resolve()
    report = RunDirectory(root / folder).report_html
    is_in_place: bool = report.is_file() and report.resolve() == report
    return report if is_in_place else None


def build_page(runs: Path) -> IndexPage:
    """Read every run's folder once."""
    lines = sorted(_lines(runs), key=lambda line: line.started_at, reverse=True)
    champions = _champions(lines)
    told = [replace(line, is_champion=line in champions) for line in lines]
    return IndexPage(
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
        lines=tuple(told[:_MOST_LINES]),
        num_hidden=max(len(told) - _MOST_LINES, 0),
        champions=tuple((line.promotion.registered_model, line.champion_told) for line in champions if line.promotion),
        trend=trend_chart(told[:_MOST_LINES]),
    )


def trend_chart(lines: Sequence[ReportLine]) -> LineChart | None:
    """Test accuracy and threshold over the runs; lines: newest first. Accuracies on other data do not compare."""
    measured = [(line, line.gate.judged) for line in reversed(lines) if line.gate]
    judged = [(line, accuracy) for line, accuracy in measured if accuracy is not None]
    dataset = judged[-1][0].dataset if judged else UNKNOWN
    compared = [(line, accuracy) for line, accuracy in judged if line.dataset == dataset]
    if len(compared) < 2:
        return None
    champion = next((place for place, (line, _) in enumerate(compared, 1) if line.is_champion), None)
    chart = line_chart(
        f"Test accuracy on {dataset}",
        train=[accuracy.threshold for _, accuracy in compared],
        validation=[accuracy.value for _, accuracy in compared],
        best_epoch=champion or 1,
        resumed_at_epochs=(),
        as_percent=True,
    )
    return replace(
        chart,
        description=f"Accuracy of {len(compared)} runs on {dataset}; {compared[-1][1].value:.1%} in the newest.",
        x_title="run, oldest first",
        series=tuple(
            replace(series, name=name)
            for series, name in zip(chart.series, ("threshold", "test accuracy"), strict=True)
        ),
        markers=tuple(replace(marker, text="champion") for marker in chart.markers) if champion else (),
    )


def _lines(runs: Path) -> Iterator[ReportLine]:
    for path in runs.iterdir() if runs.is_dir() else ():
        report = find_report(runs, path.name)
        if report is not None and (report.parent / "steps").is_dir():
            yield _line(RunDirectory(report.parent), report)


def _line(run_dir: RunDirectory, report: Path) -> ReportLine:
    written_at = datetime.fromtimestamp(report.stat().st_mtime, UTC).isoformat(timespec="seconds")
    try:
        return _told(run_dir, written_at)
    except (TypeError, ValueError, AttributeError):  # attempts that another program, or another version, wrote
        _log.warning("The records of %s cannot be read.", run_dir, exc_info=True)
    return ReportLine(run_dir.root.name, written_at, UNKNOWN, None, None, None)


def _told(run_dir: RunDirectory, written_at: str) -> ReportLine:
    records = RunRecords(run_dir)
    settings = records.or_gap("settings", lambda: run_dir.load_json(run_dir.settings_json, _Settings))
    gate = records.of_step("accuracy_gate", "gate", lambda: run_dir.load_json(run_dir.gate_json, _Gate))
    verdict = GateVerdict(gate.passed, gate.reason) if gate else None
    starts = [attempt.started_at for attempts in records.attempts.values() for attempt in attempts]
    return ReportLine(
        folder=run_dir.root.name,
        started_at=min(starts, default=written_at),
        dataset=_name(settings.dataset) if settings else UNKNOWN,
        gate=gate,
        promotion=records.or_gap("promotion", lambda: run_dir.load_json(run_dir.promotion_json, _Promotion)),
        verdict=judge(tell_steps(records.attempts, verdict), verdict),
    )


def _name(dataset: str) -> str:
    """`/data/fer2013.csv` -> `fer2013.csv`."""
    return Path(dataset).name or dataset


def _champions(lines: Sequence[ReportLine]) -> list[ReportLine]:
    """The latest promotion of each registered model, by its name; the registry itself would take seconds to ask."""
    latest: dict[str, ReportLine] = {}
    for line in sorted(lines, key=lambda line: line.promotion.promoted_at if line.promotion else ""):
        if line.promotion:
            latest[line.promotion.registered_model] = line
    return [latest[model] for model in sorted(latest)]
