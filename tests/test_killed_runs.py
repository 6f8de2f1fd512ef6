"""What becomes of tasks whose process or run was killed, and how `make run` sends its workers home at the end."""

import subprocess
import sys
import textwrap
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

ENDING = textwrap.dedent("""
    import time
    from airflow.executors.local_executor import LocalExecutor
    from launcher.dag_run import end_every_worker

    end_every_worker()
    executor = LocalExecutor(parallelism=4)
    executor.start()

    class Slow(dict):
        def values(self):
            for worker in super().values():
                yield worker
                time.sleep(0.5)  # in which whoever took the message is gone

    executor.workers = Slow(reversed(executor.workers.items()))  # the first worker is the first to read
    executor.end()
    print("ended")
""")

DATABASE = textwrap.dedent("""
    import os
    import sys
    from contextlib import contextmanager
    from datetime import UTC, datetime, timedelta

    import airflow.utils.session
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import StaticPool

    import_all_models()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    session = Session(engine, expire_on_commit=False)
    tasks = TaskInstance.__table__

    @contextmanager
    def shared():
        yield session
        session.commit()

    airflow.utils.session.create_session = shared

    def add_run(run_id, state="running"):
        values = {"dag_id": "d", "run_type": "manual", "run_after": datetime.now(UTC)}
        session.execute(DagRun.__table__.insert().values(values | {"run_id": run_id, "state": state}))

    def add_task(run_id, task_id, **changed):
        values = {"dag_id": "d", "pool": "p", "pool_slots": 1, "state": "running", "try_number": 1, "map_index": -1}
        values |= {"executor_config": {}, "priority_weight": 1, "run_id": run_id, "task_id": task_id}
        session.execute(tasks.insert().values(values | changed))
""")

LOST = DATABASE + textwrap.dedent("""
    from launcher.dag_run import _lost_tasks

    add_run("r")
    add_task("r", "t", pid=2**22 + 1, last_heartbeat_at=datetime.now(UTC) - timedelta(minutes=1))
    held = session.query(TaskInstance).one()  # as Dag.test holds the tasks of its run
    print([key.try_number for key in _lost_tasks("d", "r")])
    session.execute(tasks.update().values(try_number=2, pid=os.getpid(), last_heartbeat_at=datetime.now(UTC)))
    print([key.try_number for key in _lost_tasks("d", "r")])
    print([key.try_number for key in _lost_tasks("d", "of another run")])
""")

ABANDONED = DATABASE + textwrap.dedent("""
    import subprocess

    from launcher import abandoned_runs

    add_run("manual__killed")
    add_task("manual__killed", "training")
    add_task("manual__killed", "waiting", state="queued")
    add_task("manual__killed", "done", state="success")
    add_task("manual__killed", "of a scheduler", queued_by_job_id=1)
    add_run("manual__ended", "failed")
    add_task("manual__ended", "training")
    add_run("manual__alive")
    add_task("manual__alive", "training")
    alive = [sys.executable, "-c", "input()", "launcher.dag_run", "d", "alive"]
    with subprocess.Popen(alive, stdin=subprocess.PIPE):
        abandoned_runs.main()
    rows = session.execute(tasks.select().with_only_columns(tasks.c.run_id, tasks.c.task_id, tasks.c.state))
    print(sorted((run_id, task_id) for run_id, task_id, state in rows if state is None))
""")


def test_a_killed_try_is_lost_and_the_next_one_is_not_taken_for_it(tmp_path):
    answer = run(LOST, tmp_path)
    assert answer.splitlines()[-3:] == ["[1]", "[]", "[]"]


def test_what_a_killed_run_left_is_handed_to_the_scheduler_and_nothing_else(tmp_path):
    *told, taken_up = run(ABANDONED, tmp_path).splitlines()
    assert taken_up == "[('manual__killed', 'training'), ('manual__killed', 'waiting')]"
    assert "Taking up training of manual__killed, whose `make run` was killed." in told


def test_workers_that_go_at_once_leave_a_message_for_the_others(tmp_path):
    assert run(ENDING, tmp_path).splitlines()[-1] == "ended"


def run(program, home):
    environment = {"AIRFLOW_HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
