"""store_scores: adds a run's scores, when they passed, to those of the registered model."""

import logging

from fer_tasks import score_checks, scoring_plan, scoring_report
from fer_tasks.errors import DataQualityError
from fer_tasks.file_lock import locked
from fer_tasks.score_store import LEDGER, known_images, replace_partition
from fer_tasks.scoring_directory import ScoreFolder, ScoringDirectory
from fer_tasks.scoring_plan import ScoringPlan
from fer_tasks.scoring_settings import ScoringSettings

_log = logging.getLogger(__name__)


def run(run_dir: ScoringDirectory) -> None:
    """Store what check_scores passed. Raises DataQualityError when it did not, or when another run was quicker."""
    with scoring_report.updated_after(run_dir), run_dir.attempt("store_scores"):
        checks = score_checks.load(run_dir)
        if not checks.passed:
            raise DataQualityError(f"These scores were refused, so they are not stored. {' '.join(checks.blocking)}")
        plan = scoring_plan.load(run_dir)
        folder = ScoreFolder.for_model(plan.model.registered_model)
        with locked(folder.lock):
            folder.pull()
            if ScoringSettings.load(run_dir).incremental:
                _refuse_doubles(run_dir, plan, folder)
            for ours, table in ((run_dir.refused, folder.refused), (run_dir.scores, folder.scores)):
                replace_partition(folder, plan.partition(folder, table, run_dir), ours)
        _log.info("%d scores and %d refusals are stored in %s", checks.num_scored, checks.num_refused, folder)


def _refuse_doubles(run_dir: ScoringDirectory, plan: ScoringPlan, folder: ScoreFolder) -> None:
    import pyarrow.parquet as pq

    known = known_images(folder, plan.model.version, but=run_dir.root.name, on=plan.scored_on)
    planned = pq.read_table(run_dir.plan, columns=list(LEDGER))
    if doubles := len(planned.join(known, list(LEDGER), join_type="inner")):
        raise DataQualityError(
            f"Another run has scored {doubles} of these {len(planned)} images meanwhile, so nothing was stored twice. "
            "Clear plan_scoring of this run: it finds out what is left."
        )
