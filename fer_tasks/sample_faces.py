"""A generated image folder of drawn faces in the Kaggle form of FER-2013, with a few planted defects of each kind.

    folder/train/<emotion>/Training_<n>.png
    folder/test/<emotion>/PublicTest_<n>.png and PrivateTest_<n>.png
    folder/expression_masks.npz

With it the pipeline runs without a download, and its data-quality check has something to find. The planted files
stand among the ordinary ones under names of the same form. `python -m fer_tasks.sample_faces FOLDER` writes one.
"""

import argparse
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike
from PIL import Image

from fer_tasks.drawn_face import draw_face
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import DatasetError

MASKS_FILE = "expression_masks.npz"
MIN_IMAGES = 70

_FOLDERS = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}
_PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"
_ORIENTATION_TAG, _TURN_CLOCKWISE = 0x0112, 6
_UNCOMPRESSED = (cv2.IMWRITE_PNG_COMPRESSION, 0)
_LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)


@dataclass(frozen=True)
class SampleSummary:
    """What `write_sample` wrote: `num_images` image files in all, of which `planted` by kind.

    `defects` holds the paths of each kind relative to the folder. `originals` maps the planted file that repeats
    another one's pixels (kinds duplicate, leakage, conflicting_label) to the path of that other file.
    """

    num_images: int
    planted: dict[str, int]
    defects: dict[str, tuple[str, ...]]
    originals: dict[str, str]


@dataclass(frozen=True)
class _File:
    """A file before it has a name; `original` is the index of the ordinary file whose pixels it repeats."""

    usage: str
    emotion: int
    encoded: bytes
    suffix: str = ".png"
    kind: str | None = None
    original: int | None = None


def write_sample(folder: Path, *, num_images: int = 1050, seed: int = 7) -> SampleSummary:
    """Writes `num_images` ordinary faces, balanced over the emotions, and the planted files beside them.

    Two thirds are Training, 2/15 PublicTest and 3/15 PrivateTest. `expression_masks.npz` holds `source` (str, n)
    and `mask` (bool, n x 48 x 48) of the ordinary faces (see `draw_face`). Equal arguments give equal bytes.
    The folder is created if need be; other files already in it stay. DatasetError below 70 images or with a
    negative seed.
    """
    if num_images < MIN_IMAGES:
        raise DatasetError(f"A sample of {num_images} images was asked for; give at least {MIN_IMAGES}.")
    if seed < 0:
        raise DatasetError(f"The sample's seed is {seed}; give 0 or more.")
    ordinary, masks = _ordinary_files(num_images, seed)
    rng = np.random.default_rng([seed, num_images])
    files = [*ordinary, *_broken_files(rng), *_dark_files(rng), *_repeated_files(ordinary, rng), *_unusual_files(rng)]
    numbers = rng.permutation(len(files))  # so that no number tells a planted file
    paths = [
        f"{_FOLDERS[file.usage]}/{EMOTIONS[file.emotion]}/{file.usage}_{number}{file.suffix}"
        for file, number in zip(files, numbers, strict=True)
    ]
    for path, file in zip(paths, files, strict=True):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.encoded)
    np.savez_compressed(folder / MASKS_FILE, source=np.array(paths[: len(ordinary)]), mask=masks)
    return _summary(files, paths)


def _summary(files: list[_File], paths: list[str]) -> SampleSummary:
    defects: dict[str, tuple[str, ...]] = {}
    originals: dict[str, str] = {}
    for file, path in zip(files, paths, strict=True):
        if file.kind is not None:
            defects[file.kind] = (*defects.get(file.kind, ()), path)
        if file.original is not None:
            originals[path] = paths[file.original]
    planted = {kind: len(found) for kind, found in defects.items()}
    return SampleSummary(num_images=len(files), planted=planted, defects=defects, originals=originals)


def _ordinary_files(num_images: int, seed: int) -> tuple[list[_File], npt.NDArray[np.bool_]]:
    """The files, emotion by emotion, and their masks bool (n, 48, 48)."""
    files, masks = [], []
    for emotion in range(NUM_EMOTIONS):
        count = num_images // NUM_EMOTIONS + (emotion < num_images % NUM_EMOTIONS)
        train, public = round(count * 2 / 3), round(count * 2 / 15)
        usages = ["Training"] * train + ["PublicTest"] * public + ["PrivateTest"] * (count - train - public)
        for index, usage in enumerate(usages):
            face = draw_face(emotion, np.random.default_rng([seed, emotion, index]))
            files.append(_File(usage, emotion, _encoded(face.pixels)))
            masks.append(face.mask)
    return files, np.stack(masks)


def _broken_files(rng: np.random.Generator) -> list[_File]:
    """Files without a face: two constant images, a cut JPEG, an empty file, a web page, a single pixel."""
    black = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    jpeg = _encoded(_face(rng)[1], ".jpg")
    emotions = rng.integers(0, NUM_EMOTIONS, 6).tolist()
    return [
        _File("Training", emotions[0], _encoded(black), kind="constant"),
        _File("PublicTest", emotions[1], _encoded(black + 255), kind="constant"),
        _File("Training", emotions[2], jpeg[: len(jpeg) // 2], ".jpg", "truncated"),
        _File("PrivateTest", emotions[3], b"", kind="empty"),
        _File("Training", emotions[4], _PAGE, ".jpg", "not_an_image"),
        _File("Training", emotions[5], _encoded(black[:1, :1] + 127), kind="single_pixel"),
    ]


def _dark_files(rng: np.random.Generator) -> list[_File]:
    """Three faces squeezed into the grey levels 4 to 29: hard to see, yet whole."""
    files = []
    for usage in ("Training", "Training", "PrivateTest"):
        emotion, pixels = _face(rng)
        squeezed = 4 + pixels // 10
        files.append(_File(usage, emotion, _encoded(squeezed), kind="dark"))
    return files


def _repeated_files(ordinary: list[_File], rng: np.random.Generator) -> list[_File]:
    """Training faces again: 4 in training, two of those encoded differently; 3 in test; 2 under another emotion."""
    train = [index for index, file in enumerate(ordinary) if file.usage == "Training"]
    chosen = rng.choice(train, 9, replace=False).tolist()
    files = [replace(ordinary[index], kind="duplicate", original=index) for index in chosen[:4]]
    pixels = [np.asarray(Image.open(io.BytesIO(file.encoded))) for file in files[2:]]
    files[2] = replace(files[2], encoded=_encoded(pixels[0], ".png", _UNCOMPRESSED))
    files[3] = replace(files[3], encoded=_encoded(pixels[1], ".bmp"), suffix=".bmp")
    for index in chosen[4:7]:
        files.append(replace(ordinary[index], usage="PrivateTest", kind="leakage", original=index))
    for index in chosen[7:]:
        other = (ordinary[index].emotion + int(rng.integers(1, NUM_EMOTIONS))) % NUM_EMOTIONS
        files.append(replace(ordinary[index], emotion=other, kind="conflicting_label", original=index))
    return files


def _unusual_files(rng: np.random.Generator) -> list[_File]:
    """Whole training faces in forms that a reader must cope with."""
    faces = [_face(rng) for _ in range(6)]
    emotions, pixels = [emotion for emotion, _ in faces], [face for _, face in faces]
    tinted = np.stack([0.75 * pixels[0], 0.85 * pixels[0], pixels[0]], axis=2).astype(np.uint8)
    opaque = cv2.cvtColor(pixels[1], cv2.COLOR_GRAY2BGRA)
    deep = pixels[2].astype(np.uint16) * 257
    larger = cv2.resize(pixels[3], (96, 96), interpolation=cv2.INTER_CUBIC)
    webp = _encoded(cv2.cvtColor(pixels[5], cv2.COLOR_GRAY2BGR), ".webp", _LOSSLESS_WEBP)
    return [
        _File("Training", emotions[0], _encoded(tinted), kind="rgb"),
        _File("Training", emotions[1], _encoded(opaque), kind="rgba"),
        _File("Training", emotions[2], _encoded(deep), kind="sixteen_bit"),
        _File("Training", emotions[3], _encoded(larger), kind="larger"),
        _File("Training", emotions[4], _turned_jpeg(pixels[4]), ".jpg", "exif_rotated"),
        _File("Training", emotions[5], webp, ".webp", "webp"),
    ]


def _face(rng: np.random.Generator) -> tuple[int, npt.NDArray[np.uint8]]:
    emotion = int(rng.integers(NUM_EMOTIONS))
    return emotion, draw_face(emotion, rng).pixels


def _encoded(pixels: MatLike, suffix: str = ".png", options: Sequence[int] = ()) -> bytes:
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def _turned_jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Stored a quarter turn anticlockwise, with the EXIF orientation that turns it upright again."""
    exif, stream = Image.Exif(), io.BytesIO()
    exif[_ORIENTATION_TAG] = _TURN_CLOCKWISE
    Image.fromarray(np.rot90(pixels)).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def main() -> None:
    """Writes a sample and prints what is in it."""
    parser = argparse.ArgumentParser(prog="python -m fer_tasks.sample_faces", description="Draw a sample data set.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=1050, metavar="N", help="ordinary faces (default: 1050)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="equal seeds give equal files (default: 7)")
    arguments = parser.parse_args()
    try:
        summary = write_sample(arguments.folder, num_images=arguments.images, seed=arguments.seed)
    except DatasetError as error:
        parser.error(str(error))
    planted = ", ".join(f"{count} {kind}" for kind, count in summary.planted.items())
    print(f"{summary.num_images} images in {arguments.folder}, of them planted: {planted}")


if __name__ == "__main__":
    main()
