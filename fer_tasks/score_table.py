"""The table that check_scores judges: one row an image of the plan, with what the champion said of it."""

from typing import Any

import numpy as np
import pandas as pd

from fer_tasks.data_profile import MEASURES
from fer_tasks.emotions import EMOTIONS, PROBABILITIES

_CONFIDENCE_TOLERANCE = 1e-6


def score_table(planned: pd.DataFrame, scores: pd.DataFrame, refused: pd.DataFrame) -> pd.DataFrame:
    """Columns of a planned image, also of one that was answered unasked, or twice and so has several rows:

    times_answered      how often it was scored or refused; 0 for what was not planned
    is_refused
    emotion, confidence, least_probability, most_probability, probability_sum      null for a refused one
    lacks_a_value, contradicts_itself      of a score; null for a refused one
    """
    paths = pd.concat([planned["path"], scores["path"], refused["path"]]).drop_duplicates()
    answers = pd.concat([scores["path"], refused["path"]]).value_counts()
    table = pd.DataFrame({"path": paths})
    is_planned = paths.isin(planned["path"]).to_numpy(bool)
    table["times_answered"] = np.where(is_planned, paths.map(answers).fillna(0).to_numpy(np.int64), 0)
    table["is_refused"] = paths.isin(refused["path"]).to_numpy(bool)
    return table.merge(_judged(scores), how="left", on="path")


def _judged(scores: pd.DataFrame) -> pd.DataFrame:
    probabilities = scores[list(PROBABILITIES)].to_numpy(np.float64)
    confidence = scores["confidence"].to_numpy(np.float64)
    likeliest = np.array(EMOTIONS, object)[probabilities.argmax(axis=1)] if len(scores) else np.empty(0, object)
    least, most = (_extreme(probabilities, of) for of in (np.min, np.max))
    contradicts = (likeliest != scores["emotion"].to_numpy(object)) | ~(
        np.abs(confidence - most) <= _CONFIDENCE_TOLERANCE
    )
    needed = ["image_id", "emotion", "confidence", *PROBABILITIES, *MEASURES]
    return pd.DataFrame(
        {
            "path": scores["path"],
            "emotion": scores["emotion"],
            "confidence": confidence,
            "least_probability": least,
            "most_probability": most,
            "probability_sum": probabilities.sum(axis=1),
            "lacks_a_value": scores[needed].isna().any(axis=1).to_numpy(bool),
            "contradicts_itself": contradicts,
        }
    )


def _extreme(values: Any, of: Any) -> Any:
    return of(values, axis=1) if len(values) else np.empty(0)
