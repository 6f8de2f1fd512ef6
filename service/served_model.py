"""A model ready to answer: the champion, or the weights that come with the project, loaded and warmed up."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tasks.champion_comparison import note_on_training, recorded_emotions, recorded_settings
from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE, NUM_EMOTIONS
from fer_tasks.errors import RegistryError
from fer_tasks.explain import explain_face
from fer_tasks.explained_network import ExplainedNetwork, network_to_explain
from fer_tasks.initial_weights import PRETRAINED
from fer_tasks.model import predict_probabilities
from fer_tasks.predict import load_model_folder
from fer_tasks.registry import Champion
from fer_tasks.settings import RunSettings
from service.answers import ModelDescription, ModelTag

Classify = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""float32 (n, 48, 48, 1) in [0, 1] -> float32 (n, 7), rows sum to 1, columns in EMOTIONS order; n > 0; any thread."""

METRICS = (
    "num_images", "accuracy", "accuracy_low", "accuracy_high", "single_view_accuracy", "macro_f1", "log_loss",
    "expected_calibration_error",
)  # fmt: skip
_WARM_UP_FACES = (1, 2, 3, 16)


@dataclass(frozen=True)
class ServedModel:
    """settings: of the run that trained it, by which faces are prepared. network: what explanations ask."""

    description: ModelDescription
    settings: RunSettings
    classify: Classify
    network: ExplainedNetwork

    @property
    def tag(self) -> ModelTag:
        return ModelTag(**{name: getattr(self.description, name) for name in ModelTag.model_fields})


def classifier(model: Any) -> Classify:
    """The runtime that answers: here a Keras model is exchanged for another one, and nowhere else."""
    return lambda faces: predict_probabilities(model, faces)


def load_champion(champion: Champion) -> ServedModel:
    """Raises RegistryError or TrainingError where it cannot serve."""
    records = champion.load_records()
    if (emotions := recorded_emotions(records)) != EMOTIONS:
        raise RegistryError(f"The champion's classes are {', '.join(emotions)}; expected {', '.join(EMOTIONS)}.")
    settings = recorded_settings(records)
    last = champion.history[-1] if champion.history else None
    description = ModelDescription(
        source="champion",
        name=champion.registered_model,
        version=champion.version,
        sha256=champion.model_sha256,
        metrics=_metrics(records.get("evaluation", {})),
        run_folder=champion.run_folder,
        promoted_at=last.at if last and last.version == champion.version else None,
        serving_since=_now(),
        note=note_on_training(settings),
        problem="",
    )
    return _warm(champion.load_model(), settings or RunSettings(), description)


def load_pretrained(name: str) -> ServedModel:
    """name: of the registered model that has no champion."""
    model, settings = load_model_folder(PRETRAINED)
    card = json.loads((PRETRAINED / "model_card.json").read_text())
    description = ModelDescription(
        source="pretrained",
        name=name,
        version=None,
        sha256=card["model_sha256"],
        metrics=_metrics(card["test"]),
        run_folder=None,
        promoted_at=None,
        serving_since=_now(),
        note=f"The registry has no champion of {name!r}; the weights that come with the project serve until it has.",
        problem="",
    )
    return _warm(model, settings, description)


def _warm(model: Any, settings: RunSettings, description: ModelDescription) -> ServedModel:
    """Everything that is compiled at its first use is used once, for predictions and for an explanation.

    Raises RegistryError for a model of another shape, or whose answers are no probabilities.
    """
    expected = ((None, IMAGE_SIDE, IMAGE_SIDE, 1), (None, NUM_EMOTIONS))
    if (model.input_shape, model.output_shape) != expected:
        raise RegistryError(f"The model takes {model.input_shape} and gives {model.output_shape}; expected {expected}.")
    classify = classifier(model)
    random = np.random.default_rng(0)
    for count in _WARM_UP_FACES:
        answers = classify(random.random((count, IMAGE_SIDE, IMAGE_SIDE, 1), dtype=np.float32))
        if answers.shape != (count, NUM_EMOTIONS) or not np.allclose(answers.sum(axis=1), 1, atol=1e-3):
            raise RegistryError(f"The model's answers are no probabilities: {answers[0].tolist()}.")
    network = network_to_explain(model, settings.precision)
    explain_face(random.random((IMAGE_SIDE, IMAGE_SIDE), dtype=np.float32), network, settings)
    return ServedModel(description, settings, classify, network)


def _metrics(measured: Mapping[str, Any]) -> dict[str, float]:
    return {name: measured[name] for name in METRICS if name in measured}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
