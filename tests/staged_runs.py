"""Runs fer_training through Airflow's own loop: the real gate, other steps that do nothing, and a person.

    python tests/staged_runs.py '[{"conf": {}, "answer": null, "broken": null}]'

answer: `Approve`, `Reject`, or null for a person who lets the time run out. broken: a step that is refused. Prints one
line of JSON a run: the run's state, those of its tasks, what each report said, and what the person was asked.
"""

import json
import os
import sys
import threading
import traceback
from pathlib import Path

import numpy as np

from fer_tasks import data_quality, evaluation, explanation, registry, report, training
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.errors import PipelineError
from fer_tasks.serving_check import Served, ServingCheck

PROJECT = Path(__file__).resolve().parent.parent


def stage_steps(broken, told):
    def step(name):
        def run(run_dir):
            with run_dir.attempt(name):
                if name == broken:
                    raise PipelineError("broken on purpose")

        return run

    def measure(run_dir):
        """Half of the images right, without a champion. The steps before it that Airflow only marks have succeeded."""
        for name in ("ingest_dataset", "preprocess_faces", "evaluate_model"):
            step(name)(run_dir)
        labels, views = np.arange(4, dtype=np.int32), np.eye(7, dtype=np.float32)[None, [0, 1, 0, 1]]
        measured = evaluation.evaluate(labels, views, temperature=1.0, validation_accuracy=0.5, images_per_second=9.0)
        run_dir.save_json(run_dir.evaluation_json, measured)
        run_dir.save_json(run_dir.champion_comparison_json, ChampionComparison("fer-classifier", "00"))
        served = Served(0.0, load_seconds=1.0, p50_milliseconds=1.0, p99_milliseconds=2.0, images_per_second=9.0)
        run_dir.save_json(run_dir.serving_check_json, ServingCheck(4, 1000, served, None))

    def tell(run_dir):
        page, _ = report.build_page(run_dir)
        told.append(page.verdict.headline)
        return run_dir.report_html

    def promote(run_dir):
        step("promote_model")(run_dir)
        record = registry.Promotion(
            "fer-classifier", 1, "champion", None, 0.5, run_dir.root.name, "mlflow", "sqlite://", "00", "now"
        )
        run_dir.save_json(run_dir.promotion_json, record)
        return record

    for module, name in (
        (data_quality, "check_data_quality"),
        (training, "train_model"),
        (explanation, "explain_predictions"),
    ):
        module.run = step(name)
    evaluation.run, registry.run, report.run, report.write = measure, promote, tell, tell


def tell_when_parked(parked):
    """Sets the event when Dag.test has written that a task waits for a person. It writes this once more than the task
    itself does: an answer that comes between the two would be overwritten, and asked for again."""
    from airflow.models.taskinstance import TaskInstance

    set_state = TaskInstance.set_state

    def set_and_tell(task_instance, state, *args, **kwargs):
        changed = set_state(task_instance, state, *args, **kwargs)
        if state == "awaiting_input":
            parked.set()
        return changed

    TaskInstance.set_state = set_and_tell


def answer_when_asked(answer, told, asked, ended, parked):
    """What the API server does with a person's answer, and the scheduler when the time is over."""
    from airflow.models.hitl import HITLUser
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.sdk import timezone
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.orm import joinedload

    awaited = select(TaskInstance).where(TaskInstance.state == "awaiting_input")
    while not ended.wait(0.5):
        if not parked.is_set():
            continue
        parked.clear()
        with create_session() as session:
            waiting = session.scalars(awaited.options(joinedload(TaskInstance.hitl_detail))).one()
            detail, left = waiting.hitl_detail, waiting.trigger_timeout - timezone.utcnow()
            asked.append(
                {
                    "body": detail.body,
                    "subject": detail.subject,
                    "hours": round(left.total_seconds() / 3600, 1),
                    "reports": list(told),
                }
            )
            detail.chosen_options = [answer] if answer else list(detail.defaults)
            detail.responded_by = HITLUser(id="7", name="ada") if answer else None
            detail.params_input, detail.responded_at = {}, timezone.utcnow()
            session.add(detail)
            event = TriggerEvent(detail.as_resume_event_payload(timedout=not answer))
            handle_event_submit(event, task_instance=waiting, session=session)


def staged_run(parked, *, conf, answer, broken):
    from airflow.dag_processing.dagbag import DagBag

    # Read anew for each run, since Dag.test writes the conf into the parameters of the Dag.
    dag = DagBag(dag_folder=str(PROJECT / "dags" / "fer_training.py")).dags["fer_training"]
    told, asked, ended = [], [], threading.Event()
    stage_steps(broken, told)

    def be_the_person():
        try:
            answer_when_asked(answer, told, asked, ended, parked)
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # the run would wait for the answer for ever

    person = threading.Thread(target=be_the_person)
    person.start()
    try:
        run = dag.test(run_conf=conf, mark_success_pattern="ingest_dataset|preprocess_faces")
    finally:
        ended.set()
        person.join()
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    return {"run": str(run.state), "states": states, "reports": told, "asked": asked}


def main():
    parked = threading.Event()
    tell_when_parked(parked)
    for scenario in json.loads(sys.argv[1]):
        print("TOLD", json.dumps(staged_run(parked, **scenario)), flush=True)


if __name__ == "__main__":
    main()
