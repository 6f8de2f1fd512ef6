"""StudyPage: everything the study's page says, as plain values without any HTML."""

import itertools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fer_tasks.report_charts import LineChart, Tick, line_chart
from fer_tasks.report_text import UNKNOWN, percent
from fer_tasks.run_directory import Attempt
from fer_tasks.study_record import BestSettings, StudyRecord, TrialRecord

STEPS = (
    "start_run",
    "ingest_dataset",
    "check_data_quality",
    "preprocess_faces",
    "plan_trials",
    "run_trials",
)
"""The lanes of run_trials are recorded as `run_trials-0`, ... What runs beside the page itself is not told in it."""

_MOST_POINTS = 1000


@dataclass(frozen=True)
class TrialLine:
    """One row of the table, its texts in the order of the columns."""

    number: int
    state: str
    is_best: bool
    accuracy: str
    epochs: int
    seconds: float | None
    values: tuple[str, ...]
    reason: str | None


@dataclass(frozen=True)
class StudyPage:
    """outcome: the sign beside the headline. steps: (step, status). command: a ready `make run` line; conf: the JSON
    for Airflow's form. columns: the settings that were searched. history: None while no trial has an accuracy."""

    run_name: str
    written_at: str
    is_sample: bool
    outcome: Literal["accepted", "refused", "failed"]
    headline: str
    reason: str
    accuracy: float | None
    steps: tuple[tuple[str, str], ...]
    command: str | None
    conf: str | None
    columns: tuple[str, ...]
    trials: tuple[TrialLine, ...]
    importances: tuple[tuple[str, float], ...]
    history: LineChart | None


def build_page(
    record: StudyRecord | None,
    attempts: Mapping[str, Sequence[Attempt]],
    *,
    run_name: str,
    written_at: str,
    is_sample: bool,
) -> StudyPage:
    """attempts: the tries of each step. record: None where the run did not come to the study."""
    steps = _steps(attempts)
    best = record.best if record else None
    outcome, headline, reason = _verdict(record, attempts, steps)
    columns = tuple(dict.fromkeys(name for trial in record.trials for name in trial.parameters)) if record else ()
    return StudyPage(
        run_name=run_name,
        written_at=written_at,
        is_sample=is_sample,
        outcome=outcome,
        headline=headline,
        reason=reason,
        accuracy=best.validation_accuracy if best else None,
        steps=steps,
        command=make_command(best.conf) if best else None,
        conf=json.dumps(best.conf, indent=2) if best else None,
        columns=columns,
        trials=tuple(_line(trial, columns, best) for trial in record.trials) if record else (),
        importances=tuple(record.importances.items()) if record else (),
        history=history_chart(record.trials) if record else None,
    )


def make_command(conf: Mapping[str, object]) -> str:
    """A line for the shell, in which make leaves a `$` as it is."""
    return f"make run CONF={shlex.quote(json.dumps(conf)).replace('$', '$$')}"


def history_chart(trials: Sequence[TrialRecord]) -> LineChart | None:
    """Validation accuracy of each trial, and the best of the completed ones so far."""
    tried = [trial for trial in trials if trial.validation_accuracy is not None][-_MOST_POINTS:]
    if not tried:
        return None
    accuracies = [trial.validation_accuracy or 0.0 for trial in tried]
    completed = [
        value if trial.state == "complete" else -math.inf for trial, value in zip(tried, accuracies, strict=True)
    ]
    best_so_far = list(itertools.accumulate(completed, max))
    at_best = completed.index(max(completed)) if max(completed) > 0 else accuracies.index(max(accuracies))
    chart = line_chart(
        "Validation accuracy of the trials",
        train=accuracies,
        validation=best_so_far,
        best_epoch=at_best + 1,
        resumed_at_epochs=(),
        as_percent=True,
    )
    return replace(
        chart,
        description=f"Accuracy of {len(tried)} trials; {accuracies[at_best]:.1%} in trial {tried[at_best].number}.",
        x_title="trial",
        x_ticks=tuple(Tick(tick.at, str(tried[int(tick.text) - 1].number)) for tick in chart.x_ticks),
        series=tuple(
            replace(series, name=name)
            for series, name in zip(chart.series, ("each trial", "best completed so far"), strict=True)
        ),
        markers=tuple(replace(marker, text=f"best: {tried[at_best].number}") for marker in chart.markers),
    )


def _steps(attempts: Mapping[str, Sequence[Attempt]]) -> tuple[tuple[str, str], ...]:
    lanes = sorted((step for step in attempts if step.startswith("run_trials-")), key=lambda step: (len(step), step))
    steps = (*STEPS[:-1], *(lanes or STEPS[-1:]))
    return tuple((step, attempts[step][-1].status if attempts.get(step) else "not reached") for step in steps)


def _verdict(
    record: StudyRecord | None, attempts: Mapping[str, Sequence[Attempt]], steps: Sequence[tuple[str, str]]
) -> tuple[Literal["accepted", "refused", "failed"], str, str]:
    """The best trial where there is one, otherwise the step that stopped the run, and its reason."""
    stopped = next((step for step, status in steps if status not in ("succeeded", "not reached")), None)
    attempt = attempts[stopped][-1] if stopped else None
    why = f"{stopped} {attempt.status}: {attempt.reason or 'its process was killed'}" if attempt else ""
    reason = f"{_told(record)} {why}".strip() if record else why
    if record and record.best:
        return "accepted", f"Trial {record.best.trial} is best", reason
    if attempt is None:
        return "failed", "No trial was completed", reason
    return "refused" if attempt.status == "refused" else "failed", f"Stopped in {stopped}", reason


def _told(record: StudyRecord) -> str:
    counts = ", ".join(
        f"{count} {state}"
        for state in ("complete", "pruned", "failed", "unfinished", "waiting")
        if (count := sum(trial.state == state for trial in record.trials))
    )
    epochs = "1 epoch" if record.epochs_per_trial == 1 else f"{record.epochs_per_trial} epochs"
    return f"Trials: {counts}; {epochs} each at most."


def _line(trial: TrialRecord, columns: Sequence[str], best: BestSettings | None) -> TrialLine:
    return TrialLine(
        number=trial.number,
        state=trial.state,
        is_best=best is not None and trial.number == best.trial,
        accuracy=percent(trial.validation_accuracy),
        epochs=trial.epochs,
        seconds=trial.seconds,
        values=tuple(_value(trial.parameters.get(name)) for name in columns),
        reason=trial.reason,
    )


def _value(value: float | int | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
