"""The model card of the report: what the model is, what it is for, and what it must not be taken for.

After Mitchell et al. 2019, "Model Cards for Model Reporting", https://arxiv.org/abs/1810.03993.
"""

from fer_tasks.emotions import EMOTIONS, IMAGE_SIDE
from fer_tasks.evaluation import Evaluation
from fer_tasks.preprocessing import Preprocessing
from fer_tasks.report_parts import ModelCard
from fer_tasks.report_text import UNKNOWN, grouped, percent
from fer_tasks.settings import RunSettings
from fer_tasks.slices import SlicedAccuracy
from fer_tasks.training_history import History

_DRAWN = (
    "Drawn faces",
    "It was trained and tested on faces that the program draws. It knows nothing of real ones; a model that shall be "
    "used is trained on another data set.",
)
_NOISE = (
    "Label noise",
    "FER-2013 was labelled by few people from web pictures, and others agree with its labels about 65 ± 5 times in 100 "
    "(Goodfellow et al. 2013). Beyond that, a higher accuracy means labels better guessed, not emotions better known. "
    "Other data sets have noise of their own; nobody has measured it here.",
)
_FEELING = (
    "Not a feeling",
    "It names the expression that a labeller would name. A face shows neither what somebody feels nor why, and people "
    "and cultures differ in what they show (Barrett et al. 2019).",
)
_PEOPLE = (
    "Not measured",
    "Accuracy by age, sex or skin colour: the data do not tell them. It may be far lower for people whom the data "
    "hardly show, and for other cameras, crops and poses.",
)
_LAW = (
    "Law",
    "In the European Union, inferring the emotions of people at work and in education has been prohibited since "
    "2 February 2025, except for medical or safety reasons (AI Act, Regulation (EU) 2024/1689, Article 5(1)(f)). "
    "Emotion recognition elsewhere is high-risk (Annex III, 1(c)), and the people concerned have to be told "
    "(Article 50(3)).",
)


def model_card(
    *,
    is_sample: bool,
    settings: RunSettings | None,
    history: History | None,
    preprocessing: Preprocessing | None,
    evaluation: Evaluation | None,
    sliced: SlicedAccuracy | None,
) -> ModelCard:
    """What a record that is None would tell is left open."""
    faces = preprocessing.faces_per_split if preprocessing else {}
    network = f"{history.architecture}, {grouped(history.num_parameters)} parameters" if history else UNKNOWN
    views = f", averaged over {evaluation.num_views} views" if evaluation and evaluation.num_views > 1 else ""
    reached = UNKNOWN
    if evaluation:
        interval = f"{percent(evaluation.accuracy_low)} to {percent(evaluation.accuracy_high)}"
        reached = f"{percent(evaluation.accuracy)} of {grouped(evaluation.num_images)} test images ({interval}){views}"
    return ModelCard(
        facts=(
            ("Takes", f"one face, {IMAGE_SIDE} x {IMAGE_SIDE} grey levels, cut out tightly"),
            ("Gives", f"probabilities of {', '.join(EMOTIONS)}"),
            ("Network", network),
            ("Trained on", f"{grouped(faces['train'])} faces" if "train" in faces else UNKNOWN),
            ("Chosen on", f"{grouped(faces['validation'])} others" if "validation" in faces else UNKNOWN),
            ("Reaches", reached),
            ("Faces prepared with", _filters(settings)),
            ("Meant for", "research on this task, and for trying the pipeline out"),
        ),
        limits=(*_weak_spots(sliced), _DRAWN if is_sample else _NOISE, _FEELING, _PEOPLE, _LAW),
    )


def _filters(settings: RunSettings | None) -> str:
    return UNKNOWN if settings is None else f"denoise {settings.denoise}, contrast {settings.contrast}"


def _weak_spots(sliced: SlicedAccuracy | None) -> tuple[tuple[str, str], ...]:
    parts = [(part, cut.by) for cut in (sliced.slicings if sliced else ()) for part in cut.slices if part.is_worse]
    if not parts:
        return ()
    told = "; ".join(f"{part.name} ({by}), {percent(part.accuracy)}" for part, by in parts)
    return (("Weak spots", f"Found worse than on the other test images: {told}."),)
