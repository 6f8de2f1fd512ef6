"""The operators and rules of the DAGs: the form's fields, a Spark step, a person's approval, which failures are
retried, and the asset that they meet at."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Asset, Param
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from dags.fer_notifications import notifier_for, report_address
from fer_tasks.parent_death import die_with_parent
from fer_tasks.result_basis import ReusableStep
from fer_tasks.reuse import reuse_or_run
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.spark_runtime import SPARK_CONF, package_archive

PROJECT = Path(__file__).resolve().parent.parent

FER_CHAMPION = Asset("fer_champion")
"""Changes with every promotion; an event's `extra` is the run's promotion.json. A DAG follows it with
`schedule=[Asset("fer_champion")]`. A rollback is made outside Airflow and makes no event."""


def form_params(form_fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Param]:
    """The fields of a trigger form; see `setting_fields.form_of`."""
    return {
        name: Param(**{**spec, "description_md": _bold_code(spec["description_md"])})
        for name, spec in form_fields.items()
    }


def _bold_code(markdown: str) -> str:
    """Code style in bold, since Airflow's form draws the box of code over the lines around it."""
    return re.sub("`([^`]+)`", lambda code: "**" + re.sub("([*<_])", r"\\\1", code[1]) + "**", markdown)


class VerdictsAreFinal(RetryPolicy):
    """Bad input and rejected models fail at once, whichever process found them; all else is retried."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        ti = context["ti"]
        step = ti.task_id if ti.map_index < 0 else f"{ti.task_id}-{ti.map_index}"
        attempts = RunDirectory.for_run_id(context["run_id"]).attempts(step)
        if attempts and attempts[-1].status == "refused":
            return RetryDecision.fail(attempts[-1].reason)
        return RetryDecision.default()


class PromotionApproval(ApprovalOperator):
    """Writes the report, asks a person, records the answer, and goes on with promote_model or reject_model.

    ApprovalOperator itself skips everything below it when the answer is no, which would make a rejected run green.
    """

    def __init__(self, **kwargs: Any) -> None:
        waits = timedelta(hours=RunSettings().approval_timeout_hours)  # `execute` puts the run's own in its place
        super().__init__(
            subject="Promote?",
            defaults=self.REJECT,
            response_timeout=waits,
            notifiers=notifier_for("waiting"),
            **kwargs,
        )

    def execute(self, context: Any) -> Any:
        from fer_tasks import approval, report

        run_dir = RunDirectory.for_run_id(context["run_id"])
        request = approval.request(run_dir, report_address(context["run_id"]))
        report.write(run_dir)  # what the person decides on; publish_report writes it again with the answer
        self.subject, self.body, self.response_timeout = request.subject, request.body, request.timeout
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        from fer_tasks import approval

        answer = HITLOperator.execute_complete(self, context, event)
        approved, user = answer["chosen_options"] == [self.APPROVE], answer["responded_by_user"]
        run_dir = RunDirectory.for_run_id(context["run_id"])
        approval.record(run_dir, approved=approved, answered_by=user["name"] if user else None)
        self.skip_all_except(context["ti"], ["publish_report", "promote_model" if approved else "reject_model"])
        return answer


DEFAULT_ARGS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": VerdictsAreFinal(),
    "execution_timeout": timedelta(minutes=30),
}


class ShippingSparkSubmit(SparkSubmitOperator):
    """Submits a job with fer_tasks for the executors."""

    def execute(self, context: Any) -> None:
        self.py_files = str(package_archive())
        super().execute(context)


class ReusingSparkSubmit(ShippingSparkSubmit):
    """Submits the step's job unless a former run's result stands for it, which is found without starting a JVM."""

    def __init__(self, *, step: ReusableStep, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def _get_hook(self) -> Any:
        hook = super()._get_hook()
        hook.submit = partial(hook.submit, preexec_fn=die_with_parent)  # a killed task leaves no JVM behind
        return hook

    def execute(self, context: Any) -> None:
        reuse_or_run(self.step, RunDirectory.for_run_id(context["run_id"]), partial(super().execute, context))


def spark_step(step: ReusableStep) -> ReusingSparkSubmit:
    return ReusingSparkSubmit(step=step, **spark_arguments(step.name, step.module))


def spark_arguments(name: str, module: str) -> dict[str, Any]:
    """Of a SparkSubmitOperator. module: of the job, below spark_jobs."""
    return {
        "task_id": name,
        "application": str(PROJECT / f"{module.replace('.', '/')}.py"),
        "name": f"{name} {{{{ run_id }}}}",
        "conn_id": "spark_default",
        "conf": SPARK_CONF,
        "application_args": ["--run-dir", "{{ ti.xcom_pull(task_ids='start_run') }}"],
        "execution_timeout": timedelta(hours=4),
    }
