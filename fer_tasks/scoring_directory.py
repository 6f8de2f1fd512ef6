"""ScoringDirectory: where a run of fer_scoring keeps what, and where what it stored outlives it. Light, as its base."""

from collections.abc import Iterator
from pathlib import Path

from fer_tasks.run_directory import RunDirectory, runs_folder


class ScoringDirectory(RunDirectory):
    """Folder of one run of fer_scoring."""

    scoring_settings_json = property(lambda self: self.root / "scoring_settings.json")
    champion_model = property(lambda self: self.root / "champion.keras")
    champion_int8 = property(lambda self: self.champion_model.with_suffix(".tflite"))
    plan = property(lambda self: self.root / "scoring_plan.parquet")
    plan_json = property(lambda self: self.root / "scoring_plan.json")
    scores = property(lambda self: self.root / "scores.parquet")
    refused = property(lambda self: self.root / "refused.parquet")
    checks_json = property(lambda self: self.root / "score_checks.json")
    scoring_lock = property(lambda self: self.root / "scoring.lock")


class ScoreFolder(RunDirectory):
    """Folder of a registered model's scores, to which every run adds: two tables, and together they are the ledger.

    An image whose scoring is stored has its row in one of the two, so there is nothing beside them that could
    contradict them. Each run has a partition of its own in each table, which appears as a whole by being renamed.
    """

    scores = property(lambda self: self.root / "scores.parquet")
    refused = property(lambda self: self.root / "refused.parquet")
    lock = property(lambda self: self.root / "store.lock")

    @classmethod
    def for_model(cls, registered_model: str) -> "ScoreFolder":
        """`scored/<registered model>` in the runs folder."""
        return cls(runs_folder() / "scored" / registered_model)

    def partition(self, table: Path, *, scored_on: str, version: int, run: str) -> Path:
        """Of one run in `scores` or `refused`. scored_on: ISO date. run: name of the run's folder."""
        return table / f"scored_on={scored_on}" / f"model_version={version}" / f"run={run}"

    def partitions(self, table: Path, *, scored_on: str = "*", version: int | str = "*") -> Iterator[Path]:
        """Those that are stored, by date, version and run."""
        yield from sorted(table.glob(f"scored_on={scored_on}/model_version={version}/run=*"))
