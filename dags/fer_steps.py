"""What the DAGs share: how a Spark step is submitted, which failures are retried, and the asset they meet at."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Asset
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from fer_tasks.result_basis import ReusableStep
from fer_tasks.reuse import reuse_or_run
from fer_tasks.run_directory import RunDirectory
from fer_tasks.spark_runtime import SPARK_CONF

PROJECT = Path(__file__).resolve().parent.parent

FER_CHAMPION = Asset("fer_champion")
"""Changes with every promotion; an event's `extra` is the run's promotion.json. A DAG follows it with
`schedule=[Asset("fer_champion")]`. A rollback is made outside Airflow and makes no event."""


class VerdictsAreFinal(RetryPolicy):
    """Bad input and rejected models fail at once, whichever process found them; all else is retried."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        ti = context["ti"]
        step = ti.task_id if ti.map_index < 0 else f"{ti.task_id}-{ti.map_index}"
        attempts = RunDirectory.for_run_id(context["run_id"]).attempts(step)
        if attempts and attempts[-1].status == "refused":
            return RetryDecision.fail(attempts[-1].reason)
        return RetryDecision.default()


DEFAULT_ARGS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": VerdictsAreFinal(),
    "execution_timeout": timedelta(minutes=30),
}


class ReusingSparkSubmit(SparkSubmitOperator):
    """Submits the step's job unless a former run's result stands for it, which is found without starting a JVM."""

    def __init__(self, *, step: ReusableStep, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Any) -> None:
        reuse_or_run(self.step, RunDirectory.for_run_id(context["run_id"]), partial(super().execute, context))


def spark_step(step: ReusableStep) -> ReusingSparkSubmit:
    return ReusingSparkSubmit(
        step=step,
        task_id=step.name,
        application=str(PROJECT / f"{step.module.replace('.', '/')}.py"),
        name=f"{step.name} {{{{ run_id }}}}",
        conn_id="spark_default",
        conf=SPARK_CONF,
        application_args=["--run-dir", "{{ ti.xcom_pull(task_ids='start_run') }}"],
        execution_timeout=timedelta(hours=4),
    )
