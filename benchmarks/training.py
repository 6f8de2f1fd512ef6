"""Training speed: our training step against a plain float32 `model.fit` of the same network, and against the machine.

    python benchmarks/training.py [--rounds 3] [--faces 2048] [--with '{"network_width": 1}']

Each figure is the median over rounds of alternating processes, one a variant, so that a busy minute hits all of them.
The peak is the better one of a float32 and, where it is computed in hardware, a bfloat16 matrix product. Computing a
step's floating-point operations: twice the multiplications of all convolutions and dense layers, times three for the
forward and the two backward passes.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path[0] = str(PROJECT)  # instead of this folder, whose lime.py would stand for the package

from fer_tasks.dataset import Faces  # noqa: E402
from fer_tasks.model import build_crop_model, build_model, choose_precision, import_keras  # noqa: E402
from fer_tasks.settings import RunSettings  # noqa: E402

WHOLE = {"crop_side": 48, "first_crop_side": 48}
PLAIN, SAME, RECIPE = "plain float32 model.fit", "our step, same image size", "our step, as in preset fer2013"
VARIANTS: dict[str, dict[str, Any] | None] = {
    PLAIN: None,
    SAME: WHOLE,
    "  in float32": {**WHOLE, "precision": "float32"},
    "  with the convolution of Keras": WHOLE,
    "  with the normalisation of Keras": WHOLE,
    "  with the ReLU of Keras": WHOLE,
    "  with the optimizer of Keras": WHOLE,
    RECIPE: {},
}
OF_KERAS = {
    "  with the convolution of Keras": "Conv2D",
    "  with the normalisation of Keras": "BatchNormalization",
    "  with the ReLU of Keras": "ReLU",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--faces", type=int, default=2048)
    parser.add_argument("--with", dest="base", type=json.loads, default={}, help="settings of all variants, JSON")
    parser.add_argument("--variant", choices=[*VARIANTS, "peak"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options.faces, options.base)))
        return
    figures: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for variant in (*VARIANTS, "peak"):
            figures.setdefault(variant, []).append(_in_new_process(variant, options.faces, options.base))
    report(figures)


def measure(variant: str, num_faces: int, base: dict[str, Any]) -> dict[str, float]:
    """{"images_per_second", "gflops"} of a variant; {"gflops"} of the peak."""
    if variant == "peak":
        return {"gflops": peak_gflops()}
    changes = VARIANTS[variant]
    exchange(variant)
    settings = RunSettings.from_params({"preset": "fer2013", **base, **(changes or {})})
    faces = random_faces(num_faces)
    fit, epochs = plain_fit(faces, settings) if changes is None else our_fit(faces, settings)
    num_images, seconds, flops = 0, 0.0, 0.0
    for epoch, side in epochs.items():
        fit(epoch)
        start = time.monotonic()
        drawn = fit(epoch)
        seconds += time.monotonic() - start
        num_images += drawn
        flops += drawn * flops_per_image(settings, side)
    return {"images_per_second": num_images / seconds, "gflops": flops / seconds / 1e9}


def exchange(variant: str) -> None:
    """Put the part of Keras that a variant names in the place of ours."""
    from fer_tasks import training, training_network
    from fer_tasks.training_layers import TrainingLayers

    keras = import_keras()
    if variant in OF_KERAS:
        layers = TrainingLayers()
        setattr(layers, OF_KERAS[variant], getattr(keras.layers, OF_KERAS[variant]))
        training_network.TrainingLayers = lambda: layers
    elif variant == "  with the optimizer of Keras":
        training.nesterov_sgd = lambda: keras.optimizers.SGD


def plain_fit(faces: Faces, settings: RunSettings) -> tuple[Any, dict[int, int]]:
    """What a Keras user writes first: arrays in, batches out, no augmentation. With {epoch: side of its images}."""
    keras = import_keras()
    model = build_model(settings.architecture, width=settings.network_width)
    model.compile(
        keras.optimizers.SGD(settings.learning_rate, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy"
    )

    def fit(epoch: int) -> int:
        model.fit(faces.pixels, faces.labels, batch_size=settings.batch_size, verbose=0)
        return len(faces)

    return fit, {1: faces.pixels.shape[1]}


def our_fit(faces: Faces, settings: RunSettings) -> tuple[Any, dict[int, int]]:
    """An epoch as train_model runs it, augmentation included. With the first epoch of each side of crops."""
    from fer_tasks.training import compiled_network, fit_epoch
    from fer_tasks.training_batches import TrainingBatches
    from fer_tasks.training_network import use_cores

    use_cores()
    batches = TrainingBatches(faces, settings)
    model = compiled_network(settings, choose_precision(settings.precision), batches, initial=None)

    def fit(epoch: int) -> int:
        fit_epoch(model, batches, epoch)
        return batches.plan.num_images

    epochs: dict[int, int] = {}
    for epoch in range(1, settings.epochs + 1):
        if batches.plan.side(epoch) not in epochs.values():
            epochs[epoch] = batches.plan.side(epoch)
    return fit, epochs


def random_faces(number: int) -> Faces:
    random = np.random.default_rng(0)
    names = np.array([str(index) for index in range(number)], dtype=object)
    return Faces(
        pixels=random.random((number, 48, 48, 1), dtype=np.float32),
        labels=random.integers(0, 7, number, dtype=np.int32),
        position=np.arange(number),
        image_id=names,
        source=names,
    )


def flops_per_image(settings: RunSettings, side: int) -> float:
    """Floating-point operations of one image in one training step."""
    multiplications = 0
    network = build_crop_model(settings.architecture, side=side, precision="float32", width=settings.network_width)
    for layer in network.layers:
        if type(layer).__name__ in ("Conv2D", "Dense"):
            places = int(np.prod(layer.output.shape[1:-1]))
            multiplications += places * int(np.prod(layer.kernel.shape))
    return 2.0 * 3.0 * multiplications


def peak_gflops(side: int = 2048) -> float:
    import_keras()
    import tensorflow as tf

    dtypes = [tf.float32, tf.bfloat16] if choose_precision("auto") == "mixed_bfloat16" else [tf.float32]
    return max(_product_gflops(tf, dtype, side) for dtype in dtypes)


def _product_gflops(tf: Any, dtype: Any, side: int) -> float:
    matrix = tf.cast(tf.random.uniform((side, side)), dtype)
    tf.linalg.matmul(matrix, matrix)
    start = time.monotonic()
    for _ in range(8):
        product = tf.linalg.matmul(matrix, matrix)
    product.numpy()
    return 8 * 2 * side**3 / (time.monotonic() - start) / 1e9


def _in_new_process(variant: str, num_faces: int, base: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, __file__, "--variant", variant, "--faces", str(num_faces), "--with", json.dumps(base)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def report(figures: dict[str, list[dict[str, float]]]) -> None:
    peak = statistics.median(row["gflops"] for row in figures["peak"])
    speed = {name: statistics.median(row["images_per_second"] for row in figures[name]) for name in VARIANTS}
    gflops = {name: statistics.median(row["gflops"] for row in figures[name]) for name in VARIANTS}
    print(f"{'':36}{'images/s':>10}{'GFLOP/s':>10}{'of peak':>10}{'ratio':>8}")
    for name in VARIANTS:
        ratio = speed[name] / speed[PLAIN]
        print(f"{name:36}{speed[name]:10.0f}{gflops[name]:10.0f}{gflops[name] / peak:10.0%}{ratio:8.2f}")
    print(f"{'matrix product':36}{'':10}{peak:10.0f}")
    print(
        json.dumps(
            {
                "same_size_over_plain": round(speed[SAME] / speed[PLAIN], 3),
                "recipe_over_plain": round(speed[RECIPE] / speed[PLAIN], 3),
                "share_of_peak": round(gflops[SAME] / peak, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
