"""FER_DATA_ROOTS: the folders below which runs may read what their settings name, parted by `:`.

    FER_DATA_ROOTS=/data:/mnt/faces

It belongs to the environment of whoever runs Airflow, so that those who may trigger a run cannot widen it. Without it
every path may be read. The runs folder is always allowed, since settings name models in it. Standard library only.
"""

import os
from pathlib import Path

from fer_tasks.errors import SettingsError
from fer_tasks.run_directory import runs_folder

VARIABLE = "FER_DATA_ROOTS"


def check_allowed(setting: str, given: str | Path) -> None:
    """Raise SettingsError unless `given` stands below an allowed folder, all symbolic links followed.

    It tells nothing of what is there, not even whether anything is.
    """
    if not is_allowed(given):
        raise SettingsError(
            f"Setting {setting!r} is {str(given)!r}, which is or leads outside of the folders that {VARIABLE} allows: "
            f"{os.environ[VARIABLE]}. Give a path below one of them."
        )


def is_allowed(path: str | Path) -> bool:
    """Whether the path, all symbolic links followed, stands below an allowed folder. It need not exist."""
    roots = _roots()
    try:
        return not roots or any(Path(os.path.realpath(path)).is_relative_to(root) for root in roots)
    except ValueError:  # a NUL, or what is no text of a file system
        return False


def _roots() -> tuple[Path, ...]:
    """Real paths; empty where nothing is restricted."""
    given = [root for root in os.environ.get(VARIABLE, "").split(os.pathsep) if root.strip()]
    for root in given:
        if not Path(root).is_absolute():
            raise SettingsError(f"{VARIABLE} holds {root!r}; expected absolute paths, parted by {os.pathsep!r}.")
    return tuple(Path(os.path.realpath(root)) for root in [*given, str(runs_folder())]) if given else ()
