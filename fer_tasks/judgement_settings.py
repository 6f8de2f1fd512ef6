"""The settings of a run about judging its model and about former runs, which RunSettings joins with the others.

Standard library only.
"""

from dataclasses import dataclass

from fer_tasks.setting_fields import setting


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How the model is measured."""

    test_time_augmentation: bool = setting(
        True,
        "Evaluation",
        "Test-time augmentation",
        "Averages the probabilities over ten views of each test face (crops, mirrored or not). The report also "
        "shows the accuracy without it.",
    )


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """When a model is good enough, who decides, and where it goes."""

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


@dataclass(frozen=True, kw_only=True)
class ExplanationSettings:
    """How predictions are explained."""

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
        "or `hadamard`, which balances each two regions and keeps apart what neighbours do together.",
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


@dataclass(frozen=True, kw_only=True)
class RetentionSettings:
    """What stays of former runs."""

    keep_runs: int = setting(
        0,
        "Housekeeping",
        "Runs to keep",
        "At its end, the run deletes the oldest ended ones, down to so many in all, but none whose model was ever "
        "promoted. 0 deletes none.",
        minimum=0,
        maximum=1_000_000,
    )
