"""Runs on object storage, against a real S3 server on loopback: what one machine stores, another finds."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from scored_run import passed, score, write_run

from fer_tasks import store_scores
from fer_tasks.errors import DatasetError, PipelineError
from fer_tasks.retention import clean_runs
from fer_tasks.run_directory import RunDirectory, runs_folder
from fer_tasks.run_storage import storage_in_use
from fer_tasks.score_store import known_images
from fer_tasks.scoring_directory import ScoreFolder, ScoringDirectory

PROJECT = Path(__file__).resolve().parent.parent
ACCOUNT = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def server():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    yield f"http://127.0.0.1:{running.get_host_and_port()[1]}"
    running.stop()


@pytest.fixture
def bucket(server, request, monkeypatch):
    """A bucket of its own; FER_RUNS_FOLDER is a folder of it."""
    for name, value in {**ACCOUNT, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FER_RUNS_FOLDER", f"s3://b{abs(hash(request.node.nodeid))}/all/runs")
    made = boto3.resource("s3").Bucket(f"b{abs(hash(request.node.nodeid))}")
    made.create()
    return made


@pytest.fixture
def machine(bucket, tmp_path, monkeypatch):
    """machine(name) is one with a mirror of its own; returns its folder of the run."""

    def use(name: str) -> RunDirectory:
        monkeypatch.setenv("FER_RUNS_MIRROR", str(tmp_path / name))
        return RunDirectory.for_run_id("run")

    return use


def stored(bucket) -> dict[str, bytes]:
    return {item.key: item.get()["Body"].read() for item in bucket.objects.all() if not item.key.endswith("/")}


def write_table(run_dir: RunDirectory, **files: str) -> None:
    with run_dir.replacing(run_dir.faces) as folder:
        for name, text in files.items():
            (folder / "split=train").mkdir(parents=True, exist_ok=True)
            (folder / "split=train" / name).write_text(text)


def files_of(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_record_is_stored_under_its_own_name_and_found_by_another_machine(bucket, machine):
    one = machine("one")
    one.save_json(one.gate_json, {"passed": True})
    assert json.loads(stored(bucket)["all/runs/run/gate.json"]) == {"passed": True}
    other = machine("other")
    assert not other.gate_json.exists()
    other.pull()
    assert json.loads(other.gate_json.read_text()) == {"passed": True}


def test_the_mirror_is_where_runs_are_and_a_folder_elsewhere_is_not_stored(bucket, machine, tmp_path):
    machine("one")
    assert runs_folder() == tmp_path / "one"
    elsewhere = RunDirectory(tmp_path / "elsewhere")
    elsewhere.save_json(elsewhere.gate_json, {})
    assert stored(bucket) == {}


def test_a_table_is_replaced_as_a_whole(bucket, machine):
    one = machine("one")
    write_table(one, a="1", b="2")
    other = machine("other")
    other.pull()
    assert files_of(other.faces) == {"split=train/a": "1", "split=train/b": "2"}
    write_table(machine("one"), c="3")
    other = machine("other")
    other.pull()
    assert files_of(other.faces) == {"split=train/c": "3"}
    assert sorted(content for key, content in stored(bucket).items() if "/split=" in key) == [b"3"]


def test_a_folder_of_files_alone_is_fetched(bucket, machine):
    one = machine("one")
    with one.replacing(one.raw_faces) as folder:
        folder.mkdir()
        (folder / "part-0.parquet").write_text("rows")
        (folder / ".part-0.parquet.crc").write_text("sum")
    other = machine("other")
    other.pull()
    assert files_of(other.raw_faces) == {"part-0.parquet": "rows", ".part-0.parquet.crc": "sum"}


def test_a_table_whose_storing_was_cut_off_leaves_the_former_one(bucket, machine):
    write_table(machine("one"), a="1")
    bucket.put_object(Key="all/runs/run/faces.parquet.folder/0123/split=train/b", Body=b"half")
    bucket.put_object(Key="all/runs/run/raw_faces.parquet.folder/4567/part-0", Body=b"half")
    other = machine("other")
    other.pull()
    assert files_of(other.faces) == {"split=train/a": "1"}
    assert not other.raw_faces.exists()


def test_what_is_there_already_is_not_fetched_again(bucket, machine):
    one = machine("one")
    one.save_json(one.gate_json, {"passed": True})
    write_table(one, a="1")
    one.gate_json.write_text("kept")
    (one.faces / "split=train" / "a").write_text("kept")
    one.pull()
    assert (one.gate_json.read_text(), files_of(one.faces)) == ("kept", {"split=train/a": "kept"})


def test_what_one_machine_removes_goes_from_the_store_and_from_the_others(bucket, machine):
    one = machine("one")
    write_table(one, a="1")
    one.save_json(one.approval_json, {})
    with one.replacing(one.checkpoint_folder / "last_epoch.npz") as file:
        file.write_bytes(b"state")
    other = machine("other")
    other.pull()
    (other.root / "own.txt").write_text("of this machine alone")
    one = machine("one")
    for path in (one.faces, one.approval_json, one.checkpoint_folder, one.gate_json):
        one.remove(path)
        assert not path.exists()
    assert stored(bucket) == {}
    other = machine("other")
    other.pull()
    left = [path.name for path in other.root.rglob("*") if path.is_file()]
    assert sorted(left) == ["own.txt", "storage.lock"]


def test_a_page_is_looked_at_without_the_tables(bucket, machine):
    one = machine("one")
    write_table(one, a="1")
    with one.replacing(one.report_html) as page:
        page.write_text("<h1>Accepted</h1>")
    other = machine("other")
    other.pull(folders=False)
    assert other.report_html.read_text() == "<h1>Accepted</h1>"
    assert not other.faces.exists()


def test_a_step_begins_with_what_others_stored_and_its_tries_are_counted_over_machines(bucket, machine):
    one = machine("one")
    with pytest.raises(DatasetError), one.attempt("train_model"):
        raise DatasetError("bad")
    other = machine("other")
    with other.attempt("train_model"):
        pass
    assert [attempt.status for attempt in other.attempts("train_model")] == ["refused", "succeeded"]


def test_scratch_is_not_stored(bucket, machine):
    one = machine("one")
    with one.replacing(one.unpacked_folder, is_scratch=True) as folder:
        folder.mkdir()
        (folder / "fer2013.csv").write_text("large")
    assert stored(bucket) == {}


def test_a_stored_name_cannot_lead_out_of_the_mirror(bucket, machine, tmp_path):
    bucket.put_object(Key="all/runs/run/../../../outside.txt", Body=b"no")
    with pytest.raises(PipelineError, match="leads out of a runs folder"):
        machine("one").pull()
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_url_of_no_known_kind_is_refused_in_words(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_RUNS_FOLDER", "ftpx://somewhere/runs")
    monkeypatch.setenv("FER_RUNS_MIRROR", str(tmp_path))
    with pytest.raises(PipelineError, match=r"'ftpx://somewhere/runs' .* expected a folder, or a URL"):
        RunDirectory.for_run_id("run").pull()


def test_a_lost_mirror_is_brought_back(bucket, machine, tmp_path):
    one = machine("one")
    write_table(one, a="1")
    machine("new")
    answer = subprocess.run(
        [sys.executable, "-m", "fer_tasks.run_storage"], cwd=PROJECT, env=os.environ, capture_output=True, text=True
    )
    assert answer.stdout.strip() == str(tmp_path / "new"), answer.stderr
    assert files_of(machine("new").faces) == {"split=train/a": "1"}


def test_without_a_url_there_is_no_store(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))
    assert storage_in_use() is None


@pytest.mark.slow
def test_a_run_of_the_dag_is_green_and_whole_in_the_store(bucket, machine, tmp_path):
    quick = {"sample_images": 350, "epochs": 2, "lime_samples": 60, "min_accuracy": 0.0}
    quick["must_beat_majority_class"] = False
    machine("one")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    environment |= {"AIRFLOW_HOME": str(tmp_path / "home"), "FER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "launcher.run", "--conf", json.dumps(quick)]
    ended = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one = RunDirectory(Path(ended.stdout.splitlines()[-1]).parent)
    assert one.root.parent == tmp_path / "one"

    machine("other")
    other = RunDirectory(tmp_path / "other" / one.root.name)
    other.pull()
    fetched = {path.relative_to(other.root): path.read_bytes() for path in other.root.rglob("[!.]*") if path.is_file()}
    kept = {path.relative_to(one.root): path.read_bytes() for path in one.root.rglob("[!.]*") if path.is_file()}
    locks = {Path("storage.lock"), Path("tracking.lock"), Path("report.lock")}
    assert {path for path in kept if path not in fetched} <= locks
    assert {path for path in fetched if fetched[path] != kept[path]} == set()
    assert "Accepted" in other.report_html.read_text()


def test_old_runs_are_deleted_from_the_store_and_the_mirror(bucket, machine, registry_home):
    made = machine("one")
    for day in (1, 2, 3):
        run_dir = RunDirectory(made.root.parent / f"run-{day}")
        for step in ("train_model", "publish_report"):
            record = run_dir.root / "steps" / f"{step}.json"
            run_dir.save_json(record, [{"started_at": f"2026-01-{day:02}T00:00:00+00:00", "status": "succeeded"}])
        write_table(run_dir, a="x" * 1000)
    other = machine("other").root.parent
    done = clean_runs(other, 2)
    assert done.deleted == ("run-1",)
    assert 1000 < done.num_bytes < 2000
    left = {key.removeprefix("all/runs/").split("/")[0] for key in stored(bucket)}
    assert left == {"index.html", "run-2", "run-3"}
    assert sorted(path.name for path in other.iterdir() if path.is_dir()) == ["run-2", "run-3"]
    machine("one").pull()
    assert clean_runs(made.root.parent, 1).deleted == ("run-2",)
    assert not (made.root.parent / "run-1" / "steps" / "train_model.json").exists()


def test_what_one_machine_has_scored_is_known_to_the_other(bucket, machine):
    machine("one")
    run_dir = write_run(ScoringDirectory.for_run_id("run"), [score("a", "happy")], {"b": "empty"})
    run_dir.save_json(run_dir.checks_json, passed(1, 1))
    store_scores.run(run_dir)
    assert any(key.startswith("all/runs/scored/m/scores.parquet/scored_on=2026-11-25/") for key in stored(bucket))
    machine("other")
    folder = ScoreFolder.for_model("m")
    folder.pull()
    known = known_images(folder, 3, but="next", on="2026-11-26")
    assert sorted(known["path"].to_pylist()) == ["a", "b"]
