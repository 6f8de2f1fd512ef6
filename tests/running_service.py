"""The service as a user has it, uvicorn on a free port, in a thread of the tests' process."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import httpx
import numpy as np
import uvicorn
from PIL import Image

from service.app import server_config
from service.engine import Engine
from service.limits import ServiceLimits

ONE_LOOK_ONLY = 86_400.0
"""Between two looks at the registry. Looks change the environment for a moment, which the tests' own would disturb."""


@dataclass(frozen=True)
class Running:
    engine: Engine
    client: httpx.Client

    @property
    def address(self):
        return self.engine.limits.host, self.engine.limits.port

    def post(self, path, *files, field="picture", **options):
        """files: bytes of pictures."""
        form = [(field, (f"{number}.png", data)) for number, data in enumerate(files)]
        return self.client.post(path, files=form, **options)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serving(*, is_started=True, **limits) -> Iterator[Running]:
    """limits: of ServiceLimits. is_started: False leaves it without a model."""
    engine = Engine.of(ServiceLimits(port=free_port(), check_seconds=ONE_LOOK_ONLY, **limits))
    config = server_config(engine)
    config.timeout_graceful_shutdown = 1
    if not is_started:
        config.lifespan = "off"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{engine.limits.port}", timeout=120) as client:
        try:
            wait_until(lambda: server.started)
            if is_started:
                wait_until(lambda: client.get("/readyz").status_code == 200)
            yield Running(engine, client)
        finally:
            server.should_exit = True
            thread.join()


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def png(pixels):
    """The bytes of a PNG; pixels: uint8, grey, or blue, green, red."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def flat(side=200):
    """A grey wall."""
    return png(np.full((side, side), 120, np.uint8))


def bomb(side):
    """A PNG of side x side pixels, all the same: a thousandth as many bytes."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def scan_bomb(num_scans):
    """A progressive JPEG whose last scan stands in it so many times more."""
    file = io.BytesIO()
    Image.new("L", (640, 640), 90).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * num_scans + data[-2:]


def webp_bomb():
    """An animated WebP of two tiny frames that claims the largest size there is."""
    file = io.BytesIO()
    frame = Image.new("RGB", (16, 16), "red")
    frame.save(file, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    data = bytearray(file.getvalue())
    size = data.index(b"VP8X") + 12
    data[size : size + 6] = (16_383).to_bytes(3, "little") * 2
    return bytes(data)
