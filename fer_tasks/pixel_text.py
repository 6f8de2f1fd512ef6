"""Pixel values written as text, `70 80 82 ...`, as FER-2013's CSV has them."""

import numpy as np

from fer_tasks.image_decoding import Pixels

_BLOCK = 32  # texts parsed at once: large enough to amortise numpy, small enough for the cache


def parse_pixels(texts: list[bytes]) -> list[Pixels | str]:
    """For each text its values, uint8 (number of values,), or in words why it has none.

    Values are whole numbers 0 to 255 in ASCII digits, parted by blanks.
    """
    parsed: list[Pixels | str] = []
    for start in range(0, len(texts), _BLOCK):
        parsed += _parse_block(texts[start : start + _BLOCK])
    return parsed


def _parse_block(texts: list[bytes]) -> list[Pixels | str]:
    """All texts in one go where all of them are clean and equally long, as nearly always; else one by one."""
    joined = b" ".join(texts)
    num_blanks = {text.count(b" ") for text in texts}
    if len(num_blanks) == 1 and not joined.translate(None, b"0123456789 "):
        values = np.fromstring(joined, dtype=np.int64, sep=" ")  # int64 saturates where smaller types wrap
        most = (num_blanks.pop() + 1) * len(texts)  # reached only without leading, trailing or double blanks
        if len(values) == most and values.max() <= 255:
            return list(values.astype(np.uint8).reshape(len(texts), -1))
    return [_parse_text(text) for text in texts]


def _parse_text(text: bytes) -> Pixels | str:
    tokens = text.split()
    if not tokens:
        return "the pixel text is empty"
    digits = [token.lstrip(b"0") or b"0" for token in tokens]  # Python reads no number of more than 4,300 digits
    for place, (token, number) in enumerate(zip(tokens, digits, strict=True), start=1):
        if not token.isdigit() or len(number) > 3 or int(number) > 255:
            shown = token[:20].decode("utf-8", "replace") + ("..." if len(token) > 20 else "")
            return f"pixel value {place} of {len(tokens)} is {shown!r}; expected a whole number from 0 to 255"
    return np.array(digits, dtype=np.uint8)
