"""A lock between processes that dies with its holder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file at `path` while the block runs; waits until nobody else holds it.

    The system lets go of it when the process ends, however that ends: a killed step leaves nothing locked. It holds
    between machines only where they share the file and its file system's locks do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
