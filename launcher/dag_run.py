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
from datetime import datetime
from pathlib import Path

from fer_tasks.parent_death import die_with_parent

_START_SECONDS = 180


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
    end_with_a_killed_worker()
    try:
        run = dag_bag.dags[options.dag_id].test(
            run_after=options.run_after, logical_date=options.run_after, run_conf=options.conf, use_executor=True
        )
    except ParamValidationError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if run.state == DagRunState.SUCCESS else 1)


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


def end_with_a_killed_worker() -> None:
    """Make this process end when a worker of the executor was killed, which Dag.test would wait for without end.

    A real scheduler misses the heartbeats of its task, and has it tried again.
    """
    from airflow.executors.local_executor import LocalExecutor

    sync = LocalExecutor.sync

    def look_and_sync(executor: LocalExecutor) -> None:
        if any(worker.exitcode for worker in executor.workers.values()):
            print("A worker of Airflow's executor was killed, and its task with it. Run again.", file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)  # the other workers, which an orderly exit would wait for, end with this process
        sync(executor)

    LocalExecutor.sync = look_and_sync


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
