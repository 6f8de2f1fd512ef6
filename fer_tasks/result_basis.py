"""What a step's result depends on, as one key: its inputs, the settings that it reads, its code, and the packages.

Light, because the DAG processor imports it at every parse.
"""

import importlib.metadata
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from hashlib import file_digest, sha256
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from fer_tasks.run_directory import RunDirectory

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("pyspark", "pyarrow", "pandas", "numpy", "opencv-python-headless", "pillow", "great-expectations")
"""Those that decide what the reusable steps write."""

_WORDS = {"inputs": "input", "settings": "settings", "code_sha256": "code", "versions": "versions"}


@dataclass(frozen=True)
class ReusableStep:
    """A step whose result follows from its inputs, its settings and its code.

    module: where its code begins. settings: names of those that it reads. artefacts: what it writes, by the names of
    RunDirectory's paths; what is not there is not part of the result. inputs: all else that it reads in a run, as a
    JSON object that is another one when the content is.
    """

    name: str
    module: str
    settings: tuple[str, ...]
    inputs: Callable[[RunDirectory], dict[str, Any]]
    artefacts: tuple[str, ...]

    def paths(self, run_dir: RunDirectory) -> list[Path]:
        """Where the artefacts are, or would be."""
        return [getattr(run_dir, artefact) for artefact in self.artefacts]


@dataclass(frozen=True)
class Basis:
    """What a result depends on. code_sha256: {source file of the project: sha256}."""

    inputs: dict[str, Any]
    settings: dict[str, Any]
    code_sha256: dict[str, str]
    versions: dict[str, str | None]

    @property
    def key(self) -> str:
        """sha256, equal for equal content."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def difference(self, other: "Basis") -> str:
        """In the words that a person would search for: `settings (denoise) and code (fer_tasks/cleaning.py)`."""
        parts = []
        for spec in fields(self):
            ours, theirs = getattr(self, spec.name), getattr(other, spec.name)
            if names := sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)):
                parts.append(f"{_WORDS[spec.name]} ({', '.join(names)})")
        return " and ".join(parts)


def basis_of(step: ReusableStep, run_dir: RunDirectory) -> Basis:
    """What the step's result in this run depends on, as things are now. Raises what `step.inputs` raises."""
    settings = run_dir.load_settings()
    return Basis(
        inputs=step.inputs(run_dir),
        settings={name: getattr(settings, name) for name in step.settings},
        code_sha256=code_sha256(step.module),
        versions={"python": platform.python_version(), **{package: package_version(package) for package in PACKAGES}},
    )


def code_sha256(module: str) -> dict[str, str]:
    """{path: sha256} of the project's source files that `module` imports, however indirectly, and its own."""
    finder = ModuleFinder(path=[str(PROJECT)])  # finds the project's modules only, also those imported in functions
    finder.run_script(str(PROJECT / f"{module.replace('.', '/')}.py"))
    names = [getattr(found, "__file__", None) for found in finder.modules.values()]
    files = sorted(Path(name) for name in names if name)
    return {file.relative_to(PROJECT).as_posix(): file_sha256(file) for file in files}


def file_sha256(path: Path) -> str:
    """Of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def package_version(package: str) -> str | None:
    """None where the package is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
