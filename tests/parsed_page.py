"""Pages as tests look at them: a run's report or any HTML, parsed, and the pictures in it."""

import base64
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_tasks import report
from fer_tasks.run_directory import RunDirectory


class Page(HTMLParser):
    """Tags, attributes, text and nesting of a page."""

    VOID = frozenset({"meta", "img", "br", "col"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def publish(run_dir: RunDirectory) -> Page:
    report.write(run_dir)
    return Page(run_dir.report_html.read_text())


def decode_picture(uri: str) -> NDArray[Any]:
    """The pixels of a PNG in a data URI, as it was written: uint8 (height, width) for grey ones."""
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return decoded
