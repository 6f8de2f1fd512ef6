"""The end of `make run`: the executor's workers are all sent home, however soon the first are gone."""

import subprocess
import sys
import textwrap
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

PROGRAM = textwrap.dedent("""
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


def test_workers_that_go_at_once_leave_a_message_for_the_others(tmp_path):
    environment = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT)}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.splitlines()[-1] == "ended"
