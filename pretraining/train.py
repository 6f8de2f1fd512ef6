"""Train networks of one recipe on the GPU, one after another for each seed, with Keras on JAX.

    python -m pretraining.train faces.npz --out FOLDER --network vgg --seeds 1 2 --epochs 120 --minutes 8 --fit
    python -m pretraining.train faces.npz --out FOLDER --network resnet --teachers FOLDER/vgg-1 FOLDER/vgg-2 ...

Each goes to FOLDER/NETWORK-SEED (weights.npz, log.jsonl, checkpoint.npz); the same command again goes on where the
last one stopped. Several networks at once (jax.vmap) would turn convolutions into grouped ones, which are slower.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fer_tasks.errors import PipelineError
from pretraining.faces_file import load_faces
from pretraining.recipe import add_options, from_options
from pretraining.weights_file import load_weights_file


def main(arguments: Sequence[str] | None = None) -> int:
    start = time.monotonic()
    options = _parser().parse_args(arguments)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        return _train(options, start)
    except (PipelineError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


def _train(options: argparse.Namespace, start: float) -> int:
    """0, or 3 when the time was up before every training was whole."""
    import jax

    from pretraining.trainer import Teacher, Trainer

    recipe = from_options(options)
    print(json.dumps({"device": str(jax.devices()[0].device_kind), "backend": jax.default_backend()}), flush=True)
    if options.need_gpu and jax.default_backend() != "gpu":
        raise PipelineError("JAX sees no GPU here, and --need-gpu was given.")
    contents = [load_weights_file(folder / "weights.npz") for folder in options.teachers]
    teachers = [Teacher(content.training.name, content) for content in contents]
    trainer = Trainer(recipe, load_faces(options.faces), teachers)
    deadline = start + 60 * options.minutes
    if options.fit:
        seconds = trainer.plan(deadline - time.monotonic(), num_seeds=len(options.seeds))
        print(json.dumps({"planned_epochs": trainer.recipe.epochs, "seconds_an_epoch": round(seconds, 2)}), flush=True)
    name = options.name or recipe.network
    trainings = [
        trainer.train(seed, options.out / f"{name}-{seed}", deadline=deadline, half_size=options.half_size)
        for seed in options.seeds
    ]
    cut = [training.name for training in trainings if training.cut_after_epoch is not None]
    if cut:
        print(f"Cut by --minutes before the schedule's end, go on with the same command: {', '.join(cut)}", flush=True)
    return 3 if cut else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path, help="what pretraining.export_faces wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--name", help="of the trainings, instead of the network's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--teachers", type=Path, nargs="+", default=[], metavar="DIR", help="folders of trainings")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after the epoch in which these are over")
    parser.add_argument("--fit", action="store_true", help="plan fewer epochs where the minutes do not suffice")
    parser.add_argument("--half-size", action="store_true", help="save kernels as float16, as teachers' are")
    parser.add_argument("--need-gpu", action="store_true", help="refuse to train on a CPU")
    add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
