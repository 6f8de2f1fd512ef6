"""Which images a folder, a zip or a CSV holds for scoring, and how each is read."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tasks.errors import DatasetError
from fer_tasks.scoring_source import list_images, open_source, read_images


def face(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(face(seed)).save(stream, "PNG")
    return stream.getvalue()


def line(seed: int) -> str:
    return " ".join(map(str, face(seed).ravel()))


def read(source, *, keep=lambda path: True):
    """[(path, pixels or why there are none)] in order."""
    images, _ = list_images(source)
    listed = [{"position": number, **image._asdict()} for number, image in enumerate(images) if keep(image.path)]
    rows = list(read_images(source, listed, max_megapixels=1))
    assert [(row.position, row.source) for row in rows] == [(image["position"], image["path"]) for image in listed]
    return [(row.source, row.decode_error if row.image is None else row.image.pixels) for row in rows]


def versions(location) -> dict[str, str]:
    return {image.path: image.file_version for image in list_images(open_source(str(location)))[0]}


def test_a_folder_is_searched_to_any_depth_for_what_is_an_image_by_name(tmp_path):
    for name in ("b.PNG", "deep/er/a.jpg", ".hidden.png", "notes.txt", "deep/__MACOSX/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(1))
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(str(tmp_path))
    images, others = list_images(source)
    names = ("b.PNG", "broken.png", "dangling.png", "deep/er/a.jpg")
    assert [image.path for image in images] == [f"{tmp_path}/{name}" for name in names]
    assert others == [".hidden.png", "deep/__MACOSX/x.png", "notes.txt"]
    (_, first), (_, broken), (_, dangling), (_, deep) = read(source)
    np.testing.assert_array_equal(first, face(1))
    np.testing.assert_array_equal(deep, face(1))
    assert "no JPEG, PNG, BMP, WebP or GIF" in broken
    assert "broken link" in dangling


def test_an_empty_folder_has_nothing_and_is_no_error(tmp_path):
    assert list_images(open_source(str(tmp_path))) == ([], [])


def test_a_file_that_is_changed_touched_or_replaced_has_another_version(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(png(1))
    os.utime(file, ns=(1, 1_000_000_000))
    before = versions(tmp_path)
    assert versions(tmp_path) == before
    assert list(before) == [str(file)]
    os.utime(file, ns=(1, 1_000_000_001))
    assert versions(tmp_path) != before
    file.write_bytes(png(1) + b"more")
    os.utime(file, ns=(1, 1_000_000_000))
    assert versions(tmp_path) != before


def test_a_name_that_is_no_text_is_told_by_escapes_and_read_all_the_same(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(png(2))
    [(path, pixels)] = read(open_source(str(tmp_path)))
    assert path == f"{tmp_path}/\\udcff.png"
    np.testing.assert_array_equal(pixels, face(2))


def test_a_zip_is_read_in_place_and_its_members_are_known_by_their_content(tmp_path):
    def pack(**members):
        with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
            for name, data in members.items():
                archive.writestr(f"in/{name}", data)

    pack(**{"a.png": png(1), "b.png": b"no image", "c.txt": b"x"})
    source = open_source(str(tmp_path / "faces.zip"))
    assert list_images(source)[1] == ["in/c.txt"]
    (path, pixels), (_, broken) = read(source)
    assert path == f"{tmp_path}/faces.zip/in/a.png"
    np.testing.assert_array_equal(pixels, face(1))
    assert "no JPEG" in broken
    before = versions(source.path)
    pack(**{"a.png": png(3), "b.png": b"no image"})
    changed = {name for name, version in versions(source.path).items() if before[name] != version}
    assert changed == {f"{tmp_path}/faces.zip/in/a.png"}


def test_a_zip_without_an_image_and_one_that_leads_outside_are_refused(tmp_path):
    for name, words in (("notes.txt", "holds 1 files and no image"), ("../a.png", "points outside the archive")):
        with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
            archive.writestr(name, png(1))
        with pytest.raises(DatasetError, match=words):
            list_images(open_source(str(tmp_path / "faces.zip")))


def test_a_csv_needs_a_column_of_pixels_and_its_lines_are_known_by_their_content(tmp_path):
    table = tmp_path / "faces.csv"
    table.write_text(f"id, pixels\n7,{line(1)}\r\n\n8,1 2 3\n9,{line(2)}\n10,x,y\n")
    (path, first), (_, short), (last_path, last), (_, wrong) = read(open_source(str(table)))
    assert (path, last_path) == (f"{table}:2", f"{table}:5")
    np.testing.assert_array_equal(first, face(1))
    np.testing.assert_array_equal(last, face(2))
    assert short.shape == (1, 3)
    assert wrong == "fields in the line: 3; expected: 2, separated by commas"
    before = versions(table)
    with table.open("a") as file:
        file.write(f"11,{line(4)}")
    after = versions(table)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {f"{table}:7"}
    table.write_text(table.read_text().replace("8,1 2 3", "8,1 2 4"))
    changed = versions(table)
    assert {path for path in changed if changed[path] != after[path]} == {f"{table}:4"}
    [(_, appended)] = read(open_source(str(table)), keep=lambda path: path.endswith(":7"))
    np.testing.assert_array_equal(appended, face(4))


def test_fer2013_s_own_csv_is_one_too(tmp_path):
    table = tmp_path / "fer2013.csv"
    table.write_text(f"emotion,pixels,Usage\n3,{line(1)},PublicTest\n")
    [(_, pixels)] = read(open_source(str(table)))
    np.testing.assert_array_equal(pixels, face(1))


def test_what_has_changed_since_it_was_listed_is_told_and_not_taken_for_a_face(tmp_path):
    file, table = tmp_path / "a.png", tmp_path / "faces.csv"
    file.write_bytes(png(1))
    table.write_text(f"id,pixels\n7,{line(1)}\n8,{line(2)}\n")
    folder, csv = open_source(str(tmp_path)), open_source(str(table))
    listed = [
        [{"position": number, **image._asdict()} for number, image in enumerate(list_images(source)[0])]
        for source in (folder, csv)
    ]
    file.unlink()
    table.write_text("id,pixels\n" + "\n" * 20_000)
    [gone] = read_images(folder, listed[0], max_megapixels=1)
    assert "missing" in gone.decode_error
    first, second = read_images(csv, listed[1], max_megapixels=1)
    assert (first.image, second.image) == (None, None)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("nowhere", r"There is no data set at .*expected a folder of images, a zip of images, or a CSV with"),
        ("faces.csv", r"'pixels' is missing\. Expected a first line with the column pixels, separated"),
        ("faces.zip", "not a readable zip"),
    ],
)
def test_what_is_no_source_of_images_is_refused_in_words(tmp_path, location, words):
    (tmp_path / "faces.csv").write_text("emotion,Usage\n3,Training\n")
    (tmp_path / "faces.zip").write_bytes(b"PK, but no zip")
    with pytest.raises(DatasetError, match=words):
        list_images(open_source(str(tmp_path / location)))
