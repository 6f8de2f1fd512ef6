"""A runs folder on object storage: the steps work on a local mirror of it, and what they make is stored there.

    FER_RUNS_FOLDER=s3://bucket/runs     what pyarrow.fs.FileSystem.from_uri takes
    FER_RUNS_MIRROR=/var/lib/fer/runs    the mirror; $FER_HOME/runs-mirror by default

    python -m fer_tasks.run_storage      brings every stored run into the mirror, for instance after its loss

A file is stored under its own path. A folder, such as a table, is stored as <path>.folder/<generation>/..., with the
generation that counts in <path>.folder/current.json, which is written last: a store that is cut off leaves the former
generation as it was. Beside each stored artefact the mirror keeps a tag, `.<name>.stored`, by which it is known whether
the store has another one. Light: pyarrow is imported when something is moved.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_tasks.errors import PipelineError
from fer_tasks.file_lock import locked
from fer_tasks.replacement import put_in_place, remove, temporary_beside
from fer_tasks.visible_text import without_password

_FOLDER, _CURRENT, _TAG = ".folder", "current.json", ".stored"


@dataclass(frozen=True)
class RunStorage:
    """Paths are those of the mirror. Methods raise OSError where the store cannot be reached or refuses."""

    url: str
    mirror: Path

    @contextmanager
    def guarding(self, root: Path) -> Iterator[None]:
        """Between the processes that share the mirror, one at a time moves artefacts of the folder `root`."""
        with locked(root / "storage.lock"):
            yield

    def push(self, path: Path) -> None:
        """Store a file or a folder in place of what was stored under its name. Hold `guarding`."""
        filesystem, base = self._open()
        key = f"{base}/{path.relative_to(self.mirror).as_posix()}"
        if path.is_dir():
            self._push_folder(path, filesystem, key + _FOLDER)
            return
        with path.open("rb") as source, filesystem.open_output_stream(key) as target:
            shutil.copyfileobj(source, target, 2**20)
        _tag_file(path).write_text(_tag(filesystem.get_file_info(key)))

    def _push_folder(self, path: Path, filesystem: Any, key: str) -> None:
        from pyarrow import fs

        generation = uuid.uuid4().hex
        fs.copy_files(str(path), f"{key}/{generation}", fs.LocalFileSystem(), filesystem)
        with filesystem.open_output_stream(f"{key}/{_CURRENT}") as target:
            target.write(json.dumps({"generation": generation}).encode())
        _tag_file(path).write_text(generation)
        for former in filesystem.get_file_info(fs.FileSelector(key)):
            if former.type == fs.FileType.Directory and former.base_name != generation:
                filesystem.delete_dir(former.path)

    def forget(self, path: Path) -> None:
        """Delete what is stored under this name and below it, if anything is. Hold `guarding`."""
        from pyarrow import fs

        filesystem, base = self._open()
        key = f"{base}/{path.relative_to(self.mirror).as_posix()}"
        _tag_file(path).unlink(missing_ok=True)
        for found in filesystem.get_file_info([key, f"{key}{_FOLDER}/{_CURRENT}", key + _FOLDER]):
            if found.type == fs.FileType.File:
                filesystem.delete_file(found.path)
            elif found.type == fs.FileType.Directory:
                filesystem.delete_dir(found.path)

    def num_bytes(self, root: Path) -> int:
        """Size of all that is stored below `root`."""
        filesystem, base = self._open()
        key = f"{base}/{root.relative_to(self.mirror).as_posix()}"
        return sum(found.size for found in _files_below(filesystem, key))

    def pull(self, root: Path, *, folders: bool = True) -> None:
        """Bring what is stored below `root` into the mirror, as far as the mirror has another or none.

        What was stored once and is no more, goes; what never was, stays. folders: False leaves out folders, which hold
        the large tables. Hold `guarding`.
        """
        filesystem, base = self._open()
        stored = set()
        key = f"{base}/{root.relative_to(self.mirror).as_posix()}".removesuffix("/.")
        for found in _files_below(filesystem, key):
            name, is_folder, rest = found.path.removeprefix(f"{base}/").partition(f"{_FOLDER}/")
            path = self.mirror / name
            if not path.resolve().is_relative_to(self.mirror.resolve()):
                raise PipelineError(
                    f"{without_password(self.url)} holds {found.path!r}, which leads out of a runs folder. Delete it."
                )
            if not is_folder or rest == _CURRENT:
                stored.add(path)
            if not is_folder:
                self._pull_file(path, filesystem, found)
            elif folders and rest == _CURRENT:
                self._pull_folder(path, filesystem, found.path)
        for tag_file in [*root.rglob(f".*{_TAG}")]:
            path = tag_file.with_name(tag_file.name[1:].removesuffix(_TAG))
            if path not in stored:
                remove(path)
                tag_file.unlink()

    def _pull_file(self, path: Path, filesystem: Any, found: Any) -> None:
        if path.exists() and _known_tag(path) == _tag(found):
            return
        with (
            _replacing(path) as temporary,
            filesystem.open_input_stream(found.path) as source,
            temporary.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 2**20)
        _tag_file(path).write_text(_tag(found))

    def _pull_folder(self, path: Path, filesystem: Any, current: str) -> None:
        from pyarrow import fs

        with filesystem.open_input_stream(current) as source:
            generation = json.loads(source.read())["generation"]
        if path.exists() and _known_tag(path) == generation:
            return
        with _replacing(path) as temporary:
            temporary.mkdir()
            stored = f"{current.removesuffix(_CURRENT)}{generation}"
            fs.copy_files(stored, str(temporary), filesystem, fs.LocalFileSystem())
        _tag_file(path).write_text(generation)

    def _open(self) -> tuple[Any, str]:
        from pyarrow import fs

        try:
            filesystem, base = fs.FileSystem.from_uri(self.url)
        except ValueError as error:
            told = without_password(f"FER_RUNS_FOLDER is {self.url!r} ({error})")
            raise PipelineError(f"{told}; expected a folder, or a URL such as s3://bucket/runs.") from None
        return filesystem, base.rstrip("/")


def home() -> Path:
    """FER_HOME, or AIRFLOW_HOME, or `.airflow` inside the project: where registry and exported models lie."""
    project = Path(__file__).resolve().parent.parent
    chosen = os.environ.get("FER_HOME") or os.environ.get("AIRFLOW_HOME") or project / ".airflow"
    return Path(chosen).absolute()


def storage_in_use() -> RunStorage | None:
    """The store that FER_RUNS_FOLDER names, or None where that is a folder."""
    url = os.environ.get("FER_RUNS_FOLDER", "")
    if "://" not in url:
        return None
    return RunStorage(url, Path(os.environ.get("FER_RUNS_MIRROR") or home() / "runs-mirror").absolute())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling, which becomes `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        put_in_place(temporary, path)
    finally:
        remove(temporary)


def _files_below(filesystem: Any, key: str) -> list[Any]:
    from pyarrow import fs

    selector = fs.FileSelector(key, allow_not_found=True, recursive=True)
    return [found for found in filesystem.get_file_info(selector) if found.type == fs.FileType.File]


def _tag(info: Any) -> str:
    """Size and time of a stored file. Stores tell seconds: two files of one size within one cannot be told apart."""
    return f"{info.size} {info.mtime_ns}"


def _tag_file(path: Path) -> Path:
    return path.with_name(f".{path.name}{_TAG}")


def _known_tag(path: Path) -> str | None:
    file = _tag_file(path)
    return file.read_text() if file.exists() else None


def main() -> None:
    storage = storage_in_use()
    if storage is None:
        raise SystemExit("FER_RUNS_FOLDER names no store; expected a URL such as s3://bucket/runs.")
    with storage.guarding(storage.mirror):
        storage.pull(storage.mirror)
    print(storage.mirror)


if __name__ == "__main__":
    main()
