"""Which images there are to score, and their bytes one by one: of a folder, a zip or the lines of a CSV.

`list_images` looks at names, sizes and times, so that a folder of a million images is listed without opening one.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import ZipFile

from fer_tasks import dataset_archive, dataset_csv, face_rows
from fer_tasks.dataset_csv import CsvColumns
from fer_tasks.dataset_source import existing_path, is_image, printable, walk
from fer_tasks.errors import DatasetError
from fer_tasks.face_rows import FaceRow
from fer_tasks.image_decoding import decode
from fer_tasks.picture_files import read_picture

_EXPECTED = "expected a folder of images, a zip of images, or a CSV with a column pixels"
_WHOLE_FILE = 2**62


@dataclass(frozen=True)
class ImageSource:
    """What the setting `images` names. columns: of a CSV."""

    path: Path
    kind: Literal["folder", "zip", "csv"]
    columns: CsvColumns | None = None


class ListedImage(NamedTuple):
    """An image before it is read.

    path            of the file; `<zip>/<member>`; `<csv>:<line>`. Bytes in it that are no UTF-8 are escapes
    file_version    changes with the content: size and time of a file, size and CRC of a member, digest of a line
    member          how `read_images` finds it: the name inside the folder or zip in the file system's bytes, or a
                    line's place in the file, `<offset> <bytes> <number>`
    """

    path: str
    file_version: str
    member: bytes


def open_source(location: str) -> ImageSource:
    """Raises DatasetError when it is missing, unreadable or of no known form."""
    try:
        path = existing_path(location, _EXPECTED)
        if path.is_dir():
            return ImageSource(path, "folder")
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK" or path.suffix.lower() == ".zip"
        return (
            ImageSource(path, "zip") if is_zip else ImageSource(path, "csv", dataset_csv.read_columns(path, ["pixels"]))
        )
    except OSError as error:
        raise DatasetError(
            f"The images at {location!r} cannot be read: {error.strerror or error}. "
            "Check the path and that the pipeline's user may read it."
        ) from error


def list_images(source: ImageSource) -> tuple[list[ListedImage], list[str]]:
    """(the images in the order of their names or lines, the names of files that are none).

    An empty folder has none, which is no error: there may be some tomorrow. Raises DatasetError for a zip without an
    image or that is unsafe, and for a CSV with a line that is no face's.
    """
    if source.kind == "csv":
        return list(_lines(source.path)), []
    names = sorted(walk(source.path) if source.kind == "folder" else dataset_archive.list_files(source.path))
    others = [name for name in names if not is_image(name)]
    images = [name for name in names if is_image(name)]
    if source.kind == "folder":
        return [_file(source.path, name) for name in images], others
    if not images:
        raise DatasetError(f"The zip {str(source.path)!r} holds {len(names)} files and no image; {_EXPECTED}.")
    with ZipFile(source.path) as archive:
        return [_member(source.path, archive, name) for name in images], others


def read_images(source: ImageSource, listed: Iterable[Mapping[str, Any]], *, max_megapixels: int) -> Iterator[FaceRow]:
    """A row for each of `listed`, in their order: decoded, or with the reason and the bytes that could not be.

    listed: `position`, `path` and `member` of each.
    """
    if source.columns is not None:
        yield from _read_lines(source.path, source.columns, listed)
        return
    with ExitStack() as stack:
        archive = stack.enter_context(ZipFile(source.path)) if source.kind == "zip" else None
        for image in listed:
            data, name = b"", os.fsdecode(image["member"])
            try:
                data = _bytes_of(source.path, archive, name)
                decoded = decode(data, max_megapixels=max_megapixels)
                yield FaceRow(image["position"], image["path"], None, None, decoded)
            except DatasetError as error:
                yield FaceRow(image["position"], image["path"], None, None, None, str(error), data)


def _bytes_of(root: Path, archive: ZipFile | None, name: str) -> bytes:
    try:
        return dataset_archive.read_member(archive, name) if archive else read_picture(root / name)
    except KeyError as error:
        raise DatasetError("the zip does not hold it any more") from error
    except FileNotFoundError as error:
        raise DatasetError("the file has vanished") from error


def _file(root: Path, name: str) -> ListedImage:
    path = root / name
    try:
        found = path.stat()
        version = f"{found.st_size}-{found.st_mtime_ns}"
    except OSError:  # a broken link, which reading will name
        version = "unreadable"
    return ListedImage(printable(str(path)), version, os.fsencode(name))


def _member(path: Path, archive: ZipFile, name: str) -> ListedImage:
    info = archive.getinfo(name)
    return ListedImage(printable(f"{path}/{name}"), f"{info.file_size}-{info.CRC:08x}", os.fsencode(name))


def _lines(path: Path) -> Iterator[ListedImage]:
    """Every line below the header that is not blank."""
    dataset_csv.cut(path, chunk_bytes=_WHOLE_FILE)  # refuses endless lines
    with path.open("rb") as file:
        offset = len(file.readline())
        for number, line in enumerate(file, start=2):
            if line.strip():
                digest = blake2b(line.rstrip(b"\r\n"), digest_size=16).hexdigest()
                yield ListedImage(printable(f"{path}:{number}"), digest, b"%d %d %d" % (offset, len(line), number))
            offset += len(line)


def _read_lines(path: Path, columns: CsvColumns, listed: Iterable[Mapping[str, Any]]) -> Iterator[FaceRow]:
    images = list(listed)
    lines = []
    with path.open("rb") as file:
        for image in images:
            offset, num_bytes, number = map(int, image["member"].split())
            file.seek(offset)
            line = file.read(num_bytes).rstrip(b"\n")
            lines.append((number, line if line.strip() else b","))  # the file has changed: no line of a face
    rows = face_rows.rows_of_lines(lines, path.name, columns)
    for image, row in zip(images, rows, strict=True):
        yield row._replace(position=image["position"], source=image["path"])
