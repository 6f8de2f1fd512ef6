"""Deletes the oldest runs. publish_report does it where `keep_runs` asks for it; `make clean-runs KEEP=20` by hand.

    python -m fer_tasks.retention --keep 20

Never deleted: a run that has not ended, a run whose model the registry knows (the champion's, its predecessor's, any
that was ever promoted), and a run whose model one that has not ended begins with or is taught by. Later runs lose
nothing by a deletion: what they have reused is theirs, too (`reuse`).
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_tasks import report_index
from fer_tasks.errors import PipelineError
from fer_tasks.file_lock import locked
from fer_tasks.replacement import remove
from fer_tasks.run_directory import Attempt, RunDirectory, runs_folder
from fer_tasks.run_storage import storage_in_use
from fer_tasks.teachers import teacher_names
from fer_tasks.tracking import connected

_log = logging.getLogger(__name__)

LAST_STEPS = ("publish_report", "publish_study")
ENDINGS = ("promote_model", "reject_model")
"""They run beside the last step, so they may begin after it."""

ABANDONED_SECONDS = 31 * 24 * 3600
"""A killed run never ends. No step is silent for so long: an approval may take 30 days, a training a day."""


@dataclass(frozen=True)
class Cleaning:
    """deleted: folders, oldest first. num_bytes: what that gave back; files that later runs share are not in it."""

    deleted: tuple[str, ...]
    num_bytes: int

    def __str__(self) -> str:
        count = f"{len(self.deleted)} run{'' if len(self.deleted) == 1 else 's'}"
        return f"Deleted {count}, {self.num_bytes / 1e6:,.1f} MB: {', '.join(self.deleted) or 'none'}."


def clean_runs(runs: Path, keep: int) -> Cleaning:
    """Leave the newest `keep` runs and those that are never deleted; renew the index. 0 keeps all.

    Raises what the registry or the store raise where they cannot be asked; nothing is deleted then.
    """
    storage = storage_in_use()
    mirrored = storage if storage and runs == storage.mirror else None
    if keep < 1 or not (mirrored or runs.is_dir()):
        return Cleaning((), 0)
    with locked(runs / ".retention.lock"):
        if mirrored:
            with mirrored.guarding(runs):
                mirrored.pull(runs, folders=False)
        for left in runs.glob(".*.tmp*"):
            if left.is_dir():
                remove(left)  # a cleaning that was killed
        every = sorted(map(_Run, _folders(runs)), key=lambda run: run.started_at)
        spared = _registered() | set(_beginnings(run for run in every if not run.has_ended))
        old = [run for run in every[: max(len(every) - keep, 0)] if run.has_ended and not run.is_promoted]
        deleted = [run for run in old if run.folder.root.name not in spared]
        num_bytes = sum(_delete(run.folder) for run in deleted)
    if deleted:
        report_index.publish(runs)
    return Cleaning(tuple(run.folder.root.name for run in deleted), num_bytes)


def clean_after(run_dir: RunDirectory) -> None:
    """As the run's setting `keep_runs` asks. A fault is logged and costs no step: the next run cleans again."""
    try:
        if keep := run_dir.load_settings().keep_runs:
            _log.info("%s", clean_runs(run_dir.root.parent, keep))
    except Exception as error:
        _log.warning("Old runs were not deleted: %s", error)


class _Run:
    """What decides whether a folder may go."""

    def __init__(self, folder: RunDirectory) -> None:
        attempts = {step: _attempts(folder, step) for step in _steps(folder)}
        self.folder = folder
        self.started_at = min((tries[0].started_at for tries in attempts.values() if tries), default="")
        self.is_promoted = folder.promotion_json.exists()
        self.has_ended = _is_over(attempts) or _is_abandoned(folder)


def _is_over(attempts: dict[str, list[Attempt]]) -> bool:
    """A cleared step begins after the last step of the time before, until that runs again."""
    latest = {step: tries[-1] for step, tries in attempts.items() if tries}
    ends = [latest[step].started_at for step in LAST_STEPS if step in latest]
    begun = [attempt.started_at for step, attempt in latest.items() if step not in (*LAST_STEPS, *ENDINGS)]
    is_idle = all(attempt.status != "running" for attempt in latest.values())
    return bool(ends) and is_idle and max(begun, default="") <= max(ends)


def _is_abandoned(folder: RunDirectory) -> bool:
    changed = max((path.lstat().st_mtime for path in folder.root.rglob("*")), default=0.0)
    return time.time() - changed > ABANDONED_SECONDS


def _folders(runs: Path) -> Iterator[RunDirectory]:
    for path in runs.iterdir():
        if (path / "steps").is_dir() and not path.name.startswith(".") and not path.is_symlink():
            yield RunDirectory(path)


def _delete(folder: RunDirectory) -> int:
    """The bytes that this gave back."""
    storage = storage_in_use()
    if storage and folder.root.is_relative_to(storage.mirror):
        num_bytes = storage.num_bytes(folder.root)
    else:
        files = [path.lstat() for path in folder.root.rglob("*") if not path.is_dir()]
        num_bytes = sum(file.st_size for file in files if file.st_nlink == 1)
    folder.remove(folder.root)
    return num_bytes


def _steps(folder: RunDirectory) -> Iterator[str]:
    return (path.stem for path in (folder.root / "steps").glob("[!.]*.json"))


def _attempts(folder: RunDirectory, step: str) -> list[Attempt]:
    """A damaged record tells nothing: the others decide."""
    try:
        return folder.attempts(step)
    except (ValueError, TypeError):
        return []


def _registered() -> set[str | None]:
    """Folders of the runs whose models the registry has versions of."""
    found: set[str | None] = set()
    token = None
    with connected() as client:
        while True:
            page = client.search_model_versions(max_results=200, page_token=token)
            found |= {version.tags.get("run_folder") for version in page}
            token = page.token
            if not token:
                return found


def _beginnings(runs: Iterable[_Run]) -> Iterator[str]:
    """Names of the folders that these runs take initial weights or teachers from."""
    for run in runs:
        try:
            settings = run.folder.load_settings()
        except (OSError, PipelineError):
            continue
        for name in (settings.initial_weights, *teacher_names(settings.teachers)):
            path = Path(name)
            yield from (path.name, path.parent.name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fer_tasks.retention", description="Deletes the oldest runs.")
    parser.add_argument("--keep", type=int, required=True, help="so many of the newest runs stay, 1 at least")
    options = parser.parse_args()
    if options.keep < 1:
        parser.error(f"--keep is {options.keep}; expected 1 or more.")
    try:
        print(clean_runs(runs_folder(), options.keep))
    except (PipelineError, OSError) as error:
        print(f"Nothing was deleted: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
