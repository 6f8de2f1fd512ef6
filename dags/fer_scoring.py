"""
### Score new images with the champion

Lets the model in use say which emotion each image shows, in batches on Spark, and adds the answers to the tables of
the registered model, `scored/<registered model>/` in the runs folder. Images that this version has scored before are
left out.

**It starts** when a champion is promoted (the asset `fer_champion`), on the schedule in `FER_SCORING_SCHEDULE`, or by
hand with the form. `FER_SCORING_IMAGES` names the folder, zip or CSV that runs score which nobody triggers.
**A red `check_scores`** means that the scores were refused, and that nothing was stored: too many unusable images, a
drift beyond the limit, or answers that no sound model gives. Its log and the report's first line say why.
**The report** is on each run's page, tab "Evaluation report". It is `scoring.html` in the run's folder.
"""

import os
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, TriggerRule, dag, task

from dags.fer_steps import DEFAULT_ARGS, FER_CHAMPION, ShippingSparkSubmit, form_params, spark_arguments
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings

CRON = os.environ.get("FER_SCORING_SCHEDULE", "")
IMAGES = os.environ.get("FER_SCORING_IMAGES") or ScoringSettings().images


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable(CRON, timezone="UTC"), assets=[FER_CHAMPION])
    if CRON
    else [FER_CHAMPION],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["fer"],
    params=form_params(ScoringSettings.form_fields(images=IMAGES)),
    default_args=DEFAULT_ARGS,
)
def fer_scoring() -> None:
    @task
    def start_run(run_id: str, params: dict[str, Any]) -> str:
        from fer_tasks import scoring_plan

        return scoring_plan.start(run_id, params)

    @task.branch(execution_timeout=timedelta(hours=1))
    def plan_scoring(run_id: str) -> list[str]:
        from fer_tasks import scoring_plan

        return ["publish_scoring", *scoring_plan.run(ScoringDirectory.for_run_id(run_id)).next_tasks]

    @task
    def check_scores(run_id: str) -> None:
        from fer_tasks import score_checks

        score_checks.run(ScoringDirectory.for_run_id(run_id))

    @task
    def store_scores(run_id: str) -> None:
        from fer_tasks import store_scores

        store_scores.run(ScoringDirectory.for_run_id(run_id))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def publish_scoring(run_id: str) -> str:
        from fer_tasks import scoring_report

        return str(scoring_report.run(ScoringDirectory.for_run_id(run_id)))

    planned, checked = plan_scoring(), check_scores()
    scored = ShippingSparkSubmit(**spark_arguments("score_faces", "spark_jobs.score_faces"))
    start_run() >> planned >> scored >> checked >> [store_scores(), (published := publish_scoring())]
    planned >> published


fer_scoring()
