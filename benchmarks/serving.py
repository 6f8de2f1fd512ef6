"""The service under load and under hostile uploads, against the same work without a server.

    python benchmarks/serving.py [--seconds 60]

Starts `python -m service` with a registry of its own, so that the pretrained weights serve, and sends it crops of faces
(48x48) and pictures (640x320, three drawn faces), from 1, 8 and 50 clients, each sending its next request when the last
one is answered; then from 150, more than have a place. The peer is a loop that calls the service's own function with
the same pictures in a process of its own, without HTTP, a queue or threads. Clients and service share the machine.
The last line is JSON: answers/s over the peer's, statuses other than 200 and 429, and MB of memory at most.
"""

import argparse
import asyncio
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(PROJECT), str(PROJECT / "tests")]  # instead of this folder, whose lime.py would stand for lime

import cv2  # noqa: E402
import httpx  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
from drawn_scene import scene  # noqa: E402
from PIL import Image  # noqa: E402

MB = 1_000_000
CLIENTS = (1, 8, 50)
OVERLOAD = 150
RANDOM = np.random.default_rng(0)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


PICTURES = {"crop": png(RANDOM.integers(0, 256, (48, 48), dtype=np.uint8)), "picture": png(scene())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of load for each row of the table")
    parser.add_argument("--direct", choices=PICTURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.direct:
        print(direct(PICTURES[options.direct], options.seconds))
        return
    peers = {kind: ask_peer(kind, options.seconds / 4) for kind in PICTURES}
    for kind, speed in peers.items():
        print(f"without a server: {speed:.1f} {kind}s/s")
    with tempfile.TemporaryDirectory() as home, serving(Path(home)) as (address, memory):
        rows = [(kind, clients) for kind in PICTURES for clients in CLIENTS] + [("crop", OVERLOAD)]
        speeds, statuses = {}, Counter()
        start = time.monotonic()
        print("\n| What | Clients | Answers/s | p50 ms | p95 ms | p99 ms | 200 | 429 | Others |\n" + "| --- " * 9 + "|")
        for kind, clients in rows:
            times, counts, seconds = asyncio.run(load(address, PICTURES[kind], clients, options.seconds))
            speeds[kind, clients] = counts[200] / seconds
            statuses += counts
            p50, p95, p99 = np.percentile(times, [50, 95, 99]) * 1000
            others = sum(counts.values()) - counts[200] - counts[429]
            row = f"| {kind} | {clients} | {speeds[kind, clients]:.1f} | {p50:.0f} | {p95:.0f} | {p99:.0f} |"
            print(f"{row} {counts[200]} | {counts[429]} | {others} |", flush=True)
        print(f"\n{sum(statuses.values()):,} requests in {time.monotonic() - start:.0f} s; {memory}")
        hostile(address, memory)
        ratios = {f"service_over_direct_{kind}s": speeds[kind, 8] / peers[kind] for kind in PICTURES}
        others = sum(count for status, count in statuses.items() if status not in (200, 429))
        print(json.dumps(ratios | {"statuses_other_than_200_and_429": others, "most_memory_mb": memory.most // MB}))


def ask_peer(kind: str, seconds: float) -> float:
    command = [sys.executable, __file__, "--direct", kind, "--seconds", str(seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def direct(content: bytes, seconds: float) -> float:
    """Pictures/s of one loop on all cores."""
    from service.limits import ServiceLimits
    from service.recognition import answer
    from service.served_model import load_pretrained

    served, limits = load_pretrained("none"), ServiceLimits()
    answer(content, served, limits, "auto")
    start, count = time.monotonic(), 0
    while time.monotonic() < start + seconds:
        answer(content, served, limits, "auto")
        count += 1
    return count / (time.monotonic() - start)


class Memory:
    """Of the service's process, looked at every twentieth of a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.first = self.most = self.now
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def now(self) -> int:
        return int(self._process.memory_info().rss)

    def _follow(self) -> None:
        while self._process.is_running():
            self.most = max(self.most, self.now)
            time.sleep(0.05)

    def __str__(self) -> str:
        return f"memory {self.first // MB} MB before, {self.most // MB} at most, {self.now // MB} now"


@contextmanager
def serving(home: Path) -> Iterator[tuple[str, Memory]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {"FER_HOME": str(home), "FER_SERVICE_PORT": str(port), "FER_SERVICE_QUEUE": "64"}
    with (home / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=PROJECT, env=environment, stdout=log, stderr=log
        )
        try:
            while not is_ready(address):
                time.sleep(0.2)
            yield address, Memory(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


async def load(
    address: str, content: bytes, num_clients: int, seconds: float
) -> tuple[list[float], Counter[int], float]:
    """Seconds of each request that was answered by 200, how often each status came (0: no answer), and the duration."""
    times: list[float] = []
    counts: Counter[int] = Counter()
    start = time.monotonic()

    async def client() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=120) as session:
            while time.monotonic() < start + seconds:
                began = time.monotonic()
                try:
                    answer = await session.post("/v1/predict", files={"picture": content})
                except httpx.TransportError:
                    counts[0] += 1
                    continue
                counts[answer.status_code] += 1
                if answer.status_code == 200:
                    times.append(time.monotonic() - began)
                elif answer.status_code == 429:
                    await asyncio.sleep(float(answer.headers["Retry-After"]))

    await asyncio.gather(*(client() for _ in range(num_clients)))
    return times, counts, time.monotonic() - start


def hostile(address: str, memory: Memory) -> None:
    """How soon each is refused, and how much memory it takes."""
    print("\n| Hostile upload | MB | Status | Seconds | Memory MB |\n" + "| --- " * 5 + "|")
    noise = RANDOM.bytes(9 * MB)
    uploads: dict[str, Callable[[], bytes]] = {
        "200 MB, announced": lambda: bytes(200 * MB),
        "200 MB, in pieces": lambda: bytes(200 * MB),
        "30,000 x 30,000 pixels": lambda: bomb(30_000),
        "JPEG of 30,000 scans": lambda: scans(30_000),
        "truncated PNG": lambda: png(RANDOM.integers(0, 256, (1500, 1500, 3), dtype=np.uint8))[:-5000],
        "noise": lambda: noise,
        "noise behind a JPEG's head": lambda: b"\xff\xd8\xff\xe0" + noise,
    }
    for name, make in uploads.items():
        content = make()
        before, memory.most, start = memory.now, memory.now, time.monotonic()
        if name.endswith("in pieces"):
            head = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
            pieces = (content[at : at + 65_536] for at in range(0, len(content), 65_536))
            body = (piece for part in ((head,), pieces) for piece in part)
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            answer = httpx.post(f"{address}/v1/predict", content=body, headers=headers, timeout=60)
        else:
            answer = httpx.post(f"{address}/v1/predict", files={"picture": content}, timeout=60)
        seconds, grown = time.monotonic() - start, max(0, memory.most - before)
        print(f"| {name} | {len(content) / MB:.1f} | {answer.status_code} | {seconds:.2f} | {grown / MB:.0f} |")


def bomb(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan stands in it so many times more."""
    file = io.BytesIO()
    Image.new("L", (640, 640), 90).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


if __name__ == "__main__":
    main()
