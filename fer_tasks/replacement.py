"""Files and folders that are there whole or not at all, at whatever moment their writer is killed. Standard library."""

import shutil
import uuid
from pathlib import Path


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder, with the same suffix; what a killed process leaves there, `sweep` removes."""
    return path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}")


def sweep(path: Path) -> None:
    """Remove what killed processes left beside `path`."""
    for stale in path.parent.glob(f".{path.stem}-*.tmp{path.suffix}"):
        remove(stale)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a whole file or folder its name. Under that name are the former one, this one or nothing, never a part.

    A folder cannot take another's name in one step, and emptying takes time: the former one is moved aside first.
    """
    if not (temporary.is_dir() or path.is_dir()):
        temporary.replace(path)
        return
    aside = _move_aside(path)
    temporary.replace(path)
    _delete(aside)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there. A folder loses its name before it is emptied."""
    _delete(_move_aside(path) if path.is_dir() else path)


def _move_aside(path: Path) -> Path:
    aside = temporary_beside(path)
    if path.exists():
        path.rename(aside)
    return aside


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
