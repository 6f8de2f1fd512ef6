"""Folders of runs that have come to their end, as the steps leave them, without the steps."""

import json
from pathlib import Path
from typing import Any

from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.gate_criteria import Criterion
from fer_tasks.run_directory import RunDirectory

MAIN_PATH = ("start_run", "ingest_dataset", "check_data_quality", "preprocess_faces", "train_model", "evaluate_model")
REPORT = "<!doctype html><title>r</title><style>\nb { color: red }\n</style><p style='top:0'>THE-REPORT-OF "


def write_run(
    runs: Path,
    folder: str,
    *,
    day: int = 1,
    accuracy: float = 0.7,
    passed: bool = True,
    dataset: str = "/data/fer2013.csv",
    version: int | None = None,
    registered_model: str = "fer-classifier",
) -> RunDirectory:
    """A judged run of the `day` of January 2026 with its report. version: as which its model became champion."""
    run_dir = RunDirectory(runs / folder)
    (run_dir.root / "steps").mkdir(parents=True)
    for hour, step in enumerate((*MAIN_PATH, "accuracy_gate")):
        started_at = f"2026-01-{day:02}T{hour:02}:00:00+00:00"
        write_attempts(run_dir, step, {"started_at": started_at, "status": "succeeded", "seconds": 1.5})
    run_dir.settings_json.write_text(json.dumps({"dataset": dataset, "from_another_version": 1}))
    measured = Criterion("accuracy", accuracy, accuracy - 0.02, accuracy + 0.02, "at least", 0.6, passed, "Its reason.")
    other = Criterion("champion", 0.01, -0.02, 0.03, "at least", -0.01, True, "Not worse.")
    run_dir.save_json(run_dir.gate_json, GateDecision(passed, "The reason.", (other, measured), needs_approval=False))
    if version is not None:
        promoted_at = f"2026-01-{day:02}T09:00:00.000000+00:00"
        promotion = {"registered_model": registered_model, "version": version, "promoted_at": promoted_at}
        run_dir.promotion_json.write_text(json.dumps(promotion))
    run_dir.report_html.write_text(REPORT + folder)
    return run_dir


def write_attempts(run_dir: RunDirectory, step: str, *attempts: dict[str, Any]) -> None:
    (run_dir.root / "steps" / f"{step}.json").write_text(json.dumps(attempts))
