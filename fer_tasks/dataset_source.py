"""What the `dataset` setting names: a CSV file, an image folder, or a zip of either.

Looking is cheap (existence, kind, header, names), so that start_run can refuse a wrong path before anything is spent.
"""

import difflib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from fer_tasks import data_roots, dataset_archive, dataset_csv
from fer_tasks.dataset_csv import CsvColumns
from fer_tasks.emotions import EMOTIONS, USAGES
from fer_tasks.errors import DatasetError
from fer_tasks.result_basis import file_sha256

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

SPLIT_FOLDERS = {
    **{usage.lower(): usage for usage in USAGES},
    "train": "Training",
    "val": "PublicTest",
    "valid": "PublicTest",
    "validation": "PublicTest",
    "test": "PublicTest",
}
"""Usage by first-level folder, lower case. `test` is PrivateTest where the set also has a validation folder."""

_VALIDATION_FOLDERS = frozenset({"val", "valid", "validation"})
_MOST_TABLES = 20
_EXPECTED = (
    "expected a CSV with the columns emotion, pixels and Usage, a folder with train/<emotion>/* and test/<emotion>/*, "
    "or a zip of one of these"
)


@dataclass(frozen=True)
class DatasetSource:
    """A data set as found. kind: `csv`, `folder`, `zip` (of images) or `zipped_csv`.

    members: the images' (or the one CSV's) names inside, '/'-separated and sorted: their order is `position`.
    top_folders: how many leading folders of a member stand above train/ and test/.
    columns: of a CSV. ignored: names of the files that are no image of the set.
    """

    path: Path
    kind: str
    members: tuple[str, ...] = ()
    top_folders: int = 0
    columns: CsvColumns | None = None
    ignored: tuple[str, ...] = ()

    def describe(self, member: str) -> tuple[str, str]:
        """(usage_text, label_text) of an image: FER's file name prefix or else the split's folder; the emotion's."""
        split, emotion, *_ = PurePosixPath(member).parts[self.top_folders :]
        prefix = PurePosixPath(member).name.partition("_")[0]
        return (prefix if prefix in USAGES else split), emotion

    def usage_names(self) -> dict[str, str]:
        """Usage by the data set's spelling of it, in lower case."""
        if self.columns:
            return {usage.lower(): usage for usage in USAGES}
        splits = {PurePosixPath(member).parts[self.top_folders].lower() for member in self.members}
        return {**SPLIT_FOLDERS, "test": "PrivateTest" if splits & _VALIDATION_FOLDERS else "PublicTest"}

    def label_names(self) -> dict[str, int]:
        """Label by the data set's spelling of it, in lower case: its number in a CSV, its name as a folder."""
        return {str(label) if self.columns else emotion: label for label, emotion in enumerate(EMOTIONS)}


def open_dataset(location: str) -> DatasetSource:
    """Find out what stands at `location` (absolute, or relative to the working directory) without decoding anything.

    Raises DatasetError when it is missing, unreadable, of no known form, empty or unsafe, and SettingsError outside of
    FER_DATA_ROOTS.
    """
    try:
        path = existing_path(location)
        if path.is_dir():
            return _open_folder(path)
        with path.open("rb") as file:
            start = file.read(4)
        if start[:2] == b"PK" or path.suffix.lower() == ".zip":
            return _open_zip(path)
        return DatasetSource(path, "csv", columns=dataset_csv.read_columns(path))
    except OSError as error:
        raise DatasetError(
            f"The data set {location!r} cannot be read: {error.strerror or error}. "
            "Check the path and that the pipeline's user may read it."
        ) from error


def fingerprint(source: DatasetSource) -> str:
    """sha256 of the file; of a folder, of the sorted lines `<sha256 of the image>  <its relative path>`."""
    if source.kind != "folder":
        return file_sha256(source.path)
    with ThreadPoolExecutor(max_workers=8) as pool:
        digests = pool.map(_digest, (source.path / member for member in source.members))
        lines = (f"{digest}  {member}\n" for digest, member in zip(digests, source.members, strict=True))
        return sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _digest(image: Path) -> str:
    """sha256 of an image; a word for one that ingest_dataset refuses to open, such as a pipe, which never ends."""
    try:
        return file_sha256(image) if image.is_file() else "unreadable"
    except PermissionError:
        return "unreadable"


def printable(name: str) -> str:
    """A file name as valid UTF-8: bytes in it that are none become escapes such as `\\udcff`."""
    return name.encode("utf-8", "backslashreplace").decode()


def existing_path(location: str, expected: str = _EXPECTED) -> Path:
    """Absolute, of a file or a folder. expected: what should be there, in words.

    Raises DatasetError for anything else.
    """
    if not location.strip():
        raise DatasetError("The data set's path is empty; give a path, or `sample`.")
    if "\0" in location:
        raise DatasetError(f"The data set's path {location!r} holds a NUL character; give a path without it.")
    if printable(location) != location:
        raise DatasetError(f"The data set's path {location!r} is not valid UTF-8; rename it.")
    path = Path(os.path.expanduser(location)).absolute()  # noqa: PTH111 - Path's own raises for `~nobody`
    data_roots.check_allowed("dataset", path)
    if not path.exists():
        raise DatasetError(f"There is no data set at {str(path)!r}{_nearest(path)}; {expected}. Correct the path.")
    if not path.is_dir() and not path.is_file():
        raise DatasetError(f"The data set {str(path)!r} is neither a file nor a folder; {expected}.")
    return path


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (its folder {str(path.parent)!r} is not there either)"
    close = difflib.get_close_matches(path.name, sorted(sibling.name for sibling in path.parent.iterdir()), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _open_folder(path: Path) -> DatasetSource:
    names = sorted(walk(path))
    members, top_folders, ignored = _find_images(names)
    if not members:
        tables = [name for name in names if name.lower().endswith((".csv", ".zip"))]
        hint = f" It holds {tables[0]!r}: give that file's path." if tables else ""
        raise DatasetError(
            f"The folder {str(path)!r} ({len(names)} files) has no image at train/<emotion>/* or test/<emotion>/*; "
            f"expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))} there.{hint} Correct the path or the folder."
        )
    return DatasetSource(path, "folder", members, top_folders, ignored=ignored)


def walk(folder: Path) -> Iterator[str]:
    """Relative path of every file below; links are followed, each folder once, but not out of FER_DATA_ROOTS."""
    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        _refuse_way_out(Path(parent))
        seen.add(real)
        folders.sort()
        for name in files:
            if is_image(name):
                _refuse_way_out(Path(parent, name))
            yield Path(parent, name).relative_to(folder).as_posix()


def _refuse_way_out(path: Path) -> None:
    if path.is_symlink() and not data_roots.is_allowed(path):
        raise DatasetError(
            f"The folder holds the link {str(path)!r}, which leads outside of the folders that "
            f"{data_roots.VARIABLE} allows. Put a copy in its place, or remove it."
        )


def _raise(error: OSError) -> None:
    raise error


def _open_zip(path: Path) -> DatasetSource:
    names = sorted(dataset_archive.list_files(path))
    members, top_folders, ignored = _find_images(names)
    if members:
        return DatasetSource(path, "zip", members, top_folders, ignored=ignored)
    tables = [name for name in names if name.lower().endswith(".csv") and not _is_hidden(name)]
    if not tables:
        raise DatasetError(f"The zip {str(path)!r} holds {len(names)} files, none of them usable; {_EXPECTED}.")
    name, columns = _find_table(path, tables)
    return DatasetSource(path, "zipped_csv", (name,), columns=columns, ignored=tuple(n for n in names if n != name))


def _find_table(path: Path, names: list[str]) -> tuple[str, CsvColumns]:
    """The one CSV of faces among those in a zip, and its columns."""
    if len(names) > _MOST_TABLES:
        raise DatasetError(f"The zip {str(path)!r} holds {len(names)} CSVs. Unpack it and name one.")
    found, refusals = {}, []
    with dataset_archive.open_archive(path) as archive:
        for name in names:
            try:
                found[name] = dataset_csv.parse_header(dataset_archive.read_start(archive, name), f"{path.name}/{name}")
            except DatasetError as error:
                refusals.append(error)
    if not found:
        raise refusals[0]
    if len(found) > 1:
        raise DatasetError(
            f"The zip {str(path)!r} holds several such CSVs: {', '.join(found)}. Unpack it and name one."
        )
    return next(iter(found.items()))


def _find_images(names: list[str]) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    """(images, number of folders above train/ and test/, ignored files) of sorted names; no images without a split."""
    images = {name: PurePosixPath(name).parts for name in names if is_image(name)}
    top_folders = 0
    while len(tops := {parts[top_folders] for parts in images.values() if len(parts) >= top_folders + 3}) == 1:
        if min(tops).lower() in SPLIT_FOLDERS:
            break
        top_folders += 1
    if not any(top.lower() in SPLIT_FOLDERS for top in tops):
        return (), 0, tuple(names)
    inside = {name for name, parts in images.items() if len(parts) >= top_folders + 3}
    return tuple(n for n in names if n in inside), top_folders, tuple(n for n in names if n not in inside)


def is_image(name: str) -> bool:
    """By its suffix; what is hidden, or macOS's shadow of a file, is none."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
