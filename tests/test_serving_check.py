"""The saved model in a real fresh process: what it answers, and what is said when it does not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bar_models import bar_model
from tiny_faces import write_faces

from fer_tasks import serving_check
from fer_tasks.dataset import load_split
from fer_tasks.model import predict_probabilities
from fer_tasks.serving_check import ServingCheck

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture
def saved(make_run):
    """A run with a model and 40 test faces; the faces; the model's probabilities of them."""
    run_dir = make_run()
    write_faces(run_dir, {"test": 40})
    faces, model = load_split(run_dir, "test"), bar_model()
    model.save(run_dir.model)
    return run_dir, faces, predict_probabilities(model, faces.pixels)


def test_a_fresh_process_gives_the_same_answers_and_is_timed(saved):
    run_dir, faces, probabilities = saved
    check = serving_check.run(run_dir, faces, probabilities)
    assert check.problem is None
    assert (check.num_faces, check.file_bytes) == (16, run_dir.model.stat().st_size)
    assert check.served.deviation < 1e-5
    assert 0 < check.served.p50_milliseconds <= check.served.p99_milliseconds
    assert check.served.load_seconds > 0
    assert check.served.images_per_second > 0
    assert run_dir.load_json(run_dir.serving_check_json, ServingCheck) == check
    with np.load(run_dir.golden_predictions) as golden:
        assert golden["faces"].shape == (16, 48, 48, 1)
        assert (golden["faces"][-1] == faces.pixels[-1]).all()
        assert (golden["probabilities"][0] == probabilities[0]).all()


def test_another_answer_than_at_evaluation_is_measured(saved):
    run_dir, faces, probabilities = saved
    probabilities[-1] = np.roll(probabilities[-1], 1)
    check = serving_check.run(run_dir, faces, probabilities)
    expected = np.abs(probabilities[-1] - np.roll(probabilities[-1], -1)).max()
    assert check.served.deviation == pytest.approx(expected, abs=1e-4)
    assert expected > 0.5


def test_a_file_that_is_no_model_is_recorded_with_the_reason_and_raises_nothing(saved):
    run_dir, faces, probabilities = saved
    run_dir.model.write_bytes(b"PK no model")
    check = serving_check.run(run_dir, faces, probabilities)
    assert check.served is None
    assert check.problem.startswith("The fresh process ended with status 1: ")
    assert "cannot be read as a Keras model" in check.problem
    assert json.loads(run_dir.serving_check_json.read_text())["problem"] == check.problem


def test_no_answer_in_time_is_recorded(saved):
    check = serving_check.run(*saved, timeout_seconds=0.05)
    assert check.served is None
    assert check.problem == "The fresh process gave no answer within 0.05 s."


def test_what_tensorflow_says_stays_out_of_the_answer(saved):
    run_dir, faces, probabilities = saved
    np.savez(run_dir.golden_predictions, faces=faces.pixels[:2], probabilities=probabilities[:2])
    command = [sys.executable, "-m", "fer_tasks.serving_check", run_dir.model, run_dir.golden_predictions]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    (answer,) = done.stdout.splitlines()
    assert set(json.loads(answer)) == {
        "deviation", "load_seconds", "p50_milliseconds", "p99_milliseconds", "images_per_second",
    }  # fmt: skip
