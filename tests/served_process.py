"""The service as `make serve` starts it: a process of its own, with its settings in the environment."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from running_service import free_port

PROJECT = Path(__file__).resolve().parent.parent


class Served(NamedTuple):
    address: str
    process: subprocess.Popen
    log: Path

    def memory(self):
        """Bytes of memory that the process has of its own now."""
        return psutil.Process(self.process.pid).memory_info().rss


@contextmanager
def served(folder, **settings):
    """settings: names without FER_SERVICE_. The environment of the caller decides which registry is asked."""
    port = free_port()
    environment = os.environ | {f"FER_SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
    environment |= {"FER_SERVICE_PORT": str(port)}
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=PROJECT, env=environment, stdout=output, stderr=output
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield Served(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until_ready(address, process, log, seconds=300):
    deadline = time.monotonic() + seconds
    while not is_ready(address):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def is_ready(address):
    try:
        return httpx.get(f"{address}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False
