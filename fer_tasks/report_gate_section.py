"""The gate's record, turned into the report's criteria and its scale of accuracy."""

from collections.abc import Callable
from typing import Literal

from fer_tasks.accuracy_gate import GateDecision
from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.evaluation import Evaluation
from fer_tasks.gate_criteria import Criterion
from fer_tasks.report_page import CriterionLine, ScaleRow
from fer_tasks.report_text import UNKNOWN, percent, points

# 65 ± 5%: Goodfellow et al. 2013, arXiv:1307.0414.
_HUMAN = ScaleRow("People on FER-2013, 65 ± 5%", 0.65, 0.60, 0.70, "reference")
_PAPER = ScaleRow("The paper's network on FER-2013", 0.69, None, None, "reference")

_CHAMPION = "Champion on the same images"

_TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "lowest_recall": "Lowest recall",
    "calibration_error": "Calibration error",
    "majority_class": "Against the commonest emotion",
    "champion": "Against the champion",
    "serving": "Serving check",
}


def criterion_lines(decision: GateDecision) -> tuple[CriterionLine, ...]:
    """Every criterion, in the gate's order."""
    return tuple(_criterion(criterion) for criterion in decision.criteria)


def accuracy_scale(
    decision: GateDecision,
    evaluation: Evaluation | None,
    comparison: ChampionComparison | None,
    *,
    is_sample: bool,
) -> tuple[ScaleRow, ...]:
    """The model, the threshold, the champion and the reference values; those of FER-2013 stay away from drawn faces."""
    judged = next((line for line in decision.criteria if line.metric == "accuracy"), None)
    if judged is None or judged.value is None or judged.threshold is None:
        return ()
    paired = comparison.paired if comparison else None
    majority = evaluation.majority_class_accuracy if evaluation else None
    return (
        ScaleRow("This model", judged.value, judged.low, judged.high, "model"),
        ScaleRow("Threshold", judged.threshold, None, None, "threshold"),
        *(() if paired is None else (ScaleRow(_CHAMPION, paired.champion_accuracy, None, None, "reference"),)),
        *(() if majority is None else (ScaleRow("Always the commonest emotion", majority, None, None, "reference"),)),
        *(() if is_sample else (_HUMAN, _PAPER)),
    )


def _criterion(criterion: Criterion) -> CriterionLine:
    written: dict[str, Callable[[float], str]] = {"champion": points, "serving": "{:.1g}".format}
    write = written.get(criterion.metric, percent)
    interval = (
        UNKNOWN
        if criterion.low is None or criterion.high is None
        else f"{write(criterion.low)} to {write(criterion.high)}"
    )
    return CriterionLine(
        title=_TITLES.get(criterion.metric, criterion.metric),
        verdict=_verdict(criterion),
        value=UNKNOWN if criterion.value is None else write(criterion.value),
        interval=interval,
        asked=UNKNOWN if criterion.threshold is None else f"{criterion.bound} {write(criterion.threshold)}",
        reason=criterion.reason,
    )


def _verdict(criterion: Criterion) -> Literal["passed", "failed", "not asked"]:
    if not criterion.passed:
        return "failed"
    return "not asked" if criterion.threshold is None else "passed"
