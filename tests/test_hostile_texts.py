"""File names and cells from somebody who means harm, where people read them: tables, pages, letters, terminals."""

import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import raw_faces
from published_runs import write_attempts
from raw_faces import image, noise, seven_emotions

from fer_tasks import data_quality, report, report_index
from fer_tasks.emotions import NUM_EMOTIONS
from fer_tasks.notification import compose
from fer_tasks.prediction_rows import Prediction, write_rows
from fer_tasks.run_directory import RunDirectory
from fer_tasks.visible_text import harmless_cell, visible

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\n=1+1",
    "  =1+1",
    "\uff1d1+1",
    '=HYPERLINK("http:127.0.0.1?"&A1)',
]
HTML = "<img src=x onerror=alert(1)><script>alert(2)</script>'\"{{ 7*7 }}</style></title><svg/onload=alert(3)>"
TURNED = "annex\u202egpj.exe"


def predicted(*predictions: Prediction, form="csv") -> str:
    file = io.StringIO()
    write_rows(predictions, file, form)
    return file.getvalue()


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_the_predictions_is_a_formula(formula):
    probabilities = np.full(NUM_EMOTIONS, 1 / NUM_EMOTIONS, np.float32)
    table = predicted(Prediction(Path(formula), probabilities), Prediction(Path("a.png"), None, formula))
    first, second = csv.DictReader(io.StringIO(table, newline=""))
    assert first["path"] == f"./{formula}"  # still the path of the file
    assert second["path"] == "a.png"
    assert second["error"] == f"'{formula}"


def test_a_carriage_return_begins_no_row():
    table = predicted(Prediction(Path("a\r=1+1.png"), None, "x\r=1+1"))
    assert "\r" not in table
    assert "a\\r=1+1.png" in table


def test_other_cells_stay_as_they_are():
    table = predicted(Prediction(Path("/data/-1/a b.png"), None, "the file is no JPEG"))
    assert "/data/-1/a b.png,," in table
    assert ",the file is no JPEG," in table
    assert harmless_cell("a=b") == "a=b"
    assert harmless_cell("") == ""


def test_a_path_in_lines_of_json_is_the_path_itself():
    assert '"path": "=1+1"' in predicted(Prediction(Path("=1+1"), None, "x"), form="jsonl")


def test_a_name_that_is_no_utf_8_does_not_stop_the_table(tmp_path):
    table = predicted(Prediction(Path("a\udcff.png"), None, "x"))
    (tmp_path / "table.csv").write_text(table, encoding="utf-8")
    assert "a\\udcff.png" in table


def test_an_error_on_the_terminal_holds_nothing_that_the_terminal_obeys(capsys):
    predicted(Prediction(Path("\x1b]0;owned\x07\x1b[2J\u202ea.png"), None, "\x1b[31mred"))
    told = capsys.readouterr().err
    assert told == "\\x1b]0;owned\\x07\\x1b[2J\\u202ea.png: \\x1b[31mred\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 表情 עברית\tx\n", "größe 表情 עברית\tx\n"),
        (TURNED, "annex\\u202egpj.exe"),
        ("a\x00b\x7f\x9b", "a\\x00b\\x7f\\x9b"),
        ("\u2066x\u2069\u200f\u061c\ufeff", "\\u2066x\\u2069\\u200f\\u061c\\ufeff"),
        ("\udcff\u2028", "\\udcff\\u2028"),
    ],
)
def test_characters_that_are_not_seen_are_shown(text, shown):
    assert visible(text) == shown


class Seen(HTMLParser):
    """Elements, texts, and all attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def check_page(html: str) -> str:
    """The page's text; nothing of HTML has become an element or an attribute of it."""
    seen = Seen(html)
    assert not seen.tags & {"script", "iframe", "object", "form"}
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert "\u202e" not in html
    return seen.text


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """A run of a data set whose every text is hostile, refused by the check."""
    run_dir = RunDirectory(tmp_path_factory.mktemp("runs") / "refused")
    run_dir.save_json(run_dir.settings_json, {"dataset": f"/data/{HTML}{TURNED}", "data_docs": True})
    bad = [
        image(noise(900 + number), HTML, text, source=f"train/{text}/{number}{TURNED}.png")
        for number, text in enumerate([HTML, TURNED, "=1+1", "\x1b[2J"])
    ]
    raw_faces.write(run_dir, [*seven_emotions({"Training": 3, "PublicTest": 1}), *bad])
    (run_dir.root / "steps").mkdir()
    for step in ("start_run", "ingest_dataset"):
        times = {"started_at": "2026-01-01T05:00:00+00:00", "seconds": 1.0}
        write_attempts(run_dir, step, {**times, "status": "succeeded"})
    with pytest.raises(data_quality.DataQualityError):
        data_quality.run(run_dir)
    write_attempts(run_dir, "train_model", {**times, "status": "failed", "reason": f"ValueError: {HTML}\n{TURNED}"})
    report.write(run_dir)
    return run_dir


def test_hostile_texts_are_only_texts_in_the_report(refused):
    text = check_page(refused.report_html.read_text())
    assert HTML in text
    assert "annex\\u202egpj.exe" in text


def test_hostile_texts_are_only_texts_in_the_index(refused):
    assert "onload=alert(3)" in check_page(report_index.render_index(refused.root.parent))


def test_hostile_texts_are_only_texts_in_a_letter(refused):
    letter = compose(refused, "failure", "https://airflow.example.org/fer")
    check_page(letter.html)
    assert "\n" not in letter.subject
    assert not {"\u202e", "\x1b"} & set(letter.text)


def test_the_data_docs_hold_no_text_of_the_data_set(refused):
    pages = list(refused.data_docs_folder.rglob("*.html"))
    assert len(pages) >= 3
    for page in pages:
        html = page.read_text()
        assert not [part for part in ("onerror=alert(1)", "onload=alert(3)", "gpj.exe", "=1+1") if part in html]
