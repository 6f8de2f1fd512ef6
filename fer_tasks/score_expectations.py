"""The suite that Great Expectations checks a run's scores against: what makes them wrong, and what is asked of them."""

from functools import partial
from typing import Any

from fer_tasks.emotions import EMOTIONS
from fer_tasks.scoring_settings import ANY_DRIFT, ScoringSettings

SUITE_NAME = "fer_scores"

SUM_TOLERANCE = 1e-4
"""Seven float32 probabilities add up to 1 within about 1e-6; averages of ten views are as good."""


def score_expectations(settings: ScoringSettings) -> list[Any]:
    """The suite's expectations over `score_table`; each blocks, with its name in `meta` and a description in words."""
    return [*_whole_batch(settings), *_single_scores(), *_drift(settings)]


def _blocks(kind: Any, name: str, description: str, **arguments: Any) -> Any:
    return kind(severity="critical", meta={"name": name}, description=description, **arguments)


def _whole_batch(settings: ScoringSettings) -> list[Any]:
    from great_expectations import expectations as gxe

    share = settings.max_refused_share
    wanted = [
        _blocks(
            gxe.ExpectColumnValuesToBeInSet,
            "counts_add_up",
            "Every planned image, and no other, was scored or refused, once.",
            column="times_answered",
            value_set=[1],
        ),
        _blocks(
            gxe.ExpectColumnValuesToBeInSet,
            "refused_share",
            f"At most {share:.2%} of the images are refused (setting max_refused_share).",
            column="is_refused",
            value_set=[False],
            mostly=round(1 - share, 12),
        ),
    ]
    if least := settings.min_mean_confidence:
        text = f"The champion's mean confidence is {least:.1%} or more (setting min_mean_confidence)."
        mean = gxe.ExpectColumnMeanToBeBetween
        wanted.append(_blocks(mean, "mean_confidence", text, column="confidence", min_value=least))
    return wanted


def _single_scores() -> list[Any]:
    from great_expectations import expectations as gxe

    is_in, never = gxe.ExpectColumnValuesToBeInSet, {"value_set": [False]}
    between = partial(_blocks, gxe.ExpectColumnValuesToBeBetween)
    known = f"Every emotion is one of {', '.join(EMOTIONS)}."
    return [
        _blocks(is_in, "nothing_missing", "No score lacks a value.", column="lacks_a_value", **never),
        _blocks(is_in, "emotion_known", known, column="emotion", value_set=list(EMOTIONS)),
        between("probability_least", "No probability is below 0.", column="least_probability", min_value=0),
        between("probability_most", "No probability is above 1.", column="most_probability", max_value=1),
        between(
            "probability_sum",
            f"The seven probabilities of an image add up to 1, within {SUM_TOLERANCE:g}.",
            column="probability_sum",
            min_value=1 - SUM_TOLERANCE,
            max_value=1 + SUM_TOLERANCE,
        ),
        _blocks(
            is_in,
            "emotion_is_likeliest",
            "The emotion is the likeliest one, and the confidence its probability.",
            column="contradicts_itself",
            **never,
        ),
    ]


def _drift(settings: ScoringSettings) -> list[Any]:
    from great_expectations import expectations as gxe

    most = partial(_blocks, gxe.ExpectColumnMaxToBeBetween)
    wanted = []
    for since, what in (("training", "since the champion's run"), ("batch", "since the last batch")):
        limit = getattr(settings, f"max_{since}_drift")
        if limit < ANY_DRIFT:
            column = f"{since}_drift"
            text = f"Nothing has drifted {what} by more than {limit:g} beyond chance (setting max_{since}_drift)."
            wanted.append(most(column, text, column=column, max_value=limit))
    return wanted
