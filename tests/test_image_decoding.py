import io
import struct
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_tasks.errors import DatasetError
from fer_tasks.image_decoding import decode, decode_colour, measure
from fer_tasks.pixel_text import parse_pixels


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "color", "gray", "channels"),
    [
        ("1", 1, 255, 1),
        ("L", 7, 7, 1),
        ("LA", (0, 0), 255, 4),  # nothing to see: the white below
        ("P", 0, 0, 3),
        ("RGB", (255, 0, 0), 76, 3),  # 0.299 * 255
        ("RGBA", (0, 0, 0, 255), 0, 4),
        ("RGBA", (0, 0, 0, 51), 204, 4),  # a fifth of black over white
        ("I;16", 65535, 255, 1),
        ("I;16", 257 * 100, 100, 1),
        ("I;16", 200, 1, 1),  # no wrap-around of the low byte
    ],
)
def test_png_of_every_colour_mode_becomes_8_bit_gray(mode, color, gray, channels):
    decoded = decode(encoded(Image.new(mode, (3, 2), color), "PNG"), max_megapixels=1)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.tolist() == [[gray] * 3] * 2
    assert decoded.channels == channels


@pytest.mark.parametrize(
    ("mode", "color", "blue_green_red"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 7, [7, 7, 7]),
        ("LA", (0, 0), [255, 255, 255]),
        ("RGB", (255, 20, 3), [3, 20, 255]),
        ("RGBA", (255, 0, 0, 51), [204, 204, 255]),
        ("I;16", 257 * 100, [100, 100, 100]),
    ],
)
def test_png_of_every_colour_mode_becomes_8_bit_colour(mode, color, blue_green_red):
    pixels = decode_colour(encoded(Image.new(mode, (3, 2), color), "PNG"), max_megapixels=1)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[blue_green_red] * 3] * 2


def test_a_picture_in_colour_is_turned_and_limited_as_in_grey():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (2000, 1000)), "PNG", exif=exif)
    assert decode_colour(data, max_megapixels=2).shape == (2000, 1000, 3)
    with pytest.raises(DatasetError, match=r"2\.0 megapixels; allowed: 1"):
        decode_colour(data, max_megapixels=1)


def test_cmyk_jpeg():
    decoded = decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"), max_megapixels=1)
    assert decoded.channels == 4
    assert decoded.pixels.max() <= 2  # full black ink


@pytest.mark.parametrize(
    ("file_format", "options"), [("JPEG", {"quality": 95}), ("BMP", {}), ("WEBP", {"lossless": True})]
)
def test_formats(file_format, options):
    image = Image.new("RGB", (16, 8), (200, 200, 200))
    decoded = decode(encoded(image, file_format, **options), max_megapixels=1)
    assert decoded.pixels.shape == (8, 16)
    assert np.abs(decoded.pixels.astype(int) - 200).max() <= 1


@pytest.mark.parametrize("file_format", ["WEBP", "GIF"])
def test_an_animation_counts_as_its_first_frame(file_format):
    frames = [Image.new("RGB", (4, 4), color) for color in ("black", "white")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert decode(data, max_megapixels=1).pixels.max() == 0


def test_exif_orientation_is_honoured():
    image = Image.new("L", (4, 2))
    image.putpixel((3, 0), 255)  # top right
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    decoded = decode(encoded(image, "PNG", exif=exif), max_megapixels=1)
    assert decoded.pixels.shape == (4, 2)
    assert decoded.pixels[3, 1] == 255


def test_broken_exif_does_not_lose_the_image():
    data = encoded(Image.new("L", (4, 2), 9), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert decode(data, max_megapixels=1).pixels.shape == (2, 4)


NOISE = Image.effect_noise((64, 64), 80)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"not an image\n", "the file is no JPEG, PNG, BMP, WebP or GIF image; it begins with b'not an i'"),
        (encoded(NOISE, "JPEG")[:900], "truncated"),
        (encoded(NOISE, "PNG")[:900], "truncated"),
        (encoded(NOISE, "WEBP")[:900], "damaged"),
        (encoded(NOISE, "BMP")[:900], "truncated"),
        (encoded(Image.new("1", (12_000, 12_000)), "PNG"), "the image is 12000x12000, 144.0 megapixels; allowed: 50"),
    ],
)
def test_what_cannot_be_decoded_has_a_reason_of_one_line(data, reason):
    with pytest.raises(DatasetError) as caught:
        decode(data, max_megapixels=50)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)


def test_a_huge_image_is_refused_from_its_header():
    """Only a header stands there: decoding would have said `truncated`."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = header + struct.pack(">I", zlib.crc32(header[12:])) + struct.pack(">I4s", 10, b"IDAT")
    with pytest.raises(DatasetError, match=r"60000x60000, 3600\.0 megapixels; allowed: 50"):
        decode(data, max_megapixels=50)


def test_pillows_own_limit_stands_after_decoding():
    limit = Image.MAX_IMAGE_PIXELS
    assert limit
    decode(encoded(NOISE, "PNG"), max_megapixels=1)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_damaged_bytes_never_raise_anything_else():
    random = np.random.default_rng(3)
    shapes = []
    for file_format in ("JPEG", "PNG", "WEBP", "BMP", "GIF"):
        whole = np.frombuffer(encoded(NOISE, file_format), np.uint8)
        for _ in range(60):
            data = whole.copy()
            data[random.integers(0, 400, size=8)] = random.integers(0, 256, size=8)
            with suppress(DatasetError):
                shapes.append(decode(data.tobytes(), max_megapixels=1).pixels.shape)
    assert 0 < len(shapes) < 300, "some damage is harmless and some is refused"
    assert all(height * width <= 1_000_000 for height, width in shapes)


@pytest.mark.parametrize("shape", [(48, 48), (1, 7), (7, 1), (1, 1), (5, 9)])
def test_measurements_agree_with_opencv_and_numpy(shape):
    images = np.random.default_rng(5).integers(0, 256, (3, *shape), dtype=np.uint8)
    measured = measure(images)
    for i, image in enumerate(images):
        assert measured.minimum[i] == min(image.ravel().tolist())
        assert measured.maximum[i] == max(image.ravel().tolist())
        assert measured.mean[i] == pytest.approx(cv2.meanStdDev(image)[0].item(), rel=1e-12)
        assert measured.standard_deviation[i] == pytest.approx(cv2.meanStdDev(image)[1].item(), rel=1e-9)
        assert measured.sharpness[i] == pytest.approx(cv2.Laplacian(image, cv2.CV_64F).var(), rel=1e-9)


def test_a_constant_image_measures_exactly_zero():
    measured = measure(np.full((1, 48, 48), 77, np.uint8))
    assert (measured.mean[0], measured.standard_deviation[0], measured.sharpness[0]) == (77.0, 0.0, 0.0)


def test_numbers_with_thousands_of_zeros_are_read():
    """Python itself reads no number of more than 4,300 digits."""
    [pixels] = parse_pixels([b"0" * 5000 + b"7\t" + b"0" * 5000])
    assert pixels.tolist() == [7, 0]


def test_pixel_texts_of_every_length_and_spacing():
    texts = [b"0 1 255", b"7 8 9", b" 12  13 ", b"007", b"5 " * 2400, b"1 2 3"]
    parsed = [values.tolist() for values in parse_pixels(texts)]
    assert parsed == [[0, 1, 255], [7, 8, 9], [12, 13], [7], [5] * 2400, [1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "the pixel text is empty"),
        (b"   ", "the pixel text is empty"),
        (b"1 2 x3 4", "pixel value 3 of 4 is 'x3'"),
        (b"1 -2", "pixel value 2 of 2 is '-2'"),
        (b"+5 2", "pixel value 1 of 2 is '+5'"),
        (b"1 256", "pixel value 2 of 2 is '256'"),
        (b"1 4294967297", "pixel value 2 of 2 is '4294967297'"),
        (b"9" * 5000, "pixel value 1 of 1 is '99999999999999999999...'"),
        (b"1.0 2", "pixel value 1 of 2 is '1.0'"),
        (b"nan 2", "pixel value 1 of 2 is 'nan'"),
        ("1 \u0662".encode(), "pixel value 2 of 2 is '\u0662'"),
        (b"1\x002", "pixel value 1 of 1 is '1\\x002'"),
    ],
)
def test_bad_pixel_texts_say_which_value(text, reason):
    alone, among = parse_pixels([text])[0], parse_pixels([b"1 2", text, b"3 4"])
    assert alone == among[1]
    assert alone.startswith(reason)
    assert [among[0].tolist(), among[2].tolist()] == [[1, 2], [3, 4]]
