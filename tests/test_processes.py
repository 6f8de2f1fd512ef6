"""No process outlives the one that started it, whichever of them is killed."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from launcher.processes import stop

PROJECT = Path(__file__).resolve().parent.parent

PARENT = """
import os, subprocess, sys, time
from fer_tasks.parent_death import die_with_parent

if sys.argv[1] == "forks":
    os.register_at_fork(after_in_child=die_with_parent)
    if os.fork() == 0:
        print(os.getpid(), flush=True)
else:
    print(subprocess.Popen(["sleep", "600"], preexec_fn=die_with_parent).pid, flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    """Within ten seconds. A child of a killed parent stays a zombie where nobody adopts it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


def start(command: list[str]) -> tuple[subprocess.Popen, int]:
    """A process in a session of its own, and the child that it prints the id of."""
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def test_a_program_and_a_fork_end_with_their_killed_parent():
    for way in ("programs", "forks"):
        parent, child = start([sys.executable, "-c", PARENT, way])
        assert psutil.pid_exists(child)
        parent.kill()
        parent.wait()
        assert is_gone(child), way


def test_what_a_killed_child_has_left_behind_is_stopped_too():
    child, orphan = start(["sh", "-c", "sleep 600 & echo $!; wait"])
    child.kill()
    child.wait()
    assert os.getsid(orphan) == child.pid
    stop(child)
    assert is_gone(orphan)


def test_stopping_spares_the_other_children():
    child, grandchild = start(["sh", "-c", "sleep 600 & echo $!; wait"])
    other, _ = start(["sh", "-c", "echo 0; exec sleep 600"])
    stop(child)
    assert is_gone(child.pid)
    assert is_gone(grandchild)
    assert other.poll() is None
    stop(other)
