"""Which model the service answers with, and how much it works on at once."""

import asyncio
import shutil
import threading

import numpy as np
import pytest
from finished_run import finish
from running_service import png, serving

from fer_tasks import registry
from fer_tasks.model import import_keras, load_model, predict_probabilities
from fer_tasks.run_directory import RunDirectory
from service.engine import Engine
from service.limits import ServiceLimits
from service.refusals import Refusal

CROP = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)


@pytest.fixture
def finished(tmp_path):
    """finished(run name, model name) -> a run that came through the gate."""

    def make(run_name, registered_model):
        return finish(RunDirectory(tmp_path / run_name), registered_model)

    return make


def watch_of(name):
    return Engine.of(ServiceLimits(model=name)).watch


def test_a_promoted_model_serves_without_a_restart(registry_home, finished):
    registry.run(finished("first", "exchanged"))
    with serving(model="exchanged") as service:
        before = service.post("/v1/predict", png(CROP)).json()
        second = finished("second", "exchanged")
        registry.run(second)
        service.engine.watch.look()
        after = service.post("/v1/predict", png(CROP))
        assert (before["model"]["version"], after.json()["model"]["version"]) == (1, 2)
        assert service.client.get("/v1/model").json()["run_folder"] == "second"
        expected = predict_probabilities(load_model(second.model), CROP[None, ..., None] / np.float32(255))[0]
        (face,) = after.json()["faces"]
        assert list(face["probabilities"].values()) == pytest.approx(expected.tolist(), abs=2e-6)
        text = service.client.get("/metrics").text
        assert 'fer_model_info{source="champion",version="2"} 1.0' in text
        assert 'version="1"' not in text
        assert "fer_model_exchanges_total 2.0" in text


def test_a_champion_that_cannot_be_loaded_leaves_the_former_one_serving(registry_home, finished):
    registry.run(finished("first", "broken"))
    watch = watch_of("broken")
    watch.look()
    before = set((registry_home / "mlflow-artifacts").rglob("*.keras"))
    registry.run(finished("second", "broken"))
    for file in set((registry_home / "mlflow-artifacts").rglob("*.keras")) - before:
        shutil.rmtree(file.parent.parent)
    watch.look()
    assert watch.current().description.version == 1
    assert watch.problem.startswith("Version 2 of broken cannot serve: models:/broken/2 has no files any more.")


def test_a_champion_of_another_shape_does_not_serve(registry_home, finished):
    run_dir = finished("other", "shaped")
    keras = import_keras()
    face = keras.Input((48, 48, 1))
    three = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(face))
    keras.Model(face, three).save(run_dir.model)
    registry.run(run_dir)
    watch = watch_of("shaped")
    watch.look()
    assert "The model takes (None, 48, 48, 1) and gives (None, 3); expected" in watch.problem
    with pytest.raises(Refusal) as caught:
        watch.current()
    assert caught.value.status_code == 503
    assert "gives (None, 3)" in caught.value.problem.to_do


def test_a_registry_that_is_away_changes_nothing_and_is_told_of(registry_home, finished, monkeypatch, tmp_path):
    registry.run(finished("first", "away"))
    watch = watch_of("away")
    watch.look()
    (tmp_path / "file").touch()
    monkeypatch.setenv("FER_HOME", str(tmp_path / "file"))
    watch.look()
    assert watch.current().description.version == 1
    assert watch.problem.startswith("The registry cannot be asked: ")
    monkeypatch.setenv("FER_HOME", str(registry_home))
    watch.look()
    assert watch.problem == ""


def test_a_service_that_never_reached_the_registry_is_not_ready(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FER_HOME", str(tmp_path / "file"))
    watch = watch_of("fer-classifier")
    watch.look()
    with pytest.raises(Refusal) as caught:
        watch.current()
    assert "The registry cannot be asked: " in caught.value.problem.to_do


def test_without_a_champion_the_weights_of_the_project_serve_and_say_so(registry_home):
    watch = watch_of("nobody-yet")
    watch.look()
    served = watch.current()
    told = served.description
    assert (told.source, told.name, told.version) == ("pretrained", "nobody-yet", None)
    assert told.sha256.startswith("ca8069a9d099")
    assert round(told.metrics["single_view_accuracy"], 3) == 0.699
    assert told.note.startswith("The registry has no champion of 'nobody-yet'; the weights that come with the project")
    assert served.settings.crop_side == 44
    watch.look()
    assert watch.current() is served


def test_work_is_bounded_waits_and_is_given_up_in_words():
    """One slot, held by work that ends when it is told to."""
    slots = Engine.of(ServiceLimits(concurrency=1, queue=1, timeout_seconds=0.2)).slots
    may_end, deadlines = threading.Event(), []

    async def scenario():
        with pytest.raises(Refusal) as too_long:
            await slots.work(lambda deadline: (deadlines.append(deadline), may_end.wait()))
        with pytest.raises(Refusal) as no_slot:
            await slots.work(lambda deadline: deadlines.append(deadline))
        may_end.set()
        answers = await asyncio.gather(*(slots.work(lambda _, number=number: number) for number in range(5)))
        return too_long.value, no_slot.value, answers

    too_long, no_slot, answers = asyncio.run(scenario())
    assert (too_long.status_code, too_long.problem.error) == (504, "work_took_too_long")
    assert (no_slot.status_code, no_slot.problem.error) == (503, "no_slot_in_time")
    assert no_slot.headers == {"Retry-After": "1"}
    assert (answers, len(deadlines)) == ([0, 1, 2, 3, 4], 1)


def test_an_error_in_the_work_frees_the_slot():
    slots = Engine.of(ServiceLimits(concurrency=1)).slots

    async def scenario():
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await slots.work(lambda _: 1 // 0)
        return await slots.work(lambda _: "done")

    assert asyncio.run(scenario()) == "done"


def test_settings_come_from_the_environment():
    limits = ServiceLimits.from_environment(
        {"FER_SERVICE_PORT": "9000", "FER_SERVICE_TIMEOUT_SECONDS": "2", "HOME": "/"}
    )
    assert (limits.port, limits.timeout_seconds, limits.host, limits.max_upload_mb) == (9000, 2.0, "127.0.0.1", 10)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FER_SERVICE_PORT", "0", "'port' is 0; allowed: 1 to 65535"),
        ("FER_SERVICE_PORT", "many", "FER_SERVICE_PORT is 'many'; expected an integer"),
        ("FER_SERVICE_TIMEOUT_SECONDS", "nan", "'timeout_seconds' is nan"),
        ("FER_SERVICE_MAX_MEGAPIXELS", "100", "allowed: 1 to 80"),
        ("FER_SERVICE_ADDRESS", "::", "There is no setting FER_SERVICE_ADDRESS. Known settings: FER_SERVICE_HOST,"),
    ],
)
def test_a_wrong_setting_ends_the_service_in_words(monkeypatch, capsys, name, value, words):
    from service.__main__ import main

    monkeypatch.setenv(name, value)
    assert main() == 2
    assert words in capsys.readouterr().err
