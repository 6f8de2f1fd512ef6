"""Zip archives from strangers: nothing leaves its folder and nothing unpacks without a limit."""

import shutil
import stat
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from fer_tasks.errors import DatasetError

MAX_MEMBERS = 2_000_000
"""Python keeps some 600 bytes of each in memory."""
MAX_UNPACKED_BYTES = 256 * 2**30
MAX_RATIO = 100
"""Unpacked over packed size of a whole archive. Photographs reach about 1, pixel text about 4, a zip bomb over 1000."""
HARMLESS_BYTES = 64 * 2**20
"""Below this unpacked size the ratio does not matter."""
MAX_IMAGE_BYTES = 512 * 2**20
HEADER_BYTES = 2**16
_LOCAL_HEADER_BYTES = 30
_LONGEST_NAME = 60

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_DAMAGE = (BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError, UnicodeDecodeError)


def list_files(path: Path) -> list[str]:
    """Names of the files inside, '/'-separated. Raises DatasetError for what is no zip, empty or unsafe."""
    with open_archive(path) as archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise DatasetError(f"The zip {str(path)!r} has {len(archive.infolist())} members; allowed: {MAX_MEMBERS}.")
        files = [member for member in archive.infolist() if not member.filename.endswith("/")]
    _check_places(path, files)
    for member in files:
        if danger := _danger(member):
            raise DatasetError(
                f"The zip {str(path)!r} is refused: its member {member.filename!r} {danger}. "
                "Expected plain files below the archive's own folder; pack it again without that."
            )
    _check_size(path, sum(member.file_size for member in files))
    names = [member.filename for member in files]
    if not names:
        raise DatasetError(f"The zip {str(path)!r} is empty; give one that holds images or a CSV.")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DatasetError(f"The zip {str(path)!r} holds {name!r} {times} times; pack it again with unique names.")
    return names


def read_start(archive: ZipFile, name: str) -> bytes:
    """The first HEADER_BYTES of a member."""
    try:
        with archive.open(name) as member:
            return member.read(HEADER_BYTES)
    except _DAMAGE as error:
        raise _damaged(Path(str(archive.filename)), name, error) from None


def read_member(archive: ZipFile, name: str, *, max_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """A member's bytes. Raises DatasetError, in words, when it is damaged or longer than max_bytes, whatever its
    header says."""
    try:
        with archive.open(name) as member:
            data = member.read(max_bytes + 1)
    except _DAMAGE as error:
        raise DatasetError(f"cannot be unpacked from the zip: {_words(error)}") from error
    if len(data) > max_bytes:
        raise DatasetError(f"is longer than {max_bytes} bytes when unpacked")
    return data


def extract(path: Path, name: str, folder: Path) -> Path:
    """Unpack one member into the existing `folder` under the end of its name, and no more bytes than it declares."""
    target = folder / PurePosixPath(name).name[-_LONGEST_NAME:]
    try:
        with open_archive(path) as archive, archive.open(name) as member, target.open("wb") as file:
            shutil.copyfileobj(member, file, 2**20)  # ZipExtFile stops at the declared size, which list_files checked
    except _DAMAGE as error:
        raise _damaged(path, name, error) from error
    return target


def open_archive(path: Path) -> ZipFile:
    """Raises DatasetError for what is no zip."""
    try:
        return ZipFile(path)
    except (BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{str(path)!r} is not a readable zip ({_words(error)}); it may be cut off or of another kind. "
            "Fetch it again, or give the unpacked folder."
        ) from error


def _danger(member: ZipInfo) -> str | None:
    """Why a member must not be touched, or None."""
    name = member.filename
    if not name:
        return "has no name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or name[1:2] == ":":
        return "has an absolute path"
    if ".." in name.split("/"):
        return "points outside the archive with '..'"
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "is a link or a special file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return f"uses the compression method {member.compress_type} instead of deflate"
    return None


def _check_places(path: Path, members: list[ZipInfo]) -> None:
    """Members that share bytes make little data much: https://www.bamsoftware.com/hacks/zipbomb/."""
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise DatasetError(f"The zip {str(path)!r} is refused: its members overlap. Pack it again.")
        end = member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size
    if end > path.stat().st_size:
        raise DatasetError(f"The zip {str(path)!r} is cut off: members end beyond its last byte. Fetch it again.")


def _check_size(path: Path, unpacked: int) -> None:
    ratio = unpacked / max(path.stat().st_size, 1)
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > HARMLESS_BYTES and ratio > MAX_RATIO):
        raise DatasetError(
            f"The zip {str(path)!r} looks like a zip bomb: it unpacks to {unpacked:,} bytes, {ratio:.0f} times its "
            f"size; allowed: {MAX_UNPACKED_BYTES:,} bytes and {MAX_RATIO} times. Give the unpacked data set instead."
        )


def _damaged(path: Path, name: str, error: Exception) -> DatasetError:
    return DatasetError(f"{name!r} in the zip {str(path)!r} is damaged ({_words(error)}); fetch the zip again.")


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
