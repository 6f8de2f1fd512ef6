"""The settings of a run about training, which RunSettings joins with the others. Standard library only."""

from dataclasses import dataclass, field
from typing import Any

from fer_tasks.presets import PRESETS
from fer_tasks.setting_fields import setting


def _recipe(name: str, title: str, help_text: str, **schema: Any) -> Any:
    """A setting that a preset fills. Its default is the sample's; the form shows it empty, which is `null`."""
    return field(
        default=PRESETS["sample"][name],
        metadata={"section": "Training", "title": title, "help": help_text, "schema": schema, "preset": True},
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The network and how it learns."""

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
        maxLength=4096,
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
        "How far each training target has moved, at the end, from its label to what the network has said of the face "
        "in earlier epochs. 0 trusts every label.",
        minimum=0.0,
        maximum=1.0,
    )
    teachers: str = setting(
        "none",
        "Training",
        "Teachers",
        "Knowledge distillation: trained models of the same network, of any width, whose mean answer to each changed "
        "face is learned beside its label. Run folders or .keras files, `pretrained`, `champion`, separated by commas.",
        minLength=1,
        maxLength=4096,
    )
    teacher_share: float = setting(
        0.8,
        "Training",
        "Teachers' share",
        "Of each training target, where there are teachers; the rest is the label's.",
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
        "Random flip, shift, contrast and erasing of each training image in each epoch, rotation and zoom of half of "
        "them.",
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
        "`auto` takes mixed bfloat16 where the processor or GPU computes in it, float32 elsewhere, and for LIME's "
        "copies 8 bits.",
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
