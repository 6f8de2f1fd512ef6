"""lineage.json: what a run was made of, so that its result can be traced and made again."""

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fer_tasks.run_directory import RunDirectory

PACKAGES = (
    "apache-airflow",
    "pyspark",
    "tensorflow",
    "keras",
    "great-expectations",
    "mlflow",
    "lime",
    "numpy",
    "scikit-learn",
)


@dataclass(frozen=True)
class Code:
    """The project's git state; commit is None outside a git working tree, and before the first commit."""

    commit: str | None
    has_local_changes: bool | None


@dataclass(frozen=True)
class Machine:
    """memory_gib is None where the system does not tell."""

    system: str
    architecture: str
    processor: str
    num_cores: int
    memory_gib: float | None


@dataclass(frozen=True)
class Lineage:
    """versions: {package: version, or None where it is not installed}, Python first. Times: ISO 8601, UTC."""

    run_name: str
    dataset: str | None
    dataset_sha256: str | None
    seed: int | None
    started_at: str | None
    finished_at: str
    code: Code
    versions: dict[str, str | None]
    machine: Machine


def collect(
    run_dir: RunDirectory, *, dataset: str | None, dataset_sha256: str | None, seed: int | None, finished_at: str
) -> Lineage:
    """Look at the code, the packages and the machine. Nothing is imported for it, and a missing part is None."""
    first = run_dir.attempts("start_run")[:1]
    return Lineage(
        run_name=run_dir.root.name,
        dataset=dataset,
        dataset_sha256=dataset_sha256,
        seed=seed,
        started_at=first[0].started_at if first else None,
        finished_at=finished_at,
        code=git_state(Path(__file__).resolve().parent.parent),
        versions={"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}},
        machine=machine(),
    )


def git_state(folder: Path) -> Code:
    """Commit and cleanliness of the working tree that `folder` is the top of."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != folder.resolve():
        return Code(commit=None, has_local_changes=None)
    changes = _git(folder, "status", "--porcelain")
    return Code(
        commit=_git(folder, "rev-parse", "--verify", "--quiet", "HEAD"),
        has_local_changes=None if changes is None else changes != "",
    )


def machine() -> Machine:
    """The machine this process runs on; cores are those that the process may use."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Machine(
        system=platform.platform(),
        architecture=platform.machine(),
        processor=_processor(),
        num_cores=cores or 1,
        memory_gib=None if memory is None else round(memory / 2**30, 1),
    )


def utc_now() -> str:
    """Now, as every record writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where there is no git, no repository or no answer."""
    try:
        answer = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
