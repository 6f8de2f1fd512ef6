"""One run of a DAG with Airflow's own executor, in this process; `launcher.run` starts it as a child.

    python -m launcher.dag_run DAG_ID RUN_AFTER CONF

`Dag.test(use_executor=True)` is the scheduler's loop for a single run: real task processes, retries, task logs, and
the run in the UI afterwards. Exit status: 0 success, 1 failed run, 2 refused conf.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from fer_tasks.file_lock import locked
from fer_tasks.parent_death import die_with_parent

_START_SECONDS = 180
_SILENCE = timedelta(seconds=30)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dag_id")
    parser.add_argument("run_after", type=datetime.fromisoformat)
    parser.add_argument("conf", type=json.loads)
    options = parser.parse_args()

    from airflow.dag_processing.dagbag import DagBag
    from airflow.exceptions import ParamValidationError
    from airflow.utils.state import DagRunState

    folder = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
    dag_bag = DagBag(dag_folder=str(Path(folder) / f"{options.dag_id}.py"), collect_dags=True)
    if dag_bag.import_errors:
        sys.exit("\n".join(dag_bag.import_errors.values()))
    _wait_for_api_server(os.environ["AIRFLOW__API__BASE_URL"])
    os.register_at_fork(after_in_child=die_with_parent)  # workers end with this process, tasks with their worker
    end_every_worker()
    notice_killed_workers(options.dag_id, run_id_of(options.run_after))
    register_dags(options.dag_id)
    try:
        run = dag_bag.dags[options.dag_id].test(
            run_after=options.run_after, logical_date=options.run_after, run_conf=options.conf, use_executor=True
        )
    except ParamValidationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if run.state == DagRunState.SUCCESS else 1)


def run_id_of(run_after: datetime) -> str:
    """What Airflow calls a manual run without a logical date; see airflow.models.dagrun.DagRun.generate_run_id."""
    return f"manual__{run_after.isoformat()}"


def register_dags(dag_id: str) -> None:
    """On a new machine, write the DAGs into the database: of two runs that begin at once, the second finds them there.

    Dag.test does so, too, without a lock, and the second one ends where the first has added the same row.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.models.dag import DagModel

    with locked(Path(os.environ["AIRFLOW_HOME"]) / "registration.lock"):
        if DagModel.get_current(dag_id) is not None:
            return
        manager = DagBundlesManager()
        manager.sync_bundles_to_db()
        for bundle in manager.get_all_dag_bundles():
            bundle.initialize()
            bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
            sync_bag_to_db(bag, bundle.name, bundle.version)


def end_every_worker() -> None:
    """Make Airflow's LocalExecutor send a closing message for each of its workers when it ends.

    That of Airflow 3.3.2 sends one for each that is still alive when its turn comes, and a worker that has taken an
    earlier message may be gone by then: the last ones get none, and are waited for without end.
    """
    from airflow.executors.local_executor import LocalExecutor

    end = LocalExecutor.end

    def end_all(executor: LocalExecutor) -> None:
        for _ in executor.workers:
            executor.activity_queue.put(None)
        end(executor)  # what it sends besides is read by nobody

    LocalExecutor.end = end_all


def notice_killed_workers(dag_id: str, run_id: str) -> None:
    """Have a task of the run whose worker was killed reported as failed, so that Dag.test has it tried again.

    A real scheduler misses the task's heartbeats; Dag.test would wait without end for what the worker never says.
    """
    from airflow.executors.local_executor import LocalExecutor

    sync = LocalExecutor.sync

    def look_and_sync(executor: LocalExecutor) -> None:
        sync(executor)
        for key in _lost_tasks(dag_id, run_id):
            executor.fail(key, "The worker of the executor that ran it was killed.")

    LocalExecutor.sync = look_and_sync


def _lost_tasks(dag_id: str, run_id: str) -> list[Any]:
    """Keys of the tasks that are said to run and do not.

    It asks for columns: of a task that the session holds already, SQLAlchemy would give the values of its former try.
    """
    from airflow.models.taskinstance import TaskInstance as Ti
    from airflow.models.taskinstancekey import TaskInstanceKey
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState

    with create_session() as session:
        running = session.query(Ti.task_id, Ti.try_number, Ti.map_index, Ti.pid, Ti.last_heartbeat_at).filter_by(
            dag_id=dag_id, run_id=run_id, state=TaskInstanceState.RUNNING
        )
        return [
            TaskInstanceKey(dag_id, task_id, run_id, try_number, map_index)
            for task_id, try_number, map_index, pid, heard_at in running
            if _is_lost(pid, heard_at)
        ]


def _is_lost(pid: int | None, heard_at: datetime | None) -> bool:
    """No heartbeat, which its worker sends, and no process: one that has just ended is still being told of."""
    if not heard_at or datetime.now(UTC) - heard_at < _SILENCE:
        return False
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait_for_api_server(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5).close()  # noqa: S310 - our own address
            return
        except (urllib.error.URLError, TimeoutError):
            if time.monotonic() > deadline:
                sys.exit(f"Airflow's API server did not answer at {url} within {_START_SECONDS} s.")
            time.sleep(0.3)


if __name__ == "__main__":
    main()
