"""The page is one safe, offline, accessible file."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from parsed_page import publish
from reported_run import NASTY

from fer_tasks import report

TEMPLATES = Path(report.__file__).parent / "templates"


def test_data_from_outside_stays_text(complete: Any) -> None:
    page = publish(complete())
    assert "<script" not in page.html
    assert "<b>x</b>" not in page.html
    assert NASTY in page.text
    assert "the file is empty & <broken>" in page.text
    assert any(NASTY in attributes.get("alt", "") for attributes in page.all("img"))
    assert {tag for tag, _ in page.elements} <= {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "nav", "footer", "div", "p"),
        *("h1", "h2", "h3", "h4", "ul", "ol", "li", "a", "dl", "dt", "dd", "table", "caption", "colgroup", "col"),
        *("thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "b", "i", "br", "strong", "small", "span"),
        *("time", "svg", "line", "path", "circle", "rect", "image", "text", "polyline"),
    }


def test_one_offline_file(complete: Any) -> None:
    page = publish(complete())
    policy = [meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert [meta["content"] for meta in policy] == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    targets = [a.get("src") or a.get("href") for _, a in page.elements if a.get("src") or a.get("href")]
    assert targets
    assert all(re.match(r"data:image/png;base64,|#", target) for target in targets)
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {target[1:] for target in targets if target.startswith("#")} <= ids
    assert not re.search(r"url\(|@import|https?:|\son\w+=", page.html.split("</style>")[0])
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_readable_without_eyes(complete: Any) -> None:
    page = publish(complete())
    assert all(image["alt"] for image in page.all("img"))
    assert all("aria-hidden" in svg or svg.get("aria-label") for svg in page.all("svg"))
    assert all(cell.get("scope") in {"col", "row", "rowgroup"} for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.all("html") == [{"lang": "en"}]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_have_the_contrast_of_wcag_aa() -> None:
    css = (TEMPLATES / "report.css").read_text()
    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6}|[\d, ]+);", block)) for block in css.split(":root {")[1:3]]
    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "quiet", "accent", "good", "bad", "warn"):
            assert contrast(theme[text], theme["page"]) >= 4.5, text
            assert contrast(theme[text], theme["wash"]) >= 4.5, text
        assert contrast(theme["warn"], theme["warn-wash"]) >= 4.5
        assert contrast(theme["accent"], theme["accent-wash"]) >= 4.5
        shade = [int(channel) for channel in theme["shade"].split(",")]
        page = [int(theme["page"][i : i + 2], 16) for i in (1, 3, 5)]
        darkest = "#" + "".join(f"{round(0.62 * s + 0.38 * p):02x}" for s, p in zip(shade, page, strict=True))
        assert contrast(theme["ink"], darkest) >= 4.5
