"""The page of real run folders: what it says in each outcome, and that it is one safe, offline, accessible file."""

import base64
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reported_run import (
    NASTY,
    complete_run,
    finish,
    write,
    write_comparison,
    write_gate,
    write_ingest,
    write_quality,
    write_slices,
)

from fer_tasks import approval, report
from fer_tasks.errors import DataQualityError, ReportError
from fer_tasks.presets import PRESETS
from fer_tasks.report_pictures import thumbnail_picture
from fer_tasks.run_directory import RunDirectory

TEMPLATES = Path(report.__file__).parent / "templates"


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


@pytest.fixture
def complete(make_run: Any) -> Any:
    """complete(passed=True, **settings) -> a run folder that went all the way to the gate's verdict."""

    def make(*, passed: bool = True, num_bad: int = 2, **settings: Any) -> RunDirectory:
        return complete_run(make_run(**settings), passed=passed, num_bad=num_bad)

    return make


def test_accepted_run_on_real_data(complete: Any) -> None:
    page = publish(complete(dataset="/data/faces", epochs=3))
    assert f"Epochs changed epochs 3 {PRESETS['fer2013']['epochs']}" in page.text
    assert "Patience (epochs) changed" not in page.text
    assert "Accepted 95.38% against <the minimum>. 95.4 % test accuracy, 95% interval 87.3–98.4%" in page.text
    assert "Threshold 60.0%" in page.text
    assert "Always the commonest emotion 15.4%" in page.text
    assert "People on FER-2013, 65 ± 5% 60.0–70.0%" in page.text
    assert "The paper's network on FER-2013 69.0%" in page.text
    assert "drawn by the program" not in page.text
    assert "promote_model : to follow" in page.text
    assert "reject_model : skipped" in page.text


def test_what_was_reused_is_told_with_the_run_that_made_it(complete: Any) -> None:
    run_dir = complete()
    assert "reused" not in publish(run_dir).text.replace("Reuse former results reuse on on", "")
    run_dir.record_reuse("ingest_dataset", started_at="2026-01-01T00:00:00+00:00", seconds=0.25, reused_from="<run> 1")
    run_dir.record_reuse("check_data_quality", started_at="2026-01-01T00:00:01+00:00", seconds=0, reused_from="<run> 1")
    (run_dir.root / "steps" / "preprocess_faces.json").unlink()
    run_dir.record_reuse("preprocess_faces", started_at="2026-01-01T00:00:01+00:00", seconds=0.5, reused_from="run-0")
    text = publish(run_dir).text
    assert (
        "Not computed but reused: ingest_dataset, check_data_quality from run <run> 1; preprocess_faces from run run-0."
    ) in text
    assert "ingest_dataset reused 0.2 s" in text
    assert "preprocess_faces reused 0.5 s" in text
    assert "2026-01-01 00:00:00 UTC: succeeded, reused from run <run> 1" in text  # the second try of two


def test_the_weights_that_training_began_with_are_told(complete: Any) -> None:
    run_dir = complete(initial_weights="champion")
    assert "Began with the weights" not in publish(run_dir).text
    history = json.loads(run_dir.history_json.read_text())
    write(run_dir.history_json, history | {"initial_weights_sha256": "ef" * 32, "weights_sha256": "cd" * 32})
    assert f"Began with the weights champion of fer-classifier Their SHA-256 {'ef' * 32}" in publish(run_dir).text
    lineage = json.loads(run_dir.lineage_json.read_text())
    assert lineage["parent_model"]["weights_sha256"] == "ef" * 32
    assert lineage["model_weights_sha256"] == "cd" * 32
    assert lineage["settings"]["initial_weights"] == "champion"
    assert lineage["steps"]["train_model"][-1]["status"] == "succeeded"


def test_rejected_run_on_the_sample(complete: Any) -> None:
    page = publish(complete(passed=False))
    assert "Rejected by the gate" in page.text
    assert "Threshold 97.0%" in page.text
    assert "These faces are drawn by the program." in page.text
    assert "People on FER-2013" not in page.text
    assert "The paper's network" not in page.text


def test_every_criterion_of_the_gate_is_a_line(complete: Any) -> None:
    text = publish(complete(passed=False)).text
    for words in (
        "failed Accuracy Against <it>. 95.4% 87.3% to 98.4% at least 97.0%",
        "passed Calibration error Any. 3.4% – –",
        "passed Against the champion Not found worse. −1.2 points −3.4 points to +1.0 points at least −1.0 points",
        "passed Serving check Repeated. 1e-07 – at most 1e-05",
    ):
        assert words in text


def test_a_persons_answer_is_told(complete: Any) -> None:
    run_dir = complete(require_approval=True, approval_timeout_hours=5)
    text = publish(run_dir).text
    assert "Accepted, waiting for approval 95.38% against <the minimum>." in text
    assert "promote_model : to follow reject_model : to follow" in text
    approval.record(run_dir, approved=True, answered_by="<ada>")
    text = publish(run_dir).text
    assert "Accepted 95.38% against <the minimum>. <ada> approved it." in text
    assert "promote_model : to follow reject_model : skipped" in text
    approval.record(run_dir, approved=False, answered_by=None)
    text = publish(run_dir).text
    assert "Not approved Nobody answered within 5 h, so it was rejected. The gate accepted the model: 95.38%" in text
    assert "promote_model : skipped reject_model : to follow" in text
    run_dir.approval_json.write_bytes(b"{")
    assert "Failed in accuracy_gate" in publish(run_dir).text


def test_sections_say_what_the_records_hold(complete: Any) -> None:
    text = publish(complete(epochs=3)).text
    for words in (
        "On 65 test images that took no part in training or in any choice. Hardest: disgust, with an F1 of 60.0%.",
        "angry 9 90% 0 0 0 0 0 1 10%",
        "disgust 2 40% 3 60% 0 0 0 0 0",
        "Calibration error (ECE) 3.4%",
        "The weights of epoch 3 were kept, the best on validation; training ran to the end after 3. "
        "It was interrupted and resumed at epoch 2.",
        "Parameters 1,234,567",
        "Data streamed from disk",
        "resumed at 2",
        "chosen: 3",
        "Mistaken for sad",
        "sad 81.0% stand-in 79.0% R² 0.93, stable 75.0%, order +0.200",
        "1,000 copies of a face with some parts of the face switched off (sampling: hadamard; fill: mean; seed 7).",
        "mouth: +0.500",
        "nose: −0.250",
        "happy 12.0% stand-in 79.0% R² 0.12, stable 75.0%, order +0.200 Unreliable: its R² is <low>; no seed agrees.",
        "Reliable explanations 1 of 2",
        "Agreement with integrated gradients (correlation) 0.70",
        "The network with shuffled weights (rank correlation) 0.04, differs, as it should",
        "Time of all explanations 1 min 1 s",
        "Recognised 50 of 120 images mouth 67% (60–73), nose 33% (30–37)",
        "Commonest confusion happy, taken for neutral 1 image chin 67%, nose 33%",
        "Champion, version 4 50 of 110 images eyes 67% (60–73), nose 33% (30–37)",
        "Happy rests on the mouth 67% (60–73). That is where people show it: the mouth. In the champion it rests on "
        "the eyes 67% (60–73). Where it is taken for neutral, that cannot be placed: there is only 1 image.",
        "above its share of the picture (mouth 12%, nose 12%,",
        "Sad cannot be placed: there are only 4 images.",
        "The model recognised no test image of it.",
        "No test image shows <fear>.",
        "of 6 images, 2 cannot be used and 1 are left out of training.",
        "warned Expectation readable.",
        "Quarantined images (2)",
        "Leaked groups: a training image also stands in validation or test (1)",
        "2 equal images train/sad/3.png (Training, sad) test/sad/3.png (PrivateTest, sad) 48 x 48",
        "Training 1 1 1 12,345 1 1 1 12,351",
        "Of 6 images read, 2 were dropped as unusable and 1 by policy (1 leaked). Validation was carved out",
        "train 11 11 11 11 11 11 11 77",
        "Epochs changed epochs 3 10",
        "Seed seed 7 7",
        "Its SHA-256 " + "ab" * 32,
    ):
        assert words in text
    assert text.index("noted Expectation grey.") < text.index("passed Expectation few_bad.")


def test_what_changed_against_the_champion_comes_before_the_rest(complete: Any) -> None:
    text = publish(complete()).text
    for words in (
        "On the same 65 test images this model has 95.4%, fer-classifier version 4 96.6%: −1.2 points (95% interval "
        "−3.4 points to +1.0 points). 3 images are gained, 1 lost. It sees <them> its way.",
        "disgust 90.0% 80.0% +3 0 10",
        "all 95.4% 96.6% +3 −1 65",
        "Since the champion's run these have moved beyond chance: labels.",
        "large Labels angry 10.0% angry 40.0% 0.832 0.200",
        "stable Brightness (mean grey level) median 7.2 median 130 0.010 0.200",
        "Champion on the same images 96.6%",
    ):
        assert words in text
    assert text.index("On the same 65 test images") < text.index("Confusion matrix")


def test_without_a_champion_that_can_be_compared(complete: Any) -> None:
    run_dir = complete()
    write_comparison(run_dir, outcome="no champion", version=None, paired=None, per_emotion=[], drift=[], notes=[])
    text = publish(run_dir).text
    assert "There was no champion of fer-classifier yet to compare with." in text
    assert "Champion on the same images" not in text
    write_comparison(run_dir, outcome="not comparable", paired=None, per_emotion=[], drift=[], notes=["Because."])
    text = publish(run_dir).text
    assert "fer-classifier version 4 cannot be compared with this model. Because." in text
    assert "is not on record (data_profile.json among the records of its MLflow run)" in text


def test_weak_spots_are_marked_and_told(complete: Any) -> None:
    run_dir = complete()
    text = publish(run_dir).text
    for words in (
        "Worse than on the other test images, and not by chance: dark (brightness).",
        "dark worse 9.5 to 61 50.0% 31.0% to 69.0% 22 < 0.001",
        "bright 61 to 1,234 98.0% 31.0% to 69.0% 43 0.021",
        "Agreement Not <tested>. same emotion 95.4% 31.0% to 69.0% 65 –",
        "Contrast: all test images are alike.",
        "Weak spots Found worse than on the other test images: dark (brightness), 50.0%.",
    ):
        assert words in text
    write_slices(run_dir, is_worse=False)
    text = publish(run_dir).text
    assert "On no part of the test images is the model found worse than on the others." in text
    assert "Found worse than" not in text


def test_the_surest_mistakes_come_first_with_their_faces(complete: Any) -> None:
    page = publish(complete())
    surest, less = "sad, taken for happy with 99.0%", "happy, taken for sad with 75.0%"
    assert "All mistakes, the surest first (2)" in page.text
    assert page.text.index(surest) < page.text.index(less)
    lost = page.text.index("Lost: mistakes that the champion does not make (1)")
    assert less in page.text[lost:]
    assert surest not in page.text[lost:]
    (picture,) = {image["src"] for image in page.all("img") if image["alt"].startswith(surest)}
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(picture.split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.ravel()[:4].tolist() == [80, 255, 80, 255]


def test_mistakes_of_other_images_and_no_mistakes_are_said(complete: Any) -> None:
    run_dir = complete()
    predictions = pq.read_table(run_dir.predictions)
    pq.write_table(predictions.set_column(1, "image_id", pa.array(["b", "a", "c"])), run_dir.predictions)
    assert f"{run_dir.raw_faces} does not hold the images of predictions.parquet." in publish(run_dir).text
    pq.write_table(predictions.set_column(3, "predicted", predictions["label"]), run_dir.predictions)
    assert "The model has every test image right." in publish(run_dir).text


def test_the_model_card_tells_the_limits(complete: Any) -> None:
    text = publish(complete(dataset="/data/faces", contrast="equalize")).text
    for words in (
        "Trained on 77 faces",
        "Reaches 95.4% of 65 test images (87.3% to 98.4%), averaged over 10 views",
        "Faces prepared with denoise none, contrast equalize",
        "about 65 ± 5 times in 100",
        "prohibited since 2 February 2025",
        "Article 5(1)(f)",
    ):
        assert words in text
    assert "trained and tested on faces that the program draws" not in text


def test_the_model_card_of_drawn_faces_and_of_an_unfinished_run(make_run: Any) -> None:
    run_dir = make_run()
    finish(run_dir, "start_run")
    text = publish(run_dir).text
    assert "trained and tested on faces that the program draws" in text
    assert "65 ± 5" not in text
    assert "Reaches –" in text


def test_gx_data_docs_are_linked_where_they_were_written(complete: Any) -> None:
    run_dir = complete()
    assert "data_docs/index.html" not in publish(run_dir).html
    run_dir.data_docs_folder.mkdir()
    (run_dir.data_docs_folder / "index.html").write_text("<p>GX</p>")
    links = [link["href"] for link in publish(run_dir).all("a") if not link["href"].startswith("#")]
    assert links == ["data_docs/index.html"]


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


def test_refused_data(make_run: Any) -> None:
    run_dir = make_run()
    finish(run_dir, "start_run")
    write_ingest(run_dir)
    write_quality(run_dir, blocking=["Too many <bad> images."])
    with pytest.raises(DataQualityError), run_dir.attempt("check_data_quality"):
        raise DataQualityError("The data set was refused. Too many <bad> images.")
    page = publish(run_dir)
    assert "Data refused The data set was refused. Too many <bad> images." in page.text
    assert "check_data_quality : refused" in page.text
    assert "train_model : not reached" in page.text
    assert "Training Not reached: the run stopped in check_data_quality." in page.text
    assert "blocked Expectation few_bad." in page.text
    assert "Quarantined images (2)" in page.text


def test_killed_and_failed_training(complete: Any) -> None:
    run_dir = complete()
    tries = [
        {"started_at": "2099-01-01T00:00:00+00:00", "status": "running", "seconds": None, "reason": None},
        {
            "started_at": "2099-01-01T00:01:00+00:00",
            "status": "failed",
            "seconds": 3.0,
            "reason": "OSError: <full>",
        },
    ]
    (run_dir.root / "steps" / "train_model.json").write_text(json.dumps(tries))
    page = publish(run_dir)
    assert "Failed in train_model OSError: <full>" in page.text
    assert "2099-01-01 00:00:00 UTC: killed 2099-01-01 00:01:00 UTC: failed OSError: <full>" in page.text
    assert "evaluate_model : outdated" in page.text
    assert "Evaluation Not reached: the run stopped in train_model." in page.text
    assert "Of 6 images read" in page.text


def test_only_started(make_run: Any) -> None:
    run_dir = make_run()
    finish(run_dir, "start_run")
    run_dir.settings_json.unlink()
    page = publish(run_dir)
    assert "Stopped before ingest_dataset" in page.text
    assert f"Settings Not there: {run_dir.settings_json}." in page.text
    assert "Data quality Not reached: the run stopped before ingest_dataset." in page.text


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("settings_json", "Settings Cannot be read: "),
        ("evaluation_json", "Evaluation Cannot be read: "),
        ("history_json", "Training Cannot be read: "),
        ("explanations_json", "Explanations Cannot be read: "),
        ("explanation_maps", "Explanations Cannot be read: "),
        ("data_quality_json", "Data quality Cannot be read: "),
        ("preprocessing_json", "Preprocessing Cannot be read: "),
        ("gate_json", "Failed in accuracy_gate"),
        ("quarantine", "The quarantined images cannot be read: "),
        ("exclusions", "The images left out cannot be read: "),
        ("raw_faces", "The images left out cannot be read: "),
        ("ingestion_json", "Its SHA-256 –"),
        ("champion_comparison_json", "Against the champion Cannot be read: "),
        ("slices_json", "Weak spots Cannot be read: "),
        ("predictions", "Surest mistakes Cannot be read: "),
        ("champion_predictions", "Surest mistakes Cannot be read: "),
    ],
)
@pytest.mark.parametrize("content", [b'{"half', b"\xff\xfe\x00"])
def test_a_damaged_record_is_said_and_stops_nothing(complete: Any, record: str, words: str, content: bytes) -> None:
    run_dir = complete()
    getattr(run_dir, record).write_bytes(content)
    assert words in publish(run_dir).text


def test_every_record_empty_and_every_record_gone(complete: Any) -> None:
    run_dir = complete()
    records = [path for path in run_dir.root.iterdir() if path.is_file()]
    assert len(records) == 16
    for path in records:
        path.write_bytes(b"")
    assert "Failed in accuracy_gate" in publish(run_dir).text
    for path in records:
        path.unlink()
    assert f"Evaluation Not there: {run_dir.evaluation_json}." in publish(run_dir).text


def test_damaged_attempts_are_said(complete: Any) -> None:
    run_dir = complete()
    (run_dir.root / "steps" / "explain_predictions.json").write_text("[{")
    page = publish(run_dir)
    assert "The attempts of explain_predictions cannot be read" in page.text
    assert "Accepted" in page.text


def test_a_large_quarantine_is_cut_and_counted(complete: Any) -> None:
    run_dir = complete(num_bad=3000)
    page = publish(run_dir)
    assert "Quarantined images (3,000)" in page.text
    assert "2,976 more are not shown." in page.text
    assert run_dir.report_html.stat().st_size < 400_000


def test_a_page_over_the_limit_is_refused(complete: Any) -> None:
    run_dir = complete()
    write_gate(run_dir, passed=True)
    gate = json.loads(run_dir.gate_json.read_text())
    write(run_dir.gate_json, gate | {"reason": "x" * 3_000_000})
    with pytest.raises(ReportError, match="at most 3,000,000 are allowed"):
        report.run(run_dir)
    assert not run_dir.report_html.exists()
    assert run_dir.attempts("publish_report")[-1].status == "refused"


def test_thumbnails_show_the_pixels() -> None:
    pixels = bytes(range(12)) * 4
    uri = thumbnail_picture(pixels, 4, 12)
    assert uri is not None
    png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.tolist() == [list(range(12))] * 4
    large = thumbnail_picture(bytes(200 * 100), 200, 100)
    assert large is not None
    shrunk = cv2.imdecode(np.frombuffer(base64.b64decode(large.split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert shrunk.shape == (64, 32)


def test_what_has_no_picture() -> None:
    assert thumbnail_picture(None, None, None) is None
    assert thumbnail_picture(bytes(2000), 1, 2000) is None
    with pytest.raises(ReportError, match="10 bytes of pixels for 4 x 4"):
        thumbnail_picture(bytes(10), 4, 4)


def test_the_lineage_is_written(complete: Any) -> None:
    run_dir = complete(seed=11)
    publish(run_dir)
    lineage = json.loads(run_dir.lineage_json.read_text())
    assert (lineage["dataset"], lineage["dataset_sha256"], lineage["seed"]) == ("sample", "ab" * 32, 11)
    assert lineage["started_at"] <= lineage["finished_at"]


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
