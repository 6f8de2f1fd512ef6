"""Hands what a killed `make run` has left to the scheduler of `make ui`, which calls this before it starts one.

    python -m launcher.abandoned_runs

A scheduler watches the tasks that it has queued itself. Those of `launcher.dag_run` no scheduler has: killed with their
run, they would be said to run for ever.
"""

from typing import Any

import psutil


def main() -> None:
    from airflow.utils.session import create_session

    with create_session() as session:
        for ti in _unwatched_tasks(session):
            if _is_at_work(ti.run_id):
                continue
            print(f"Taking up {ti.task_id} of {ti.run_id}, whose `make run` was killed.", flush=True)
            ti.prepare_db_for_next_try(session=session)  # as a scheduler does with the tasks of another that is gone
            ti.state = None
            ti.external_executor_id = None
            ti.clear_next_method_args()


def _unwatched_tasks(session: Any) -> list[Any]:
    """Tasks of running runs that are under way and were queued by no scheduler."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import DagRunState, TaskInstanceState

    under_way = (TaskInstanceState.QUEUED, TaskInstanceState.RUNNING)
    query = session.query(TaskInstance).join(TaskInstance.dag_run).where(DagRun.state == DagRunState.RUNNING)
    return list(query.where(TaskInstance.state.in_(under_way), TaskInstance.queued_by_job_id.is_(None)))


def _is_at_work(run_id: str) -> bool:
    """Whether its launcher.dag_run lives, with which its tasks would have ended."""
    run_after = run_id.partition("__")[2]
    processes = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
    return any("launcher.dag_run" in command and run_after in command for command in processes)


if __name__ == "__main__":
    main()
