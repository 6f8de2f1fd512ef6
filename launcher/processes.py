"""Ending what the launcher started."""

import os
import signal
import subprocess


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a child that leads its own session, and all it started: no task and no JVM outlives the command."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
