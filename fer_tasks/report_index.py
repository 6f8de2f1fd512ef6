"""runs/index.html: the reports of all runs, newest first, the trend of their accuracy, and who is champion.

Airflow's API server shows the same page, so nothing heavy is imported.
"""

import logging
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fer_tasks.file_lock import locked
from fer_tasks.page_rendering import render
from fer_tasks.report_charts import LineChart, line_chart
from fer_tasks.report_text import UNKNOWN
from fer_tasks.run_directory import RunDirectory, utc_now
from fer_tasks.run_summary import RunSummary, summarise

_log = logging.getLogger(__name__)

_MOST_LINES = 1000
"""A line has some 500 bytes, a page at most 3 MB."""


@dataclass(frozen=True)
class ChampionLine:
    """Which version of a registered model is in use. folder: of its run; None where no record tells. since: ISO 8601,
    UTC."""

    registered_model: str
    version: int
    folder: str | None
    since: str
    how: Literal["promotion", "rollback"]


@dataclass(frozen=True)
class IndexPage:
    """lines: newest first, num_hidden older ones left out. champions: of each registered model, by its name.
    trend: of the data set that the newest judged model was tested on; None below two such runs."""

    written_at: str
    lines: tuple[RunSummary, ...]
    num_hidden: int
    champions: tuple[ChampionLine, ...]
    trend: LineChart | None

    @property
    def champion_folders(self) -> set[str | None]:
        """Folders of the runs whose models are in use."""
        return {champion.folder for champion in self.champions}


def publish(runs: Path) -> None:
    """Write index.html into the runs folder. It fails no step: a fault is logged, and the next run writes it again."""
    try:
        folder = RunDirectory(runs)
        with locked(runs / ".index.lock"), folder.replacing(folder.root / "index.html") as temporary:
            html = render_index(runs)  # of two runs that end at once, the second one's has both
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
    return _file_in_place(runs, folder, RunDirectory(folder).report_html.name)


def find_scoring(runs: Path, folder: str) -> Path | None:
    """The page of a scoring in a run's folder; None as in `find_report`."""
    return _file_in_place(runs, folder, RunDirectory(folder).scoring_html.name)


def find_data_docs(runs: Path, folder: str, page: str) -> Path | None:
    """A page of the run's GX Data Docs, by its address below them; None as in `find_report`, and for what is no HTML.

    For index.html it is the result of the validation, of which a run has one: GX's list of results is drawn by scripts.
    """
    docs = RunDirectory(folder).data_docs_folder.name
    if page == "index.html":
        results = sorted((runs.resolve() / folder / docs).glob("validations/**/*.html")) if _is_name(folder) else []
        page = results[-1].relative_to(runs.resolve() / folder / docs).as_posix() if results else page
    return _file_in_place(runs, folder, docs, *page.split("/")) if page.endswith(".html") else None


def _file_in_place(runs: Path, *names: str) -> Path | None:
    file = runs.resolve().joinpath(*names)
    is_in_place = all(map(_is_name, names)) and file.is_file() and file.resolve() == file
    return file if is_in_place else None


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name) is not None


def build_page(runs: Path) -> IndexPage:
    """Read every run's folder once."""
    lines = sorted(_lines(runs), key=lambda line: line.started_at, reverse=True)
    champions = _champions(lines)
    return IndexPage(
        written_at=utc_now(),
        lines=tuple(lines[:_MOST_LINES]),
        num_hidden=max(len(lines) - _MOST_LINES, 0),
        champions=champions,
        trend=trend_chart(lines[:_MOST_LINES], {champion.folder for champion in champions}),
    )


def trend_chart(lines: Sequence[RunSummary], champion_folders: Collection[str | None]) -> LineChart | None:
    """Test accuracy and threshold over the runs; lines: newest first. Accuracies on other data do not compare."""
    measured = [(line, line.gate.judged) for line in reversed(lines) if line.gate]
    judged = [(line, accuracy) for line, accuracy in measured if accuracy is not None]
    dataset = judged[-1][0].dataset if judged else UNKNOWN
    compared = [(line, accuracy) for line, accuracy in judged if line.dataset == dataset]
    if len(compared) < 2:
        return None
    champion = next((place for place, (line, _) in enumerate(compared, 1) if line.folder in champion_folders), None)
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


def _lines(runs: Path) -> Iterator[RunSummary]:
    for path in runs.iterdir() if runs.is_dir() else ():
        report = find_report(runs, path.name)
        if report is not None and (report.parent / "steps").is_dir():
            yield summarise(RunDirectory(report.parent))


def _champions(lines: Sequence[RunSummary]) -> tuple[ChampionLine, ...]:
    """Who came last, by promotion or rollback; the registry itself would take seconds to ask."""
    latest: dict[str, ChampionLine] = {}
    for line in sorted((told for run in lines for told in _successions(run)), key=lambda line: line.since):
        latest[line.registered_model] = line
    return tuple(latest[model] for model in sorted(latest))


def _successions(run: RunSummary) -> Iterator[ChampionLine]:
    if promotion := run.promotion:
        yield ChampionLine(
            promotion.registered_model, promotion.version, run.folder, promotion.promoted_at, "promotion"
        )
    if back := run.rollback:
        yield ChampionLine(back.registered_model, back.champion, back.champion_run, back.rolled_back_at, "rollback")
