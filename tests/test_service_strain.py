"""The service under strain, as a process of its own: hostile uploads, whatever its OpenAPI file allows, and a promotion
while fifty clients send requests."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from finished_run import finish
from running_service import bomb, flat, png, scan_bomb, webp_bomb
from served_process import served

from fer_tasks import registry
from fer_tasks.run_directory import RunDirectory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MB = 1_000_000
NUM_CLIENTS = 50
NOISE = np.random.default_rng(1).bytes(9 * MB)
CROP = png(np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8))


@pytest.fixture(scope="module")
def run_dir(registry_home, tmp_path_factory):
    made = finish(RunDirectory(tmp_path_factory.mktemp("runs") / "first"), "strained")
    registry.run(made)
    return made


@pytest.fixture(scope="module")
def service(run_dir, tmp_path_factory):
    with served(tmp_path_factory.mktemp("service"), model="strained", timeout_seconds=300) as running:
        yield running


@pytest.fixture
def greatest_memory(service):
    """A function that ends the watch and says how many bytes the service's memory grew by, at most."""
    before, seen, is_over = service.memory(), [0], threading.Event()

    def look():
        while not is_over.wait(0.005):
            seen.append(service.memory())

    thread = threading.Thread(target=look)
    thread.start()

    def growth():
        is_over.set()
        thread.join()
        return max(seen) - before

    yield growth
    growth()


def upload(service, content, name="picture"):
    return httpx.post(f"{service.address}/v1/predict", files={name: content}, timeout=600)


def test_200_mb_are_refused_without_being_kept(service, greatest_memory):
    """By what they announce, and, where they announce nothing, by what has come."""
    answer = upload(service, bytes(200 * MB))
    assert (answer.status_code, answer.json()["error"]) == (413, "upload_too_large")
    head = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    pieces = (bytes(65_536) for _ in range(200 * MB // 65_536))
    answer = httpx.post(
        f"{service.address}/v1/predict",
        content=(piece for part in ((head,), pieces) for piece in part),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        timeout=60,
    )
    assert (answer.status_code, answer.json()["error"]) == (413, "upload_too_large")
    assert greatest_memory() < 40 * MB


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: bomb(30_000), 413),
        (webp_bomb, 413),
        (lambda: scan_bomb(30_000), 422),
        (lambda: flat(2000)[:-1000], 422),
        (lambda: NOISE, 415),
        (lambda: flat()[:33] + NOISE, 415),
        (lambda: b"\xff\xd8\xff\xe0" + NOISE, 422),
        (lambda: b"GIF89a\x40\x00\x40\x00\x00\x00\x00" + NOISE, 413),
    ],
    ids=["bomb", "WebP bomb", "scans", "truncated", "noise", "noise in PNG", "noise in JPEG", "noise in GIF"],
)
def test_what_is_no_picture_is_refused_without_much_memory(service, greatest_memory, make, status):
    content = make()
    answers = [upload(service, content) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {status}
    assert greatest_memory() < 150 * MB
    assert upload(service, CROP).status_code == 200


def test_the_largest_pictures_that_are_allowed_take_a_bounded_memory(service, greatest_memory):
    """Ten at once, 25 megapixels each, of which two are worked on: half a gigabyte each, most of it the detector's."""
    content, statuses = bomb(5000), []
    threads = [
        threading.Thread(target=lambda: statuses.append(upload(service, content).status_code)) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 10
    assert greatest_memory() < 1300 * MB


def test_schemathesis_finds_no_fault(service, tmp_path):
    """Whatever the OpenAPI file allows, and what it does not: no 5xx, and only answers that it describes.

    Not asked is `positive_data_acceptance`: no schema can say that bytes have to be those of a picture.
    """
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.address}/openapi.json"]
    command += ["--exclude-checks", "positive_data_acceptance", "--max-examples", "50", "--seed", "1"]
    command += ["--continue-on-failure", "--no-color", "--request-timeout", "60"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout
    assert "Tested: 7" in answer.stdout
    assert "Traceback" not in service.log.read_text()


def test_a_promotion_drops_no_request_of_fifty_clients(registry_home, tmp_path):
    registry.run(finish(RunDirectory(tmp_path / "first"), "busy"))
    second = finish(RunDirectory(tmp_path / "second"), "busy")
    answers = [[] for _ in range(NUM_CLIENTS)]
    is_over = threading.Event()

    def client(own):
        with httpx.Client(base_url=service.address, timeout=60) as session:
            while not is_over.is_set():
                answer = session.post("/v1/predict", files={"picture": CROP})
                own.append((answer.status_code, answer.json().get("model", {}).get("version")))

    with served(tmp_path, model="busy", queue=64, check_seconds=0.5) as service:
        threads = [threading.Thread(target=client, args=(own,)) for own in answers]
        for thread in threads:
            thread.start()
        wait_for(lambda: all(len(own) > 3 for own in answers))
        registry.run(second)
        wait_for(lambda: all(own[-1] == (200, 2) for own in answers))
        is_over.set()
        for thread in threads:
            thread.join()
        log = service.log.read_text()
    for own in answers:
        assert {status for status, _ in own} == {200}
        versions = [version for _, version in own]
        assert versions == sorted(versions)
        assert set(versions) == {1, 2}
    assert "champion version 2 serves." in log
    assert "Traceback" not in log


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)


def test_the_service_ends_when_it_is_told_to(run_dir, tmp_path):
    with served(tmp_path, model="strained") as service:
        assert upload(service, CROP).status_code == 200
    assert service.process.returncode == -signal.SIGTERM  # uvicorn hands the signal on when all is answered
    assert f"The page and the API are at {service.address}; Ctrl-C ends the service." in service.log.read_text()
