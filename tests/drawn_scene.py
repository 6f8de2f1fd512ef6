"""A picture with several drawn faces, as a photograph would have them; nobody had to be asked."""

import cv2
import numpy as np

from fer_tasks.drawn_face import draw_face

# The emotion and the seed of each face, its left edge, top edge and side. Few drawn faces look real enough to be found
# by a detector made for photographs; these do.
FACES = ((1, 137, 24, 60, 150), (6, 134, 230, 20, 128), (4, 92, 440, 90, 170))


def scene():
    """uint8 (320, 640, 3), blue, green, red: three faces on a bluish wall that grows lighter to the right."""
    wall = np.linspace(100, 150, 640)[None, :, None] * np.array([1.1, 1.0, 0.9])
    picture = np.repeat(wall, 320, axis=0).astype(np.uint8)
    for emotion, seed, left, top, side in FACES:
        face = draw_face(emotion, np.random.default_rng(seed)).pixels
        larger = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = larger[..., None]
    return picture
