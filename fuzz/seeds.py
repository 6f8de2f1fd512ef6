"""Small valid inputs that fuzzing begins from, drawn by the program.

`python -m fuzz.seeds` writes them to fuzz/corpus/.
"""

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

CORPUS = Path(__file__).resolve().parent / "corpus"

_HEADER = b"emotion,pixels,Usage\n"


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """(target, name, bytes)."""
    yield "csv", "plain", _HEADER + b"0,1 2 3 255,Training\n6,0 0 0,PrivateTest\n"
    yield "csv", "quoted", b'\xef\xbb\xbfUsage, "pixels", emotion,id\r\n"Public,Test","1 2",3,"a"\r\n\r\nx,,,\r\n'
    yield "csv", "face", _HEADER + b"3," + b" ".join([b"0"] * 2304) + b",PublicTest"
    yield "pixel_text", "plain", b"1 2 3\n4 5 6\n0 255 7"
    yield "pixel_text", "odd", b" 01 2\n\n256\n-1\n1.5\n1  2\t3"
    yield "pixel_text", "zeros", b"1\t" + b"0" * 5000 + b"7\n9 8"
    yield "conf", "some", json.dumps({"epochs": 3, "min_accuracy": 0.5, "preset": None, "dataset": "sample"}).encode()
    yield "conf", "odd", b'{"seed": 1e400, "epochs": [[{}]], "augment": 1, "denoise": "x", "dataset_sha256": null}'
    images = dict(_images())
    for name, data in images.items():
        yield "image", name, data
    members = {"train/happy/a.png": images["grey.png"], "test/sad/b.jpg": images["grey.jpg"], "notes.txt": b"x"}
    yield "zip", "images", _zip(members, zipfile.ZIP_STORED)
    yield "zip", "images_deflated", _zip({f"fer/{name}": data for name, data in members.items()}, zipfile.ZIP_DEFLATED)
    yield "zip", "csv", _zip({"a/faces.csv": _HEADER + b"0,1 2 3,Training\n"}, zipfile.ZIP_DEFLATED)


def _images() -> Iterator[tuple[str, bytes]]:
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "drawn", zip=True)
    yield "grey.png", _saved(grey, "PNG", pnginfo=text)
    yield "wide.png", _saved(Image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000), "PNG")
    yield "palette.png", _saved(grey.convert("P"), "PNG", transparency=3)
    yield "alpha.png", _saved(grey.convert("LA"), "PNG")
    yield "grey.jpg", _saved(grey, "JPEG", quality=20, exif=rotated)
    yield "progressive.jpg", _saved(grey.convert("RGB"), "JPEG", quality=20, progressive=True)
    yield "cmyk.jpg", _saved(grey.convert("CMYK"), "JPEG", quality=10)
    yield "grey.bmp", _saved(grey, "BMP")
    yield "bit.bmp", _saved(grey.convert("1"), "BMP")
    yield "lossy.webp", _saved(grey.convert("RGB"), "WEBP", quality=10)
    yield "lossless.webp", _saved(grey.convert("RGBA"), "WEBP", lossless=True)
    yield "moving.webp", _saved(grey, "WEBP", save_all=True, append_images=[grey.rotate(90)])
    yield "moving.gif", _saved(grey, "GIF", save_all=True, append_images=[grey.rotate(90)])


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _zip(members: dict[str, bytes], compression: int) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def main() -> None:
    for target, name, data in seeds():
        path = CORPUS / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
