"""A video of drawn faces that move, turn and grow on a wall; nobody had to be asked."""

import functools

import cv2
import numpy as np
from drawn_scene import FACES

from fer_tasks.drawn_face import draw_face


@functools.cache
def _drawn(emotion, seed):
    return cv2.cvtColor(draw_face(emotion, np.random.default_rng(seed)).pixels, cv2.COLOR_GRAY2BGR)


def place(number, seconds, enlarged=1.0):
    """x, y of the middle of a face, its side, and how far it is turned, in degrees."""
    _, _, left, top, side = FACES[number]
    x = (left + side / 2 + 20 * np.sin(0.9 * seconds + 2 * number)) * enlarged
    y = (top + side / 2 + 15 * np.sin(1.1 * seconds + number) + 15) * enlarged
    return x, y, side * enlarged * (1 + 0.08 * np.sin(seconds + number)), 8 * np.sin(1.3 * seconds + number)


def frame(seconds, faces=(0, 1, 2), enlarged=1.0):
    """uint8 (360, 640, 3) at `enlarged` 1: those of the three faces, where they are at that time."""
    width, height = round(640 * enlarged), round(360 * enlarged)
    wall = np.linspace(100, 150, width)[None, :, None] * np.array([1.1, 1.0, 0.9])
    picture = np.repeat(wall, height, axis=0).astype(np.uint8)
    for number in faces:
        emotion, seed, *_ = FACES[number]
        x, y, side, degrees = place(number, seconds, enlarged)
        motion = cv2.getRotationMatrix2D((24, 24), degrees, side / 48)
        motion[:, 2] += (x - 24, y - 24)
        cv2.warpAffine(_drawn(emotion, seed), motion, (width, height), picture, cv2.INTER_CUBIC, cv2.BORDER_TRANSPARENT)
    return picture


def write_clip(path, *, num_frames, rate=10.0, enlarged=1.0, faces=(0, 1, 2)):
    size = (round(640 * enlarged), round(360 * enlarged))
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    for number in range(num_frames):
        video.write(frame(number / rate, faces, enlarged))
    video.release()
    return path
