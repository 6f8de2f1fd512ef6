"""
### Search for better settings with Optuna

Prepares the data as a training run does, then tries settings around those of the form: each trial trains a few epochs
and is judged on the validation images. The test images are not read.

**Trigger** it with the form: the section Study says how many trials, how many at a time, and how long each is. The
name of an earlier study goes on with it, also after a run that was killed.
**The page** is `study.html` in the run's folder (`publish_study` logs its path): the best settings as a line for
`make run` and for the form of `fer_training`, every trial, and what the accuracy depends on.
**A trial that fails is replaced**; a red `run_trials` means that a machine stopped it three times.
"""

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import TriggerRule, dag, task

from dags.fer_steps import DEFAULT_ARGS, form_params, spark_step
from fer_tasks.ingestion import INGEST_DATASET
from fer_tasks.preprocessing import PREPROCESS_FACES
from fer_tasks.run_directory import RunDirectory
from fer_tasks.tuning_settings import TuningSettings


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["fer"],
    params=form_params(TuningSettings.form_fields()),
    default_args=DEFAULT_ARGS,
)
def fer_tuning() -> None:
    @task
    def start_run(run_id: str, params: dict[str, Any]) -> str:
        from fer_tasks import start_run

        return start_run.run(run_id, params, TuningSettings)

    @task
    def check_data_quality(run_id: str) -> None:
        from fer_tasks import data_quality

        data_quality.run(RunDirectory.for_run_id(run_id))

    @task
    def plan_trials(run_id: str) -> list[int]:
        from fer_tasks import study

        return study.run(RunDirectory.for_run_id(run_id))

    @task(execution_timeout=timedelta(days=7))
    def run_trials(lane: int, run_id: str) -> int:
        from fer_tasks import trials

        return trials.run(RunDirectory.for_run_id(run_id), lane)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def choose_settings(run_id: str) -> dict[str, Any]:
        from fer_tasks import study_record

        return study_record.run(RunDirectory.for_run_id(run_id))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def publish_study(run_id: str) -> str:
        from fer_tasks import study_report

        return str(study_report.run(RunDirectory.for_run_id(run_id)))

    planned = plan_trials()
    (start_run() >> spark_step(INGEST_DATASET) >> check_data_quality() >> spark_step(PREPROCESS_FACES) >> planned)
    run_trials.expand(lane=planned) >> [choose_settings(), publish_study()]


fer_tuning()
