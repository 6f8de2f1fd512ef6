"""`make run` and its workers: which tasks are taken for lost, and how all workers are sent home at the end."""

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

LOST = textwrap.dedent("""
    import os
    from contextlib import contextmanager
    from datetime import UTC, datetime, timedelta

    import airflow.utils.session
    from airflow.models import import_all_models
    from airflow.models.dagrun import DagRun
    from airflow.models.tasklog import LogTemplate
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import StaticPool
    from launcher.dag_run import _lost_tasks

    import_all_models()
    table = TaskInstance.__table__
    engine = create_engine("sqlite://", poolclass=StaticPool)
    for made in (table, DagRun.__table__, LogTemplate.__table__):
        made.create(engine)
    session = Session(engine, expire_on_commit=False)

    @contextmanager
    def shared():
        yield session
        session.commit()

    airflow.utils.session.create_session = shared
    of_run = {"dag_id": "d", "run_id": "r", "run_type": "manual", "state": "running", "run_after": datetime.now(UTC)}
    session.execute(DagRun.__table__.insert().values(of_run))
    values = {"task_id": "t", "dag_id": "d", "run_id": "r", "pool": "p", "pool_slots": 1, "state": "running"}
    values |= {"map_index": -1, "executor_config": {}, "priority_weight": 1}
    killed = {"try_number": 1, "pid": 2**22 + 1, "last_heartbeat_at": datetime.now(UTC) - timedelta(minutes=1)}
    retried = {"try_number": 2, "pid": os.getpid(), "last_heartbeat_at": datetime.now(UTC)}
    session.execute(table.insert().values(values | killed))
    held = session.query(TaskInstance).one()  # as Dag.test holds the tasks of its run
    print([key.try_number for key in _lost_tasks("d", "r")])
    session.execute(table.update().values(retried))
    print([key.try_number for key in _lost_tasks("d", "r")])
    print([key.try_number for key in _lost_tasks("d", "of another run")])
""")


def test_a_killed_try_is_lost_and_the_next_one_is_not_taken_for_it(tmp_path):
    answer = run(LOST, tmp_path)
    assert answer.splitlines()[-3:] == ["[1]", "[]", "[]"]


def test_workers_that_go_at_once_leave_a_message_for_the_others(tmp_path):
    assert run(ENDING, tmp_path).splitlines()[-1] == "ended"


def run(program, home):
    environment = {"AIRFLOW_HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
