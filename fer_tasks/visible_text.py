"""Texts from outside, such as file names, as a page, a table or a terminal may show them."""

import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed: a terminal obeys them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction: `gpj.exe` is shown as `exe.jpg`
    "\u2028\u2029\ufeff\ud800-\udfff]"  # end lines, are nothing, or are bytes of a name that is no UTF-8
)
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r]|[\t\r]")


def visible(text: str) -> str:
    """The text with escapes such as `\\u202e` for characters that change what is seen and are not seen themselves."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode-escape", "surrogatepass").decode(), text)


def harmless_cell(text: str) -> str:
    """A cell of a CSV that no spreadsheet runs as a formula: an apostrophe before what one would.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{text}" if _FORMULA.match(text) else text


def without_password(text: str) -> str:
    """The text with the logins in its addresses left out: `s3://key:secret@bucket` -> `s3://bucket`."""
    return re.sub(r"//[^/\s]*@", "//", text)
