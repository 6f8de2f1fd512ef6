"""The page of real run folders that came to the gate's verdict: what it says."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from parsed_page import decode_picture, publish
from reported_run import finish, write, write_comparison, write_slices

from fer_tasks import approval
from fer_tasks.presets import PRESETS


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
        "not asked Calibration error Any. 3.4% – –",
        "passed Against the champion Not found worse. −1.2 points −3.4 points to +1.0 points at least −1.0 points",
        "passed Serving check Repeated. 1e-07 – at most 1e-05",
    ):
        assert words in text


def test_a_mistake_that_the_explained_view_does_not_share_is_told(complete: Any) -> None:
    run_dir = complete()
    told = "In this one view happy is likelier than sad; the verdict averages several."
    assert told not in publish(run_dir).text
    record = json.loads(run_dir.explanations_json.read_text())
    record["explanations"][0]["for_true"]["probability"] = 0.875
    run_dir.explanations_json.write_text(json.dumps(record))
    assert told in publish(run_dir).text


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
        "The network with shuffled weights (rank correlation) −0.04, differs, as it should",
        "Time of all explanations 1 min 1 s",
        "Recognised 50 of 120 images mouth 67% (60–73) nose 33% (30–37)",
        "Commonest confusion happy, taken for neutral 1 image chin 67% nose 33%",
        "Champion, version 4 50 of 110 images eyes 67% (60–73) nose 33% (30–37)",
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
    assert decode_picture(picture).ravel()[:4].tolist() == [80, 255, 80, 255]


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


def test_the_lineage_is_written(complete: Any) -> None:
    run_dir = complete(seed=11)
    publish(run_dir)
    lineage = json.loads(run_dir.lineage_json.read_text())
    assert (lineage["dataset"], lineage["dataset_sha256"], lineage["seed"]) == ("sample", "ab" * 32, 11)
    assert lineage["started_at"] <= lineage["finished_at"]
