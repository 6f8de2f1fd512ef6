"""Folders of runs of fer_scoring, as the steps leave them, without registry, Spark and Great Expectations."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer_tasks.data_profile import DataProfile
from fer_tasks.emotions import EMOTIONS
from fer_tasks.score_checks import ScoreChecks
from fer_tasks.scored_model import ScoredModel
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.scoring_plan import ScoringPlan
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.scoring_source import ImageSource

MODEL = ScoredModel("m", 3, 0.625, "trained", "ab" * 32, EMOTIONS, "none", "none", None, ())
SCORED_AT = pd.Timestamp("2026-11-25T10:00:00", tz="UTC")


def profile(predicted: tuple[int, ...]) -> DataProfile:
    return DataProfile((0,) * 7, {}, predicted)


def score(path: str, emotion: str, confidence: float = 0.7, **changed: object) -> dict[str, object]:
    """A row of the table scores; what is left of 1 is shared by the other emotions."""
    rest = (1 - confidence) / 6
    row: dict[str, object] = {"path": path, "image_id": f"id of {path}", "emotion": emotion, "confidence": confidence}
    row |= {f"probability_{name}": confidence if name == emotion else rest for name in EMOTIONS}
    row |= {"brightness": 120.0, "contrast": 40.0, "sharpness": 500.0}
    return row | changed


def write_run(
    run_dir: ScoringDirectory,
    scores: list[dict[str, object]],
    refused: dict[str, str],
    *,
    version: int = 3,
    planned_at: str = "2026-11-25T09:00:00+00:00",
    model: ScoredModel = MODEL,
    root: Path = Path("/data/inbox"),
    settings: ScoringSettings | None = None,
    file_version: str = "v1",
) -> ScoringDirectory:
    """A run that came to its two tables. refused: {path: reason}. Every image has the same file_version."""
    (settings or ScoringSettings(images=str(root))).save(run_dir)
    paths = [str(row["path"]) for row in scores] + list(refused)
    write_table(run_dir.plan, [planned(number, path, file_version) for number, path in enumerate(paths)])
    model = ScoredModel(**{**vars(model), "version": version})
    source = ImageSource(root, "folder")
    plan = ScoringPlan(source, False, model, len(paths), 0, len(paths), 0, (), planned_at)
    run_dir.save_json(run_dir.plan_json, plan)
    more = {"file_version": file_version, "scored_at": SCORED_AT}
    rows = [{**row, **more, "position": number} for number, row in enumerate(scores)]
    run_dir.scores.mkdir(parents=True, exist_ok=True)
    empty = [*score("", "angry"), *more, "position"]
    pq.write_table(table_of(rows, empty), run_dir.scores / "part-0.parquet")
    run_dir.refused.mkdir(parents=True, exist_ok=True)
    rows = [
        {"path": path, "image_id": "", "reason": reason, **more, "position": len(scores) + number}
        for number, (path, reason) in enumerate(refused.items())
    ]
    pq.write_table(table_of(rows, ["path", "image_id", "reason", *more, "position"]), run_dir.refused / "p.parquet")
    return run_dir


def planned(position: int, path: str, file_version: str) -> dict[str, object]:
    return {"position": position, "path": path, "file_version": file_version, "member": path.encode()}


def table_of(rows: list[dict[str, object]], columns: list[str]) -> pa.Table:
    table = pa.Table.from_pandas(pd.DataFrame(rows, columns=columns), preserve_index=False)
    for name in ("path", "image_id", "emotion", "reason", "file_version"):
        if name in table.column_names:
            place = table.column_names.index(name)
            table = table.set_column(place, name, table[name].cast(pa.string()))
    return table


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def passed(num_scored: int, num_refused: int = 0) -> ScoreChecks:
    """What check_scores leaves of sound scores."""
    emotions = (num_scored, 0, 0, 0, 0, 0, 0)
    means = tuple(np.full(7, 1 / 7).tolist())
    return ScoreChecks(True, (), num_scored, num_refused, emotions, means, 0.7, (), (), None, ())
