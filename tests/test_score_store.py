"""store_scores: each image's score stands in the tables once, whatever is killed, repeated or changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import scored_run
from scored_run import passed, score, write_run

from fer_tasks import store_scores
from fer_tasks.errors import DataQualityError
from fer_tasks.score_store import known_images, last_batch
from fer_tasks.scoring_directory import ScoreFolder, ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture
def store(tmp_path, monkeypatch):
    """store(run_id, scores, refused, **more) -> the run's folder, after store_scores."""
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))

    def stored(run_id, scores, refused, **more):
        run_dir = write_run(ScoringDirectory.for_run_id(run_id), scores, refused, **more)
        run_dir.save_json(run_dir.checks_json, passed(len(scores), len(refused)))
        store_scores.run(run_dir)
        return run_dir

    return stored


def folder():
    return ScoreFolder.for_model("m")


def known(version=3, *, but="nobody", on="2026-11-25"):
    table = known_images(folder(), version, but=but, on=on)
    return sorted(zip(table["path"].to_pylist(), table["file_version"].to_pylist(), strict=True))


def test_the_tables_are_partitioned_by_date_version_and_run(store, tmp_path):
    store("manual__2026-11-25T09:00:00.5+00:00", [score("a", "happy"), score("b", "sad")], {"c": "empty"})
    store("later", [score("d", "fear")], {}, version=4, planned_at="2026-11-26T01:00:00+00:00")
    scores = pd.read_parquet(tmp_path / "scored" / "m" / "scores.parquet").sort_values("path")
    assert scores["path"].tolist() == ["a", "b", "d"]
    assert scores["emotion"].tolist() == ["happy", "sad", "fear"]
    assert scores["scored_on"].astype(str).tolist() == ["2026-11-25", "2026-11-25", "2026-11-26"]
    assert scores["model_version"].astype(int).tolist() == [3, 3, 4]
    assert scores["run"].astype(str).tolist() == ["manual__2026-11-25T09-00-00.5-00-00"] * 2 + ["later"]
    refused = pd.read_parquet(tmp_path / "scored" / "m" / "refused.parquet")
    assert refused[["path", "reason"]].to_numpy().tolist() == [["c", "empty"]]


def test_what_a_version_has_scored_or_refused_is_known_to_it_and_to_no_other(store):
    store("one", [score("a", "happy")], {"c": "empty"})
    store("two", [score("a", "happy")], {}, file_version="v2")
    store("three", [score("z", "happy")], {}, version=4)
    assert known() == [("a", "v1"), ("a", "v2"), ("c", "v1")]
    assert known(4) == [("z", "v1")]
    assert known(5) == []
    assert known(but="one") == [("a", "v2")]
    assert known(but="one", on="2026-11-26") == [("a", "v1"), ("a", "v2"), ("c", "v1")]


def test_a_repeated_step_replaces_its_own_rows_and_no_others(store):
    store("other", [score("z", "happy")], {})
    store("one", [score("a", "happy")], {"c": "empty"})
    store("one", [score("a", "happy"), score("c", "sad")], {})
    scores = pd.read_parquet(folder().scores).sort_values("path")
    assert scores["path"].tolist() == ["a", "c", "z"]
    assert not list(folder().refused.rglob("*.parquet"))


def test_a_store_that_fails_between_the_two_tables_loses_and_doubles_nothing(store):
    folder().root.mkdir(parents=True)
    folder().scores.write_text("a file where a folder belongs")
    with pytest.raises(OSError, match=r"scores\.parquet"):
        store("one", [score("a", "happy")], {"c": "empty"})
    assert known() == [("c", "v1")]  # the next run would leave out this one only
    folder().scores.unlink()
    store("one", [score("a", "happy")], {"c": "empty"})
    assert known() == [("a", "v1"), ("c", "v1")]
    assert len(pd.read_parquet(folder().scores)) == 1
    assert len(pd.read_parquet(folder().refused)) == 1


def test_a_killed_store_leaves_whole_partitions_only_and_its_retry_ends_it(store, tmp_path):
    scores = [score(f"{number}", "happy") for number in range(50)]
    run_dir = write_run(ScoringDirectory.for_run_id("one"), scores, {"c": "empty"})
    run_dir.save_json(run_dir.checks_json, passed(50, 1))
    for number in range(1, 800):  # many files, so that the kill comes amid them
        os.link(run_dir.refused / "p.parquet", run_dir.refused / f"p-{number:03}.parquet")
    script = (
        "from fer_tasks import store_scores, scoring_directory as s\n"
        f"store_scores.run(s.ScoringDirectory({str(run_dir)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, env={**os.environ})
    try:
        while not list(folder().refused.rglob("*.tmp*")) and process.poll() is None:
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    stored = [len(list(partition.glob("*.parquet"))) for partition in folder().partitions(folder().refused)]
    assert stored in ([], [800])
    store_scores.run(run_dir)
    assert len(pd.read_parquet(folder().scores)) == 50
    assert len(pd.read_parquet(folder().refused)) == 800
    assert not list(folder().root.rglob("*.tmp*"))


def test_refused_scores_are_not_stored(store):
    run_dir = write_run(ScoringDirectory.for_run_id("one"), [score("a", "happy")], {})
    checks = json.loads(json.dumps(vars(passed(1)))) | {"passed": False, "blocking": ["Too dark."]}
    run_dir.checks_json.write_text(json.dumps(checks))
    with pytest.raises(DataQualityError, match=r"not stored\. Too dark\."):
        store_scores.run(run_dir)
    assert not folder().scores.exists()
    assert run_dir.attempts("store_scores")[-1].status == "refused"


def test_what_another_run_has_scored_meanwhile_is_not_stored_twice(store):
    store("one", [score("a", "happy"), score("b", "happy")], {})
    with pytest.raises(DataQualityError, match="scored 1 of these 2 images meanwhile"):
        store("two", [score("b", "happy"), score("c", "happy")], {})
    assert known() == [("a", "v1"), ("b", "v1")]
    again = ScoringSettings(images="/data/inbox", incremental=False)
    store("three", [score("b", "happy")], {}, settings=again)
    assert len(pd.read_parquet(folder().scores)) == 3


def test_the_last_batch_is_the_one_stored_last_by_another_run(store, monkeypatch):
    assert last_batch(folder(), but="one") is None
    store("one", [score("a", "happy")], {})
    store("two", [score("b", "happy")], {}, version=4, planned_at="2026-11-26T01:00:00+00:00")
    store("only-refused", [], {"c": "empty"}, planned_at="2026-11-27T01:00:00+00:00")
    last = last_batch(folder(), but="three")
    assert (last.run, last.version, last.scored_on) == ("two", 4, "2026-11-26")
    assert last_batch(folder(), but="two").run == "one"
    monkeypatch.setattr(scored_run, "SCORED_AT", scored_run.SCORED_AT + pd.Timedelta(hours=1))
    store("a-later", [score("d", "happy")], {})
    assert last_batch(folder(), but="two").run == "a-later"
