"""Files of pictures: which ones a command line means (files, folders, patterns, lines of the standard input), and what
is in one."""

import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from fer_tasks.dataset_archive import MAX_IMAGE_BYTES
from fer_tasks.dataset_source import IMAGE_SUFFIXES
from fer_tasks.errors import DatasetError

STDIN = Path("-")


class UniqueNames:
    """Paths of PNGs in a folder, none of them given twice: files of the same name may come from several folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._given: dict[str, int] = {}

    def path(self, stem: str) -> Path:
        """`<stem>.png`, then `<stem>-2.png` and so on."""
        self._given[stem] = self._given.get(stem, 0) + 1
        number = self._given[stem]
        return self._folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")


def read_picture(path: Path) -> bytes:
    """The bytes of a regular file. Raises DatasetError, in words, for what is none, too long, or may not be read."""
    try:
        if not path.is_file():
            raise DatasetError("the file is missing or a broken link, or no regular file")
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise DatasetError(f"the file is longer than {MAX_IMAGE_BYTES} bytes")
        return path.read_bytes()
    except PermissionError as error:
        raise DatasetError("the file cannot be read: permission denied") from error


def find_images(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file named, and every image below every folder named, in the order of names. `-`: the standard input.

    Raises DatasetError for a path or pattern without a file, and a folder without an image.
    """
    for path in paths:
        if path == STDIN:
            yield from find_images(Path(line.strip()) for line in sys.stdin if line.strip() not in ("", "-"))
        elif path.is_dir():
            yield from _images_below(path)
        elif path.exists():
            yield path
        else:
            found = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(str(path)) else []  # noqa: PTH207
            if not found:
                raise DatasetError(f"There is nothing at {path}; give image files or folders of them.")
            yield from find_images(map(Path, found))


def _images_below(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    if not found:
        raise DatasetError(f"There is no image below {folder}; expected {', '.join(sorted(IMAGE_SUFFIXES))} files.")
    return found
