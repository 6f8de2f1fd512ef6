"""The settings of a run about its data, which RunSettings joins with the others. Standard library only."""

from dataclasses import dataclass

from fer_tasks.setting_fields import setting


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which data set, and how it is split."""

    dataset: str = setting(
        "sample",
        "Data",
        "Data set",
        "`sample` draws faces at run time; or the path of a fer2013.csv, an icml_face_data.csv, "
        "an image folder (`train/<emotion>/*`, `test/<emotion>/*`) or a zip of one of these.",
        minLength=1,
        maxLength=4096,
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

    @property
    def is_sample(self) -> bool:
        """The faces are drawn at run time, and photographs beyond what is learned from them."""
        return self.dataset == "sample"


@dataclass(frozen=True, kw_only=True)
class DataQualitySettings:
    """What is refused, quarantined, or left out of training."""

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


@dataclass(frozen=True, kw_only=True)
class PreprocessingSettings:
    """What is done to every face before training."""

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
