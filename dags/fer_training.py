"""
### Train a facial-emotion classifier and promote it if it is good enough

Checks the images with Great Expectations, prepares them with Spark, trains a Keras CNN, judges it on test images
that nothing else has looked at, explains it with LIME, and moves the registry's alias `champion` to it when the
accuracy gate accepts it and, with `require_approval`, a person approves it. Each promotion is an event of the asset
`fer_champion`.

**Trigger** it with the form: every field has a default that works, `dataset` = `sample` draws its own faces.
**A red run is an answer.** `check_data_quality` red: the data were refused. `reject_model` red: the model was.
Their logs and the report's first line say why. Neither is retried; trouble of the machines is.
**The report** is on each run's page, tab "Evaluation report", for red runs too; all of them are on this page, tab
"Evaluation reports". It is `report.html` in the run's folder.
"""

import os
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import TriggerRule, dag, task

from dags.fer_notifications import notifier_for
from dags.fer_steps import DEFAULT_ARGS, FER_CHAMPION, PromotionApproval, form_params, spark_step
from fer_tasks.ingestion import INGEST_DATASET
from fer_tasks.preprocessing import PREPROCESS_FACES
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings


@dag(
    schedule=os.environ.get("FER_SCHEDULE", "@weekly") or None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["fer"],
    params=form_params(RunSettings.form_fields()),
    default_args=DEFAULT_ARGS,
    on_failure_callback=notifier_for("failure") or None,
    on_success_callback=notifier_for("success") or None,
)
def fer_training() -> None:
    @task
    def start_run(run_id: str, params: dict[str, Any]) -> str:
        from fer_tasks import start_run

        return start_run.run(run_id, params)

    @task
    def check_data_quality(run_id: str) -> None:
        from fer_tasks import data_quality

        data_quality.run(RunDirectory.for_run_id(run_id))

    @task(execution_timeout=timedelta(hours=24))
    def train_model(run_id: str) -> None:
        from fer_tasks import training

        training.run(RunDirectory.for_run_id(run_id))

    @task(execution_timeout=timedelta(hours=1))
    def evaluate_model(run_id: str) -> None:
        from fer_tasks import evaluation

        evaluation.run(RunDirectory.for_run_id(run_id))

    @task(execution_timeout=timedelta(hours=2))
    def explain_predictions(run_id: str) -> None:
        from fer_tasks import explanation

        explanation.run(RunDirectory.for_run_id(run_id))

    @task.branch
    def accuracy_gate(run_id: str) -> list[str]:
        from fer_tasks import accuracy_gate

        return ["publish_report", accuracy_gate.run(RunDirectory.for_run_id(run_id)).next_task]

    @task(outlets=[FER_CHAMPION], trigger_rule=TriggerRule.NONE_FAILED)
    def promote_model(run_id: str, outlet_events: Any) -> None:
        from fer_tasks import registry

        outlet_events[FER_CHAMPION].extra = asdict(registry.run(RunDirectory.for_run_id(run_id)))

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def reject_model(run_id: str) -> None:
        from fer_tasks import rejection

        rejection.run(RunDirectory.for_run_id(run_id))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def publish_report(run_id: str) -> str:
        from fer_tasks import report

        return str(report.run(RunDirectory.for_run_id(run_id)))

    explained, gate = explain_predictions(), accuracy_gate()
    (
        start_run()
        >> spark_step(INGEST_DATASET)
        >> check_data_quality()
        >> spark_step(PREPROCESS_FACES)
        >> train_model()
        >> evaluate_model()
        >> [explained, gate]
    )
    approval = PromotionApproval(task_id="approve_promotion")
    [explained, gate] >> approval
    [explained, gate, approval] >> publish_report()
    [explained, gate, approval] >> promote_model()
    [gate, approval] >> reject_model()


fer_training()
