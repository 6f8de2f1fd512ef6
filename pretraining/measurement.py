"""Metrics of a calibrated model, from the pipeline's own evaluation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.evaluation import evaluate
from fer_tasks.views import predict_views
from pretraining.model_card import Metrics


def measure(model: Any, pixels: NDArray[np.float32], labels: NDArray[np.int32]) -> Metrics:
    """pixels: float32 (n, 48, 48, 1) in [0, 1]. labels: int (n,). Raises DatasetError if n == 0."""
    views = predict_views(model, pixels, tta=True)
    measured = evaluate(labels, views, temperature=1.0, validation_accuracy=0.0, images_per_second=0.0)
    return Metrics(
        num_images=measured.num_images,
        single_view_accuracy=measured.single_view_accuracy,
        ten_view_accuracy=measured.accuracy,
        ten_view_accuracy_low=measured.accuracy_low,
        ten_view_accuracy_high=measured.accuracy_high,
        macro_f1=measured.macro_f1,
        log_loss=measured.log_loss,
        expected_calibration_error=measured.expected_calibration_error,
    )
