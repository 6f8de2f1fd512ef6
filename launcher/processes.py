"""Ending what the launcher started, whichever way the launcher itself is ended."""

import contextlib
import signal
import subprocess
import sys
from types import FrameType

import psutil


def exit_on_sigterm() -> None:
    """Turn the first SIGTERM into an exit that runs the `finally` blocks; a second one cannot interrupt them."""

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def stop(*processes: "subprocess.Popen[bytes]") -> None:
    """End these children and all that they started: no task and no JVM outlives the command."""
    family: list[psutil.Process] = []
    for process in processes:
        if process.poll() is None:
            parent = psutil.Process(process.pid)
            family += [parent, *parent.children(recursive=True)]
    for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(number)
        _, family = psutil.wait_procs(family, timeout=seconds)
