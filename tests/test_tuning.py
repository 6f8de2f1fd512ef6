"""The search for settings: a real Optuna study in a journal, real trainings of a few epochs."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState
from searched_run import VALUES, add_complete, make_search_run, opened
from tiny_faces import write_faces

from fer_tasks import search_space, study, study_record, study_report, training, trials
from fer_tasks.errors import SettingsError, TrainingError
from fer_tasks.presets import PRESETS
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from fer_tasks.study_page import history_chart, make_command
from fer_tasks.study_record import StudyRecord, TrialRecord
from fer_tasks.tuning_settings import TuningSettings

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make_search(tmp_path, monkeypatch):
    """make_search(run_id, **settings) -> RunDirectory as preprocess_faces leaves it, two tiny trials by default."""
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))
    monkeypatch.delenv("FER_OPTUNA_STORAGE", raising=False)
    return make_search_run


def states(opened_study):
    return [trial.state.name for trial in opened_study.trials]


def test_the_studys_settings_are_kept_apart_from_those_of_the_run(make_search):
    run_dir = make_search(num_trials=5, learning_rate=0.3)
    assert json.loads(run_dir.tuning_json.read_text()) == {
        "study_name": "study",
        "num_trials": 5,
        "max_parallel_trials": 2,
        "epochs_per_trial": 1,
        "prune": True,
    }
    assert run_dir.load_settings().learning_rate == 0.3
    assert TuningSettings.load(run_dir).num_trials == 5
    with pytest.raises(SettingsError, match=r"'num_trails'.*Did you mean 'num_trials'"):
        TuningSettings.from_params({"num_trails": 3})
    with pytest.raises(SettingsError, match="study_name"):
        TuningSettings.from_params({"study_name": "../elsewhere"})


def test_the_first_trial_is_the_base_where_the_space_holds_it():
    base = RunSettings(learning_rate=0.1, batch_size=32, label_smoothing=0.0, self_distillation=0.5, crop_side=48)
    assert search_space.starting_point(base) == {
        "learning_rate": 0.1,
        "batch_size": 32,
        "label_smoothing": 0.0,
        "self_distillation": 0.5,
        "crop_side": 48,
    }
    for outside in ({"batch_size": 50}, {"learning_rate": 5.0}, {"crop_side": 41}):
        assert search_space.starting_point(replace(base, **outside)) == {}


def test_a_study_is_run_chosen_from_and_published(make_search):
    run_dir = make_search()
    assert study.run(run_dir) == [0, 1]
    assert trials.run(run_dir, 0) == 2
    assert trials.run(run_dir, 1) == 0
    done = opened(run_dir)
    assert states(done) == ["COMPLETE", "COMPLETE"]
    assert (done.trials[0].params["learning_rate"], done.trials[0].params["batch_size"]) == (0.05, 64)
    assert done.trials[0].params != done.trials[1].params

    trial_dir = RunDirectory.for_study("study").trial(1)
    settings = trial_dir.load_settings()
    assert (settings.epochs, settings.patience, settings.architecture) == (1, 1, "paper_cnn")
    assert settings.crop_side == done.trials[1].params["crop_side"]
    history = json.loads(trial_dir.history_json.read_text())
    assert done.trials[1].value == history["epochs"][0]["val_accuracy"]
    assert not trial_dir.checkpoint_folder.exists()
    assert not trial_dir.faces.exists()

    conf = study_record.run(run_dir)
    assert list(conf) == ["architecture", "augment", "precision", *VALUES]
    tried = RunSettings.from_params(conf)
    best = max(done.trials, key=lambda trial: (trial.value, -trial.number))
    assert {name: getattr(tried, name) for name in VALUES} == best.params
    assert (tried.architecture, tried.epochs) == ("paper_cnn", PRESETS["sample"]["epochs"])

    page = study_report.run(run_dir)
    record = run_dir.load_json(run_dir.study_json, StudyRecord)
    assert [(trial.number, trial.state, trial.epochs) for trial in record.trials] == [
        (0, "complete", 1),
        (1, "complete", 1),
    ]
    assert record.best.conf == conf
    html = page.read_text()
    assert f"Trial {best.number} is best" in html
    assert html.count("<tr") == 3
    assert "make run CONF=" in html
    assert "publish_study" not in html
    assert not re.search(r"<script|https?://", html)


def test_the_same_name_goes_on_with_the_study(make_search):
    first = make_search(num_trials=2)
    study.run(first)
    for accuracy in (0.5, 0.6):
        trial = study.claim(opened(first), "first 0", seed=1)
        search_space.suggest(trial)
        opened(first).tell(trial, accuracy)
    again = make_search("second", num_trials=3)
    assert study.run(again) == [0]
    assert states(opened(again)) == ["COMPLETE", "COMPLETE", "WAITING"]
    assert study.run(make_search("third", num_trials=1)) == [0]
    assert len(opened(again).trials) == 3


def test_a_study_begun_on_other_data_or_settings_is_refused(make_search):
    study.run(make_search())
    with pytest.raises(SettingsError, match=r"'study' was begun differently \(seed was 7 and is 8\).*`study_name`"):
        study.run(make_search("second", seed=8))
    with pytest.raises(SettingsError, match=r"SHA-256 was 'abab"):
        study.run(make_search("third", dataset_sha256="cd" * 32))
    assert study.run(make_search("fourth", learning_rate=0.3, min_accuracy=0.1)) == [0, 1]


def test_a_trial_below_the_median_is_pruned_after_its_first_epochs(make_search):
    run_dir = make_search(num_trials=4, epochs_per_trial=3, learning_rate=0.005)
    for _ in range(3):
        add_complete(opened(run_dir), 1.0, 1.0, 1.0)
    study.run(run_dir)
    trials.run(run_dir, 0)
    pruned = opened(run_dir).trials[3]
    assert pruned.state == TrialState.PRUNED
    assert list(pruned.intermediate_values) == [1]
    assert pruned.user_attrs["reason"] == "below the median of the others after epoch 1"

    unpruned = make_search("second", num_trials=5, epochs_per_trial=3, prune=False)
    study.run(unpruned)
    trials.run(unpruned, 0)
    assert states(opened(unpruned)) == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]
    assert list(opened(unpruned).trials[4].intermediate_values) == [1, 2, 3]


def test_a_diverged_trial_is_stopped_with_its_reason_and_nothing_to_choose_is_said(make_search, monkeypatch):
    monkeypatch.setattr(training, "WEIGHT_DECAY", 1e30)  # no learning rate within the bounds diverges for certain
    run_dir = make_search(num_trials=1, epochs_per_trial=2)
    write_faces(run_dir, {"train": 140})
    study.run(run_dir)
    trials.run(run_dir, 0)
    diverged = opened(run_dir).trials[0]
    assert diverged.state == TrialState.PRUNED
    assert "diverged" in diverged.user_attrs["reason"]
    with pytest.raises(TrainingError, match=r"No trial of the study 'study' was completed"):
        study_record.run(run_dir)
    html = study_report.run(run_dir).read_text()
    assert "No trial was completed" in html
    assert "Trials: 1 pruned; 2 epochs each at most." in html
    assert "make run" not in html


def claim_all(folder, lane, found, start):
    os.environ["FER_RUNS_FOLDER"] = folder
    run_dir = RunDirectory.for_run_id("first")
    shared = opened(run_dir)
    start.wait(120)
    while trial := study.claim(shared, f"first {lane}", seed=1):
        found.put(trial.number)
        shared.tell(trial, 0.5)


def test_two_lanes_never_take_the_same_trial_and_never_one_too_many(make_search, tmp_path):
    run_dir = make_search(num_trials=40)
    study.run(run_dir)
    spawn = multiprocessing.get_context("spawn")
    found, start = spawn.Queue(), spawn.Barrier(2)
    lanes = [spawn.Process(target=claim_all, args=(str(tmp_path), lane, found, start)) for lane in range(2)]
    for lane in lanes:
        lane.start()
    numbers = [found.get(timeout=120) for _ in range(40)]
    for lane in lanes:
        lane.join(60)
    assert sorted(numbers) == list(range(40))
    assert found.empty()
    assert states(opened(run_dir)) == ["COMPLETE"] * 40


def test_a_database_may_keep_the_study(make_search, tmp_path, monkeypatch):
    run_dir = make_search()
    monkeypatch.setenv("FER_OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'studies.db'}")
    assert study.run(run_dir) == [0, 1]
    claimed = [study.claim(opened(run_dir), f"first {lane}", seed=1) for lane in range(3)]
    assert [trial and trial.number for trial in claimed] == [0, 1, None]
    assert not RunDirectory.for_study("study").study_journal.exists()


def test_a_lane_goes_on_with_its_own_open_trial_and_no_other_lane_does(make_search):
    run_dir = make_search()
    study.run(run_dir)
    mine = study.claim(opened(run_dir), "first 0", seed=1)
    proposed = search_space.suggest(mine)
    other = study.claim(opened(run_dir), "first 1", seed=1)
    assert (mine.number, other.number) == (0, 1)
    resumed = study.claim(opened(run_dir), "first 0", seed=1)
    assert resumed.number == 0
    assert search_space.suggest(resumed) == proposed
    assert study.claim(opened(run_dir), "first 2", seed=1) is None


def test_what_a_killed_run_left_open_goes_on_in_the_next_as_another_trial(make_search):
    study.run(make_search())
    left = study.claim(opened(RunDirectory.for_run_id("first")), "first 0", seed=1)
    left.set_user_attr("tries", 1)
    proposed = search_space.suggest(left)
    studied = RunDirectory.for_study("study")
    studied.trial(0).checkpoint_folder.mkdir(parents=True)
    again = make_search("second")
    assert study.run(again) == [0, 1]
    assert states(opened(again)) == ["FAIL", "WAITING", "WAITING"]
    assert opened(again).trials[0].user_attrs["reason"] == "stopped midway; goes on as trial 2"
    assert studied.trial(2).checkpoint_folder.exists()
    numbers = {}
    while trial := study.claim(opened(again), f"second {len(numbers)}", seed=1):
        numbers[trial.number] = trial
    assert search_space.suggest(numbers[2]) == proposed
    assert numbers[2].user_attrs["tries"] == 1


def test_a_killed_lane_goes_on_with_its_trial_from_the_last_epoch(make_search, tmp_path):
    run_dir = make_search(num_trials=1, epochs_per_trial=6)
    study.run(run_dir)
    trial_dir = RunDirectory.for_study("study").trial(0)
    script = f"from fer_tasks import trials, run_directory as r; trials.run(r.RunDirectory({str(run_dir)!r}), 0)"
    lane = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stderr=subprocess.DEVNULL)
    try:
        while not (trial_dir.checkpoint_folder / "last_epoch.npz").exists() and lane.poll() is None:
            time.sleep(0.02)
    finally:
        lane.kill()
        assert lane.wait() == -signal.SIGKILL
    assert states(opened(run_dir)) == ["RUNNING"]
    assert trials.run(run_dir, 0) == 1
    ended = opened(run_dir).trials[0]
    assert (ended.state.name, sorted(ended.intermediate_values)) == ("COMPLETE", [1, 2, 3, 4, 5, 6])
    assert ended.user_attrs["tries"] == 0
    assert len(json.loads(trial_dir.history_json.read_text())["resumed_at_epochs"]) == 1
    assert [attempt.status for attempt in run_dir.attempts("run_trials-0")] == ["running", "succeeded"]


def test_a_trial_that_cannot_be_run_is_given_up_and_replaced(make_search):
    run_dir = make_search(num_trials=1)
    study.run(run_dir)
    blocked = RunDirectory.for_study("study").trial(0).root
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the trial's folder belongs")
    with pytest.raises(OSError, match="trials/0"):
        trials.run(run_dir, 0)
    assert states(opened(run_dir)) == ["RUNNING"]
    assert trials.run(run_dir, 0) == 2
    assert states(opened(run_dir)) == ["FAIL", "COMPLETE"]
    assert "trials/0" in opened(run_dir).trials[0].user_attrs["reason"]


def test_the_page_escapes_what_it_shows_and_tells_a_run_that_did_not_come_to_trials(make_search):
    run_dir = make_search()
    study.run(run_dir)
    for accuracy, rate in ((0.4, 0.01), (0.5, 0.02), (0.6, 0.05), (0.55, 0.1), (0.3, 0.4), (0.2, 0.45)):
        add_complete(opened(run_dir), accuracy, learning_rate=rate)
    trial = study.claim(opened(run_dir), "first 0", seed=1)
    study.fail(opened(run_dir), trial, "<script>alert(1)</script>")
    html = study_report.run(run_dir).read_text()
    record = run_dir.load_json(run_dir.study_json, StudyRecord)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "Trials: 6 complete, 1 failed, 1 waiting; 1 epoch each at most." in html
    assert "Trial 4 is best" in html
    assert sum(record.importances.values()) == pytest.approx(1.0)
    for name in record.importances:
        assert f'<th scope="row">{name}</th>' in html

    with pytest.raises(SettingsError), make_search("second").attempt("plan_trials"):
        raise SettingsError("begun <differently>")
    html = study_report.run(RunDirectory.for_run_id("second")).read_text()
    assert "Stopped in plan_trials" in html
    assert "begun &lt;differently&gt;" in html
    assert not RunDirectory.for_run_id("second").study_json.exists()


def test_the_history_chart_shows_every_accuracy_and_the_best_completed_so_far():
    def tried(number, accuracy, state="complete"):
        return TrialRecord(number, state, {}, accuracy, 1, 1.0, None)

    chart = history_chart([tried(0, 0.5), tried(1, 0.8, "pruned"), tried(2, None, "failed"), tried(3, 0.6)])
    each, best = chart.series
    assert (each.name, len(each.points)) == ("each trial", 3)
    assert (best.name, len(best.points)) == ("best completed so far", 3)
    assert best.points[0][1] == best.points[1][1] > best.points[2][1]
    assert [tick.text for tick in chart.x_ticks] == ["0", "1", "3"]
    assert [(marker.text, marker.at) for marker in chart.markers] == [("best: 3", 466.0)]
    assert history_chart([tried(0, None, "waiting")]) is None


def test_the_command_survives_the_shell_and_make(tmp_path):
    (tmp_path / "Makefile").write_text('export CONF ?= {}\nrun:\n\t@printf %s "$$CONF"\n')
    conf = {"dataset": "/data/it's $HOME here.csv", "learning_rate": 0.02}
    command = ["bash", "-c", make_command(conf).replace("make run", "make -s run")]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == conf
