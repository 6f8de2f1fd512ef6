"""Not doing work twice: a step takes over what a former run made of the same inputs, settings and code.

What a result depends on is hashed into a key; the keys of the steps before are part of it. Each run keeps the keys of
its steps, with the size and sha256 of every file that they wrote. A result is taken over as hard links, so that either
run's folder stays whole when the other is deleted; no step writes into a file that is there.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer_tasks.errors import PipelineError
from fer_tasks.result_basis import Basis, ReusableStep, basis_of, file_sha256
from fer_tasks.run_directory import RunDirectory, utc_now

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredFile:
    """path: '/'-separated, in the run's folder."""

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Result:
    """Record keys/<step>.json: what a step made, of what. made_by: the run that computed it."""

    key: str
    made_by: str
    basis: Basis
    files: tuple[StoredFile, ...]


class NotWholeError(Exception):
    """A result is not there as its run recorded it. Leads to computing, never to a failed step."""


def reuse_or_run(step: ReusableStep, run_dir: RunDirectory, compute: Callable[[], object]) -> None:
    """Take over the step's result from the latest former run that has it, else `compute` and keep it for later runs.

    Former runs are the folders beside `run_dir`. What stands in the way of reusing, such as a damaged file or a run
    that is just being deleted, is logged and leads to computing. Raises what `compute` raises.
    """
    started_at, clock = utc_now(), time.monotonic()
    run_dir.pull()
    basis = _known_basis(step, run_dir)
    if basis and run_dir.load_settings().reuse and (result := _take_over(step, run_dir, basis)):
        seconds = time.monotonic() - clock
        run_dir.record_reuse(step.name, started_at=started_at, seconds=seconds, reused_from=result.made_by)
        _log.info("Reused from run %s, since data, settings and code are the same", result.made_by)
        return
    run_dir.remove(run_dir.result_json(step.name))
    compute()
    if basis and basis == _known_basis(step, run_dir):  # else data or code have been changed meanwhile
        _keep(step, run_dir, basis)


def results_of(*steps: str) -> Callable[[RunDirectory], dict[str, str]]:
    """For ReusableStep.inputs: the keys of `steps`, whose results the step reads.

    The function raises NotWholeError where one has no key or its files have changed, OSError where one is missing.
    """
    return lambda run_dir: {step: _key_of_whole(step, run_dir) for step in steps}


def _key_of_whole(step: str, run_dir: RunDirectory) -> str:
    record = run_dir.result_json(step)
    if not record.exists():
        raise NotWholeError(f"{step} has left no key in this run")
    result = run_dir.load_json(record, Result)
    for file in result.files:
        _check(run_dir.root / file.path, file)
    return result.key


def _known_basis(step: ReusableStep, run_dir: RunDirectory) -> Basis | None:
    try:
        return basis_of(step, run_dir)
    except (PipelineError, NotWholeError, OSError) as error:
        _log.info("No result is reused or kept for reuse: %s", error)
        return None


def _take_over(step: ReusableStep, run_dir: RunDirectory, basis: Basis) -> Result | None:
    """Link the latest whole result with this basis into the run's folder; None where there is none."""
    latest = None
    for former, result in _former_results(step, run_dir):
        latest = latest or result
        if result.key != basis.key:
            continue
        try:
            _link(step, former, run_dir, result)
            return result
        except (NotWholeError, OSError) as error:
            _log.warning("Not reused from run %s: %s", former.root.name, error)
    if latest and latest.key != basis.key:
        _log.info("Computed anew: differs from run %s in %s", latest.made_by, basis.difference(latest.basis))
    return None


def _former_results(step: ReusableStep, run_dir: RunDirectory) -> Iterator[tuple[RunDirectory, Result]]:
    """The latest first. Another process may delete a run at any moment: what cannot be read is left out."""
    dated = []
    with suppress(OSError):
        for folder in run_dir.root.parent.iterdir():
            record = RunDirectory(folder).result_json(step.name)
            with suppress(OSError):
                dated.append((record.stat().st_mtime_ns, folder))
    for _, folder in sorted(dated, reverse=True):
        former = RunDirectory(folder)
        with suppress(OSError, PipelineError):
            if former.root != run_dir.root:
                yield former, former.load_json(former.result_json(step.name), Result)


def _link(step: ReusableStep, former: RunDirectory, run_dir: RunDirectory, result: Result) -> None:
    """Link and check every file, and only then give the artefacts their names.

    What is checked is the link: the file that it was made of may be replaced at any moment, the link stays.
    """
    with ExitStack() as stack:
        for artefact in step.paths(run_dir):
            files = [file for file in result.files if file.path.split("/")[0] == artefact.name]
            if not files:
                continue
            temporary = stack.enter_context(run_dir.replacing(artefact))
            for file in files:
                target = temporary / PurePosixPath(file.path).relative_to(artefact.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_file(former.root / file.path, target)
                _check(target, file)
    run_dir.save_json(run_dir.result_json(step.name), result)


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # on another disk, or on one that has no hard links
        shutil.copyfile(source, target)


def _keep(step: ReusableStep, run_dir: RunDirectory, basis: Basis) -> None:
    """Record what was made. The step has succeeded: a fault here must not fail it."""
    try:
        files = tuple(_stored_files(step, run_dir))
        result = Result(key=basis.key, made_by=run_dir.root.name, basis=basis, files=files)
        run_dir.save_json(run_dir.result_json(step.name), result)
    except OSError as error:
        _log.warning("Later runs cannot reuse this result: %s", error)


def _stored_files(step: ReusableStep, run_dir: RunDirectory) -> Iterator[StoredFile]:
    for artefact in step.paths(run_dir):
        for path in sorted(artefact.rglob("*")) if artefact.is_dir() else [artefact]:
            if path.is_file():
                name = path.relative_to(run_dir.root).as_posix()
                yield StoredFile(name, path.stat().st_size, file_sha256(path))


def _check(path: Path, expected: StoredFile) -> None:
    """Raise NotWholeError unless the file has the recorded content, and OSError where it cannot be read."""
    if (num_bytes := path.stat().st_size) != expected.num_bytes:
        raise NotWholeError(f"{expected.path} has {num_bytes:,} bytes; {expected.num_bytes:,} were written")
    if file_sha256(path) != expected.sha256:
        raise NotWholeError(f"{expected.path} holds other bytes than were written")
