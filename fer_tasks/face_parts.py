"""The parts of a cartoon face, each moved by the facial action units (AU) that move it in a person.

What each unit moves follows P. Ekman and W. V. Friesen, "Facial Action Coding System", Consulting Psychologists
Press, 1978. Lengths are pixels of a 48x48 face from its centre, x to the viewer's right, y down; greys 0..255.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NUM_UNITS = 27
"""Intensities are float64 (2, 27) in 0..1: image-left and image-right half of the face, a column per unit's number."""

_SIDES = ((0, -1.0), (1, 1.0))  # row of the intensities, sign of x
_ACROSS = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 11))  # -1..1, denser at the corners, where round arcs bend most
_ALONG = ((1.0 + _ACROSS) / 2.0)[:, None]
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 25)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_FAINTEST = 0.08  # a weaker wrinkle is not drawn
_Point = tuple[float, float]


class Shape(NamedTuple):
    """A line of `width` through `points` float64 (n, 2), or with width 0 a filled polygon, cut to `within`."""

    points: Floats
    grey: float
    width: float = 0.0
    within: Floats | None = None


class Person:
    """What no expression changes: proportions, greys, hair, glasses, beard; drawn at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.width, self.jaw = rng.uniform(13.0, 16.5), rng.uniform(0.75, 1.05)
        self.top, self.chin = rng.uniform(-21.0, -18.0), rng.uniform(16.5, 19.5)
        self.eye_x, self.eye_y = rng.uniform(5.6, 7.0), rng.uniform(-3.6, -1.6)
        self.eye_width, self.eye_open = rng.uniform(2.7, 3.6), rng.uniform(1.2, 1.8)
        self.gaze = rng.uniform(-0.8, 0.8)
        self.brow_gap, self.brow_slant = rng.uniform(3.6, 4.8), rng.uniform(-0.5, 0.5)
        self.brow_width = rng.uniform(0.8, 1.9)
        self.nose_y, self.nose_width = rng.uniform(3.2, 5.0), rng.uniform(1.6, 2.6)
        self.mouth_drop, self.mouth_width = rng.uniform(4.6, 6.2), rng.uniform(4.4, 6.0)
        self.lips = rng.uniform(0.8, 1.6)
        self.skin = rng.uniform(95.0, 220.0)
        self.line = 0.32 * self.skin
        self.hair = rng.uniform(15.0, 85.0) if rng.random() < 0.75 else min(self.skin + 40.0, 235.0)
        self.hair_style = str(rng.choice(["bald", "short", "short", "fringe", "curly", "long", "long"]))
        self.hairline, self.hair_top = rng.uniform(-15.0, -12.5), self.top - rng.uniform(0.5, 3.0)
        self.sweep = rng.uniform(-1.0, 1.0)
        self.glasses, self.beard = bool(rng.random() < 0.12), bool(rng.random() < 0.12)


def face_shapes(person: Person, units: Floats) -> list[Shape]:
    """The whole face, back to front; `units` float64 (2, 27) in 0..1."""
    unit = units.mean(axis=0)
    shapes = _head(person, unit)
    for row, sign in _SIDES:
        shapes += _eye(person, units[row], sign) + _brow(person, units[row], sign) + _cheek(person, units[row], sign)
    return shapes + _forehead(person, unit) + _nose(person, unit) + _mouth(person, units) + _hair(person)


def _arc(left: _Point, right: _Point, middle_y: float, square: float = 2.0, root: float = 1.0) -> Floats:
    """From corner to corner through `middle_y`: a parabola; flatter if `square` > 2, an ellipse if `root` is 0.5."""
    points = np.array(left) + _ALONG * (right[0] - left[0], right[1] - left[1])
    points[:, 1] += (middle_y - (left[1] + right[1]) / 2.0) * (1.0 - np.abs(_ACROSS) ** square) ** root
    return points


def _level_arc(reach: float, y: float, rise: float) -> Floats:
    return _arc((-reach, y), (reach, y), y - rise)


def _oval(x: float, y: float, radius_x: float, radius_y: float) -> Floats:
    return _CIRCLE * (radius_x, radius_y) + (x, y)


def _lowered(points: Floats, distance: float) -> Floats:
    lowered: Floats = np.add(points, (0.0, distance))
    return lowered


def _crease(person: Person, points: Floats, strength: float) -> list[Shape]:
    """A wrinkle that darkens and widens with its action unit."""
    if strength < _FAINTEST:
        return []
    grey = person.skin + (person.line - person.skin) * min(1.0, strength)
    return [Shape(points, grey, 0.5 + 0.4 * strength)]


def _head(person: Person, unit: Floats) -> list[Shape]:
    cosine, sine = _CIRCLE.T
    height = np.where(sine > 0, person.chin + 2.4 * unit[26], -person.top)
    width = person.width * np.where(sine > 0, 1.0 - (1.0 - person.jaw) * sine**2, 1.0)
    outline = np.stack([width * np.sign(cosine) * np.abs(cosine) ** 0.85, height * sine], axis=1)
    shapes = []
    if person.hair_style == "long":
        shapes.append(Shape(_oval(0.0, 2.0, person.width + 3.5, 25.0), person.hair))
    if person.hair_style == "curly":
        shapes.append(Shape(_oval(0.0, -9.0, person.width + 4.0, 16.0), person.hair))
    shapes.append(Shape(np.array([[-7.0, 10.0], [7.0, 10.0], [8.0, 34.0], [-8.0, 34.0]]), 0.72 * person.skin))
    shapes += [Shape(_oval(sign * person.width, 0.5, 2.2, 3.6), 0.85 * person.skin) for _, sign in _SIDES]
    shapes.append(Shape(outline, person.skin))
    if person.beard:
        shapes.append(Shape(_beard(person), 0.55 * person.skin, within=outline))
    return [*shapes, Shape(outline, 0.6 * person.skin, 0.5)]


def _beard(person: Person) -> Floats:
    wide, mouth, lip = person.width, person.nose_y + 2.5, person.nose_y + 1.7
    cheek = np.array([[wide, -2.0], [0.86 * wide, 3.0], [0.6 * wide, mouth], [3.5, lip], [1.0, lip + 0.6]])
    return np.concatenate([cheek * (-1.0, 1.0), cheek[::-1], [[wide, 32.0], [-wide, 32.0]]])


def _eye(person: Person, unit: Floats, sign: float) -> list[Shape]:
    """The lid raiser (5) opens it; cheek raiser, lid tightener, nose wrinkler (6, 7, 9) close it, most from below."""
    x, y = sign * person.eye_x, person.eye_y
    above = person.eye_open * (1.0 + 0.75 * unit[5] - 0.15 * unit[6] - 0.25 * unit[7] - 0.3 * unit[9])
    below = 0.8 * person.eye_open * (1.0 + 0.2 * unit[5] - 0.9 * unit[6] - 0.7 * unit[7] - 0.6 * unit[9])
    slant = 0.5 * unit[1] * unit[4]
    inner, outer = (x - sign * person.eye_width, y - slant), (x + sign * person.eye_width, y + slant)
    lid, under = _arc(inner, outer, y - above, 2.4), _arc(inner, outer, y + below, 2.4)
    opening, iris = np.concatenate([lid, under[::-1]]), 1.05 * person.eye_open
    return [
        Shape(opening, 240.0),
        Shape(_oval(x + person.gaze, y - 0.1, iris, iris), 40.0, within=opening),
        Shape(under, 0.6 * person.skin, 0.4 + 0.3 * unit[7]),
        Shape(lid, min(person.line, 50.0), 0.8),
    ]


def _brow(person: Person, unit: Floats, sign: float) -> list[Shape]:
    """Inner and outer brow raiser (1, 2), brow lowerer (4); the nose wrinkler (9) pulls the inner end down too."""
    knit = unit[4] * (1.0 - 0.75 * unit[1])  # 1 and 4 together lift and knit the inner end instead of lowering it
    base = person.eye_y - person.brow_gap
    inner = base + person.brow_slant - 2.6 * unit[1] + 2.7 * knit + 1.2 * unit[9]
    middle = base - 0.9 - 1.0 * unit[1] - 2.2 * unit[2] + 1.6 * knit + 0.8 * unit[9]
    outer = base + 0.4 - person.brow_slant - 2.6 * unit[2] + 0.4 * unit[4] + unit[1] * (1.0 - unit[2])
    start = person.eye_x - person.eye_width + 0.2 - 1.0 * unit[4] - 0.5 * unit[9]
    stop = person.eye_x + person.eye_width + 0.8
    shape = _arc((sign * start, inner), (sign * stop, outer), middle)
    return [Shape(shape, min(person.hair, 0.5 * person.skin), person.brow_width)]


def _cheek(person: Person, unit: Floats, sign: float) -> list[Shape]:
    """Cheek bulge and crow's feet (6), the lid tightener's pouch (7), the fold from nose to mouth (9, 12, 15)."""
    x, y = sign * person.eye_x, person.eye_y + person.eye_open
    pouch = _arc((x - sign * 3.0, y + 1.8), (x + sign * 3.6, y + 1.2), y + 2.6 - 0.8 * unit[6])
    shapes = _crease(person, pouch, 0.8 * unit[6] + 0.35 * unit[7])
    corner = x + sign * (person.eye_width + 0.8)
    for drop in (-1.0, 1.0):
        foot = np.array([[corner, person.eye_y], [corner + sign * 2.4, person.eye_y + drop]])
        shapes += _crease(person, foot, unit[6])
    top = (sign * (person.nose_width + 0.8), person.nose_y - 0.5 - unit[9])
    end_y = person.nose_y + person.mouth_drop - 1.0 - 1.5 * unit[12]
    end = (sign * (person.mouth_width + 1.2 + 0.8 * unit[12]), end_y)
    strength = 0.9 * unit[9] + 0.7 * unit[12] + 0.3 * unit[15]
    return shapes + _crease(person, _arc(top, end, person.nose_y + 0.6), strength)


def _forehead(person: Person, unit: Floats) -> list[Shape]:
    """Upright lines between the brows (4) and level lines above them (1, 2)."""
    brow = person.eye_y - person.brow_gap
    shapes = []
    for _, sign in _SIDES:
        shapes += _crease(person, np.array([[sign * 1.4, brow - 0.6], [sign * 1.0, brow + 2.4]]), 0.7 * unit[4])
    for y in (brow - 4.6, brow - 6.2):
        shapes += _crease(person, _level_arc(3.5 + 3.0 * unit[2], y, 0.6), 0.6 * unit[1] + 0.2 * unit[2])
    return shapes


def _nose(person: Person, unit: Floats) -> list[Shape]:
    """The nose wrinkler (9) lifts and widens the nostrils and wrinkles the bridge."""
    base, bridge = person.nose_y - 1.2 * unit[9], person.eye_y + 0.6
    width = person.nose_width * (1.0 + 0.2 * unit[9])
    shapes = [
        Shape(np.array([[0.9, bridge + 0.8], [1.1, base - 1.6]]), 0.8 * person.skin, 0.6),
        Shape(_level_arc(width, base - 0.4, -1.3), 0.5 * person.skin, 0.8),
    ]
    for y in (bridge + 0.4, bridge + 1.9, bridge + 3.4):
        shapes += _crease(person, _level_arc(1.9, y, 1.1), 1.1 * unit[9])
    for _, sign in _SIDES:
        wing = np.array([[sign * 1.2, bridge + 1.0], [sign * (width + 1.2), base - 2.0]])
        shapes += _crease(person, wing, unit[9])
    return shapes


def _mouth(person: Person, units: Floats) -> list[Shape]:
    """Corners up (12), down (15), apart (20); lips tight (23), parted (25), lower one down (16); jaw down (26)."""
    unit, y = units.mean(axis=0), person.nose_y + person.mouth_drop
    wide = 1.0 + 0.25 * unit[12] + 0.35 * unit[20] - 0.12 * unit[23] - 0.4 * unit[26] * (1.0 - unit[20])
    reach = person.mouth_width * wide
    lift = 3.2 * units[:, 12] - 2.0 * units[:, 15] - 0.6 * units[:, 20] - 2.6 * unit[26]
    left, right = (-reach, y - lift[0]), (reach, y - lift[1])
    gap = 1.2 * unit[25] + 7.0 * unit[26] + 2.2 * unit[16]
    top = y + 0.8 * unit[12] - 1.0 * unit[15] - 1.4 * unit[9] - 0.8 * unit[26]
    bottom = top + gap + 0.9 * unit[12] * min(1.0, 2.0 * unit[25])
    square, root = 2.0 + 2.5 * max(unit[16], unit[20]), 1.0 - 0.5 * unit[26]
    upper, lower = _arc(left, right, top, square, root), _arc(left, right, bottom, square, root)
    lip, thick = 0.68 * person.skin * (0.75 if person.beard else 1.0), person.lips * (1.0 - 0.55 * unit[23])
    shapes = [Shape(_lowered(lower, 0.4 * thick), lip, 1.3 * thick), Shape(_lowered(upper, -0.3 * thick), lip, thick)]
    if gap > 0.3:
        inside = np.concatenate([upper, lower[::-1]])
        teeth = np.concatenate([upper, _lowered(upper, min(0.45 * gap, 1.6))[::-1]])
        shapes += [Shape(inside, 30.0), Shape(teeth, 235.0, within=inside)]
    return [*shapes, Shape(upper, min(person.line, 45.0), 0.5 + 0.4 * unit[23])]


def _hair(person: Person) -> list[Shape]:
    """Hair whose front edge is swept to one side and breaks into locks, and glasses."""
    shapes = []
    if person.hair_style != "bald":
        fringe, temple = person.hair_style == "fringe", 1.02 * person.width
        front = _arc((-temple, -4.0), (temple, -4.0), person.hairline + (2.5 if fringe else 0.0), 3.5)
        front[:, 1] += 0.12 * person.sweep * front[:, 0] * (1.0 - _ACROSS**2)
        front[1:-1:2, 1] -= 1.6 if fringe else 0.8
        crown = _arc((-temple, -4.0), (temple, -4.0), person.hair_top, 2.0, 0.5)
        shapes.append(Shape(np.concatenate([crown, front[::-1]]), person.hair))
        for part in (-0.5, 0.0, 0.5):
            tip = [person.width * part + 3.0 * person.sweep, person.hairline - 1.5]
            lock = np.array([[0.6 * person.width * part, person.top], tip])
            shapes.append(Shape(lock, 0.7 * person.hair, 0.5))
    if person.glasses:
        rims = [_oval(sign * person.eye_x, person.eye_y + 0.3, 4.6, 4.0) for _, sign in _SIDES]
        bridge = np.array([[4.6 - person.eye_x, person.eye_y], [person.eye_x - 4.6, person.eye_y]])
        shapes += [Shape(line, 35.0, 0.6) for line in (*rims, bridge)]
    return shapes
