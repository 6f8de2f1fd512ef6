"""publish_report: one offline page about a run, however far it came, and the run's lineage."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from fer_tasks import lineage, report_index, retention
from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.data_quality import DataQuality
from fer_tasks.evaluation import Evaluation
from fer_tasks.explanation import Explanations
from fer_tasks.file_lock import locked
from fer_tasks.ingestion import Ingestion
from fer_tasks.lineage import Lineage
from fer_tasks.page_rendering import render
from fer_tasks.preprocessing import Preprocessing
from fer_tasks.report_card_section import model_card
from fer_tasks.report_charts import TimelineBar, timeline
from fer_tasks.report_comparison_sections import champion_section, slices_section
from fer_tasks.report_data_sections import (
    data_quality_section,
    lineage_facts,
    preprocessing_section,
    setting_lines,
)
from fer_tasks.report_gate_section import accuracy_scale, criterion_lines
from fer_tasks.report_model_sections import (
    evaluation_section,
    explanation_section,
    training_section,
)
from fer_tasks.report_page import DataQualitySection, Gallery, ReportPage, StepLine
from fer_tasks.report_parts import ExplanationSection
from fer_tasks.report_pictures import exclusion_galleries, mistake_galleries, quarantine_galleries
from fer_tasks.report_records import RunRecords
from fer_tasks.report_story import GateVerdict, judge, tell_steps
from fer_tasks.report_text import UNKNOWN, duration
from fer_tasks.run_directory import RunDirectory, utc_now
from fer_tasks.run_summary import gate_verdict
from fer_tasks.settings import RunSettings
from fer_tasks.slices import SlicedAccuracy
from fer_tasks.tracking import log_outcome
from fer_tasks.training_history import History

logger = logging.getLogger(__name__)


def run(run_dir: RunDirectory) -> Path:
    """Write lineage.json, report.html and the index of all reports, log the run to MLflow, return the report's path.

    Whatever MLflow raises comes after the report is there; it fails the try, so that Airflow tries again.
    """
    with run_dir.attempt("publish_report"):
        with locked(run_dir.report_lock):
            page = write(run_dir)
        report_index.publish(run_dir.root.parent)
        retention.clean_after(run_dir)
        try:
            log_outcome(run_dir, page.verdict)
        except Exception as error:
            logger.error("The report is written, but MLflow did not take the run: %s", error)
            raise
    report_html: Path = run_dir.report_html
    return report_html


@contextmanager
def updated_after(run_dir: RunDirectory) -> Iterator[None]:
    """Around promote_model or reject_model, which run beside publish_report: the report tells how the step ended.

    What MLflow raises is only logged: it changes no verdict.
    """
    try:
        yield
    finally:
        with locked(run_dir.report_lock):
            page = write(run_dir) if run_dir.report_html.exists() else None
        report_index.publish(run_dir.root.parent)
        if page is not None:
            try:
                log_outcome(run_dir, page.verdict)
            except Exception as error:
                logger.error("The report is up to date, but MLflow keeps its former state: %s", error)


def write(run_dir: RunDirectory) -> ReportPage:
    """Write lineage.json and report.html. What is missing or damaged is said in the page."""
    page, run_lineage = build_page(run_dir)
    run_dir.save_json(run_dir.lineage_json, run_lineage)
    html = render(page)
    with run_dir.replacing(run_dir.report_html) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="backslashreplace")
    logger.info("%s: %s", page.verdict.headline, page.verdict.reason)
    logger.info("Report of %d kB: %s", len(html) // 1000, run_dir.report_html)
    return page


def build_page(run_dir: RunDirectory) -> tuple[ReportPage, Lineage]:
    """Everything the report says, and the run's lineage; here alone the report knows which step writes what."""
    records = RunRecords(run_dir)
    settings = records.or_gap("settings", run_dir.load_settings)
    ingestion = records.of_step(
        "ingest_dataset", "ingestion", lambda: run_dir.load_json(run_dir.ingestion_json, Ingestion)
    )
    preprocessing = records.of_step(
        "preprocess_faces", "preprocessing", lambda: run_dir.load_json(run_dir.preprocessing_json, Preprocessing)
    )
    history = records.of_step("train_model", "training", lambda: run_dir.load_json(run_dir.history_json, History))
    evaluation = records.of_step(
        "evaluate_model", "evaluation", lambda: run_dir.load_json(run_dir.evaluation_json, Evaluation)
    )
    sliced = records.of_step("evaluate_model", "slices", lambda: run_dir.load_json(run_dir.slices_json, SlicedAccuracy))
    comparison = _comparison(run_dir, records)
    gate = records.of_step("accuracy_gate", "gate", lambda: run_dir.load_json(run_dir.gate_json, GateDecision))
    is_sample = _is_sample(settings, ingestion)
    verdict = records.or_gap("gate", lambda: _said(gate, run_dir)) if gate else None
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
        scale=accuracy_scale(gate, evaluation, comparison, is_sample=is_sample) if gate else (),
        criteria=criterion_lines(gate) if gate else (),
        steps=steps,
        time_told=_time_told(steps, made_of),
        timeline=_timeline(steps, made_of),
        champion=champion_section(comparison) if comparison else None,
        evaluation=records.or_gap("evaluation", lambda: evaluation_section(evaluation)) if evaluation else None,
        slices=slices_section(sliced, evaluation.accuracy if evaluation else None) if sliced else None,
        mistakes=_mistakes(run_dir, records),
        training=records.or_gap("training", lambda: training_section(history)) if history else None,
        explanations=_explanations(run_dir, records),
        data_quality=_data_quality(run_dir, records),
        preprocessing=(
            records.or_gap("preprocessing", lambda: preprocessing_section(preprocessing)) if preprocessing else None
        ),
        card=model_card(
            is_sample=is_sample,
            settings=settings,
            history=history,
            preprocessing=preprocessing,
            evaluation=evaluation,
            sliced=sliced,
        ),
        settings=setting_lines(settings, RunSettings().with_preset_of(settings)) if settings else (),
        lineage=lineage_facts(made_of),
        versions=tuple((name, version or UNKNOWN) for name, version in made_of.versions.items()),
        gaps=records.gaps,
        problems=tuple(records.problems),
    )
    return page, made_of


def _said(gate: GateDecision, run_dir: RunDirectory) -> GateVerdict:
    return gate_verdict(run_dir, passed=gate.passed, reason=gate.reason, needs_approval=gate.needs_approval)


def _comparison(run_dir: RunDirectory, records: RunRecords) -> ChampionComparison | None:
    """None, which the section's gap explains, also where there was no champion to compare with."""
    load = partial(run_dir.load_json, run_dir.champion_comparison_json, ChampionComparison)
    comparison = records.of_step("evaluate_model", "champion", load)
    if comparison is None or comparison.outcome != "no champion":
        return comparison
    records.gaps["champion"] = f"There was no champion of {comparison.registered_model} yet to compare with."
    return None


def _mistakes(run_dir: RunDirectory, records: RunRecords) -> tuple[Gallery, ...]:
    """Empty where the model made none, and, with a sentence in `gaps`, where they cannot be shown."""
    galleries = records.of_step("evaluate_model", "mistakes", lambda: mistake_galleries(run_dir))
    if galleries == ():
        records.gaps["mistakes"] = "The model has every test image right."
    return galleries or ()


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
    pages = run_dir.data_docs_folder / "index.html"
    data_docs = str(pages.relative_to(run_dir.root)) if pages.exists() else None
    return records.or_gap("data_quality", lambda: data_quality_section(quality, galleries, data_docs))


def _is_sample(settings: RunSettings | None, ingestion: Ingestion | None) -> bool:
    return (settings is not None and settings.is_sample) or (ingestion is not None and ingestion.kind == "sample")


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
