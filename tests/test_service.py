"""The service over HTTP: its answers beside those of the command, what it refuses, and with which words."""

import csv
import http.client
import io
import socket
from typing import get_args

import cv2
import numpy as np
import pytest
from drawn_scene import scene
from finished_run import finish
from prometheus_client.parser import text_string_to_metric_families
from running_service import bomb, flat, png, scan_bomb, serving, wait_until

from fer_tasks import predict, registry
from fer_tasks.emotions import EMOTIONS
from fer_tasks.model import load_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory
from service.answers import Emotion
from service.protection import API_POLICY, PAGE_POLICY

CROP = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)


@pytest.fixture(scope="module")
def run_dir(registry_home, tmp_path_factory):
    """The run whose model is the champion of `served`."""
    made = finish(RunDirectory(tmp_path_factory.mktemp("runs") / "first"), "served")
    registry.run(made)
    return made


@pytest.fixture(scope="module")
def service(run_dir):
    with serving(model="served", max_megapixels=4, max_upload_mb=1, max_batch=3, max_batch_mb=2) as running:
        yield running


def test_a_picture_is_answered_as_the_command_answers_it(service, run_dir, tmp_path, capsys):
    (tmp_path / "photo.png").write_bytes(png(scene()))
    assert predict.main([str(tmp_path / "photo.png"), "--model", str(run_dir.root)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    answer = service.post("/v1/predict", png(scene()))
    assert answer.status_code == 200
    told = answer.json()
    assert (told["width"], told["height"], told["faces_found"], len(told["faces"])) == (640, 320, 3, 3)
    for face, row in zip(told["faces"], rows, strict=True):
        assert face["box"] == {side: float(row[side]) for side in ("left", "top", "width", "height")}
        assert 0.4 <= face["detection_score"] <= 1
        assert face["emotion"] == row["emotion"]
        expected = {emotion: float(row[f"probability_{emotion}"]) for emotion in EMOTIONS}
        assert face["probabilities"] == pytest.approx(expected, abs=2e-6)
        assert face["confidence"] == max(face["probabilities"].values())


def test_every_answer_names_its_model(service, run_dir):
    answer = service.post("/v1/predict", png(CROP))
    sha256 = registry.find_champion("served").model_sha256
    assert answer.json()["model"] == {"source": "champion", "name": "served", "version": 1, "sha256": sha256}
    assert (answer.headers["x-model-source"], answer.headers["x-model-version"]) == ("champion", "1")
    told = service.client.get("/v1/model").json()
    assert (told["version"], told["sha256"], told["run_folder"]) == (1, sha256, "first")
    assert (told["metrics"]["accuracy"], told["metrics"]["num_images"]) == (0.5, 2)
    assert told["note"] == "It was trained on drawn faces: do not rely on what it says of photographs."
    assert told["problem"] == ""
    assert told["promoted_at"].endswith("+00:00")


def test_a_small_picture_is_taken_as_a_face(service, run_dir):
    (face,) = service.post("/v1/predict", png(CROP)).json()["faces"]
    expected = predict_probabilities(load_model(run_dir.model), CROP[None, ..., None] / np.float32(255))[0]
    assert [face["probabilities"][emotion] for emotion in EMOTIONS] == pytest.approx(expected.tolist(), abs=2e-6)
    assert (face["box"], face["detection_score"]) == (None, None)


@pytest.mark.parametrize(("detect", "num_faces"), [("auto", 0), ("always", 0), ("never", 1)])
def test_whether_faces_are_searched_can_be_said(service, detect, num_faces):
    answer = service.post("/v1/predict", flat(), params={"detect": detect})
    assert (answer.status_code, len(answer.json()["faces"])) == (200, num_faces)
    small = service.post("/v1/predict", png(CROP), params={"detect": detect})
    assert len(small.json()["faces"]) == (0 if detect == "always" else 1)


def test_of_too_many_faces_the_largest_are_classified(run_dir):
    with serving(model="served", max_faces=2) as service:
        told = service.post("/v1/predict", png(scene())).json()
    assert told["faces_found"] == 3
    assert [face["box"]["height"] for face in told["faces"]] == [119.7, 124.0]


def test_a_batch_is_answered_in_order_whatever_is_wrong_with_one_of_it(service):
    answer = service.post("/v1/predict/batch", png(CROP), b"no picture", png(scene()), field="pictures")
    assert answer.status_code == 200
    first, second, third = answer.json()["pictures"]
    assert [item["file_name"] for item in (first, second, third)] == ["0.png", "1.png", "2.png"]
    assert (len(first["picture"]["faces"]), len(third["picture"]["faces"])) == (1, 3)
    assert (second["picture"], second["problem"]["error"]) == (None, "not_an_image")
    alone = service.post("/v1/predict", png(scene())).json()
    for face, same in zip(third["picture"]["faces"], alone["faces"], strict=True):
        assert face["probabilities"] == pytest.approx(same["probabilities"], abs=2e-6)
    assert answer.json()["model"] == alone["model"]


def test_an_explanation_is_a_picture_of_the_face_and_its_regions(service):
    answer = service.post("/v1/explain", png(CROP), params={"emotion": "sad"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    (face,) = service.post("/v1/predict", png(CROP)).json()["faces"]
    assert answer.headers["x-emotion"] == "sad"
    assert float(answer.headers["x-probability"]) == pytest.approx(face["probabilities"]["sad"], abs=0.02)
    assert answer.headers["x-reliable"] in ("true", "false")
    assert answer.headers["x-model-version"] == "1"
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (384, 768, 3)
    assert (picture[::8, :384:8, 0] == CROP).all()


TRUNCATED = png(scene())[:20_000]
TEXT_FIELD = b'--x\r\nContent-Disposition: form-data; name="picture"\r\n\r\ntext\r\n--x--\r\n'
FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("path", "files", "status", "error"),
    [
        ("/v1/predict", [b"plain text"], 415, "not_an_image"),
        ("/v1/predict", [b"<svg xmlns='http://www.w3.org/2000/svg'/>"], 415, "not_an_image"),
        ("/v1/predict", [b""], 422, "damaged_image"),
        ("/v1/predict", [TRUNCATED], 422, "damaged_image"),
        ("/v1/predict", [bomb(20_000)], 413, "image_too_large"),
        ("/v1/predict", [scan_bomb(33)], 422, "too_many_scans"),
        ("/v1/predict", [bytes(1_010_000)], 413, "upload_too_large"),
        ("/v1/predict", [bytes(1_100_000)], 413, "upload_too_large"),
        ("/v1/explain", [b"plain text"], 415, "not_an_image"),
        ("/v1/explain", [flat()], 422, "no_such_face"),
        ("/v1/explain?face=3", [png(scene())], 422, "no_such_face"),
        ("/v1/explain?face=-1", [png(CROP)], 422, "invalid_request"),
        ("/v1/explain?emotion=bored", [png(CROP)], 422, "invalid_request"),
        ("/v1/predict?detect=perhaps", [png(CROP)], 422, "invalid_request"),
        ("/v1/predict/batch", [png(CROP)] * 4, 413, "batch_too_large"),
        ("/v1/predict/batch", [bytes(700_000)] * 3, 413, "upload_too_large"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_in_words(service, path, files, status, error):
    answer = service.post(path, *files, field="pictures" if "batch" in path else "picture")
    told = answer.json()
    assert (answer.status_code, told["error"]) == (status, error)
    assert sorted(told) == ["came", "error", "expected", "to_do"]
    assert all(told.values())


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status", "error"),
    [
        ("POST", "/v1/predict", b"{}", "application/json", 415, "not_a_form"),
        ("POST", "/v1/predict", png(CROP), "image/png", 415, "not_a_form"),
        ("POST", "/v1/predict", b"", FORM, 422, "invalid_request"),
        ("POST", "/v1/predict", b"--x\r\nno header\r\n\r\n", FORM, 400, "bad_request"),
        ("POST", "/v1/predict", b"--x--", "multipart/form-data", 400, "bad_request"),
        ("POST", "/v1/predict", TEXT_FIELD, FORM, 422, "invalid_request"),
        ("GET", "/v1/predict", b"", "", 405, "method_not_allowed"),
        ("POST", "/healthz", b"", "", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", b"", "", 404, "not_found"),
    ],
)  # fmt: skip
def test_what_is_no_form_or_no_address_is_refused_in_words(service, method, path, content, kind, status, error):
    answer = service.client.request(method, path, content=content, headers={"Content-Type": kind} if kind else {})
    told = answer.json()
    assert (answer.status_code, told["error"]) == (status, error)
    assert sorted(told) == ["came", "error", "expected", "to_do"]


def test_an_upload_that_announces_too_much_is_refused_before_it_is_sent(service):
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: 200000000\r\n\r\n"
    with socket.create_connection(service.address, timeout=30) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"a body of 200,000,000 bytes" in answer


def test_an_upload_that_announces_nothing_is_refused_as_soon_as_it_is_too_much(service):
    """An endless body: the answer can only come while it is sent."""

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        while True:
            yield bytes(65_536)

    answer = service.client.post("/v1/predict", content=endless(), headers={"Content-Type": FORM})
    assert answer.status_code == 413
    assert answer.json()["came"] == "a body of more than 1,065,536 bytes"
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "[::1]"])
def test_the_service_answers_to_its_names(service, host):
    headers = {"Host": host.format(port=service.engine.limits.port)}
    assert service.client.get("/healthz", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["rebound.example.org", "127.0.0.1.example.org:80", "localhost.example.org", ""])
def test_the_service_answers_to_no_other_name(service, host):
    answer = service.client.get("/v1/model", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]) == (421, "unknown_host")


def test_any_name_will_do_where_that_was_chosen(run_dir):
    with serving(is_started=False, allowed_hosts="*") as service:
        assert service.client.get("/healthz", headers={"Host": "any.example.org"}).status_code == 200


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)])
def test_pages_of_others_cannot_let_it_work(service, site, status):
    assert service.post("/v1/predict", png(CROP), headers={"Sec-Fetch-Site": site}).status_code == status


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/icon.svg", "/v1/model", "/nothing", "/openapi.json"])
def test_every_answer_carries_the_protecting_headers(service, path):
    headers = service.client.get(path, headers={"Origin": "https://example.org"}).headers
    assert headers["content-security-policy"] == (PAGE_POLICY if path == "/" else API_POLICY)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in headers if name.startswith("access-control") or name == "server"]


def test_the_policies_allow_nothing_that_is_not_the_service_s_own():
    assert API_POLICY == "default-src 'none'; frame-ancestors 'none'"
    allowed = dict(rule.split(" ", 1) for rule in PAGE_POLICY.split("; "))
    assert allowed["default-src"] == "'none'"
    assert set(" ".join(allowed.values()).split()) == {"'none'", "'self'", "blob:"}


def test_what_happened_is_counted(service):
    def counted():
        text = service.client.get("/metrics").text
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    before = counted()
    service.post("/v1/predict", png(scene()))
    service.post("/v1/predict", b"plain text")
    service.client.get("/nothing/at/all")
    after = counted()

    def change(*key):
        return after[key] - before.get(key, 0)

    assert change("fer_requests_total", "POST", "/v1/predict", "200") == 1
    assert change("fer_requests_total", "POST", "/v1/predict", "415") == 1
    assert change("fer_requests_total", "GET", "other", "404") == 1
    assert change("fer_pictures_total") == 1
    assert sum(change("fer_faces_total", emotion) for emotion in EMOTIONS if ("fer_faces_total", emotion) in after) == 3
    assert after["fer_model_info", "champion", "1"] == 1
    assert (after["fer_requests_inside",], after["fer_slots_in_use",]) == (0, 0)
    assert after["process_resident_memory_bytes",] > 0


def test_the_openapi_file_documents_every_answer_with_an_example(service):
    document = service.client.get("/openapi.json").json()
    assert sorted(document["paths"]) == [
        "/healthz", "/metrics", "/readyz", "/v1/explain", "/v1/model", "/v1/predict", "/v1/predict/batch",
    ]  # fmt: skip
    schemas = document["components"]["schemas"]
    assert {"came", "error", "expected", "to_do"} == set(schemas["Problem"]["required"])
    for name in ("Answer", "BatchAnswer", "ModelDescription", "Problem", "Face", "Health"):
        assert schemas[name]["example"], name
    for path, item in document["paths"].items():
        for operation in item.values():
            told = [status for status in operation["responses"] if status != "200"]
            assert "421" in told
            assert path in ("/healthz", "/metrics") or "503" in told
            for status in told:
                content = operation["responses"][status]["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert "image/png" in document["paths"]["/v1/explain"]["post"]["responses"]["200"]["content"]


def test_before_a_model_is_ready_the_service_lives_and_says_so():
    with serving(is_started=False) as service:
        assert service.client.get("/healthz").json() == {"status": "alive"}
        for answer in (service.client.get("/readyz"), service.post("/v1/predict", png(CROP))):
            assert (answer.status_code, answer.json()["error"], answer.headers["retry-after"]) == (
                503,
                "not_ready",
                "1",
            )


def test_the_type_of_an_emotion_is_emotions():
    assert get_args(Emotion) == EMOTIONS


def start_upload(address):
    """A connection that has begun an upload and does not go on with it."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.putrequest("POST", "/v1/predict")
    for name, value in (("Content-Type", FORM), ("Content-Length", "5000")):
        connection.putheader(name, value)
    connection.endheaders(b"--x\r\n")
    return connection


def test_beyond_the_queue_requests_are_told_to_come_again(run_dir):
    with serving(model="served", concurrency=1, queue=1) as service:
        uploads = [start_upload(service.address) for _ in range(2)]
        wait_until(lambda: "fer_requests_inside 2.0" in service.client.get("/metrics").text)
        answer = service.post("/v1/predict", png(CROP))
        assert (answer.status_code, answer.json()["error"]) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == "1"
        uploads.pop().close()
        wait_until(lambda: service.post("/v1/predict", png(CROP)).status_code == 200)
        uploads.pop().close()


def test_an_upload_that_does_not_go_on_is_ended(run_dir):
    with serving(model="served", timeout_seconds=0.5) as service:
        upload = start_upload(service.address)
        answer = upload.getresponse()
        assert (answer.status, b"5 bytes in 0.5 s" in answer.read()) == (408, True)
        upload.close()
