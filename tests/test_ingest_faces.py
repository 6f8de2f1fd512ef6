import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fer_tasks import face_rows
from fer_tasks.dataset_csv import CsvColumns, cut
from fer_tasks.errors import DatasetError
from fer_tasks.ingestion import Ingestion
from spark_jobs import ingest_faces

PROJECT = Path(__file__).resolve().parent.parent

CONTRACT = {
    "position": "int64",
    "source": "string",
    "image_id": "string",
    "usage_text": "string",
    "label_text": "string",
    "usage": "string",
    "label": "int32",
    "height": "int32",
    "width": "int32",
    "channels": "int32",
    "num_pixels": "int32",
    "minimum": "int32",
    "maximum": "int32",
    "mean": "double",
    "standard_deviation": "double",
    "sharpness": "double",
    "decode_error": "string",
    "pixels": "binary",
}


def face(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def text(pixels: np.ndarray) -> str:
    return " ".join(map(str, pixels.ravel().tolist()))


def encoded(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


@pytest.fixture
def ingest(spark, make_run):
    """ingest(dataset) -> (rows of raw_faces as dicts in the files' order, ingestion.json)."""

    def run(dataset: Path | str, **settings) -> tuple[list[dict], Ingestion]:
        run_dir = make_run(dataset=str(dataset), **settings)
        ingest_faces.main(str(run_dir))
        table = pq.read_table(run_dir.raw_faces)
        assert {field.name: str(field.type) for field in table.schema} == CONTRACT
        assert run_dir.attempts("ingest_dataset")[-1].status == "succeeded"
        assert not run_dir.unpacked_folder.exists()
        return table.to_pylist(), run_dir.load_json(run_dir.ingestion_json, Ingestion)

    return run


def test_a_csv_with_everything_wrong_in_it(ingest, tmp_path):
    good = face(1)
    lines = [
        "\ufeffEmotion, Usage, pixels",
        f"3,Training,{text(good)}",
        f" 0 , PublicTest ,{text(face(2))}",
        "",
        f'6,PrivateTest,"{text(face(3))}"',
        "1,Training,1 2 3",
        "1,Training," + "9 " * 2400,
        "1,Training,1 2 x 4",
        "1,Training,1 -2",
        "1,Training,1 256",
        "1,Training,",
        f",Training,{text(good)}",
        f"happy,Training,{text(good)}",
        f"7,Training,{text(good)}",
        f"-1,Training,{text(good)}",
        f"3,Holdout,{text(good)}",
        f"3,,{text(good)}",
        "3,Training",
        f"3,Training,{text(good)},more",
        f'3,"Training,{text(good)}',
    ]
    path = tmp_path / "icml face.csv"
    path.write_bytes("\r\n".join(lines).encode())
    rows, record = ingest(path)

    assert [row["source"] for row in rows] == [f"icml face.csv:{n}" for n in [2, 3, *range(5, 21)]]
    assert [row["position"] for row in rows] == [0, 1, *range(3, 19)]
    assert [row["label"] for row in rows] == [3, 0, 6, 1, 1, 1, 1, 1, 1, *[None] * 4, 3, 3, None, None, None]
    assert [row["label_text"] for row in rows[9:13]] == [None, "happy", "7", "-1"]
    assert [row["usage"] for row in rows] == ["Training", "PublicTest", "PrivateTest", *["Training"] * 10, *[None] * 5]
    assert [row["usage_text"] for row in rows[13:15]] == ["Holdout", None]
    assert [row["decode_error"] for row in rows[:9]] == [
        *[None] * 5,
        "pixel value 3 of 4 is 'x'; expected a whole number from 0 to 255",
        "pixel value 2 of 2 is '-2'; expected a whole number from 0 to 255",
        "pixel value 2 of 2 is '256'; expected a whole number from 0 to 255",
        "the pixel text is empty",
    ]
    assert [row["decode_error"] for row in rows[15:]] == [
        f"fields in the line: {n}; expected: 3, separated by commas" for n in (2, 4, 2)
    ]
    sizes = [(row["height"], row["width"], row["num_pixels"]) for row in rows[2:6]]
    assert sizes == [(48, 48, 2304), (1, 3, 3), (1, 2400, 2400), (None, None, None)]

    first, undecodable = rows[0], rows[5]
    assert first["pixels"] == good.tobytes()
    assert first["image_id"] == hashlib.sha256(good.tobytes()).hexdigest() == rows[9]["image_id"]
    assert undecodable["image_id"] == hashlib.sha256(b"1 2 x 4").hexdigest()
    assert (undecodable["pixels"], undecodable["minimum"], undecodable["sharpness"]) == (None, None, None)
    assert (first["channels"], first["minimum"], first["maximum"]) == (1, good.min(), good.max())
    assert first["mean"] == pytest.approx(good.mean())
    assert first["standard_deviation"] == pytest.approx(good.std())
    assert (record.kind, record.num_images, record.num_undecodable) == ("csv", 18, 7)
    assert record.dataset_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_csv_cut_between_tasks_keeps_its_lines(tmp_path):
    """Chunks of a few lines and no line break at the end; the numbers come from the file, not from Spark."""
    path = tmp_path / "faces.csv"
    path.write_text("emotion,pixels,Usage\n" + "\n".join(f"{n % 7},{n // 256} {n % 256},Training" for n in range(700)))
    columns = CsvColumns(0, 1, 2, 3)
    chunks = cut(path, chunk_bytes=64)
    assert len(chunks) > 100
    rows = [row for chunk in chunks for row in face_rows.csv_rows(path, columns, chunk)]
    assert [row.source for row in rows] == [f"faces.csv:{n + 2}" for n in range(700)]
    assert [row.image.pixels.tolist() for row in rows] == [[[n // 256, n % 256]] for n in range(700)]


def test_lines_are_numbered_through_many_reads_of_one_chunk(tmp_path):
    path = tmp_path / "faces.csv"
    path.write_text("emotion,pixels,Usage\n" + "".join(f"0,{n % 256}{' 200' * 2303},Training\n" for n in range(400)))
    [chunk] = cut(path, chunk_bytes=2**30)
    assert chunk.end > 3 * 2**20
    rows = list(face_rows.csv_rows(path, CsvColumns(0, 1, 2, 3), chunk))
    assert [row.source for row in rows] == [f"faces.csv:{n + 2}" for n in range(400)]
    assert [row.image.pixels[0, 0] for row in rows] == [n % 256 for n in range(400)]


def make_image_set(folder: Path) -> dict[str, bytes]:
    """No image of `fear`, none in a test split but one, an unknown emotion, and files that are no images."""
    truncated = encoded(face(5), "JPEG")
    alpha = np.zeros((48, 48, 4), np.uint8)
    files = {
        "set/train/Happy/ein Gesicht 表情.png": encoded(face(1)),
        "set/train/angry/grey.bmp": encoded(face(2), "BMP"),
        "set/train/angry/a.webp": encoded(np.zeros((10, 20, 3), np.uint8), "WEBP"),
        "set/train/disgust/see-through.png": encoded(alpha),
        "set/train/bored/a.png": encoded(face(3)),
        "set/train/sad/truncated.jpg": truncated[: len(truncated) // 2],
        "set/train/sad/zero.png": b"",
        "set/train/sad/text.jpg": b"hello",
        "set/train/sad/dot.png": encoded(np.full((1, 1), 9, np.uint8)),
        "set/train/sad/vast.png": encoded(np.zeros((1001, 1000), np.uint8)),
        "set/test/surprise/PrivateTest_1.png": encoded(face(4)),
        "set/Thumbs.db": b"?",
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def check_image_set(rows: list[dict], record: Ingestion) -> None:
    found = {row["source"].removeprefix("set/"): row for row in rows}
    assert list(found) == sorted(found)
    assert [row["position"] for row in rows] == list(range(11))
    assert {name: row["label"] for name, row in found.items()} == {
        "test/surprise/PrivateTest_1.png": 5,
        "train/Happy/ein Gesicht 表情.png": 3,
        "train/angry/a.webp": 0,
        "train/angry/grey.bmp": 0,
        "train/bored/a.png": None,
        "train/disgust/see-through.png": 1,
        "train/sad/dot.png": 4,
        "train/sad/text.jpg": 4,
        "train/sad/truncated.jpg": 4,
        "train/sad/vast.png": 4,
        "train/sad/zero.png": 4,
    }
    assert {row["usage"] for row in rows[1:]} == {"Training"}
    assert {row["usage_text"] for row in rows[1:]} == {"train"}
    assert (rows[0]["usage"], rows[0]["usage_text"]) == ("PrivateTest", "PrivateTest")
    assert found["train/bored/a.png"]["label_text"] == "bored"
    reasons = {name: row["decode_error"] for name, row in found.items() if row["decode_error"]}
    assert list(reasons) == [f"train/sad/{name}" for name in ("text.jpg", "truncated.jpg", "vast.png", "zero.png")]
    assert "1000x1001" in reasons["train/sad/vast.png"]
    assert "truncated" in reasons["train/sad/truncated.jpg"]
    assert found["train/sad/text.jpg"]["image_id"] == hashlib.sha256(b"hello").hexdigest()
    assert found["train/angry/grey.bmp"]["pixels"] == face(2).tobytes()
    dot, webp, alpha = (found[f"train/{name}"] for name in ("sad/dot.png", "angry/a.webp", "disgust/see-through.png"))
    assert (dot["num_pixels"], dot["minimum"], dot["sharpness"], dot["standard_deviation"]) == (1, 9, 0.0, 0.0)
    assert (webp["height"], webp["width"], webp["channels"]) == (10, 20, 3)
    assert (alpha["minimum"], alpha["channels"]) == (255, 4)
    assert (record.num_images, record.num_undecodable) == (11, 4)
    assert (record.num_ignored_files, record.ignored_examples) == (1, ("set/Thumbs.db",))


def test_an_image_folder(ingest, tmp_path):
    make_image_set(tmp_path / "faces")
    rows, record = ingest(tmp_path / "faces", max_image_megapixels=1)
    check_image_set(rows, record)
    assert (record.kind, record.path) == ("folder", str(tmp_path / "faces"))


def test_a_zip_of_the_same_images(ingest, tmp_path):
    files = make_image_set(tmp_path / "faces")
    with zipfile.ZipFile(tmp_path / "faces.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in reversed(files.items()):
            archive.writestr(name, data)
    rows, record = ingest(tmp_path / "faces.zip", max_image_megapixels=1)
    check_image_set(rows, record)
    assert record.kind == "zip"
    assert record.dataset_sha256 == hashlib.sha256((tmp_path / "faces.zip").read_bytes()).hexdigest()


def test_a_damaged_member_is_one_bad_image(ingest, tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/sad/a.png", encoded(face(1)))
        archive.writestr("train/sad/b.png", encoded(face(2)))
    data = bytearray(path.read_bytes())
    data[200] ^= 255  # inside the stored bytes of a.png
    path.write_bytes(data)
    rows, record = ingest(path)
    assert "cannot be unpacked" in rows[0]["decode_error"]
    assert rows[1]["pixels"] == face(2).tobytes()
    assert record.num_undecodable == 1


def test_a_csv_in_a_zip_under_a_path_with_a_quote_and_a_newline(ingest, tmp_path):
    folder = tmp_path / 'it\'s a\n"set"'
    folder.mkdir()
    with zipfile.ZipFile(folder / "faces.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fer2013/fer2013.csv", f"emotion,pixels,Usage\n3,{text(face(1))},PublicTest\n")
    rows, record = ingest(folder / "faces.zip")
    assert [(row["source"], row["label"], row["usage"]) for row in rows] == [("fer2013.csv:2", 3, "PublicTest")]
    assert rows[0]["pixels"] == face(1).tobytes()
    assert record.kind == "zip"
    assert record.dataset_sha256 == hashlib.sha256((folder / "faces.zip").read_bytes()).hexdigest()


def test_the_sample(ingest):
    rows, record = ingest("sample", sample_images=350)
    assert record.kind == "sample"
    assert record.num_images == len(rows) == 350 + 24  # the drawn faces and the planted defects
    assert record.num_undecodable == 3
    assert {row["usage"] for row in rows} == {"Training", "PublicTest", "PrivateTest"}
    assert {row["label"] for row in rows} >= set(range(7))


def test_a_rerun_writes_the_same_rows_in_the_same_order(ingest, tmp_path):
    for n in range(1200):
        path = tmp_path / "faces" / "train" / "sad" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(face(n)[:4, :4]))
    first, _ = ingest(tmp_path / "faces")
    again, _ = ingest(tmp_path / "faces")
    assert first == again
    assert [row["position"] for row in first] == list(range(1200))
    assert first[1]["source"] == "train/sad/1.png"
    assert first[2]["source"] == "train/sad/10.png"


def test_large_images_do_not_pile_up_in_a_batch():
    image = face_rows.DecodedImage(np.zeros((4096, 4096), np.uint8), 1)
    rows = [face_rows.FaceRow(n, str(n), None, None, image) for n in range(5)]
    assert [batch.num_rows for batch in face_rows.batches(rows)] == [2, 2, 1]
    damaged = [face_rows.FaceRow(n, str(n), None, None, None, "damaged", bytes(2**24)) for n in range(3)]
    assert [batch.num_rows for batch in face_rows.batches(damaged)] == [2, 1]


def test_a_data_set_that_went_bad_after_the_start_leaves_nothing(spark, make_run, tmp_path):
    path = tmp_path / "faces.csv"
    path.write_bytes(b"emotion,pixels,Usage\n" + b" \n" * 40_000)
    run_dir = make_run(dataset=str(path))
    with pytest.raises(DatasetError, match="holds no image"):
        ingest_faces.main(str(run_dir))
    assert not run_dir.raw_faces.exists()
    assert not run_dir.ingestion_json.exists()
    [attempt] = run_dir.attempts("ingest_dataset")
    assert attempt.status == "refused"
    assert attempt.reason.startswith("The data set holds no image;")


def test_the_command_refuses_in_one_line_with_its_own_exit_status(make_run, tmp_path):
    run_dir = make_run(dataset=str(tmp_path / "not\nthere.csv"))
    command = [sys.executable, "spark_jobs/ingest_faces.py", "--run-dir", str(run_dir)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    answer = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert answer.returncode == os.EX_DATAERR
    assert answer.stderr.startswith("DatasetError: There is no data set at")
    assert answer.stderr.count("\n") == 1
    assert json.loads((run_dir.root / "steps" / "ingest_dataset.json").read_text())[0]["status"] == "refused"
