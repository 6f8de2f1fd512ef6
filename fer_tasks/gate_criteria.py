"""The criteria of the gate: each turns what was measured and what was asked into one line of the verdict. All pure."""

import math
from dataclasses import dataclass
from typing import Literal

from fer_tasks.champion_comparison import ChampionComparison
from fer_tasks.evaluation import EmotionScore, Evaluation
from fer_tasks.intervals import macro_f1_interval, wilson_interval
from fer_tasks.paired_test import PairedTest
from fer_tasks.report_text import points, signed_points
from fer_tasks.serving_check import MAX_DEVIATION, ServingCheck
from fer_tasks.settings import RunSettings

_SIGNIFICANT_P = 0.05


@dataclass(frozen=True)
class Criterion:
    """One line of the gate's verdict.

    metric      `accuracy`, `macro_f1`, `lowest_recall`, `calibration_error`, `majority_class`, `champion`, `serving`
    value       a share in [0, 1]; for `champion` a difference of shares, for `serving` one of probabilities. None where
                nothing could be measured
    low, high   95% interval of the value; None where there is none. It is said; only for `champion` does it decide
    bound       how the value must stand to the threshold
    threshold   None where nothing is asked
    reason      a sentence or two for people
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    bound: Literal["at least", "at most", "above"]
    threshold: float | None
    passed: bool
    reason: str


def judge_accuracy(measured: Evaluation, settings: RunSettings) -> Criterion:
    """Reaches min_accuracy; equality passes, NaN never does."""
    interval = (measured.accuracy_low, measured.accuracy_high)
    return _at_least("accuracy", "test accuracy", measured.accuracy, interval, settings.min_accuracy)


def judge_macro_f1(measured: Evaluation, settings: RunSettings) -> Criterion:
    """Reaches min_macro_f1, 0 asking for nothing; equality passes, NaN never does."""
    interval = macro_f1_interval(measured.confusion_matrix)
    return _at_least("macro_f1", "macro F1", measured.macro_f1, interval, settings.min_macro_f1 or None)


def judge_lowest_recall(measured: Evaluation, settings: RunSettings) -> Criterion:
    """The emotion that is recognised least reaches min_recall_per_emotion, 0 asking for nothing; equality passes.

    Where something is asked, an emotion without test images fails: nobody knows its recall.
    """
    asked = settings.min_recall_per_emotion or None
    unknown = [score.emotion for score in measured.per_emotion if score.recall is None]
    if asked is not None and unknown:
        reason = (
            f"A recall of {asked:.1%} is asked of each emotion, and no test image shows {', '.join(unknown)}: nobody "
            "knows its recall."
        )
        return Criterion("lowest_recall", None, None, None, "at least", asked, False, reason)
    lowest = min((score for score in measured.per_emotion if score.recall is not None), key=_recall)
    interval = wilson_interval(round(_recall(lowest) * lowest.support), lowest.support)
    return _at_least("lowest_recall", f"lowest recall, that of {lowest.emotion},", _recall(lowest), interval, asked)


def judge_calibration(measured: Evaluation, settings: RunSettings) -> Criterion:
    """Does not exceed max_calibration_error, 1 asking for nothing; equality passes, NaN never does."""
    error, most = measured.expected_calibration_error, settings.max_calibration_error
    asked = most if most < 1 else None
    passed = error <= 1 if asked is None else error <= asked
    if math.isnan(error):
        reason = "The calibration error is not a number."
    elif asked is None:
        reason = f"The calibration error is {error:.1%}; any is allowed."
    else:
        got, limit = _told_apart(error, asked)
        reason = f"The calibration error of {got} {'is within' if passed else 'exceeds'} the allowed {limit}."
    return Criterion("calibration_error", error, None, None, "at most", asked, passed, reason)


def judge_majority_class(measured: Evaluation, settings: RunSettings) -> Criterion:
    """Above the accuracy of always saying the commonest emotion, if must_beat_majority_class.

    Equality fails here: a model that always says the commonest emotion has just that accuracy.
    """
    accuracy, constant = measured.accuracy, measured.majority_class_accuracy
    asked = constant if settings.must_beat_majority_class else None
    passed = accuracy > constant if settings.must_beat_majority_class else not math.isnan(accuracy)
    got, other = _told_apart(accuracy, constant)
    verb = "is above" if accuracy > constant else "is not above"
    reason = f"The test accuracy of {got} {verb} the {other} of always saying the commonest emotion."
    if asked is None:
        reason += " It need not be."
    interval = (measured.accuracy_low, measured.accuracy_high)
    return Criterion("majority_class", accuracy, *interval, "above", asked, passed, reason)


def is_worse(paired: PairedTest, max_regression: float) -> bool:
    """Whether the paired test finds the challenger worse than the champion by more than max_regression.

    It does when both hold:
    1. The 95% interval of the difference in accuracy lies below -max_regression as a whole. This asks about the
       allowed regression itself, and not whether the two differ at all: with enough images even a harmless difference
       is significant. A model that is worse by just what is allowed is rejected in about 2.5% of the runs.
    2. McNemar's exact test has p < 0.05. It keeps the first in check where few images tell the models apart, as the
       bootstrap's intervals are then too short: on four images, all lost, its interval leaves out 0, while one in
       eight pairs of equally good models is split so (p = 0.125).
    The burden of proof is on rejection: chance alone must not keep a model out, so a test set that is too small to show
    a regression lets it pass, and the interval beside the verdict says how large it may be. max_regression 0 rejects a
    model that is significantly worse.

    Source: Dietterich 1998, "Approximate Statistical Tests for Comparing Supervised Classification Learning
    Algorithms", for McNemar's; Efron and Tibshirani 1993, chapter 13, for the interval.
    """
    return paired.difference_high < -max_regression and paired.mcnemar_p < _SIGNIFICANT_P


def judge_champion(comparison: ChampionComparison, settings: RunSettings) -> Criterion:
    """Not worse than the champion by more than max_regression, 1 asking for nothing; see `is_worse`.

    Passes where there is no champion. One that cannot be compared rejects, since replacing it may break whoever uses
    it: another registered_model, or a max_regression of 1, is the way on.
    """
    asked = settings.max_regression
    threshold, name = (None if asked == 1 else 0.0 - asked), f"The champion, version {comparison.version},"
    notes = "".join(f" {note}" for note in comparison.notes)
    if comparison.outcome == "no champion":
        reason = f"There is no champion of {comparison.registered_model!r} yet to compare with."
        return Criterion("champion", None, None, None, "at least", threshold, True, reason)
    paired = comparison.paired
    if paired is None:
        reason = f"{name} cannot be compared.{notes}"
        if threshold is not None:
            reason += " Choose another registered_model, or set max_regression to 1 to replace it without a comparison."
        return Criterion("champion", None, None, None, "at least", threshold, threshold is None, reason)
    worse = is_worse(paired, asked)
    reason = (
        f"{name} has {paired.champion_accuracy:.1%} on the same images, a difference of "
        f"{points(paired.difference)} (95% interval {signed_points(paired.difference_low)} to "
        f"{signed_points(paired.difference_high)}, McNemar "
        f"p {_probability(paired.mcnemar_p)}): {'worse' if worse else 'not found worse'} than the allowed "
        f"{signed_points(0.0 - asked)}.{notes}"
    )
    interval = (paired.difference_low, paired.difference_high)
    return Criterion("champion", paired.difference, *interval, "at least", threshold, not worse, reason)


def judge_serving(check: ServingCheck) -> Criterion:
    """A fresh process gave the golden predictions, to MAX_DEVIATION; NaN and no answer never pass."""
    served = check.served
    if served is None or served.deviation is None:
        reason = f"The saved model did not serve. {check.problem or 'Its predictions are not numbers.'}"
        return Criterion("serving", None, None, None, "at most", MAX_DEVIATION, False, reason)
    passed = served.deviation <= MAX_DEVIATION
    reason = (
        f"A fresh process {'repeats' if passed else 'does not repeat'} the predictions (largest difference "
        f"{served.deviation:.2g}). One face takes {served.p50_milliseconds:.1f} ms (99th percentile "
        f"{served.p99_milliseconds:.1f} ms), batches go at {served.images_per_second:,.0f} images a second, the file "
        f"has {check.file_bytes / 1e6:.1f} MB."
    )
    return Criterion("serving", served.deviation, None, None, "at most", MAX_DEVIATION, passed, reason)


def _at_least(metric: str, name: str, value: float, interval: tuple[float, float], asked: float | None) -> Criterion:
    least = 0.0 if asked is None else asked
    passed, digits = value >= least, _digits_that_tell_apart(value, least)
    got, low, high, minimum = (f"{share:.{digits}%}" for share in (value, *interval, least))
    if math.isnan(value):
        reason = f"The {name} is not a number, so it cannot reach the minimum of {minimum}."
    elif asked is None:
        reason = (
            f"The {name} is {value:.1%} (95% interval {interval[0]:.1%} to {interval[1]:.1%}); no minimum is asked."
        )
    else:
        verb = "reaches" if passed else "is below"
        reason = f"The {name} of {got} (95% interval {low} to {high}) {verb} the minimum of {minimum}."
    return Criterion(metric, value, *interval, "at least", asked, passed, reason)


def _recall(score: EmotionScore) -> float:
    return 0.0 if score.recall is None else score.recall


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _told_apart(one: float, other: float) -> tuple[str, str]:
    """Both as percentages."""
    digits = _digits_that_tell_apart(one, other)
    return f"{one:.{digits}%}", f"{other:.{digits}%}"


def _digits_that_tell_apart(one: float, other: float) -> int:
    """Fewest decimals of a percentage, at least 1, with which two different shares do not look alike."""
    for digits in range(1, 16):
        if one == other or f"{one:.{digits}%}" != f"{other:.{digits}%}":
            return digits
    return 16
