"""publish_report: one offline page about a run, however far it came, and the run's lineage."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from fer_tasks import lineage
from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.data_quality import DataQuality
from fer_tasks.errors import ReportError
from fer_tasks.evaluation import Evaluation
from fer_tasks.explanation import Explanations
from fer_tasks.ingestion import Ingestion
from fer_tasks.lineage import Lineage
from fer_tasks.preprocessing import Preprocessing
from fer_tasks.report_charts import TimelineBar, timeline
from fer_tasks.report_data_sections import (
    data_quality_section,
    lineage_facts,
    preprocessing_section,
    setting_lines,
)
from fer_tasks.report_model_sections import (
    accuracy_scale,
    evaluation_section,
    explanation_section,
    training_section,
)
from fer_tasks.report_page import DataQualitySection, ExplanationSection, PreprocessingSection, ReportPage, StepLine
from fer_tasks.report_pictures import exclusion_galleries, quarantine_galleries
from fer_tasks.report_records import RunRecords
from fer_tasks.report_story import GateVerdict, judge, tell_steps
from fer_tasks.report_text import FILTERS, UNKNOWN, duration
from fer_tasks.run_directory import RunDirectory, utc_now
from fer_tasks.settings import RunSettings
from fer_tasks.training import History

logger = logging.getLogger(__name__)

MAX_BYTES = 3_000_000


def run(run_dir: RunDirectory) -> Path:
    """Write lineage.json and report.html, return the latter's path. What is missing or damaged is said in it."""
    with run_dir.attempt("publish_report"):
        page, run_lineage = build_page(run_dir)
        run_dir.save_json(run_dir.lineage_json, run_lineage)
        html = render(page)
        with run_dir.replacing(run_dir.report_html) as temporary:
            temporary.write_text(html, encoding="utf-8", errors="backslashreplace")
        logger.info("%s: %s", page.verdict.headline, page.verdict.reason)
        logger.info("Report of %d kB: %s", len(html) // 1000, run_dir.report_html)
    report_html: Path = run_dir.report_html
    return report_html


def render(page: object, template: str = "report.html.j2") -> str:
    """A page as HTML, by the template of its kind. Raises ReportError when it would be larger than 3 MB."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fer_tasks"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    html = environment.get_template(template).render(page=page)
    if len(html.encode(errors="backslashreplace")) > MAX_BYTES:
        raise ReportError(f"The report would have {len(html):,} bytes, at most {MAX_BYTES:,} are allowed.")
    return html


def build_page(run_dir: RunDirectory) -> tuple[ReportPage, Lineage]:
    """Everything the report says, and the run's lineage; here alone the report knows which step writes what."""
    records = RunRecords(run_dir)
    settings = records.or_gap("settings", run_dir.load_settings)
    ingestion = records.of_step(
        "ingest_dataset", "ingestion", lambda: run_dir.load_json(run_dir.ingestion_json, Ingestion)
    )
    history = records.of_step("train_model", "training", lambda: run_dir.load_json(run_dir.history_json, History))
    evaluation = records.of_step(
        "evaluate_model", "evaluation", lambda: run_dir.load_json(run_dir.evaluation_json, Evaluation)
    )
    gate = records.of_step("accuracy_gate", "gate", lambda: run_dir.load_json(run_dir.gate_json, GateDecision))
    is_sample = _is_sample(settings, ingestion)
    verdict = GateVerdict(gate.passed, gate.reason) if gate else None
    steps = tell_steps(records.attempts, verdict)
    made_of = lineage.collect(
        run_dir.root.name,
        records.attempts,
        settings=settings,
        dataset_sha256=ingestion.dataset_sha256 if ingestion else None,
        history=history,
        finished_at=utc_now(),
    )
    page = ReportPage(
        run_name=run_dir.root.name,
        written_at=made_of.finished_at,
        is_sample=is_sample,
        verdict=judge(steps, verdict),
        scale=accuracy_scale(gate, evaluation, is_sample=is_sample) if gate else (),
        steps=steps,
        time_told=_time_told(steps, made_of),
        timeline=_timeline(steps, made_of),
        evaluation=records.or_gap("evaluation", lambda: evaluation_section(evaluation)) if evaluation else None,
        training=records.or_gap("training", lambda: training_section(history)) if history else None,
        explanations=_explanations(run_dir, records),
        data_quality=_data_quality(run_dir, records),
        preprocessing=_preprocessing(run_dir, records),
        settings=setting_lines(settings) if settings else (),
        lineage=lineage_facts(made_of),
        versions=tuple((name, version or UNKNOWN) for name, version in made_of.versions.items()),
        gaps=records.gaps,
        problems=tuple(records.problems),
    )
    return page, made_of


def _explanations(run_dir: RunDirectory, records: RunRecords) -> ExplanationSection | None:
    def load() -> ExplanationSection:
        record = run_dir.load_json(run_dir.explanations_json, Explanations)
        with np.load(run_dir.explanation_maps) as maps:
            return explanation_section(record, maps)

    return records.of_step("explain_predictions", "explanations", load)


def _data_quality(run_dir: RunDirectory, records: RunRecords) -> DataQualitySection | None:
    load = partial(run_dir.load_json, run_dir.data_quality_json, DataQuality)
    quality = records.of_step("check_data_quality", "data_quality", load)
    if quality is None:
        return None
    galleries = [
        *records.or_problem("The quarantined images", lambda: quarantine_galleries(run_dir)),
        *records.or_problem("The images left out", lambda: exclusion_galleries(run_dir)),
    ]
    return records.or_gap("data_quality", lambda: data_quality_section(quality, galleries))


def _preprocessing(run_dir: RunDirectory, records: RunRecords) -> PreprocessingSection | None:
    load = partial(run_dir.load_json, run_dir.preprocessing_json, Preprocessing)
    record = records.of_step("preprocess_faces", "preprocessing", load)
    return records.or_gap("preprocessing", lambda: preprocessing_section(record)) if record else None


def _is_sample(settings: RunSettings | None, ingestion: Ingestion | None) -> bool:
    return (settings is not None and settings.dataset == "sample") or (
        ingestion is not None and ingestion.kind == "sample"
    )


def _time_told(steps: Sequence[StepLine], made_of: Lineage) -> str:
    """About the whole, the longest step, and what was not computed."""
    spent = {line.step: sum(attempt.seconds or 0.0 for attempt in line.attempts) for line in steps}
    longest = max(spent, key=lambda step: spent[step])
    if made_of.started_at is None or not spent[longest]:
        return "No step has been timed."
    whole = datetime.fromisoformat(made_of.finished_at) - datetime.fromisoformat(made_of.started_at)
    return (
        f"{duration(whole.total_seconds())} from the first step to this report; "
        f"{longest} took longest, {duration(spent[longest])}."
        f"{_reuse_told(steps)}"
    )


def _reuse_told(steps: Sequence[StepLine]) -> str:
    by_run: dict[str, list[str]] = {}
    for line in steps:
        if line.reused_from:
            by_run.setdefault(line.reused_from, []).append(line.step)
    told = "; ".join(f"{', '.join(reused)} from run {run_name}" for run_name, reused in by_run.items())
    return f" Not computed but reused: {told}." if told else ""


def _timeline(steps: Sequence[StepLine], made_of: Lineage) -> tuple[TimelineBar, ...]:
    tries = [(line.step, attempt) for line in steps for attempt in line.attempts]
    bars = timeline(
        [(step, attempt.status, attempt.started_at, attempt.seconds) for step, attempt in tries],
        now=datetime.fromisoformat(made_of.finished_at),
    )
    return tuple(replace(bar, reused_from=attempt.reused_from) for bar, (_, attempt) in zip(bars, tries, strict=True))
