"""A run folder with every record that the report reads, so small and plain that a test can say what the page tells."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_tasks.emotions import EMOTIONS
from fer_tasks.face_regions import FACE_REGIONS, PARTS
from fer_tasks.run_directory import RunDirectory

NASTY = "test/\"><script>alert('x')</script>&amp;/a b.png"
CONFUSION = [[9, 0, 0, 0, 0, 0, 1], [2, 3, 0, 0, 0, 0, 0], *([0] * i + [10] + [0] * (6 - i) for i in range(2, 7))]


def finish(run_dir: RunDirectory, step: str) -> None:
    with run_dir.attempt(step):
        pass


def write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record))


def write_ingest(run_dir: RunDirectory, *, num_bad: int = 2) -> None:
    """Four faces (two of them equal) and `num_bad` undecodable ones, the first of them with a nasty name."""
    faces = [bytes([40 * i, 255] * 1152) for i in (1, 2, 3, 3)]
    bad_sources = [NASTY, *(f"train/sad/{i}.png" for i in range(num_bad))][:num_bad]
    num_images = len(faces) + num_bad
    table = {
        "position": list(range(num_images)),
        "source": ["train/happy/1.png", "train/sad/2.png", "train/sad/3.png", "test/sad/3.png", *bad_sources],
        "image_id": ["a", "b", "c", "c", *(f"bad{i}" for i in range(num_bad))],
        "usage_text": pa.array(["Training", "Training", "Training", "PrivateTest", *["<b>x</b>"] * num_bad]),
        "label_text": pa.array(["happy", "sad", "sad", "sad", *[None] * num_bad], pa.string()),
        "height": pa.array([48] * 4 + [None] * num_bad, pa.int32()),
        "width": pa.array([48] * 4 + [None] * num_bad, pa.int32()),
        "pixels": pa.array([*faces, *[None] * num_bad], pa.binary()),
    }
    pq.write_table(pa.table(table), run_dir.raw_faces)
    quarantine = {
        "image_id": [f"bad{i}" for i in range(num_bad)],
        "source": bad_sources,
        "reason": ["the file is empty & <broken>"] * num_bad,
    }
    pq.write_table(pa.table(quarantine), run_dir.quarantine)
    exclusions = {"image_id": ["c"], "source": ["train/sad/3.png"], "reason": ["leaked"]}
    pq.write_table(pa.table(exclusions), run_dir.exclusions)
    ingestion = {
        "kind": "sample" if run_dir.load_settings().dataset == "sample" else "folder",
        "path": "/data",
        "dataset_sha256": "ab" * 32,
        "num_images": num_images,
        "num_undecodable": num_bad,
        "num_ignored_files": 0,
        "ignored_examples": [],
        "seconds": 1.0,
    }
    write(run_dir.ingestion_json, ingestion)
    finish(run_dir, "ingest_dataset")


def write_quality(run_dir: RunDirectory, *, blocking: list[str]) -> None:
    per_split = {"Training": dict.fromkeys(EMOTIONS, 1) | {"happy": 12345}}
    lines = [
        ("readable", "warn", False, "2 of 6 images"),
        ("few_bad", "block", not blocking, "33%"),
        ("grey", "report", False, "1 of 6"),
        ("present", "block", True, "6"),
    ]
    quality = {
        "passed": not blocking,
        "blocking": blocking,
        "counts": {"images": 6, "quarantined": 2, "duplicate_groups": 1},
        "images_per_split": {"Training": 12351},
        "images_per_emotion": dict.fromkeys(EMOTIONS, 1),
        "images_per_split_and_emotion": per_split,
        "exclusions": {"leaked": 1},
        "expectations": [
            {
                "name": name,
                "description": f"Expectation {name}.",
                "column": None,
                "severity": severity,
                "passed": passed,
                "observed": observed,
                "unexpected": None,
            }
            for name, severity, passed, observed in lines
        ],
        "suite": "faces",
        "great_expectations_version": "1",
        "settings": {},
    }
    write(run_dir.data_quality_json, quality)


def write_preprocessing(run_dir: RunDirectory) -> None:
    record = {
        "images_read": 6,
        "quarantined": 2,
        "excluded": {"leaked": 1},
        "roles": {"Training": "train", "PublicTest": "test"},
        "validation_is_carved": True,
        "faces_per_split": {"train": 77},
        "faces_per_split_and_emotion": {"train": dict.fromkeys(EMOTIONS, 11)},
        "augmented_copies": 5,
        "shared_by_evaluation_splits": 0,
        "bytes_per_pixel": 0.987,
        "settings": {},
    }
    write(run_dir.preprocessing_json, record)
    finish(run_dir, "preprocess_faces")


def write_history(run_dir: RunDirectory) -> None:
    epochs = [
        {
            "epoch": epoch,
            "loss": 2.0 - 0.3 * epoch,
            "accuracy": 0.2 * epoch,
            "val_loss": 2.1 - 0.3 * epoch,
            "val_accuracy": 0.19 * epoch,
            "learning_rate": 0.01,
            "seconds": 1.5,
            "images_per_second": 1234.0,
        }
        for epoch in (1, 2, 3)
    ]
    history = {
        "architecture": "resnet",
        "num_parameters": 1234567,
        "precision": "float32",
        "epochs": epochs,
        "best_epoch": 3,
        "stopped_early": False,
        "resumed_at_epochs": [2],
        "seconds": 75.0,
        "is_streamed": True,
    }
    write(run_dir.history_json, history)
    finish(run_dir, "train_model")


def write_evaluation(run_dir: RunDirectory) -> None:
    record = {
        "num_images": 65,
        "accuracy": 0.9538,
        "accuracy_low": 0.8729,
        "accuracy_high": 0.9842,
        "majority_class_accuracy": 0.1538,
        "balanced_accuracy": 0.9286,
        "macro_f1": 0.925,
        "top_2_accuracy": 0.9846,
        "log_loss": 0.21,
        "expected_calibration_error": 0.034,
        "uncalibrated_error": 0.091,
        "temperature": 0.8,
        "single_view_accuracy": 0.9385,
        "num_views": 10,
        "validation_accuracy": 0.57,
        "images_per_second": 4321.0,
        "reliability": [
            {"low": 0.0, "high": 0.5, "num_images": 0, "mean_confidence": None, "accuracy": None},
            {"low": 0.5, "high": 1.0, "num_images": 65, "mean_confidence": 0.92, "accuracy": 0.9538},
        ],
        "per_emotion": [
            {
                "emotion": emotion,
                "precision": 0.9,
                "recall": 0.9,
                "f1": 0.6 if emotion == "disgust" else 0.9,
                "support": 10,
            }
            for emotion in EMOTIONS
        ],
        "confusion_matrix": CONFUSION,
    }
    write(run_dir.evaluation_json, record)
    write_comparison(run_dir)
    write_slices(run_dir)
    write_predictions(run_dir)
    finish(run_dir, "evaluate_model")


def write_comparison(run_dir: RunDirectory, **changes: Any) -> None:
    paired = {
        "num_images": 65,
        "challenger_accuracy": 0.9538,
        "champion_accuracy": 0.9661,
        "only_challenger_right": 3,
        "only_champion_right": 1,
        "difference": -0.0123,
        "difference_low": -0.034,
        "difference_high": 0.0101,
        "mcnemar_p": 0.625,
    }
    per_emotion = [
        {"emotion": emotion, "num_images": 10, "recall": 0.9, "champion_recall": 0.8, "gained": 3, "lost": 0}
        for emotion in EMOTIONS
    ]
    shares = {"now": [0.4, *[0.1] * 6], "then": [0.1, 0.4, *[0.1] * 5]}
    still = {"index": 0.01, "chance": 0.2, "reading": "stable"}
    record = {
        "registered_model": "fer-classifier",
        "test_set_sha256": "0" * 64,
        "outcome": "compared",
        "version": 4,
        "paired": paired,
        "per_emotion": per_emotion,
        "drift": [
            {"subject": "labels", "index": 0.832, "chance": 0.2, "reading": "large", **shares},
            {"subject": "brightness", **still, "median_now": 130.4, "median_then": 7.25},
        ],
        "notes": ["It sees <them> its way."],
    }
    write(run_dir.champion_comparison_json, record | changes)


def write_slices(run_dir: RunDirectory, *, is_worse: bool = True) -> None:
    dark = {"name": "dark", "low": 9.5, "high": 61.2, "num_images": 22, "accuracy": 0.5}
    rest = {"name": "bright", "low": 61.4, "high": 1234.0, "num_images": 43, "accuracy": 0.98}
    same = {"name": "same emotion", "low": None, "high": None, "num_images": 65, "accuracy": 0.9538}
    between = {"accuracy_low": 0.31, "accuracy_high": 0.69}
    record = {
        "slicings": [
            {
                "by": "brightness",
                "slices": [
                    dark | between | {"p": 0.0004, "is_worse": is_worse},
                    rest | between | {"p": 0.0214, "is_worse": False},
                ],
            },
            {"by": "agreement", "slices": [same | between], "note": "Not <tested>."},
        ],
        "notes": ["Contrast: all test images are alike."],
    }
    write(run_dir.slices_json, record)


def write_predictions(run_dir: RunDirectory) -> None:
    """Three faces of raw_faces: happy, taken for sad; sad, taken for happy; and one that is right."""
    table = {
        "position": [0, 1, 3],
        "image_id": ["a", "b", "c"],
        "label": pa.array([3, 4, 4], pa.int32()),
        "predicted": pa.array([4, 3, 4], pa.int32()),
        "confidence": pa.array([0.75, 0.99, 0.5], pa.float32()),
    }
    pq.write_table(pa.table(table), run_dir.predictions)
    theirs = {"position": [0, 1, 3], "image_id": ["a", "b", "c"], "predicted": pa.array([3, 3, 4], pa.int32())}
    pq.write_table(pa.table(theirs), run_dir.champion_predictions)


def write_gate(run_dir: RunDirectory, *, passed: bool) -> None:
    accuracy = {"value": 0.9538, "low": 0.8729, "high": 0.9842, "threshold": 0.6 if passed else 0.97}
    champion = {"value": -0.0123, "low": -0.034, "high": 0.0101, "threshold": -0.01}
    serving = {"value": 1.2e-7, "low": None, "high": None, "threshold": 1e-5}
    unasked = {"value": 0.034, "low": None, "high": None, "threshold": None}
    record = {
        "passed": passed,
        "needs_approval": run_dir.load_settings().require_approval,
        "reason": "95.38% against <the minimum>.",
        "criteria": [
            {"metric": "accuracy", "bound": "at least", "passed": passed, "reason": "Against <it>.", **accuracy},
            {"metric": "calibration_error", "bound": "at most", "passed": True, "reason": "Any.", **unasked},
            {"metric": "champion", "bound": "at least", "passed": True, "reason": "Not found worse.", **champion},
            {"metric": "serving", "bound": "at most", "passed": True, "reason": "Repeated.", **serving},
        ],
    }
    write(run_dir.gate_json, record)
    finish(run_dir, "accuracy_gate")


def mean_map(true: str, predicted: str, part: str, num_images: int, num_found: int) -> dict[str, Any]:
    """Two thirds of the weight lie in `part`, one in the nose; the interval is there from five images on."""
    shares = {part: 2 / 3, "nose": 1 / 3} | dict.fromkeys(set(PARTS) - {part, "nose"}, 0.0)
    bounds = (lambda share: (share * 0.9, share * 1.1)) if num_images >= 5 else (lambda share: (None, None))
    parts = [
        {"part": name, "weight": share / 2, "weight_low": None, "weight_high": None, "share": share, "size": 0.125}
        | dict(zip(("share_low", "share_high"), bounds(share), strict=True))
        | {"counts_more_than_its_size": num_images >= 5 and share > 0.5}
        for name, share in shares.items()
    ]
    weights = [shares[p] / 2 for region in FACE_REGIONS for p, regions in PARTS.items() if region in regions]
    return {"true": true, "predicted": predicted, "num_images": num_images, "num_found": num_found} | {
        "weights": weights,
        "parts": parts,
    }


def write_explanations(run_dir: RunDirectory) -> None:
    weights = [0.5, -0.25, 0.0]
    surrogate = {"emotion": "sad", "probability": 0.81, "prediction": 0.79, "r2": 0.97, "weights": weights}
    sure = {
        "held_out_r2": 0.93,
        "top5_overlap": 0.75,
        "rank_correlation": 0.9,
        "weight_correlation": 0.95,
        "deletion": 0.2,
        "insertion": 0.6,
    }
    sure |= {"random_order": 0.4, "gradient_agreement": 0.7, "is_reliable": True, "doubts": []}
    surrogate["evidence"] = sure
    unsure = sure | {"held_out_r2": 0.12, "is_reliable": False, "doubts": ["its R² is <low>", "no seed agrees"]}
    doubtful = surrogate | {"emotion": "happy", "probability": 0.12, "evidence": unsure}
    item = {"kind": "mistake", "position": 5, "image_id": "a", "source": NASTY, "true": "happy", "predicted": "sad"}
    item |= {"region_names": ["mouth", "nose", "background"]}
    segments = np.full((1, 48, 48), 2)
    segments[0, 30:40, 12:36], segments[0, 20:30, 18:30] = 0, 1
    record = {
        "regions": "face",
        "grid": 6,
        "design": "hadamard",
        "kernel_width": 0.25,
        "fill": "mean",
        "samples": 1000,
        "seed": 7,
        "explanations": [item | {"for_predicted": surrogate, "for_true": doubtful, "seconds": 0.5}],
        "shuffled": {"num_faces": 1, "rank_correlation": -0.04, "has_passed": True},
        "notes": ["No test image shows <fear>."],
        "recognised": [mean_map("happy", "happy", "mouth", 50, 120), mean_map("sad", "sad", "cheeks", 4, 4)],
        "confused": [mean_map("happy", "neutral", "chin", 1, 1)],
        "champion_version": 4,
        "champion_recognised": [mean_map("happy", "happy", "eyes", 50, 110)],
        "seconds": 61.0,
    }
    write(run_dir.explanations_json, record)
    np.savez_compressed(
        run_dir.explanation_maps,
        images=np.full((1, 48, 48), 0.5, np.float32),
        segments=segments,
        map_faces=np.full((4, 48, 48), 0.5, np.float32),
    )
    finish(run_dir, "explain_predictions")


def complete_run(run_dir: RunDirectory, *, passed: bool = True, num_bad: int = 2) -> RunDirectory:
    """Went all the way to the gate's verdict; run_dir has its settings."""
    finish(run_dir, "start_run")
    write_ingest(run_dir, num_bad=num_bad)
    write_quality(run_dir, blocking=[])
    finish(run_dir, "check_data_quality")
    write_preprocessing(run_dir)
    write_history(run_dir)
    write_evaluation(run_dir)
    write_gate(run_dir, passed=passed)
    write_explanations(run_dir)
    return run_dir
