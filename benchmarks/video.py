"""Frames a second of a 720p video with three drawn faces, by the parts of the work, against a search in every frame.

    python benchmarks/video.py [--frames 250]

The video is drawn first. Then python -m fer_tasks.predict goes through it twice in a process of its own, for the rows
alone, and with an annotated copy; what a video half as long takes is subtracted, so that starting counts for nothing.
`cpu` is the processor's time, which a busy machine does not lengthen. The last line is JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from drawn_clip import write_clip  # noqa: E402

from fer_tasks.cpu_model import exported  # noqa: E402
from fer_tasks.face_detection import FaceDetector  # noqa: E402
from fer_tasks.face_tracking import SEARCHED_SIDE, FaceTracker  # noqa: E402
from fer_tasks.initial_weights import PRETRAINED  # noqa: E402

RATE = 25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    options = parser.parse_args()
    exported(PRETRAINED / "model.keras", "int8")
    with TemporaryDirectory() as folder:
        long, short = Path(folder) / "long.mp4", Path(folder) / "short.mp4"
        for path, number in ((long, options.frames), (short, options.frames // 2)):
            write_clip(path, num_frames=number, rate=RATE, enlarged=2)
        print(f"load of the machine {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores\n")
        tell_parts(long)
        figures = {
            name: rate(long, short, options.frames - options.frames // 2, arguments)
            for name, arguments in (("rows", []), ("annotated", ["--annotate", str(Path(folder) / "out.mp4")]))
        }
    print()
    for name, (frames, cpu) in figures.items():
        print(f"{name:10}{frames:7.1f} frames/s by the clock{cpu:7.1f} ms of the processor a frame")
    print(json.dumps({f"{name}_frames_per_second": round(frames, 1) for name, (frames, _) in figures.items()}))


def tell_parts(clip: Path) -> None:
    """Processor's milliseconds a frame."""
    video, pictures = cv2.VideoCapture(str(clip)), []
    before = time.process_time()
    while len(pictures) < 60:
        pictures.append(video.read()[1])
    parts = {"reading": time.process_time() - before}
    for side in (1280, SEARCHED_SIDE):
        detector = FaceDetector(longest_side=side)
        detector.find(pictures[0])
        before = time.process_time()
        for picture in pictures[:6]:
            detector.find(picture)
        parts[f"search at {side}"] = (time.process_time() - before) * 10
    for name, every in (("following alone", 1000), ("both", 10)):
        tracker = FaceTracker(detect_every=every)
        tracker.update(pictures[0])
        before = time.process_time()
        for picture in pictures[1:]:
            tracker.update(picture)
        parts[name] = time.process_time() - before
    for name, seconds in parts.items():
        print(f"{name:18}{1000 * seconds / 60:8.1f} ms a frame")


def rate(long: Path, short: Path, num_more: int, arguments: list[str]) -> tuple[float, float]:
    """Frames a second by the clock, and the processor's milliseconds a frame."""
    (slow, slow_cpu), (quick, quick_cpu) = (spent(path, arguments) for path in (long, short))
    return num_more / (slow - quick), 1000 * (slow_cpu - quick_cpu) / num_more


def spent(clip: Path, arguments: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    command = [sys.executable, "-m", "fer_tasks.predict", str(clip), "--output", str(clip.with_suffix(".csv"))]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, *arguments], cwd=PROJECT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


if __name__ == "__main__":
    main()
