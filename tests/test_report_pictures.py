"""The pictures of a report, as data URIs."""

import pytest
from parsed_page import decode_picture

from fer_tasks.errors import ReportError
from fer_tasks.report_pictures import thumbnail_picture


def test_thumbnails_show_the_pixels() -> None:
    pixels = bytes(range(12)) * 4
    uri = thumbnail_picture(pixels, 4, 12)
    assert uri is not None
    assert decode_picture(uri).tolist() == [list(range(12))] * 4
    large = thumbnail_picture(bytes(200 * 100), 200, 100)
    assert large is not None
    assert decode_picture(large).shape == (64, 32)


def test_what_has_no_picture() -> None:
    assert thumbnail_picture(None, None, None) is None
    assert thumbnail_picture(bytes(2000), 1, 2000) is None
    with pytest.raises(ReportError, match="10 bytes of pixels for 4 x 4"):
        thumbnail_picture(bytes(10), 4, 4)
