"""Shows which model is in use, or takes the former one back. `make champion` and `make rollback`.

python -m fer_tasks.champion {show,rollback} [--model NAME]
"""

import argparse
import logging
import sys
from typing import Any

from fer_tasks import report_index
from fer_tasks.champion_alias import Rollback, step_back, successions
from fer_tasks.errors import PipelineError
from fer_tasks.registry import Champion, find_champion
from fer_tasks.run_directory import RunDirectory, runs_folder
from fer_tasks.run_summary import RollbackNote
from fer_tasks.settings import RunSettings
from fer_tasks.tracking import connected, tracking_uri
from fer_tasks.visible_text import without_password

_log = logging.getLogger(__name__)

UNKNOWN = "unknown (the version was not made by this pipeline)"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fer_tasks.champion", description="The model that is in use, and the way back to the former one."
    )
    parser.add_argument("action", choices=("show", "rollback"))
    parser.add_argument("--model", default=RunSettings().registered_model, help="name in the registry")
    options = parser.parse_args()
    try:
        name = RunSettings(registered_model=options.model).registered_model
        print(show(name) if options.action == "show" else rollback(name))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def show(name: str) -> str:
    """What is in use as `name`, and who was champion when, as text. No champion is an answer, too."""
    champion = find_champion(name)
    registry = without_password(tracking_uri())
    if champion is None:
        return f"{name} has no champion in {registry}. The first model that the gate accepts becomes it."
    lines = {
        "model": champion.registered_model,
        "version": str(champion.version),
        "accuracy": UNKNOWN if champion.accuracy is None else f"{champion.accuracy:.1%} of the test images of its run",
        "run": champion.run_folder or UNKNOWN,
        "MLflow run": champion.mlflow_run or "none",
        "in use since": _since(champion),
        "model SHA-256": champion.model_sha256 or UNKNOWN,
        "registry": registry,
        "former champion": "none" if champion.previous_version is None else f"version {champion.previous_version}",
    }
    history = [f"  {_when(past.at)}  version {past.version}  {past.how}" for past in champion.history]
    return "\n".join([*(f"{what:<17}{value}" for what, value in lines.items()), "history", *history])


def rollback(name: str) -> str:
    """Take the former champion of `name` back; says what changed. Raises RegistryError when there is none.

    The run whose model was left gets a rollback.json, and the index of all reports is written again.
    """
    with connected() as client:
        change = step_back(client, name)
        _note(client, change)
    if runs_folder().is_dir():
        report_index.publish(runs_folder())
    return _told(change)


def _note(client: Any, change: Rollback) -> None:
    """Tell the run's folder, where there is one; the rollback stands, whatever comes of that."""
    before, after = change.version_before, change.version_after
    folders = [
        client.get_model_version(change.registered_model, str(version)).tags.get("run_folder")
        for version in (before, after)
    ]
    run_dir = RunDirectory.for_run_id(folders[0]) if folders[0] else None
    if run_dir is None or not run_dir.root.is_dir():
        return
    since = successions(client, change.registered_model)[-1].at
    note = RollbackNote(change.registered_model, before, after, folders[1], since)
    try:
        run_dir.save_json(run_dir.rollback_json, note)
    except OSError as error:
        _log.warning("The index of reports will not tell of the rollback: %s", error)


def _told(change: Rollback) -> str:
    former = change.previous_version
    further = "There is none before it." if former is None else f"Another rollback would go back to version {former}."
    return (
        f"{change.registered_model}: version {change.version_before} -> version {change.version_after}. {further}\n"
        f"To use version {change.version_before} after all, clear promote_model of its run."
    )


def _since(champion: Champion) -> str:
    last = champion.history[-1] if champion.history else None
    if last is None or last.version != champion.version:
        return "unknown (the alias was moved by other means)"
    return f"{_when(last.at)} ({last.how})"


def _when(at: str) -> str:
    """To the second."""
    return at[:19].replace("T", " ") + " UTC"


if __name__ == "__main__":
    sys.exit(main())
