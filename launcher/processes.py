"""Ending what the launcher started, whichever way the launcher itself is ended."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

import psutil


def exit_on_sigterm() -> None:
    """Turn the first SIGTERM into an exit that runs the `finally` blocks; a second one cannot interrupt them."""

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def stop(*processes: "subprocess.Popen[bytes]") -> None:
    """End these children and all that they started: no task and no JVM outlives the command.

    A child that was started in a session of its own may have been killed: whoever is in that session is its, too.
    """
    family: list[psutil.Process] = []
    for process in processes:
        if process.poll() is None:
            parent = psutil.Process(process.pid)
            family += [parent, *parent.children(recursive=True)]
    family += _members_of({process.pid for process in processes})
    for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(number)
        _, family = psutil.wait_procs(family, timeout=seconds)


def _members_of(sessions: set[int]) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process.pid) in sessions:
                yield process
