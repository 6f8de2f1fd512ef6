"""The records of training, evaluation and explanation turned into sections of the report."""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fer_tasks.emotions import EMOTIONS
from fer_tasks.evaluation import Evaluation
from fer_tasks.explanation import Explanation, Explanations
from fer_tasks.face_regions import region_path
from fer_tasks.report_charts import line_chart, reliability_chart
from fer_tasks.report_map_section import emotion_maps, part_sizes
from fer_tasks.report_page import Cell, EmotionRow, EvaluationSection, TrainingSection
from fer_tasks.report_parts import ExplainedFace, ExplainedPair, ExplanationSection, MapRegion, WeightMap
from fer_tasks.report_pictures import clipped, face_picture
from fer_tasks.report_text import UNKNOWN, decimal, duration, grouped, percent, signed
from fer_tasks.surrogates import Surrogate
from fer_tasks.training_history import History


def evaluation_section(evaluation: Evaluation) -> EvaluationSection:
    f1_scores = [(row.f1, row.emotion) for row in evaluation.per_emotion if row.support and row.f1 is not None]
    told = " Hardest: {1}, with an F1 of {0:.1%}.".format(*min(f1_scores)) if f1_scores else ""
    bins = [
        (b.mean_confidence, b.accuracy, b.num_images)
        for b in evaluation.reliability
        if b.mean_confidence is not None and b.accuracy is not None
    ]
    return EvaluationSection(
        lead=f"On {grouped(evaluation.num_images)} test images that took no part in training or in any choice.{told}",
        figures=(
            ("Accuracy", percent(evaluation.accuracy)),
            *_single_view(evaluation),
            ("Balanced accuracy", percent(evaluation.balanced_accuracy)),
            ("Macro F1", percent(evaluation.macro_f1)),
            ("Among the best two", percent(evaluation.top_2_accuracy)),
            ("Validation accuracy", percent(evaluation.validation_accuracy)),
        ),
        calibration=(
            ("Calibration error (ECE)", percent(evaluation.expected_calibration_error)),
            ("before temperature scaling", percent(evaluation.uncalibrated_error)),
            ("Temperature", decimal(evaluation.temperature)),
            ("Log loss", decimal(evaluation.log_loss)),
        ),
        confusion=tuple(_matrix_row(counts) for counts in evaluation.confusion_matrix),
        emotions=tuple(
            EmotionRow(row.emotion, row.precision, row.recall, row.f1, row.support) for row in evaluation.per_emotion
        ),
        reliability=reliability_chart(bins),
    )


def _single_view(evaluation: Evaluation) -> list[tuple[str, str]]:
    if evaluation.num_views == 1:
        return []
    return [("Without test-time augmentation", percent(evaluation.single_view_accuracy))]


def training_section(history: History) -> TrainingSection:
    epochs = history.epochs
    chart = partial(line_chart, best_epoch=history.best_epoch, resumed_at_epochs=history.resumed_at_epochs)
    speeds = [epoch.images_per_second for epoch in epochs]
    return TrainingSection(
        lead=_training_told(history),
        facts=(
            ("Network", history.architecture),
            ("Parameters", grouped(history.num_parameters)),
            ("Arithmetic", history.precision),
            ("Data", "streamed from disk" if history.is_streamed else "in memory"),
            ("Time", duration(history.seconds)),
            ("Images a second, median", grouped(round(statistics.median(speeds))) if speeds else UNKNOWN),
        ),
        loss=chart("Loss", train=[e.loss for e in epochs], validation=[e.val_loss for e in epochs], as_percent=False),
        accuracy=chart(
            "Accuracy",
            train=[epoch.accuracy for epoch in epochs],
            validation=[epoch.val_accuracy for epoch in epochs],
            as_percent=True,
        ),
    )


def _training_told(history: History) -> str:
    ended = "stopped early" if history.stopped_early else "ran to the end"
    last = history.epochs[-1].epoch if history.epochs else 0
    told = (
        f"The weights of epoch {history.best_epoch} were kept, the best on validation; training {ended} after {last}."
    )
    if history.resumed_at_epochs:
        told += f" It was interrupted and resumed at epoch {', '.join(map(str, history.resumed_at_epochs))}."
    return told


def explanation_section(record: Explanations, faces: Mapping[str, Any]) -> ExplanationSection:
    """faces: the arrays of explanation_maps.npz. Raises KeyError or ValueError where they do not fit the record."""
    explained = {
        (item.true, item.kind): _explained(item, face, segments)
        for item, face, segments in zip(record.explanations, faces["images"], faces["segments"], strict=True)
    }
    cuts = {
        "grid": f"squares of a {record.grid} x {record.grid} grid",
        "slic": "patches of like brightness",
        "face": "parts of the face",
    }
    return ExplanationSection(
        method=f"{grouped(record.samples)} copies of a face with some {cuts[record.regions]} switched off "
        f"(sampling: {record.design}; fill: {record.fill}; seed {record.seed})",
        facts=_explanation_facts(record),
        pairs=tuple(
            ExplainedPair(emotion, explained.get((emotion, "hit")), explained.get((emotion, "mistake")))
            for emotion in EMOTIONS
        ),
        maps=emotion_maps(record, faces["map_faces"]) if record.recognised or record.confused else (),
        part_sizes=part_sizes(record),
        champion_version=record.champion_version,
        notes=record.notes,
    )


def _explanation_facts(record: Explanations) -> tuple[tuple[str, str], ...]:
    """How many of the pictures are reliable, and the check with shuffled weights."""
    shown = [s for item in record.explanations for s in (item.for_predicted, item.for_true) if s is not None]
    if not shown:
        return ()
    reliable = sum(surrogate.evidence.is_reliable for surrogate in shown)
    gradients = statistics.mean(surrogate.evidence.gradient_agreement for surrogate in shown)
    facts = [
        ("Reliable explanations", f"{reliable} of {len(shown)}"),
        ("Agreement with integrated gradients (correlation)", decimal(gradients, 2)),
    ]
    if record.shuffled:
        told = "differs, as it should" if record.shuffled.has_passed else "too alike: these pictures show no learning"
        correlation = decimal(record.shuffled.rank_correlation, 2)
        facts.append(("The network with shuffled weights (rank correlation)", f"{correlation}, {told}"))
    if record.seconds is not None:
        facts.append(("Time of all explanations", duration(record.seconds)))
    return tuple(facts)


def _matrix_row(counts: Sequence[int]) -> tuple[Cell, ...]:
    whole = sum(counts)
    return tuple(Cell(count, count / whole if whole else 0.0) for count in counts)


def _explained(item: Explanation, face: Any, segments: Any) -> ExplainedFace:
    surrogates = [item.for_predicted, *([item.for_true] if item.for_true else [])]
    paths = [region_path(segments, region) for region in range(len(item.region_names))]
    return ExplainedFace(
        kind=item.kind,
        source=clipped(item.source),
        true=item.true,
        predicted=item.predicted,
        picture=face_picture(face),
        maps=tuple(_weight_map(surrogate, paths, item.region_names) for surrogate in surrogates),
        note=_other_answer(item),
    )


def _other_answer(item: Explanation) -> str:
    """Of a mistake of the average over several views that the one explained view does not share."""
    if item.for_true is None or item.for_true.probability <= item.for_predicted.probability:
        return ""
    return f"In this one view {item.true} is likelier than {item.predicted}; the verdict averages several."


def _weight_map(surrogate: Surrogate, paths: Sequence[str], names: Sequence[str]) -> WeightMap:
    strongest = max(map(abs, surrogate.weights), default=0.0) or 1.0
    evidence = surrogate.evidence
    stable = percent(evidence.top5_overlap)
    gain = (evidence.insertion - evidence.deletion) / 2  # strongest regions first rather than last; chance gives 0
    return WeightMap(
        emotion=surrogate.emotion,
        probability=surrogate.probability,
        prediction=surrogate.prediction,
        evidence=f"R² {decimal(evidence.held_out_r2, 2)}, stable {stable}, order {signed(gain)}",
        doubts=evidence.doubts,
        regions=tuple(
            MapRegion(path, name, weight, abs(weight) / strongest)
            for path, name, weight in zip(paths, names, surrogate.weights, strict=True)
        ),
    )
