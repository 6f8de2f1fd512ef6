"""Data sets from somebody who means harm: bombs, ways out of the folder, special files. Each is refused, and soon."""

import os
import resource
import stat
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tasks import dataset_archive
from fer_tasks.dataset_source import fingerprint, open_dataset
from fer_tasks.errors import DatasetError, ImageTooLargeError
from fer_tasks.face_rows import image_rows
from fer_tasks.image_decoding import decode

LOCAL = "<4s5H3L2H"
CENTRAL = "<4s6H3L5H2L"


def zip_by_hand(path: Path, entries: list[tuple[bytes, int]], *, data: bytes = b"x", mode: int = 0) -> Path:
    """A zip of one stored member and of directory entries (name, offset) that say that they are it."""
    crc, name = zlib.crc32(data), entries[0][0]
    local = struct.pack(LOCAL, b"PK\3\4", 20, 0, 0, 0, 0, crc, len(data), len(data), len(name), 0) + name + data
    sizes = (crc, len(data), len(data))
    listed = b"".join(
        struct.pack(
            CENTRAL, b"PK\1\2", 3 << 8 | 20, 20, 0, 0, 0, 0, *sizes, len(n), 0, 0, 0, 0, mode << 16, offset % 2**32
        )
        + n
        for n, offset in entries
    )
    count = len(entries)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(listed), len(local), 0)
    path.write_bytes(local + listed + end)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        open_dataset(str(path))
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_zips_by_hand_are_zips(tmp_path):
    path = zip_by_hand(tmp_path / "a.zip", [(b"train/happy/a.jpg", 0)])
    with zipfile.ZipFile(path) as archive:
        assert archive.read("train/happy/a.jpg") == b"x"
    assert open_dataset(str(path)).members == ("train/happy/a.jpg",)


def test_members_that_overlap_are_refused(tmp_path):
    """As in https://www.bamsoftware.com/hacks/zipbomb/: one kernel, many names."""
    entries = [(b"train/happy/%d.jpg" % number, 0) for number in range(1000)]
    assert "its members overlap" in refusal(zip_by_hand(tmp_path / "a.zip", entries, data=b"x" * 1000))


@pytest.mark.parametrize("offset", [400, 2**31, 2**32 - 2])
def test_a_member_behind_the_file_is_refused(tmp_path, offset):
    assert "cut off" in refusal(zip_by_hand(tmp_path / "a.zip", [(b"train/happy/a.jpg", offset)]))


def test_a_member_before_the_file_is_refused(tmp_path):
    """A directory that says that it begins later makes every offset negative."""
    path = zip_by_hand(tmp_path / "a.zip", [(b"train/happy/a.jpg", 0)])
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\5\6") + 16
    data[at : at + 4] = struct.pack("<L", struct.unpack_from("<L", data, at)[0] + 7)
    path.write_bytes(data)
    assert "overlap" in refusal(path)


def test_a_member_without_a_name_is_refused(tmp_path):
    entries = [(b"train/happy/a.jpg", 0)]
    path = zip_by_hand(tmp_path / "a.zip", entries)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b", b"y")
    path.write_bytes(path.read_bytes().replace(b"b" + b"PK\5\6", b"\0" + b"PK\5\6"))
    assert "has no name" in refusal(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_special_files_in_a_zip_are_refused(tmp_path, kind):
    path = zip_by_hand(tmp_path / "a.zip", [(b"train/happy/a.jpg", 0)], data=b"/etc/passwd", mode=kind | 0o777)
    assert "link or a special file" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        "//server/share/a.jpg",
        "\\\\server\\share\\a.jpg",
        "C:a.jpg",
        "c:\\a.jpg",
        "train/happy/..",
        "..\\a.jpg",
        "../a.csv",
    ],
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    path = zip_by_hand(tmp_path / "a.zip", [(name.encode(), 0)])
    assert refusal(path).split("its member")[1]


def test_a_csv_is_unpacked_below_its_folder_under_a_name_that_fits(tmp_path):
    name = "a" * 30 + "/" + "b" * 5000 + "ü.csv"
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "emotion,pixels,Usage\n0,1 2,Training\n")
    (tmp_path / "out").mkdir()
    unpacked = dataset_archive.extract(path, open_dataset(str(path)).members[0], tmp_path / "out")
    assert unpacked.parent == tmp_path / "out"
    assert unpacked.read_text() == "emotion,pixels,Usage\n0,1 2,Training\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["faces.zip", "out"]


def test_a_zip_in_a_zip_is_never_opened(tmp_path):
    bomb = bytes(10**6)
    for _ in range(4):
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for copy in range(10):
                archive.writestr(f"train/happy/{copy}.zip", bomb)
        bomb = buffer.getvalue()
    (tmp_path / "bomb.zip").write_bytes(bomb)
    assert "holds 10 files, none of them usable" in refusal(tmp_path / "bomb.zip")


def test_a_zip_of_too_many_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_archive, "MAX_MEMBERS", 9)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(10):
            archive.writestr(f"train/happy/{number}.jpg", b"")
    assert "has 10 members; allowed: 9" in refusal(tmp_path / "a.zip")


def test_a_zip_of_many_csvs_is_not_searched(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(3000):
            archive.writestr(f"{number}.csv", b"x")
    assert "holds 3000 CSVs. Unpack it and name one." in refusal(tmp_path / "a.zip")


def test_a_member_that_is_called_otherwise_inside_is_one_bad_image(tmp_path):
    path = zip_by_hand(tmp_path / "a.zip", [(b"train/happy/a.jpg", 0)])
    path.write_bytes(path.read_bytes().replace(b"train/happy/a.jpg", b"train/happy/../xx", 1))
    source = open_dataset(str(path))
    [row] = image_rows(source, [0], max_megapixels=1)
    assert "cannot be unpacked from the zip" in row.decode_error


@pytest.fixture
def image_folder(tmp_path):
    """An image, and under the names of images a pipe, an endless device, a loop, and links to nothing and to a text."""
    folder = tmp_path / "set" / "train" / "happy"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "good.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nothing.png").symlink_to("/no/such/file")
    (folder / "text.png").symlink_to("/etc/passwd")
    return open_dataset(str(tmp_path / "set"))


@pytest.mark.timeout(60)
def test_what_is_no_image_file_is_a_bad_image_and_nothing_hangs(image_folder):
    rows = list(image_rows(image_folder, range(len(image_folder.members)), max_megapixels=1))
    reasons = {Path(row.source).stem: row.decode_error for row in rows}
    assert reasons.pop("good") is None
    assert "the file is no JPEG, PNG, BMP, WebP or GIF image" in reasons.pop("text")
    assert reasons == dict.fromkeys(
        ("device", "loop", "nothing", "pipe"), "the file is missing or a broken link, or no regular file"
    )


@pytest.mark.timeout(60)
def test_the_fingerprint_of_a_folder_opens_no_pipe_and_no_device(image_folder):
    before = fingerprint(image_folder)
    assert before == fingerprint(image_folder)
    (image_folder.path / "train" / "happy" / "nothing.png").unlink()
    (image_folder.path / "train" / "happy" / "nothing.png").write_bytes(b"now it is there")
    assert fingerprint(image_folder) != before


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", zlib.crc32(header[4:])) + struct.pack(">I4s", 10, b"IDAT")


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


SMALL = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))


def with_bytes(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


JPEG, WEBP = saved(SMALL, "JPEG"), saved(SMALL.convert("RGB"), "WEBP", lossless=True)
DECLARED = {
    "png": png_header(2**31 - 1, 2**31 - 1),
    "jpeg": with_bytes(JPEG, JPEG.index(b"\xff\xc0") + 5, struct.pack(">HH", 65500, 65500)),
    "gif": with_bytes(saved(SMALL, "GIF"), 6, b"\xff\xff\xff\xff"),
    "bmp": with_bytes(saved(SMALL, "BMP"), 18, struct.pack("<ii", 2**31 - 1, 2**31 - 1)),
    "webp": with_bytes(WEBP, WEBP.index(b"VP8L") + 9, b"\xff\xff\xff\x0f"),
}


@pytest.mark.parametrize("file_format", DECLARED)
def test_an_image_that_declares_a_huge_size_is_refused_before_it_is_decoded(file_format):
    with pytest.raises(DatasetError, match=r"megapixels; allowed: 50|the image is damaged: .*(WebP|pixels)"):
        decode(DECLARED[file_format], max_megapixels=50)


def test_a_gif_whose_frame_is_to_be_wiped_takes_no_memory_for_it():
    """Pillow wipes a frame of 60000x40000 (disposal 2) while it opens the file, before its size is known. Found by
    `make fuzz`: 2 GB for 36 bytes."""
    control = b"\x21\xf9\x04" + bytes([2 << 2]) + bytes(4)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 60_000, 40_000, 0) + b"\x02\x01\x00\x00"
    gif = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + control + frame + b"\x3b"
    before = peak_memory()
    with pytest.raises(
        ImageTooLargeError, match="the GIF, or a frame of it, has more than 100 megapixels; allowed: 50"
    ):
        decode(gif, max_megapixels=50)
    assert peak_memory() - before < 300 * 2**20


def peak_memory() -> int:
    """Of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("file_format", ["TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "PDF", "EPS"])
def test_decoders_that_faces_do_not_need_see_no_stranger(file_format):
    picture = saved(SMALL.convert("RGB"), file_format)
    with pytest.raises(DatasetError, match="the file is no JPEG, PNG, BMP, WebP or GIF image"):
        decode(picture, max_megapixels=50)


def test_a_tiff_of_huge_size_is_not_looked_at():
    tiff = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 2)
    tiff += struct.pack("<HHII", 256, 4, 1, 2**32 - 1) + struct.pack("<HHII", 257, 4, 1, 2**32 - 1) + bytes(4)
    with pytest.raises(DatasetError, match="the file is no JPEG"):
        decode(tiff, max_megapixels=50)


def test_a_jpeg_of_endless_scans_is_refused():
    """200 scans of a blank 49-megapixel image, 206 kB, took 71 seconds."""
    data = saved(Image.new("L", (640, 640), 128), "JPEG", progressive=True, quality=10)
    assert decode(data, max_megapixels=1).pixels.shape == (640, 640)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 100_000 + data[-2:]
    with pytest.raises(DatasetError, match="the JPEG has 100005 scans; allowed: 100"):
        decode(bomb, max_megapixels=50)


BLANK = zlib.compress(bytes(64 * 2**20), 9)


@pytest.mark.parametrize(("kind", "content"), [(b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"p\0\0")])
def test_texts_and_profiles_of_a_png_are_not_unpacked_without_limit(kind, content):
    """Pillow stops at 1 MiB."""
    chunk = kind + content + BLANK
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    picture = saved(SMALL, "PNG")
    with pytest.raises(DatasetError, match="too large"):
        decode(picture[:33] + whole + picture[33:], max_megapixels=1)  # behind IHDR
