"""lineage.json: what a run was made of, so that its result can be traced and made again."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tasks.result_basis import package_version
from fer_tasks.run_directory import Attempt
from fer_tasks.settings import RunSettings

if TYPE_CHECKING:
    from fer_tasks.training_history import History

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
class ParentModel:
    """The model that training began with. initial_weights: as set; registered_model: where that is `champion`.

    weights_sha256: the `model_weights_sha256` of the run that trained it.
    """

    initial_weights: str
    registered_model: str | None
    weights_sha256: str


@dataclass(frozen=True)
class Lineage:
    """versions: {package: version, or None where it is not installed}, Python first. Times: ISO 8601, UTC.

    finished_at: when this was written; what runs beside or after the report is not in it. steps: {step: its tries, the
    oldest first}. model_weights_sha256: of the weights' values. parent_model: None for a training from scratch. Both
    are None for a run that did not come to the end of its training.
    """

    run_name: str
    dataset: str | None
    dataset_sha256: str | None
    seed: int | None
    started_at: str | None
    finished_at: str
    code: Code
    versions: dict[str, str | None]
    machine: Machine
    settings: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, list[Attempt]] = field(default_factory=dict)
    model_weights_sha256: str | None = None
    parent_model: ParentModel | None = None


def collect(
    run_name: str,
    attempts: Mapping[str, list[Attempt]],
    *,
    settings: RunSettings | None,
    dataset_sha256: str | None,
    history: "History | None",
    finished_at: str,
) -> Lineage:
    """Look at the code, the packages and the machine. Nothing is imported for it, and a missing part is None.

    attempts: of each step. settings, dataset_sha256, history: None where the run did not come so far.
    """
    first = attempts.get("start_run", [])[:1]
    return Lineage(
        run_name=run_name,
        dataset=settings.dataset if settings else None,
        dataset_sha256=dataset_sha256,
        seed=settings.seed if settings else None,
        started_at=first[0].started_at if first else None,
        finished_at=finished_at,
        code=git_state(Path(__file__).resolve().parent.parent),
        versions={"python": platform.python_version(), **{package: package_version(package) for package in PACKAGES}},
        machine=machine(),
        settings=settings.to_params() if settings else {},
        steps={step: list(tries) for step, tries in attempts.items() if tries},
        model_weights_sha256=history.weights_sha256 if history else None,
        parent_model=_parent(settings, history) if settings and history else None,
    )


def _parent(settings: RunSettings, history: "History") -> ParentModel | None:
    if history.initial_weights_sha256 is None:
        return None
    return ParentModel(
        initial_weights=settings.initial_weights,
        registered_model=settings.registered_model if settings.initial_weights == "champion" else None,
        weights_sha256=history.initial_weights_sha256,
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


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where there is no git, no repository or no answer."""
    try:
        answer = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
