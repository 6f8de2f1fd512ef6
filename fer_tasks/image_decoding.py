"""From an image's bytes to 8-bit grayscale pixels and the numbers that the quality check judges."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fer_tasks.errors import DatasetError, ImageFormatError, ImageTooLargeError

Pixels = npt.NDArray[np.uint8]
_Decoded = TypeVar("_Decoded")

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF")
"""Only these decoders see strangers' bytes."""

MAX_JPEG_SCANS = 100
"""A progressive JPEG comes in some ten. Each takes the time of a whole image and may be written in 75 bytes."""


@dataclass(frozen=True)
class DecodedImage:
    """pixels: uint8 (height, width), grayscale, upright. channels: as stored, 1 grey, 3 colour, 4 alpha or CMYK."""

    pixels: Pixels
    channels: int


@dataclass(frozen=True)
class Measurements:
    """One value an image; minimum and maximum int64, the others float64. sharpness: variance of the Laplacian."""

    minimum: npt.NDArray[np.int64]
    maximum: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    standard_deviation: npt.NDArray[np.float64]
    sharpness: npt.NDArray[np.float64]


def decode(data: bytes, *, max_megapixels: int) -> DecodedImage:
    """Decode a JPEG, PNG, BMP, WebP or GIF (its first frame) of any colour mode; alpha is laid over white.

    A larger image is refused from its header. Raises DatasetError with the reason in one line, for whatever bytes:
    ImageTooLargeError, or ImageFormatError for no image of these formats.
    """
    return _decode(data, max_megapixels, lambda image: DecodedImage(_to_gray(image), _num_channels(image)))


def decode_colour(data: bytes, *, max_megapixels: int) -> Pixels:
    """As `decode`, but in colour: uint8 (height, width, 3), blue, green, red, as OpenCV has them."""
    return _decode(data, max_megapixels, _to_colour)


def _decode(data: bytes, max_megapixels: int, convert: Callable[[Image.Image], _Decoded]) -> _Decoded:
    if not data:
        raise DatasetError("the file is empty (0 bytes)")
    if data.startswith(b"\xff\xd8") and (num_scans := data.count(b"\xff\xda")) > MAX_JPEG_SCANS:
        raise DatasetError(f"the JPEG has {num_scans} scans; allowed: {MAX_JPEG_SCANS}")
    try:
        with _pillow_limits(data, max_megapixels), Image.open(BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if not width * height:
                raise DatasetError(f"the image has no pixels: it is {width}x{height}")
            if width * height > max_megapixels * 1_000_000:
                raise ImageTooLargeError(
                    f"the image is {width}x{height}, {width * height / 1e6:.1f} megapixels; allowed: {max_megapixels}"
                )
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                ImageOps.exif_transpose(image, in_place=True)
            return convert(image)
    except DatasetError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"the GIF, or a frame of it, has more than {2 * max_megapixels} megapixels; allowed: {max_megapixels}"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageFormatError(
            f"the file is no JPEG, PNG, BMP, WebP or GIF image; it begins with {data[:8]!r}"
        ) from error
    except Exception as error:  # Pillow's decoders raise nearly anything at damaged bytes
        raise DatasetError(f"the image is damaged: {_words(error)}") from error


def measure(images: Pixels) -> Measurements:
    """images: uint8 (n, height, width), all of one size, n > 0. Each image's values depend on nothing else."""
    flat = images.reshape(len(images), -1)
    mean, variance = _moments(flat)
    return Measurements(
        minimum=flat.min(axis=1).astype(np.int64),
        maximum=flat.max(axis=1).astype(np.int64),
        mean=mean,
        standard_deviation=np.sqrt(variance),
        sharpness=_moments(_laplacian(images).reshape(len(images), -1))[1],
    )


def _moments(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and variance of each row of whole numbers, from exact sums: a constant row has variance 0."""
    mean = values.sum(axis=1, dtype=np.int64) / values.shape[1]
    squares = np.einsum("ij,ij->i", values, values, dtype=np.int64) / values.shape[1]
    return mean, np.maximum(squares - mean * mean, 0.0)


def _laplacian(images: Pixels) -> npt.NDArray[np.int16]:
    """int16 (n, height, width): the 4-neighbour Laplacian, edges mirrored without repeating, as cv2.Laplacian's."""
    padded = np.pad(images.astype(np.int16), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    result: npt.NDArray[np.int16] = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    result += padded[:, 1:-1, :-2]
    result += padded[:, 1:-1, 2:]
    result -= 4 * padded[:, 1:-1, 1:-1]
    return result


def _num_channels(image: Image.Image) -> int:
    if image.has_transparency_data or image.mode == "CMYK":
        return 4
    return 1 if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16") else 3


def _to_gray(image: Image.Image) -> Pixels:
    if _is_wide(image):
        return _narrowed(image)
    image = _flattened(image)
    return np.asarray(image if image.mode == "L" else image.convert("L"))


def _to_colour(image: Image.Image) -> Pixels:
    if _is_wide(image):
        return np.repeat(_narrowed(image)[..., None], 3, axis=2)
    return np.ascontiguousarray(np.asarray(_flattened(image).convert("RGB"))[..., ::-1])


def _is_wide(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _narrowed(image: Image.Image) -> Pixels:
    """The 8-bit greys of a 16-bit image."""
    wide = np.asarray(image).astype(np.uint32)
    return ((wide * 255 + 32767) // 65535).astype(np.uint8)


def _flattened(image: Image.Image) -> Image.Image:
    """Alpha laid over white."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


@contextmanager
def _pillow_limits(data: bytes, max_megapixels: int) -> Iterator[None]:
    """Replace Pillow's own pixel limit by our setting, and keep its warnings out of the log.

    From the header we can tell the size. A GIF alone has Pillow make room for its first frame while it is opened, so
    there Pillow has to refuse, from twice the limit on.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_megapixels * 1_000_000 if data.startswith(b"GIF") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _words(error: Exception) -> str:
    """One line without object addresses."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-fA-F]+>", "the data", str(error))
    return " ".join(text.split())[:200] or type(error).__name__
