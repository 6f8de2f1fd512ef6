"""RunSettings: the one home of every default, bound and form text of a run.

The trigger form, the command line and the README's table are derived from it. Standard library only, because the
DAG processor imports it at every parse.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from fer_tasks.errors import SettingsError
from fer_tasks.presets import PRESETS, preset_for
from fer_tasks.setting_fields import check, form_value, setting

if TYPE_CHECKING:
    from fer_tasks.run_directory import RunDirectory


def _recipe(name: str, title: str, help_text: str, **schema: Any) -> Any:
    """A setting that a preset fills. Its default is the sample's; the form shows it empty, which is `null`."""
    return field(
        default=PRESETS["sample"][name],
        metadata={"section": "Training", "title": title, "help": help_text, "schema": schema, "preset": True},
    )


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything a user may choose for one run.

    Raises SettingsError, naming the field, what came and what is allowed, for a wrong type (`"0.6"` for a number,
    `True` for an integer) or a value out of range.
    """

    dataset: str = setting(
        "sample",
        "Data",
        "Data set",
        "`sample` draws faces at run time; or the path of a fer2013.csv, an icml_face_data.csv, "
        "an image folder (`train/<emotion>/*`, `test/<emotion>/*`) or a zip of one of these.",
        minLength=1,
    )
    dataset_sha256: str | None = setting(
        None,
        "Data",
        "Expected SHA-256",
        "Blocks the run when the data set's fingerprint is another one. `null`, or an empty field: not checked.",
        pattern="^[0-9a-f]{64}$",
    )
    sample_images: int = setting(
        1050, "Data", "Sample images", "How many faces `sample` draws.", minimum=350, maximum=100_000
    )
    validation_share: float = setting(
        0.1,
        "Data",
        "Validation share",
        "Share of the training images set aside for validation where the data set publishes no third split.",
        minimum=0.02,
        maximum=0.5,
    )
    seed: int = setting(7, "Data", "Seed", "Decides every random choice of the run.", minimum=0, maximum=2**31 - 1)
    reuse: bool = setting(
        True,
        "Data",
        "Reuse former results",
        "Up to `preprocess_faces`, a step whose data, settings and code are those of a former run takes over what that "
        "run made of them. Off: every step is computed.",
    )

    max_quarantine_share: float = setting(
        0.02,
        "Data quality",
        "Largest quarantined share",
        "Blocks the run when more than this share of the images is unusable.",
        minimum=0.0,
        maximum=1.0,
    )
    min_images_per_emotion: int = setting(
        50,
        "Data quality",
        "Fewest training images an emotion",
        "Warns below it. An emotion without any training image always blocks.",
        minimum=1,
        maximum=1_000_000,
    )
    min_image_side: int = setting(
        8,
        "Data quality",
        "Smallest image side (pixels)",
        "An image with a shorter side is quarantined.",
        minimum=1,
        maximum=1024,
    )
    max_image_megapixels: int = setting(
        50,
        "Data quality",
        "Largest image (megapixels)",
        "A larger image is quarantined without being decoded.",
        minimum=1,
        maximum=1000,
    )
    drop_leaked: bool = setting(
        True,
        "Data quality",
        "Drop leaked training images",
        "Drops a training image whose pixels also stand in validation or test.",
    )
    drop_duplicates: bool = setting(
        True, "Data quality", "Drop duplicates", "Keeps one of several training images with equal pixels."
    )
    drop_conflicting: bool = setting(
        True,
        "Data quality",
        "Drop conflicting labels",
        "Drops training images with equal pixels and different labels, all of them.",
    )
    data_docs: bool = setting(
        False,
        "Data quality",
        "Great Expectations Data Docs",
        "Also writes GX's own pages beside the report. Viewing them needs a network: they load from CDNs.",
    )

    denoise: str = setting(
        "none",
        "Preprocessing",
        "Noise reduction",
        "Filter applied to every face. At 48x48 most of them cost accuracy.",
        enum=["none", "median", "gaussian", "nlmeans"],
    )
    contrast: str = setting(
        "none",
        "Preprocessing",
        "Contrast",
        "Histogram equalisation of every face, global or adaptive (CLAHE).",
        enum=["none", "equalize", "clahe"],
    )
    balance_emotions: bool = setting(
        False,
        "Preprocessing",
        "Balance emotions in Spark",
        "Adds changed copies (flip, shift, rotation, brightness) of training images of the rarer emotions.",
    )
    max_copies: int = setting(
        4,
        "Preprocessing",
        "Most copies of one image",
        "Upper limit for the copies that balancing adds to one training image.",
        minimum=1,
        maximum=20,
    )

    preset: str = setting(
        "auto",
        "Training",
        "Preset",
        "The recipe: fills every setting of this section that is left empty (`null`). `auto` takes `fine_tuning` with "
        "initial weights, else `sample` for the drawn faces, a matter of seconds, else `fer2013`.",
        enum=["auto", *PRESETS],
    )
    architecture: str = setting(
        "resnet",
        "Training",
        "Network",
        "`resnet`: residual blocks, batch normalisation, global average pooling. `paper_cnn`: the paper's "
        "convolutions, max-pooling and dense layers.",
        enum=["resnet", "paper_cnn"],
    )
    network_width: float = _recipe(
        "network_width",
        "Network width",
        "Factor of the channels of `resnet`; a step of half the width takes about a third of the time. With initial "
        "weights, theirs counts.",
        minimum=0.25,
        maximum=2.0,
    )
    initial_weights: str = setting(
        "none",
        "Training",
        "Initial weights",
        "`none`: from scratch. `pretrained`: those that come with the project. `champion`: of the registered model. "
        "Or the path of a run's folder or a .keras file.",
        minLength=1,
    )
    frozen_stages: int = setting(
        0,
        "Training",
        "Frozen stages",
        "With initial weights: so many stages, from the input on, keep them. 4 trains the last layer only.",
        minimum=0,
        maximum=4,
    )
    epochs: int = _recipe("epochs", "Epochs", "Most passes over the training images.", minimum=1, maximum=1000)
    batch_size: int = _recipe("batch_size", "Batch size", "Images a step.", minimum=2, maximum=4096)
    learning_rate: float = _recipe(
        "learning_rate",
        "Peak learning rate",
        "Of Nesterov SGD; warmed up, then lowered to zero along a cosine.",
        minimum=1e-6,
        maximum=10.0,
    )
    label_smoothing: float = _recipe(
        "label_smoothing", "Label smoothing", "0 gives plain cross-entropy.", minimum=0.0, maximum=0.5
    )
    crop_side: int = _recipe(
        "crop_side",
        "Crop side (pixels)",
        "The network sees so much of a face: another part in every epoch of training, the middle afterwards. 48 is "
        "all of it.",
        minimum=24,
        maximum=48,
    )
    first_crop_side: int = _recipe(
        "first_crop_side",
        "First crop side (pixels)",
        "Training begins with crops of this side and goes up to `crop_side` in steps of 4 pixels; a side above that "
        "means `crop_side` from the beginning.",
        minimum=24,
        maximum=48,
    )
    self_distillation: float = _recipe(
        "self_distillation",
        "Self-distillation",
        "How far each training target has moved, at the end, from its label to what the network said of the face the "
        "last time. 0 trusts every label.",
        minimum=0.0,
        maximum=1.0,
    )
    weight_averaging: float = _recipe(
        "weight_averaging",
        "Weight averaging",
        "The model that is kept is a running average of the weights; this is how much of it a training step leaves. "
        "0 keeps the last weights.",
        minimum=0.0,
        maximum=0.99999,
    )
    augment: bool = setting(
        True,
        "Training",
        "Augment on the fly",
        "Random flip, shift, rotation, zoom, contrast and erasing of each training image in each epoch.",
    )
    augmentation_strength: float = _recipe(
        "augmentation_strength",
        "Augmentation strength",
        "Factor of how far `augment` changes a face: at 1 up to 10 degrees, 8% of the size and 3 pixels, and three "
        "faces in ten have a part erased.",
        minimum=0.0,
        maximum=2.0,
    )
    mixup: float = _recipe(
        "mixup",
        "Mixup",
        "Half of each batch is pairs of faces, blended with their labels by a share from Beta(mixup, mixup). 0 blends "
        "none.",
        minimum=0.0,
        maximum=8.0,
    )
    class_weights: bool = setting(
        False, "Training", "Class weights", "Weighs rare emotions up in the loss, inversely to their number."
    )
    patience: int = _recipe(
        "patience",
        "Patience (epochs)",
        "Stops after so many epochs without a better validation accuracy.",
        minimum=1,
        maximum=1000,
    )
    precision: str = setting(
        "auto",
        "Training",
        "Arithmetic",
        "`auto` takes mixed bfloat16 where the processor or GPU computes in it, float32 elsewhere.",
        enum=["auto", "float32", "mixed_bfloat16"],
    )

    memory_limit_mb: int = setting(
        2048,
        "Training",
        "Memory for training images (MB)",
        "A training set that takes more while it is loaded (11 KB a face) is streamed from disk instead, through a "
        "shuffle buffer of a quarter of this.",
        minimum=1,
        maximum=1_000_000,
    )

    test_time_augmentation: bool = setting(
        True,
        "Evaluation",
        "Test-time augmentation",
        "Averages the probabilities over ten views of each test face (crops, mirrored or not). The report also "
        "shows the accuracy without it.",
    )

    min_accuracy: float = setting(
        0.60,
        "Gate",
        "Minimum test accuracy",
        "A model below it is rejected. Equality passes, here and below.",
        minimum=0.0,
        maximum=1.0,
    )
    min_macro_f1: float = setting(
        0.0,
        "Gate",
        "Minimum macro F1",
        "Of the mean F1 over the emotions, rare ones counting as much as common ones. 0 asks for none.",
        minimum=0.0,
        maximum=1.0,
    )
    min_recall_per_emotion: float = setting(
        0.0,
        "Gate",
        "Minimum recall of each emotion",
        "So large a share of each emotion's test images must be recognised. 0 asks for none.",
        minimum=0.0,
        maximum=1.0,
    )
    max_calibration_error: float = setting(
        1.0,
        "Gate",
        "Largest calibration error",
        "How far the model's confidence may lie from the share of times it is right, on average. 1 allows any.",
        minimum=0.0,
        maximum=1.0,
    )
    must_beat_majority_class: bool = setting(
        True,
        "Gate",
        "Must beat the commonest emotion",
        "The model must be right more often than always saying the commonest emotion.",
    )
    max_regression: float = setting(
        0.01,
        "Gate",
        "Largest regression against the champion",
        "A model is rejected when a paired test on this run's test images finds its accuracy lower than the champion's "
        "by more than this. 1 allows any.",
        minimum=0.0,
        maximum=1.0,
    )
    on_rejection: str = setting(
        "fail",
        "Gate",
        "On rejection",
        "`fail`: the run ends red. `skip`: it ends green without a promotion, and its report says rejected.",
        enum=["fail", "skip"],
    )
    require_approval: bool = setting(
        False,
        "Gate",
        "Ask a person",
        "A model that the gate accepts waits in the Airflow UI for a person's approval. Not with `make run`, which has "
        "nobody to wait for.",
    )
    approval_timeout_hours: int = setting(
        24,
        "Gate",
        "Time to approve (hours)",
        "A model that nobody approved for so long is rejected.",
        minimum=1,
        maximum=720,
    )
    registered_model: str = setting(
        "fer-classifier",
        "Gate",
        "Registered model",
        "Name in the model registry under which an accepted model becomes `champion`.",
        pattern="^[A-Za-z0-9_.-]{1,100}$",
    )

    lime_regions: str = setting(
        "grid",
        "Explanation",
        "LIME regions",
        "What is switched on and off: squares of a `grid`, patches of like brightness (`slic`), or the parts of a "
        "`face` (brows, eyes, nose, cheeks, mouth, chin, forehead, background), which need faces in one place.",
        enum=["grid", "slic", "face"],
    )
    lime_grid: int = setting(
        6,
        "Explanation",
        "LIME regions a side",
        "The face is cut into a grid of so many squares a side; `slic` makes about as many patches.",
        minimum=3,
        maximum=12,
    )
    lime_fill: str = setting(
        "mean",
        "Explanation",
        "LIME fill",
        "What a switched-off region shows: its mean, a blurred face, or black.",
        enum=["mean", "blur", "zero"],
    )
    lime_samples: int = setting(
        256,
        "Explanation",
        "LIME samples",
        "Disturbed copies of an image an explanation. Twice as many again tell how far to trust it.",
        minimum=50,
        maximum=20_000,
    )
    lime_design: str = setting(
        "hadamard",
        "Explanation",
        "LIME sampling",
        "Which regions the copies show: at `random`, as lime does; `antithetic`, each copy followed by its complement; "
        "or `hadamard`, which also balances each two regions.",
        enum=["hadamard", "antithetic", "random"],
    )
    lime_kernel_width: float = setting(
        0.25,
        "Explanation",
        "LIME kernel width",
        "How fast a copy counts less the less it shows, by cosine distance; from 10 on, all count alike.",
        minimum=0.05,
        maximum=100.0,
    )
    lime_map_images: int = setting(
        50,
        "Explanation",
        "Images an emotion for the mean maps",
        "What the model looks at for an emotion is averaged over so many recognised test images of it, and over as "
        "many of its commonest confusion; fewer where there are fewer. 0 makes no such maps.",
        minimum=0,
        maximum=1000,
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            check(spec.name, getattr(self, spec.name), spec.type, spec.metadata["schema"])
        if self.frozen_stages and self.initial_weights == "none":
            raise SettingsError(
                f"Setting 'frozen_stages' is {self.frozen_stages} without initial weights: stages that were never "
                "trained would stay so. Set 'initial_weights' too, or 'frozen_stages' to 0."
            )

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Settings from a JSON object (a trigger's conf, a file); the preset fills what it leaves open.

        An integer may stand for a number; nothing else is converted. Raises SettingsError for an unknown name, a wrong
        type or a value out of range."""
        known = {spec.name: spec for spec in fields(cls)}
        for name in params:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else f" Known settings: {', '.join(known)}."
                raise SettingsError(f"There is no setting {name!r}.{hint}")
        given: dict[str, Any] = {
            name: float(value) if known[name].type is float and type(value) is int else value
            for name, value in params.items()
            if not (value is None and known[name].metadata.get("preset"))
        }
        chosen = cls(**given)  # refuses what is out of bounds, the preset's name too
        return cls(**{**preset_for(chosen.preset, chosen.dataset, chosen.initial_weights), **given})

    def with_preset_of(self, other: "RunSettings") -> "RunSettings":
        """These settings with the recipe that `other`'s preset stands for, whatever `other` changed of it."""
        return replace(self, **preset_for(other.preset, other.dataset, other.initial_weights))

    def to_params(self) -> dict[str, Any]:
        """The JSON object that `from_params` turns back into these settings."""
        return asdict(self)

    def save(self, run_dir: "RunDirectory") -> None:
        """Write settings.json, which `RunDirectory.load_settings` reads."""
        run_dir.save_json(run_dir.settings_json, self.to_params())

    @classmethod
    def form_fields(cls) -> dict[str, dict[str, Any]]:
        """{setting: {default, type, title, description_md, section, bounds...}}, fit for Airflow's `Param(**spec)`."""
        return {
            spec.name: {
                **form_value(spec),
                "title": spec.metadata["title"],
                "description_md": spec.metadata["help"],
                "section": spec.metadata["section"],
                **spec.metadata["schema"],
            }
            for spec in fields(cls)
        }


def markdown_table(form_fields: Mapping[str, Mapping[str, Any]]) -> str:
    """A form's fields as a table of the README; `python -m fer_tasks.settings` prints that of RunSettings."""
    rows = ["| Setting | Default | Allowed | What it does |", "| --- | --- | --- | --- |"]
    section = None
    for name, form in form_fields.items():
        if form["section"] != section:
            section = form["section"]
            rows.append(f"| **{section}** | | | |")
        default = json.dumps(form["default"])
        if name in PRESETS["sample"]:
            default = ", ".join(f"{preset}: {values[name]}" for preset, values in PRESETS.items())
            default = f"`null` ({default})"
        else:
            default = f"`{default}`"
        rows.append(f"| `{name}` | {default} | {_allowed(form)} | {form['description_md']} |")
    return "\n".join(rows)


def _allowed(form: Mapping[str, Any]) -> str:
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    if "minimum" in form:
        return f"{form['minimum']} to {form['maximum']}"
    return "`true`, `false`" if form["type"] == "boolean" else "text"


if __name__ == "__main__":
    print(markdown_table(RunSettings.form_fields()))
