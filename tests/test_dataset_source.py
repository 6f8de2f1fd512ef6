import hashlib
import os
import stat
import zipfile
from pathlib import Path

import pytest

from fer_tasks import dataset_archive
from fer_tasks.dataset_csv import CsvColumns, cut
from fer_tasks.dataset_source import fingerprint, open_dataset
from fer_tasks.errors import DatasetError

HEADER = b"emotion,pixels,Usage\n"
LINE = b"3,1 2 3,Training\n"


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def put_all(folder: Path, names: list[str]) -> Path:
    for name in names:
        put(folder / name)
    return folder


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def refusal(location) -> str:
    with pytest.raises(DatasetError) as caught:
        open_dataset(str(location))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (b"emotion,pixels,Usage\n", CsvColumns(0, 1, 2, 3)),
        (b"emotion, Usage, pixels\n", CsvColumns(0, 2, 1, 3)),
        (b"\xef\xbb\xbfemotion,pixels,Usage\r\n", CsvColumns(0, 1, 2, 3)),
        (b'id,"Pixels",USAGE,"Emotion"\n', CsvColumns(3, 1, 2, 4)),
    ],
)
def test_csv_headers(tmp_path, header, columns):
    source = open_dataset(str(put(tmp_path / "faces.csv", header + LINE)))
    assert (source.kind, source.columns) == ("csv", columns)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "'faces.csv' is empty"),
        (b" \n\n", "'faces.csv' is empty"),
        (HEADER, "header only"),
        (HEADER + b"\r\n \n", "header only"),
        (b"emotion,pixels\n3,1 2\n", "'usage' is missing"),
        (b"emotion,pixel,Usage\n" + LINE, "'pixels' is missing (is 'pixel' it?)"),
        (b"emotoin,pixels,Usage\n" + LINE, "'emotion' is missing (is 'emotoin' it?)"),
        (b"emotion;pixels;Usage\n3;1 2;Training\n", "separated by commas"),
        (b"emotion,pixels,Usage,pixels\n", "'pixels' stands there 2 times"),
        (LINE, "begins with '3,1 2 3,Training'"),
        ("emotion,pixels,Usage\n".encode("utf-16"), "UTF-16"),
        (b"emotion,pixels,Usage\r3,1 2,Training\r", "CR only"),
        (b"\x00\xff" * 99_999, "'pixels' is missing"),
    ],
)
def test_csv_files_that_are_none(tmp_path, content, words):
    assert words in refusal(put(tmp_path / "faces.csv", content))


def test_missing_path_names_the_nearest(tmp_path):
    put(tmp_path / "fer2013.csv", HEADER + LINE)
    message = refusal(tmp_path / "fer2031.csv")
    assert "fer2031.csv" in message
    assert "did you mean 'fer2013.csv'?" in message
    assert "train/<emotion>" in message
    assert "is not there either" in refusal(tmp_path / "nowhere" / "fer2013.csv")


@pytest.mark.parametrize(
    ("location", "words"),
    [("", "empty"), ("  ", "empty"), ("a\0b", "NUL"), ("x" * 300, "name too long"), ("\udcff", "UTF-8")],
)
def test_paths_that_cannot_be(location, words):
    assert words in refusal(location)


def test_a_device_is_no_data_set():
    assert "neither a file nor a folder" in refusal("/dev/null")


@pytest.mark.parametrize("name", ['a "quoted" one', "two\nlines", "blank s", "größe 表情", "it's", "*[a-b]{c}?"])
def test_any_path_works(tmp_path, name):
    table = put(tmp_path / name / "faces.csv", HEADER + LINE)
    folder = put_all(tmp_path / "set" / name, ["train/happy/a.png"])
    assert open_dataset(str(table)).path == table
    assert open_dataset(str(folder)).members == ("train/happy/a.png",)


def test_a_relative_path_is_made_absolute(tmp_path, monkeypatch):
    put(tmp_path / "faces.csv", HEADER + LINE)
    monkeypatch.chdir(tmp_path)
    assert open_dataset("faces.csv").path == tmp_path / "faces.csv"


def test_folder_members_are_sorted_and_the_rest_is_counted(tmp_path):
    names = ["train/sad/b c.JPG", "train/happy/ä.png", "test/sad/1.webp", "train/.DS_Store", "README.txt", "cover.jpg"]
    source = open_dataset(str(put_all(tmp_path, [*names, "train/sad/._b.jpg", "__MACOSX/train/sad/b.jpg"])))
    assert source.members == ("test/sad/1.webp", "train/happy/ä.png", "train/sad/b c.JPG")
    assert source.ignored == (
        "README.txt",
        "__MACOSX/train/sad/b.jpg",
        "cover.jpg",
        "train/.DS_Store",
        "train/sad/._b.jpg",
    )


def usages(source):
    names = source.usage_names()
    return {member: names.get(source.describe(member)[0].lower()) for member in source.members}


def test_folders_and_kaggles_file_names_tell_the_split(tmp_path):
    expected = {
        "Train/happy/Training_1.jpg": "Training",
        "test/happy/PublicTest_1.jpg": "PublicTest",
        "test/sad/PrivateTest_1.jpg": "PrivateTest",
        "test/sad/x.jpg": "PublicTest",
        "train/sad/y.jpg": "Training",
        "extra/sad/z.jpg": None,
    }
    assert usages(open_dataset(str(put_all(tmp_path, list(expected))))) == expected


@pytest.mark.parametrize("validation", ["validation", "val", "Valid"])
def test_with_a_validation_folder_the_test_folder_is_the_private_test(tmp_path, validation):
    names = ["train/happy/a.jpg", f"{validation}/happy/b.jpg", "test/happy/c.jpg"]
    assert list(usages(open_dataset(str(put_all(tmp_path, names)))).values()) in (
        ["PublicTest", "PrivateTest", "Training"],  # V sorts before t
        ["PrivateTest", "Training", "PublicTest"],
    )


def test_one_top_folder_is_looked_through(tmp_path):
    source = open_dataset(str(put_all(tmp_path, ["fer/train/happy/a.jpg", "fer/test/odd/b.jpg", "cover.png"])))
    assert [source.describe(member) for member in source.members] == [("test", "odd"), ("train", "happy")]


def test_linked_folders_are_followed_once(tmp_path):
    put(tmp_path / "elsewhere" / "happy" / "a.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "set")
    assert open_dataset(str(tmp_path / "set")).members == ("train/happy/a.jpg",)


@pytest.mark.parametrize(
    "names", [[], ["notes.txt"], ["train/a.jpg"], ["happy/a.jpg", "sad/b.jpg"], ["a/happy/1.jpg", "b/sad/1.jpg"]]
)
def test_folders_without_the_shape(tmp_path, names):
    message = refusal(put_all(tmp_path, names))
    assert f"({len(names)} files)" in message
    assert "train/<emotion>/*" in message


def test_a_folder_that_holds_the_csv_points_to_it(tmp_path):
    put(tmp_path / "fer2013.csv", HEADER + LINE)
    assert "It holds 'fer2013.csv': give that file's path." in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path):
    path = put(tmp_path / "faces.csv", HEADER + LINE)
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_zip_of_images(tmp_path):
    members = {"fer/train/happy/b.jpg": b"1", "fer/test/sad/a.jpg": b"2", "fer/": b"", "__MACOSX/fer/train/x.jpg": b""}
    source = open_dataset(str(make_zip(tmp_path / "faces.zip", members)))
    assert (source.kind, source.members) == ("zip", ("fer/test/sad/a.jpg", "fer/train/happy/b.jpg"))
    assert source.describe("fer/test/sad/a.jpg") == ("test", "sad")
    assert source.ignored == ("__MACOSX/fer/train/x.jpg",)


def test_zip_of_a_csv_among_others(tmp_path):
    members = {
        "all/train.csv": b"emotion,pixels\n1,2\n",
        "all/icml_face_data.csv": b"emotion, Usage, pixels\n1,Training,2\n",
    }
    source = open_dataset(str(make_zip(tmp_path / "faces.zip", members)))
    assert (source.kind, source.members) == ("zipped_csv", ("all/icml_face_data.csv",))
    assert source.columns == CsvColumns(0, 2, 1, 3)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "is empty"),
        ({"notes.txt": b"x"}, "holds 1 files, none of them usable"),
        ({"a.csv": b"emotion,pixls,Usage\n1,2,Training\n"}, "'pixels' is missing (is 'pixls' it?)"),
        ({"a.csv": HEADER + LINE, "b.csv": HEADER + LINE}, "several such CSVs: a.csv, b.csv"),
        ({"train/happy/a.jpg": b"x", "../evil.jpg": b"x"}, "points outside"),
        ({"train/happy/a.jpg": b"x", "train/../../evil.jpg": b"x"}, "points outside"),
        ({"/etc/evil.jpg": b"x"}, "absolute path"),
        ({"C:/evil.jpg": b"x"}, "absolute path"),
        ({"train\\..\\evil.jpg": b"x"}, "backslash"),
    ],
)
def test_zips_that_are_refused(tmp_path, members, words):
    assert words in refusal(make_zip(tmp_path / "faces.zip", members))


def test_zip_with_a_link(tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("train/happy/a.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "link" in refusal(path)


def test_encrypted_zip(tmp_path):
    path = make_zip(tmp_path / "faces.zip", {"train/happy/a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # flag bit 0 in the central directory
    path.write_bytes(data)
    assert "encrypted" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_a_name_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("train/happy/a.jpg", b"1")
        archive.writestr("train/happy/a.jpg", b"2")
    assert "'train/happy/a.jpg' 2 times" in refusal(tmp_path / "faces.zip")


def test_zip_bomb(tmp_path):
    bomb = make_zip(tmp_path / "faces.zip", {"train/happy/a.bmp": bytes(80 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**20
    assert "zip bomb" in refusal(bomb)


def test_a_small_very_even_zip_is_no_bomb(tmp_path):
    path = make_zip(tmp_path / "faces.zip", {"train/happy/a.bmp": bytes(2**20)}, zipfile.ZIP_DEFLATED)
    assert open_dataset(str(path)).members == ("train/happy/a.bmp",)


@pytest.mark.parametrize("data", [b"not a zip", b"PK\x03\x04 but no more", b""])
def test_no_zip_under_the_name_of_one(tmp_path, data):
    assert "is not a readable zip" in refusal(put(tmp_path / "faces.zip", data))


def test_a_member_is_read_no_further_than_allowed(tmp_path):
    path = make_zip(tmp_path / "faces.zip", {"a": b"12345"})
    with zipfile.ZipFile(path) as archive:
        assert dataset_archive.read_member(archive, "a", max_bytes=5) == b"12345"
        with pytest.raises(DatasetError, match="longer than 4 bytes"):
            dataset_archive.read_member(archive, "a", max_bytes=4)


def test_a_member_that_lies_about_its_size_is_not_read_beyond_it(tmp_path):
    path = make_zip(tmp_path / "faces.zip", {"a.csv": bytes(100_000)}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (50).to_bytes(4, "little")
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive, pytest.raises(DatasetError, match="cannot be unpacked"):
        dataset_archive.read_member(archive, "a.csv")
    with pytest.raises(DatasetError, match="is damaged"):
        dataset_archive.extract(path, "a.csv", tmp_path)
    assert (tmp_path / "a.csv").stat().st_size <= 50


def test_chunks_are_whole_lines_with_their_numbers(tmp_path):
    path = put(tmp_path / "faces.csv", b"head\n" + b"".join(b"line %d\r\n\n" % n for n in range(2, 60)) + b"last")
    lines = path.read_bytes().split(b"\n")
    chunks = cut(path, chunk_bytes=50)
    assert len(chunks) > 5
    assert (chunks[0].start, chunks[0].first_line, chunks[-1].end) == (5, 2, path.stat().st_size)
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
        text = path.read_bytes()[chunk.start : chunk.end]
        assert text.split(b"\n")[0] == lines[chunk.first_line - 1]
        assert following is None or (following.start == chunk.end and text.endswith(b"\n"))


def test_a_line_without_end_is_refused(tmp_path):
    path = put(tmp_path / "faces.csv", HEADER + b"3," + b"1 " * (9 * 2**20))
    with pytest.raises(DatasetError, match=r"Line 2 of .* is longer than"):
        cut(path, chunk_bytes=2**20)


def test_fingerprints(tmp_path):
    table = put(tmp_path / "faces.csv", HEADER + LINE)
    folder = put_all(tmp_path / "set", ["train/happy/b.png", "train/happy/a.png"])
    put(folder / "train" / "happy" / "b.png", b"bee")
    a, b = hashlib.sha256(b"x").hexdigest(), hashlib.sha256(b"bee").hexdigest()
    listing = f"{a}  train/happy/a.png\n{b}  train/happy/b.png\n"
    assert fingerprint(open_dataset(str(table))) == hashlib.sha256(HEADER + LINE).hexdigest()
    assert fingerprint(open_dataset(str(folder))) == hashlib.sha256(listing.encode()).hexdigest()
