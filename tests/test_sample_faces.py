import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from fer_tasks import face_parts, sample_faces
from fer_tasks.drawn_face import EXPRESSIONS, DrawnFace, draw_face
from fer_tasks.emotions import EMOTIONS
from fer_tasks.errors import DatasetError
from fer_tasks.sample_faces import SampleSummary, write_sample

ANGRY, HAPPY, SAD, SURPRISE, NEUTRAL = 0, 3, 4, 5, 6
PLANTED = {
    "constant": 2,
    "truncated": 1,
    "empty": 1,
    "not_an_image": 1,
    "single_pixel": 1,
    "dark": 3,
    "duplicate": 4,
    "leakage": 3,
    "conflicting_label": 2,
    "rgb": 1,
    "rgba": 1,
    "sixteen_bit": 1,
    "larger": 1,
    "exif_rotated": 1,
    "webp": 1,
}


class Sample:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary: SampleSummary = write_sample(folder)
        archive = np.load(folder / "expression_masks.npz")
        self.source: list[str] = archive["source"].tolist()
        self.mask = archive["mask"]
        self.emotion = np.array([EMOTIONS.index(path.split("/")[1]) for path in self.source])
        self.pixels = np.stack([self.read(path) for path in self.source])

    def planted(self, kind: str) -> list[Path]:
        return [self.folder / path for path in self.summary.defects[kind]]

    def pairs(self, kind: str) -> list[tuple[str, str]]:
        return [(self.summary.originals[path], path) for path in self.summary.defects[kind]]

    def read(self, path: str) -> np.ndarray:
        return np.asarray(Image.open(self.folder / path).convert("L"))


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("sample") / "new" / "folder")


def hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_equal_seeds_write_equal_bytes_and_another_seed_does_not(tmp_path):
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        write_sample(tmp_path / name, num_images=70, seed=seed)
    first, again, other = (hashes(tmp_path / name) for name in ("first", "again", "other"))
    assert len(first) == 70 + 24 + 1
    assert first == again
    # The two constants, the empty file, the web page and the single pixel are the same whatever the seed.
    assert len(set(first.values()) & set(other.values())) == 5


def test_default_size_is_100_20_30_images_an_emotion(sample):
    counts = Counter((path.split("/")[0], path.split("/")[1], Path(path).name.split("_")[0]) for path in sample.source)
    assert len(counts) == 21
    for emotion in EMOTIONS:
        assert counts["train", emotion, "Training"] == 100
        assert counts["test", emotion, "PublicTest"] == 20
        assert counts["test", emotion, "PrivateTest"] == 30


def test_a_remainder_goes_to_the_first_emotions(tmp_path):
    write_sample(tmp_path, num_images=73)
    source = np.load(tmp_path / "expression_masks.npz")["source"]
    counts = Counter(path.split("/")[1] for path in source)
    assert [counts[emotion] for emotion in EMOTIONS] == [11, 11, 11, 10, 10, 10, 10]


def test_planted_files_are_counted_and_stand_beside_the_ordinary_ones(sample):
    assert sample.summary.planted == PLANTED
    assert {kind: len(paths) for kind, paths in sample.summary.defects.items()} == PLANTED
    assert sample.summary.num_images == 1050 + 24
    planted = {path for paths in sample.summary.defects.values() for path in paths}
    assert set(hashes(sample.folder)) == planted | set(sample.source) | {"expression_masks.npz"}


def test_names_do_not_tell_planted_files(sample):
    pattern = re.compile(r"(train/\w+/Training|test/\w+/(Public|Private)Test)_\d+\.(png|jpg|bmp|webp)")
    planted = [path for paths in sample.summary.defects.values() for path in paths]
    assert all(pattern.fullmatch(path) for path in [*planted, *sample.source])
    numbers = [int(re.sub(r"\D", "", path)) for path in planted]
    assert 300 < np.median(numbers) < 774


@pytest.mark.parametrize("arguments", [{"num_images": 69}, {"num_images": 0}, {"seed": -1}])
def test_impossible_samples_are_refused(tmp_path, arguments):
    with pytest.raises(DatasetError):
        write_sample(tmp_path / "sample", **arguments)
    assert not (tmp_path / "sample").exists()


def test_constant_images_are_all_black_and_all_white(sample):
    assert [Image.open(path).getextrema() for path in sample.planted("constant")] == [(0, 0), (255, 255)]
    assert [Image.open(path).size for path in sample.planted("constant")] == [(48, 48), (48, 48)]


def test_unreadable_files_cannot_be_read(sample):
    [truncated], [empty], [page] = (sample.planted(kind) for kind in ("truncated", "empty", "not_an_image"))
    with pytest.raises(OSError, match="truncated"):
        Image.open(truncated).load()
    assert empty.stat().st_size == 0
    assert page.suffix == ".jpg"
    with pytest.raises(UnidentifiedImageError):
        Image.open(page)


def test_files_without_a_face_stay_below_two_percent(sample):
    kinds = ("constant", "truncated", "empty", "not_an_image", "single_pixel")
    assert [Image.open(path).size for path in sample.planted("single_pixel")] == [(1, 1)]
    assert sum(len(sample.planted(kind)) for kind in kinds) / sample.summary.num_images < 0.02


def test_only_dark_faces_are_dark_and_flat(sample):
    for path in sample.planted("dark"):
        low, high = Image.open(path).getextrema()
        assert 8 < high - low < 32
        assert high < 64
    ordinary_range = np.ptp(sample.pixels.reshape(len(sample.pixels), -1), axis=1)
    assert ordinary_range.min() >= 32


def test_duplicates_repeat_a_training_face_under_the_same_label(sample):
    for original, copy in sample.pairs("duplicate"):
        assert Path(original).parent == Path(copy).parent
        assert original.startswith("train/")
        assert np.array_equal(sample.read(original), sample.read(copy))
    sizes = [[(sample.folder / path).read_bytes() for path in pair] for pair in sample.pairs("duplicate")]
    assert [original == copy for original, copy in sizes] == [True, True, False, False]
    assert [path.suffix for path in sample.planted("duplicate")] == [".png", ".png", ".png", ".bmp"]


def test_leaked_faces_stand_in_train_and_test_under_the_same_label(sample):
    for original, copy in sample.pairs("leakage"):
        assert (original.split("/")[0], copy.split("/")[0]) == ("train", "test")
        assert original.split("/")[1] == copy.split("/")[1]
        assert np.array_equal(sample.read(original), sample.read(copy))


def test_conflicting_labels_give_one_training_face_two_emotions(sample):
    for original, copy in sample.pairs("conflicting_label"):
        assert (original.split("/")[0], copy.split("/")[0]) == ("train", "train")
        assert original.split("/")[1] != copy.split("/")[1]
        assert np.array_equal(sample.read(original), sample.read(copy))


def test_nothing_else_repeats(sample):
    assert len({face.tobytes() for face in sample.pixels}) == 1050
    assert len(set(sample.summary.originals.values())) == len(sample.summary.originals) == 9


def test_unusual_files_are_what_their_kind_says(sample):
    found = {}
    for kind in ("rgb", "rgba", "sixteen_bit", "larger", "exif_rotated", "webp"):
        with Image.open(sample.planted(kind)[0]) as image:
            found[kind] = (image.format, image.mode, image.size)
    assert found == {
        "rgb": ("PNG", "RGB", (48, 48)),
        "rgba": ("PNG", "RGBA", (48, 48)),
        "sixteen_bit": ("PNG", "I;16", (48, 48)),
        "larger": ("PNG", "L", (96, 96)),
        "exif_rotated": ("JPEG", "L", (48, 48)),
        "webp": ("WEBP", "RGB", (48, 48)),
    }
    assert np.asarray(Image.open(sample.planted("sixteen_bit")[0])).max() > 255
    assert np.asarray(Image.open(sample.planted("rgba")[0]))[..., 3].min() == 255
    assert b"VP8L" in sample.planted("webp")[0].read_bytes()


def test_honouring_the_exif_orientation_turns_the_face_upright(tmp_path, monkeypatch):
    drawn = np.add.outer(3 * np.arange(48), np.arange(48)).astype(np.uint8)  # equal to none of its rotations
    monkeypatch.setattr(
        sample_faces,
        "draw_face",
        lambda emotion, rng: DrawnFace(pixels=drawn, mask=drawn > 0, emotion=emotion),
    )
    summary = write_sample(tmp_path, num_images=70)
    stored = Image.open(tmp_path / summary.defects["exif_rotated"][0])
    assert stored.getexif()[0x0112] == 6
    assert np.abs(np.asarray(stored).astype(int) - drawn).mean() > 20
    assert np.abs(np.asarray(ImageOps.exif_transpose(stored)).astype(int) - drawn).mean() < 3


def test_expressions_are_the_action_units_of_emfacs():
    assert {emotion: set(units) for emotion, units in EXPRESSIONS.items()} == {
        "angry": {4, 5, 7, 23},
        "disgust": {9, 15, 16},
        "fear": {1, 2, 4, 5, 7, 20, 26},
        "happy": {6, 12},
        "sad": {1, 4, 15},
        "surprise": {1, 2, 5, 26},
        "neutral": set(),
    }


def landmarks(unit: int | None) -> dict[str, float]:
    """Where the right half's features stand with one action unit at full strength; y grows downwards."""
    units = np.zeros((2, 27))
    if unit is not None:
        units[:, unit] = 1.0
    person = face_parts.Person(np.random.default_rng(0))
    brow = face_parts._brow(person, units[1], 1.0)[0].points
    eye = face_parts._eye(person, units[1], 1.0)[0].points
    nostrils = face_parts._nose(person, units[1])[1].points
    lower_lip, upper_lip = (shape.points for shape in face_parts._mouth(person, units)[:2])
    return {
        "inner brow x": brow[0, 0],
        "inner brow y": brow[0, 1],
        "outer brow y": brow[-1, 1],
        "upper lid y": eye[:, 1].min(),
        "lower lid y": eye[:, 1].max(),
        "nostrils y": nostrils[:, 1].min(),
        "mouth corner x": upper_lip[-1, 0],
        "mouth corner y": upper_lip[-1, 1],
        "middle of lower lip y": lower_lip[5, 1],
        "lip width": face_parts._mouth(person, units)[1].width,
    }


@pytest.mark.parametrize(
    ("unit", "landmark", "direction"),
    [
        (1, "inner brow y", -1),
        (2, "outer brow y", -1),
        (4, "inner brow y", 1),
        (4, "inner brow x", -1),
        (5, "upper lid y", -1),
        (6, "lower lid y", -1),
        (7, "lower lid y", -1),
        (9, "nostrils y", -1),
        (12, "mouth corner y", -1),
        (12, "mouth corner x", 1),
        (15, "mouth corner y", 1),
        (16, "middle of lower lip y", 1),
        (20, "mouth corner x", 1),
        (23, "lip width", -1),
        (26, "middle of lower lip y", 1),
    ],
)
def test_an_action_unit_moves_its_feature_the_way_it_does_in_a_person(unit, landmark, direction):
    change = landmarks(unit)[landmark] - landmarks(None)[landmark]
    assert change * direction > 0.3


def test_a_face_is_48_by_48_grey_pixels_with_its_emotion_and_mask():
    face = draw_face(HAPPY, np.random.default_rng(0))
    assert (face.pixels.shape, face.pixels.dtype, face.emotion) == ((48, 48), np.uint8, 3)
    assert (face.mask.shape, face.mask.dtype) == ((48, 48), np.bool_)
    with pytest.raises(IndexError):
        draw_face(7, np.random.default_rng(0))


def test_one_person_with_two_expressions_differs_inside_the_masks_only():
    # One seed gives one person, pose, light and noise, so that what differs is the expression.
    inside, outside = [], []
    for seed in range(20):
        happy, sad = (draw_face(emotion, np.random.default_rng(seed)) for emotion in (HAPPY, SAD))
        difference = np.abs(happy.pixels.astype(int) - sad.pixels)
        either = happy.mask | sad.mask
        inside.append(difference[either].mean())
        outside.append(difference[~either].mean())
    assert np.mean(inside) > 10
    assert np.mean(outside) < 3


def test_masks_are_never_empty_and_never_the_whole_image(sample):
    assert sample.mask.shape == (1050, 48, 48)
    share = sample.mask.mean(axis=(1, 2))
    assert share.min() > 0.005
    assert share.max() < 0.6


def test_masks_lie_where_the_expression_is(sample):
    rows = sample.mask.sum(axis=2)
    lower = rows[:, 24:].sum(axis=1) / rows.sum(axis=1)
    assert lower[sample.emotion == HAPPY].mean() > 0.52
    assert lower[sample.emotion == ANGRY].mean() < 0.45
    surprised = rows[sample.emotion == SURPRISE]
    assert (surprised[:, 8:22].sum(axis=1) > 20).mean() > 0.9
    assert (surprised[:, 30:46].sum(axis=1) > 20).mean() > 0.9
    neutral = rows[sample.emotion == NEUTRAL]
    assert (neutral[:, 12:22].sum(axis=1) > 20).all()
    assert (neutral[:, 30:44].sum(axis=1) > 20).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pixels_alone_tell_the_emotions_only_in_part(sample):
    halved = sample.pixels.reshape(1050, 24, 2, 24, 2).mean(axis=(2, 4))  # a quarter of the time to fit
    flat, is_train = halved.reshape(1050, -1), np.array([path.startswith("train/") for path in sample.source])
    scaler = StandardScaler().fit(flat[is_train])
    linear = LogisticRegression(C=0.01, max_iter=30).fit(scaler.transform(flat[is_train]), sample.emotion[is_train])
    accuracy = linear.score(scaler.transform(flat[~is_train]), sample.emotion[~is_train])
    assert 0.35 < accuracy < 0.55


def test_the_command_writes_a_sample_and_says_what_is_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sample_faces", str(tmp_path), "--images", "70", "--seed", "1"])
    sample_faces.main()
    assert "94 images" in capsys.readouterr().out
    assert (tmp_path / "expression_masks.npz").is_file()
    monkeypatch.setattr("sys.argv", ["sample_faces", str(tmp_path), "--images", "10"])
    with pytest.raises(SystemExit):
        sample_faces.main()
    assert "at least 70" in capsys.readouterr().err
