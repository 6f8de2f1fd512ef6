"""ModelCard: what the weights in fer_tasks/pretrained are, how they came about and how far they can be trusted."""

from dataclasses import dataclass
from typing import Any

from fer_tasks.model_card import SplitMetrics

LIMITS = (
    "Trained on FER-2013 alone: 48x48 gray crops of faces from web searches, with labels that people often disagree "
    "with: they reached 65 +- 5 % on them (Goodfellow et al. 2013, arXiv:1307.0414).",
    "On other cameras, crops, ages or groups of people than the web's, expect it to be worse; nothing here measures "
    "by how much. A webcam's face must be found, cropped and turned upright first.",
    "It names the emotion that a face shows to a viewer, not what somebody feels. It is not fit for decisions about "
    "people.",
    "`disgust` has 1.5 % of the images and `fear` is often taken for surprise or sadness: see recall by emotion in the "
    "report before relying on either.",
)

PROTOCOL = (
    "Weights, temperature and everything that was chosen saw only the training faces and, for choices, validation; the "
    "last epoch's weights were taken, not the best one's. Training faces that also stand in validation or test were "
    "dropped. The test faces were never on the machine that trained; they were read once, after the weights were final."
)


@dataclass(frozen=True)
class TeacherRecord:
    """One teacher of the ensemble. Accuracies are on validation."""

    name: str
    network: str
    num_parameters: int
    seed: int
    epochs: int
    single_view_accuracy: float
    ten_view_accuracy: float


@dataclass(frozen=True)
class ModelCard:
    """recipe: a pretraining.recipe.Recipe as JSON object. data_sha256: of the pixels and labels trained on.
    roles: {published usage: split}; validation_is_carved out of the published training faces.

    cut_after_epoch     None for a training that ended with its schedule
    ensemble_*          of the teachers' soft vote on validation; None without teachers
    largest_difference  between probabilities of the check faces on JAX, where it was trained, and on TensorFlow
    test                None until pretraining.evaluate has read the test faces
    """

    architecture: str
    crop_side: int
    num_parameters: int
    seed: int
    recipe: dict[str, Any]
    cut_after_epoch: int | None
    teachers: tuple[TeacherRecord, ...]
    ensemble_single_view_accuracy: float | None
    ensemble_ten_view_accuracy: float | None
    data_sha256: str
    num_train_images: int
    roles: dict[str, str]
    validation_is_carved: bool
    temperature: float
    largest_difference: float
    validation: SplitMetrics
    test: SplitMetrics | None = None
    protocol: str = PROTOCOL
    limits: tuple[str, ...] = LIMITS
