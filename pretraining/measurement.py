"""Metrics of a calibrated model, from the pipeline's own evaluation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.evaluation import evaluate
from fer_tasks.model_card import SplitMetrics
from fer_tasks.views import predict_views


def measure(model: Any, pixels: NDArray[np.float32], labels: NDArray[np.int32], *, split: str) -> SplitMetrics:
    """pixels: float32 (n, 48, 48, 1) in [0, 1]. labels: int (n,). Raises DatasetError if n == 0."""
    views = predict_views(model, pixels, tta=True)
    measured = evaluate(labels, views, temperature=1.0, validation_accuracy=0.0, images_per_second=0.0)
    return SplitMetrics.of(measured, split)
