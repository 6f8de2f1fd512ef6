"""ScoringSettings: what a user may choose for one run of fer_scoring, which lets the champion predict new images.

Light, because the DAG processor imports it at every parse.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from fer_tasks.setting_fields import check_fields, form_of, given_values, setting
from fer_tasks.settings import markdown_table

if TYPE_CHECKING:
    from fer_tasks.scoring_directory import ScoringDirectory

ANY_DRIFT = 10.0


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """Raises SettingsError, naming the field, what came and what is allowed, as RunSettings does."""

    images: str = setting(
        "sample",
        "Images",
        "Images",
        "`sample` draws faces at run time; or the path of an image folder (searched to any depth), a zip of images, or "
        "a CSV with a column `pixels` of 2304 numbers. Each image is the crop of a face.",
        minLength=1,
    )
    incremental: bool = setting(
        True,
        "Images",
        "New images only",
        "Leaves out what this version of the champion has scored before, by path and content. Off: all are scored.",
    )
    sample_images: int = setting(
        140, "Images", "Sample images", "How many faces `sample` draws.", minimum=70, maximum=100_000
    )
    seed: int = setting(7, "Images", "Seed", "Decides the faces that `sample` draws.", minimum=0, maximum=2**31 - 1)
    registered_model: str = setting(
        "fer-classifier",
        "Champion",
        "Registered model",
        "Its champion scores.",
        pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    test_time_augmentation: bool = setting(
        False,
        "Champion",
        "Test-time augmentation",
        "Averages the probabilities over ten views of each face: ten times the work, some tenths of a point more on "
        "FER-2013.",
    )
    precision: str = setting(
        "float32",
        "Champion",
        "Arithmetic",
        "`mixed_bfloat16` is faster where the processor computes in it, and changes the third decimal of a "
        "probability; `auto` takes it there. `int8` is faster on any processor and changes the second one.",
        enum=["float32", "mixed_bfloat16", "auto", "int8"],
    )
    batch_rows: int = setting(
        256,
        "Champion",
        "Images a batch",
        "So many images at once does a worker decode and give to the network.",
        minimum=1,
        maximum=10_000,
    )
    max_refused_share: float = setting(
        0.1,
        "Checks",
        "Largest refused share",
        "Blocks the run when more than this share of the images cannot be scored.",
        minimum=0.0,
        maximum=1.0,
    )
    min_image_side: int = setting(
        8, "Checks", "Smallest image side (pixels)", "An image with a shorter side is refused.", minimum=1, maximum=1024
    )
    max_image_megapixels: int = setting(
        50,
        "Checks",
        "Largest image (megapixels)",
        "A larger image is refused without being decoded.",
        minimum=1,
        maximum=1000,
    )
    min_mean_confidence: float = setting(
        0.0,
        "Checks",
        "Smallest mean confidence",
        "Blocks the run when the champion is less sure on average. 0 asks for none.",
        minimum=0.0,
        maximum=1.0,
    )
    max_training_drift: float = setting(
        ANY_DRIFT,
        "Checks",
        "Largest drift since training",
        "Blocks the run when images or predictions have drifted further, beyond chance, from those of the champion's "
        "run (population stability index; 0.25 is a lot). 10 allows any.",
        minimum=0.0,
        maximum=ANY_DRIFT,
    )
    max_batch_drift: float = setting(
        ANY_DRIFT,
        "Checks",
        "Largest drift since the last batch",
        "The same against the batch that was stored last. 10 allows any.",
        minimum=0.0,
        maximum=ANY_DRIFT,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def is_sample(self) -> bool:
        """The images are drawn at run time."""
        return self.images == "sample"

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Settings from a JSON object. Raises SettingsError for an unknown name, a wrong type or a value out of range.

        An integer may stand for a number; nothing else is converted.
        """
        return cls(**given_values(cls, params))

    def to_params(self) -> dict[str, Any]:
        """The JSON object that `from_params` turns back into these settings."""
        return asdict(self)

    @classmethod
    def form_fields(cls, **defaults: Any) -> dict[str, dict[str, Any]]:
        """What Airflow's trigger form shows; see `form_of`. defaults: in place of those of the fields."""
        return {name: {**spec, "default": defaults.get(name, spec["default"])} for name, spec in form_of(cls).items()}

    @classmethod
    def load(cls, run_dir: "ScoringDirectory") -> Self:
        """What `save` wrote."""
        return cls.from_params(json.loads(run_dir.scoring_settings_json.read_text()))

    def save(self, run_dir: "ScoringDirectory") -> None:
        """Write scoring_settings.json."""
        run_dir.save_json(run_dir.scoring_settings_json, self.to_params())


if __name__ == "__main__":
    print(markdown_table(ScoringSettings.form_fields()))
