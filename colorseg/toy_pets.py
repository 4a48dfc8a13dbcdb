"""Toy pets: a picture book of cats and dogs, drawn by code, for machines without photographs.

Every picture shows one pet of one of eight breeds before one of four backgrounds. A breed has its
own build, head, ears, tail and coat, a background its own texture, and both their characteristic
colors, so that color can be inferred from a gray picture. Brightness alone does not tell: meadow
and living room, snow and beach, Russian blue and poodle share their ranges of luma.

The colors of collars, balls and flowers are drawn at random and nothing gray reveals them: there
even the best colorization can only be unsure.

A pet is made of limbs. A limb is a chain of points `(x, y, radius)` whose neighbors are joined by
tapered capsules; the signed distance to them gives antialiasing, shading and trimap at once.
"""

import colorsys
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

SIZES = {"train": 512, "validation": 64, "test": 128}
SIDES = (144, 208)  # the shortest and the longest side of a picture, pixels
PET, BACKGROUND, BORDER = 0, 1, 2
BORDER_WIDTH = 2.5  # at 128 pixels

_WHITE, _INK, _PINK, _GOLD = (250, 247, 240), (44, 34, 36), (232, 150, 146), (240, 204, 88)


# Coats. A coat lists the marks of each part: a color and where it goes, a weight in [0, 1] as a
# function of the part's coordinates (p, q) and of smooth noise n. Body: p 0 at the rump, 1 at the
# chest; q -1 at the belly, 1 at the back. Head: p to the right, q up, in head radii. Ears, legs
# and tail: p 0 at the root, 1 at the tip; q across.


def _step(value, width=0.1):
    """Rises from 0 to 1 around 0."""
    return np.clip(value / width + 0.5, 0, 1)


def _wave(turns):
    return _step(np.sin(2 * math.pi * turns) - 0.1, 0.5)


def _from(start, width=0.08):
    return lambda p, q, n: _step(p - start + 0.05 * n, width)


def _below(level):
    return lambda p, q, n: _step(level - q + 0.15 * n, 0.15)


def _patches(level):
    return lambda p, q, n: _step(n - level, 0.15)


def _rings(count):
    return lambda p, q, n: _wave(count * p)


def _stripes(count):
    return lambda p, q, n: _wave(count * p + 0.12 * q + 0.2 * n) * _step(q + 0.2, 0.3)


def _disc(x, y, rx, ry, width=0.2):
    return lambda p, q, n: _step(1 - np.sqrt(((p - x) / rx) ** 2 + ((q - y) / ry) ** 2), width)


def _spots(width, height):
    """A round spot of its own size and place in each cell of a grid."""

    def weight(p, q, n):
        p, q = p / width, q / height
        i, j = np.floor(p), np.floor(q)
        luck = (0.7549 * i + 0.5698 * j) % 1
        x, y, radius = 0.3 + 0.4 * luck, 0.3 + 0.4 * (7 * luck % 1), 0.2 + 0.13 * (13 * luck % 1)
        return _step(radius - np.sqrt((p - i - x) ** 2 + (q - j - y) ** 2), 0.12)

    return weight


def _tabby_face(p, q, n):
    """The M of a tabby: stripes that fan out above the eyes, and some on the cheeks."""
    fan = _wave(0.25 + 2.1 * p / (0.7 + 0.5 * abs(q))) * _step(q - 0.38) * _step(0.6 - abs(p))
    return np.maximum(fan, _wave(1.75 * q + 0.6 * abs(p)) * _step(abs(p) - 0.8) * _step(0.25 - q))


def _eye_patch(side):
    """A patch over one eye and up the forehead."""
    return lambda p, q, n: _step(side * p - 0.16 - 0.1 * q) * _step(q + 0.2)


_ALL = _from(-1)

# fmt: off
_COATS = {
    "solid": {},
    "tabby": {
        "body": [("dark", _stripes(3.6)), ("white", _below(-0.8)),
                 ("white", _disc(1.1, -0.6, 0.3, 0.8))],
        "head": [("dark", _tabby_face), ("white", _disc(0, -0.45, 0.62, 0.42))],
        "legs": [("dark", _rings(2.5)), ("white", _from(0.72))],
        "tail": [("dark", _rings(5)), ("white", _from(0.9))],
    },
    "points": {
        "head": [("dark", _disc(0, -0.3, 0.75, 0.85, 0.9))],
        "ears": [("dark", _ALL)],
        "legs": [("dark", _from(0.6, 0.5))],
        "tail": [("dark", _from(0.15, 0.5))],
    },
    "calico": {
        "body": [("red", _patches(0.0)), ("dark", _patches(0.85)), ("base", _below(-0.6))],
        "head": [("red", _eye_patch(1)), ("dark", _eye_patch(-1))],
        "ears": [("red", _ALL), ("dark", lambda p, q, n: _step(-q))],
        "legs": [("red", _patches(0.5)), ("base", _from(0.5))],
        "tail": [("red", _rings(1.5)), ("dark", _from(0.7))],
    },
    "tricolor": {
        "body": [("dark", lambda p, q, n: _step(q - 0.05 + 0.15 * n) * _step(0.85 - p)),
                 ("white", _below(-0.6)), ("white", _disc(1.15, -0.5, 0.35, 0.9))],
        "head": [("white", _disc(0, 0.5, 0.17, 0.9)), ("white", _disc(0, -0.5, 0.58, 0.48))],
        "ears": [("rust", _ALL)],
        "legs": [("white", _from(0.35))],
        "tail": [("dark", _ALL), ("white", _from(0.65))],
    },
    "spots": {
        "body": [("dark", _spots(0.2, 0.6))],
        "head": [("dark", _spots(0.5, 0.5))],
        "ears": [("dark", _from(0.05))],
        "legs": [("dark", _spots(0.3, 0.3))],
        "tail": [("dark", _rings(3.5))],
    },
    "fox": {
        "body": [("white", _below(-0.6)), ("white", _disc(1.05, -0.35, 0.33, 1.2))],
        "head": [("white", _disc(0, 0.45, 0.14, 0.8)), ("white", _disc(0, -0.55, 0.72, 0.5))],
        "legs": [("white", _from(0.5))],
        "tail": [("white", _from(0.7))],
    },
}
# fmt: on


@dataclass(frozen=True)
class _Breed:
    """Build, face and coat. A body unit is such that a sitting cat is 1.4 high; heads are in head
    radii around the middle of the face, and of paired parts the right one is given.
    """

    species: str
    coat: str
    colors: dict
    iris: tuple
    skull: list
    ear: list
    tail: tuple  # Bezier control and end points from the root, radius at the root and at the tip
    muzzle: tuple = (-0.4, 0.2)  # height of its middle, radius
    hanging: bool = False  # ears in front of the head, not behind
    head: float = 0.3  # its radius
    length: float = 1.0
    legs: float = 1.0
    girth: float = 1.0
    bone: float = 1.0  # thickness of the legs
    fluff: float = 0.0  # raggedness of the outline
    curly: bool = False


def _wide(x, y, radius):
    """A limb across the face."""
    return [(-x, y, radius), (x, y, radius)]


# fmt: off
_BREEDS = {
    "marmalade_tabby": _Breed(
        "cat", "tabby", {"base": (232, 156, 72), "dark": (182, 96, 34), "white": _WHITE},
        iris=(116, 160, 70), skull=[_wide(0.28, 0.05, 0.82), _wide(0.45, -0.3, 0.5)],
        ear=[(0.62, 0.5, 0.4), (0.86, 1.22, 0.05)], tail=((-0.42, 0.02), (-0.3, 0.62), 0.065, 0.06),
    ),
    "siamese": _Breed(
        "cat", "points", {"base": (236, 216, 184), "dark": (88, 62, 52)},
        iris=(92, 158, 222), skull=[_wide(0.2, 0.15, 0.74), [(0, -0.1, 0.6), (0, -0.5, 0.4)]],
        ear=[(0.6, 0.4, 0.46), (1.12, 1.15, 0.05)], tail=((-0.5, -0.05), (-0.4, 0.7), 0.05, 0.035),
        head=0.27, legs=1.15, girth=0.82, bone=0.8,
    ),
    "russian_blue": _Breed(
        "cat", "solid", {"base": (114, 132, 156)},
        iris=(158, 190, 70), skull=[_wide(0.3, 0.05, 0.86), _wide(0.42, -0.25, 0.58)],
        ear=[(0.68, 0.5, 0.4), (1.0, 1.08, 0.06)], tail=((-0.45, -0.08), (-0.5, 0.45), 0.08, 0.06),
        girth=1.12, bone=1.1,
    ),
    "calico_longhair": _Breed(
        "cat", "calico", {"base": (246, 238, 226), "red": (222, 138, 62), "dark": (62, 52, 54)},
        iris=(196, 160, 60), skull=[_wide(0.28, 0.05, 0.82), _wide(0.62, -0.35, 0.52)],
        ear=[(0.6, 0.5, 0.4), (0.8, 1.25, 0.05)], tail=((-0.5, 0.05), (-0.45, 0.7), 0.09, 0.17),
        girth=1.15, bone=1.15, fluff=0.011,
    ),
    "beagle": _Breed(
        "dog", "tricolor",
        {"base": (206, 140, 84), "rust": (164, 96, 52), "dark": (56, 48, 48), "white": _WHITE},
        iris=(92, 58, 36), skull=[_wide(0.2, 0.2, 0.72), _wide(0.15, -0.3, 0.6)],
        ear=[(0.72, 0.55, 0.22), (1.0, 0.0, 0.28), (1.02, -0.5, 0.3)], hanging=True,
        tail=((-0.16, 0.15), (-0.16, 0.5), 0.055, 0.05), muzzle=(-0.5, 0.42),
    ),
    "dalmatian": _Breed(
        "dog", "spots", {"base": (244, 242, 238), "dark": (46, 44, 48)},
        iris=(84, 58, 42), skull=[_wide(0.14, 0.25, 0.66), [(0, -0.3, 0.56)]],
        ear=[(0.62, 0.66, 0.2), (0.95, 0.45, 0.24), (0.95, 0.0, 0.2)], hanging=True,
        tail=((-0.4, -0.1), (-0.55, 0.4), 0.05, 0.025), muzzle=(-0.6, 0.42),
        head=0.28, legs=1.4, girth=0.9, bone=0.9,
    ),
    "poodle": _Breed(
        "dog", "solid", {"base": (190, 114, 84)},
        iris=(60, 40, 34), skull=[[(0, 0.1, 0.66), (0, -0.3, 0.5)], _wide(0.25, 0.85, 0.55)],
        ear=[(0.78, 0.45, 0.3), (1.0, -0.1, 0.4), (1.0, -0.45, 0.42)], hanging=True,
        tail=((-0.15, 0.2), (-0.12, 0.42), 0.03, 0.15), muzzle=(-0.5, 0.36),
        head=0.27, legs=1.2, bone=1.15, curly=True,
    ),
    "corgi": _Breed(
        "dog", "fox", {"base": (220, 166, 96), "white": _WHITE},
        iris=(70, 46, 34), skull=[_wide(0.25, 0.12, 0.76), _wide(0.55, -0.25, 0.44)],
        ear=[(0.6, 0.55, 0.36), (0.92, 1.38, 0.14)], tail=((-0.1, 0.05), (-0.16, 0.1), 0.1, 0.08),
        muzzle=(-0.5, 0.36), head=0.32, length=1.08, legs=0.5, girth=1.15, bone=1.1, fluff=0.006,
    ),
}
# fmt: on
BREEDS = tuple(_BREEDS)


@dataclass(frozen=True)
class _Pose:
    """Where the limbs of a pet are that looks to the right: body units, the ground at y = 0."""

    spine: list  # from rump to chest
    haunch: list
    legs: list
    far_legs: list
    tail: tuple
    head: tuple
    droop: float  # turns the tail toward the ground, radians
    size: float  # body units that a picture's short side should hold


# fmt: off
_POSES = {
    "stand": _Pose(
        spine=[(-0.4, 0.54, 0.19), (0.3, 0.56, 0.2)],
        haunch=[(-0.42, 0.5, 0.17), (-0.48, 0.34, 0.11)],
        legs=[[(-0.45, 0.4, 0.12), (-0.5, 0.24, 0.075), (-0.46, 0.07, 0.065), (-0.41, 0.06, 0.06)],
              [(0.3, 0.46, 0.13), (0.32, 0.07, 0.065), (0.37, 0.06, 0.06)]],
        far_legs=[[(-0.3, 0.48, 0.14), (-0.34, 0.26, 0.07), (-0.28, 0.1, 0.06), (-0.23, 0.1, 0.06)],
                  [(0.38, 0.48, 0.1), (0.46, 0.1, 0.06), (0.51, 0.09, 0.055)]],
        tail=(-0.52, 0.62), head=(0.46, 1.0), droop=0.0, size=1.6,
    ),
    "sit": _Pose(
        spine=[(-0.14, 0.28, 0.27), (0.14, 0.68, 0.19)],
        haunch=[(-0.16, 0.22, 0.21), (-0.02, 0.15, 0.13)],
        legs=[[(-0.1, 0.06, 0.06), (0.1, 0.06, 0.06)],
              [(0.17, 0.56, 0.12), (0.22, 0.07, 0.065), (0.27, 0.06, 0.06)]],
        far_legs=[[(0.26, 0.54, 0.1), (0.34, 0.1, 0.06), (0.39, 0.09, 0.055)]],
        tail=(-0.34, 0.12), head=(0.2, 1.08), droop=0.35, size=1.65,
    ),
    "lie": _Pose(
        spine=[(-0.38, 0.24, 0.23), (0.22, 0.27, 0.22)],
        haunch=[(-0.38, 0.2, 0.2), (-0.26, 0.15, 0.15)],
        legs=[[(-0.3, 0.06, 0.06), (-0.08, 0.06, 0.055)],
              [(0.25, 0.16, 0.12), (0.5, 0.07, 0.065), (0.58, 0.06, 0.06)]],
        far_legs=[[(0.3, 0.16, 0.1), (0.6, 0.1, 0.06), (0.68, 0.09, 0.055)]],
        tail=(-0.58, 0.14), head=(0.38, 0.66), droop=0.5, size=1.65,
    ),
}
# fmt: on


class _Stage:
    """The picture being drawn, and where on it the pet's body units lie."""

    def __init__(self, image, rng, breed, *, foot, scale, mirror, light):
        self.image, self.breed = image, breed
        self.foot, self.scale, self.mirror, self.light = foot, scale, mirror, light
        change = _change(rng)
        self.colors = {name: np.float32(_vary(c, change)) for name, c in breed.colors.items()}
        self.outline = np.full(image.shape[:2], 1e3, np.float32)  # distance to the pet, pixels
        self.patches = _noise(rng, image.shape[:2], (0.2 * scale, 0.2 * scale))
        self.hair = _noise(rng, image.shape[:2], (0.06 * scale, 0.03 * scale))

    def measure(self, limbs, blend=0.0):
        """Returns the window that the limbs need, distances there (pixels), places along them."""
        (x0, y0), s, flip = self.foot, self.scale, self.mirror
        limbs = [[(x0 + flip * s * x, y0 - s * y, s * r) for x, y, r in limb] for limb in limbs]
        x, y, r = zip(*(point for limb in limbs for point in limb), strict=True)
        reach, (height, width) = max(r) + blend * s + 5, self.outline.shape
        left, right = (min(max(int(c), 0), width) for c in (min(x) - reach, max(x) + reach))
        top, bottom = (min(max(int(c), 0), height) for c in (min(y) - reach, max(y) + reach))
        window = np.s_[top:bottom, left:right]
        x, y = _centers(window)
        distance, along = _limb_distance(limbs[0], x, y)
        for limb in limbs[1:]:
            d, t = _limb_distance(limb, x, y)
            along = np.where(d < distance, t, along)
            # The polynomial smooth minimum: limbs melt into each other.
            overlap = np.maximum(blend * s - abs(d - distance), 0)
            distance = np.minimum(d, distance) - overlap**2 / (4 * blend * s + 1e-6)
        return window, distance, along

    def paint(self, limbs, color, *, opacity=1.0, on_pet=False):
        """Fills limbs with one color."""
        window, distance, _ = self.measure(limbs)
        alpha = opacity * np.clip(0.5 - distance, 0, 1)
        if on_pet:
            alpha *= self.outline[window] < 0
        self.image[window] += alpha[..., None] * (np.float32(color) - self.image[window])

    def layer(self, part, limbs, frame, *, blend=0.0, shadow=0.25, dim=1.0):
        """Adds a furry part: its coat, its shading, its shadow on the parts below.

        `frame` gives the part's coordinates: the origin, and where p and q are 1 as seen from
        there. Without the latter for p, p runs along the limbs.
        """
        window, bare, along = self.measure(limbs, blend)
        if not bare.size:
            return
        p, q = self._coordinates(window, along, *frame)
        color = self._color(part, p, q, self.patches[window])
        d, texture = self._fur(bare, window)
        slope_x, slope_y = np.diff(d, axis=1, append=d[:, -1:]), np.diff(d, axis=0, append=d[-1:])
        rim = np.clip(1 + d / (0.16 * self.scale), 0, 1)
        shade = dim * (1 + texture + 0.13 * rim * (self.light * slope_x - slope_y))
        shade -= 0.22 * np.clip(1 + d / 1.6, 0, 1)
        near = np.clip(1 - d / (0.07 * self.scale), 0, 1)
        near *= shadow * np.clip(0.5 - self.outline[window], 0, 1)
        below = self.image[window] * (1 - near)[..., None]
        alpha = np.clip(0.5 - d, 0, 1)[..., None]
        self.image[window] = below + alpha * (color * shade[..., None] - below)
        # Fur is left out: its tips are what the trimap's border is for.
        self.outline[window] = np.minimum(self.outline[window], bare)

    def _coordinates(self, window, along, origin, p_axis, q_axis):
        x, y = _centers(window)
        x = self.mirror / self.scale * (x - self.foot[0]) - origin[0]
        y = (self.foot[1] - y) / self.scale - origin[1]
        p, q = (
            along if axis is None else (x * axis[0] + y * axis[1]) / (axis[0] ** 2 + axis[1] ** 2)
            for axis in (p_axis, q_axis)
        )
        return p, q

    def _color(self, part, p, q, n):
        color = np.empty((*n.shape, 3), np.float32)
        color[:] = self.colors["base"]
        for name, weight in _COATS[self.breed.coat].get(part, ()):
            color += weight(p, q, n)[..., None] * (self.colors[name] - color)
        return color

    def _fur(self, distance, window):
        """Returns the distance to the ragged outline, and the brightness of the texture."""
        hair, s = self.hair[window], self.scale
        if not self.breed.curly:
            return distance + self.breed.fluff * s * hair, 0.03 * hair
        # Ringlets, laid like bricks and warped.
        x, y = (c / (0.1 * s) + 0.25 * self.patches[window] for c in _centers(window))
        row = np.floor(y)
        x = x + 0.5 * (row % 2)
        r = np.sqrt((x - np.floor(x) - 0.5) ** 2 + (y - row - 0.5) ** 2)
        return distance - 0.012 * s * np.cos(4 * r), 0.03 * hair + 0.1 * np.cos(8 * r)


def _centers(window):
    """Returns x `[1, w]` and y `[h, 1]` of the window's pixels."""
    y, x = (np.arange(side.start, side.stop, dtype=np.float32) + 0.5 for side in window)
    return x[None], y[:, None]


def _limb_distance(limb, x, y):
    """Signed distance to a chain of tapered capsules, and where along it: 0 root, 1 tip."""
    limb = limb * 2 if len(limb) == 1 else limb
    distance, along = np.inf, 0.0
    for i, ((ax, ay, ar), (bx, by, br)) in enumerate(pairwise(limb)):
        dx, dy = bx - ax, by - ay
        norm = dx * dx + dy * dy + 1e-6
        t = np.clip((x - ax) * (dx / norm) + (y - ay) * (dy / norm), 0, 1)
        d = np.sqrt((x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2) - (ar + t * (br - ar))
        along = np.where(d < distance, (i + t) / (len(limb) - 1), along)
        distance = np.minimum(d, distance)
    return distance, along


def _noise(rng, shape, cell):
    """Smooth noise of mean 0 and deviation about 1, in blobs of `cell` (height, width) pixels."""
    size = [int(side / max(c, 1)) + 2 for side, c in zip(shape, cell, strict=True)]
    grid = Image.fromarray(1.4 * rng.standard_normal(size, dtype=np.float32))
    return np.asarray(grid.resize(shape[::-1], Image.Resampling.BICUBIC))


def _turn(x, y, angle):
    c, s = math.cos(angle), math.sin(angle)
    return c * x - s * y, s * x + c * y


def _both(*limbs):
    return [*limbs, *([(-x, y, r) for x, y, r in limb] for limb in limbs)]


def _draw_pet(stage, rng, pose, *, asleep):
    """Draws the stage's breed from back to front."""
    breed = stage.breed

    def fit(x, y, r=0.0, thickness=1.0):
        return breed.length * x, y + (breed.legs - 1) * min(y, 0.4), thickness * r

    def fit_all(limbs, thickness):
        return [[fit(*point, thickness) for point in limb] for limb in limbs]

    [[rump, chest]] = spine = fit_all([pose.spine], breed.girth)
    hx, hy, _ = fit(
        pose.head[0] + rng.uniform(-0.06, 0.04), pose.head[1] + rng.uniform(-0.05, 0.04)
    )
    throat = [chest, (0.35 * chest[0] + 0.65 * hx, 0.35 * chest[1] + 0.65 * hy, 0.15)]
    tilt, k = rng.uniform(-0.22, 0.22), breed.head

    def face(limbs):
        """Converts head radii around the middle of the tilted face to body units."""
        turned = [[(*_turn(x, y, tilt), r) for x, y, r in limb] for limb in limbs]
        return [[(hx + k * x, hy + k * y, k * r) for x, y, r in limb] for limb in turned]

    along, across = (chest[0] - rump[0], chest[1] - rump[1]), 0.22 * breed.girth
    across /= math.hypot(*along)
    body_frame = rump, along, (-across * along[1], across * along[0])
    limb_frame = (0, 0), None, (0.45, 0)
    head_frame = (hx, hy), _turn(k, 0, tilt), _turn(0, k, tilt)
    ear_frame = (hx, hy), None, _turn(k, 0, tilt)

    tail = _tail(breed, fit(*pose.tail), pose.droop + rng.uniform(-0.25, 0.25))
    stage.layer("tail", [tail], limb_frame)
    stage.layer("legs", fit_all(pose.far_legs, breed.bone), limb_frame, dim=0.82)
    stage.layer("body", [*spine, throat], body_frame, blend=0.12)
    stage.layer("legs", fit_all(pose.legs, breed.bone), limb_frame, shadow=0.15)
    stage.layer("body", fit_all([pose.haunch], breed.girth), body_frame, shadow=0.15)
    if rng.random() < 0.6:
        _draw_collar(stage, rng, (hx, hy), chest)
    ears = face(_both(breed.ear))
    if not breed.hanging:
        stage.layer("ears", ears, ear_frame)
        inner = [(0.92 * x, 0.95 * y, 0.55 * r) for x, y, r in breed.ear]
        stage.paint(face(_both(inner)), _PINK, opacity=0.75)
    stage.layer("head", face(breed.skull), head_frame, blend=0.08)
    if breed.hanging:
        stage.layer("ears", ears, ear_frame)
    snout, marks = _FACES[breed.species](*breed.muzzle, rng)
    stage.layer("head", face(snout), head_frame, blend=0.02, shadow=0.15)
    eyes = _EYES["asleep" if asleep else breed.species]
    for color, opacity, *limbs in marks + eyes(rng.uniform(-0.04, 0.04), breed.iris):
        stage.paint(face(limbs), color, opacity=opacity)


def _tail(breed, root, droop):
    """Returns the tail's limb: a Bezier curve from the root, turned by `droop`."""
    control, tip, thick, thin = breed.tail
    t = np.linspace(0, 1, 8)
    x, y = (2 * t * (1 - t) * c + t * t * e for c, e in zip(control, tip, strict=True))
    x, y = _turn(x, y, droop)
    return np.stack([root[0] + x, root[1] + y, thick + t * (thin - thick)], -1).tolist()


def _draw_collar(stage, rng, head, chest):
    x, y, k = chest[0] - head[0], chest[1] - head[1], stage.breed.head
    x, y = x / math.hypot(x, y), y / math.hypot(x, y)  # from the head down the throat
    band = [(k, -0.2), (1.1 * k, 0), (k, 0.2)]
    band = [(head[0] + a * x - b * y, head[1] + a * y + b * x, 0.036) for a, b in band]
    stage.paint([band], _random_color(rng), on_pet=True)
    stage.paint([[(head[0] + 1.25 * k * x, head[1] + 1.25 * k * y, 0.04)]], _GOLD)


# Faces: the limbs of the snout, then what is painted on: (color, opacity, limb, limb...).


def _cat_face(y, r, rng):
    smile = [(0, y + 0.08), (0, y - 0.05), (0.14, y - 0.14), (0.27, y - 0.1)]
    rise = rng.uniform(0.1, 0.3)
    whiskers = [[(0.4, y + a, 0.012), (1.15, y + 4 * a + rise - 0.2, 0.008)] for a in (-0.02, 0.05)]
    return [*_both([(0.17, y, r)]), [(0, y - 0.18, 0.6 * r)]], [
        (_PINK, 1, _wide(0.08, y + 0.19, 0.05), [(0, y + 0.18, 0.05), (0, y + 0.1, 0.03)]),
        (_INK, 0.8, *_both([(*point, 0.018) for point in smile])),
        (_WHITE, 0.8, *_both(*whiskers)),
    ]


def _dog_face(y, r, rng):
    smile = [(0, y), (0, y - 0.2), (0.14, y - 0.28), (0.3, y - 0.2)]
    return [_wide(0.12, y, r)], [
        (_PINK, float(rng.integers(2)), [(0.05, y - 0.3, 0.1), (0.08, y - 0.45, 0.11)]),
        (_INK, 1, *_both([(*point, 0.025) for point in smile])),
        (_INK, 1, _wide(0.1, y + 0.14, 0.1), [(0, y + 0.12, 0.1), (0, y + 0.04, 0.07)]),
        (_WHITE, 0.6, [(-0.06, y + 0.18, 0.03), (0.02, y + 0.18, 0.03)]),
    ]


def _cat_eyes(gaze, iris):
    left, right = gaze - 0.4, gaze + 0.4
    return [
        (_INK, 1, *_both([(0.37, 0.06, 0.2), (0.43, 0.06, 0.2)])),
        (iris, 1, *_both([(0.38, 0.06, 0.165), (0.42, 0.06, 0.165)])),
        (_INK, 1, *([(x, 0.13, 0.05), (x, -0.01, 0.05)] for x in (left, right))),
        (_WHITE, 1, *([(x - 0.05, 0.13, 0.045)] for x in (left, right))),
    ]


def _dog_eyes(gaze, iris):
    left, right = gaze - 0.36, gaze + 0.36
    return [
        (_INK, 1, *_both([(0.36, 0.12, 0.145)])),
        (iris, 1, *([(x, 0.08, 0.08)] for x in (left, right))),
        (_WHITE, 1, *([(x - 0.04, 0.17, 0.04)] for x in (left, right))),
    ]


def _closed_eyes(gaze, iris):
    return [(_INK, 1, *_both([(0.22, 0.08, 0.03), (0.38, 0.0, 0.03), (0.54, 0.08, 0.03)]))]


_FACES = {"cat": _cat_face, "dog": _dog_face}
_EYES = {"cat": _cat_eyes, "dog": _dog_eyes, "asleep": _closed_eyes}


# Backgrounds. A ramp is a table of 64 colors from dark to light.


class _Brush:
    """Paints at twice the size, in picture heights from the top left, with the colors of ramps."""

    def __init__(self, rng, shape, ramps, *, horizon, foot):
        self.rng, self.horizon, self.foot, self.wide = rng, horizon, foot, shape[1] / shape[0]
        change = _change(rng)
        self.ramps = {name: _ramp([_vary(c, change) for c in ramp]) for name, ramp in ramps.items()}
        self.size = 2 * shape[0]
        self.image = Image.new("RGB", (2 * shape[1], 2 * shape[0]), self.ink("ground", 0.5))
        self.draw = ImageDraw.Draw(self.image)
        for i, ink in enumerate(self.ramps["far"]):
            self.box(0, i / 64 * horizon, self.wide, (i + 1) / 64 * horizon, ink)

    def ink(self, ramp, t):
        """Returns the color of a ramp at t in [0, 1]."""
        return self.ramps[ramp][int(63 * t)]

    def fill(self, points, ink):
        self.draw.polygon([(self.size * x, self.size * y) for x, y in points], fill=ink)

    def box(self, left, top, right, bottom, ink):
        self.fill([(left, top), (right, top), (right, bottom), (left, bottom)], ink)

    def line(self, points, ink, width):
        points = [(self.size * x, self.size * y) for x, y in points]
        self.draw.line(points, fill=ink, width=max(1, round(self.size * width)))

    def dot(self, x, y, r, ink, *, flat=1.0):
        x, y, r = self.size * x, self.size * y, self.size * r
        self.draw.ellipse([x - r, y - flat * r, x + r, y + flat * r], fill=ink)

    def ridge(self, y, height):
        """Returns a rolling line of hills at y, closed below the picture."""
        x = np.linspace(0, 1, 24)
        waves = sum(np.sin(2 * math.pi * (f * x + self.rng.random())) / f for f in (0.7, 1.6, 3.1))
        line = np.stack([self.wide * x, y - height * (0.5 + 0.35 * waves)], -1)
        return [*line.tolist(), (self.wide, 2), (0, 2)]

    def places(self, count):
        """Returns random (x, depth, luck): depth 0 at the horizon, 1 at the bottom; far first."""
        places = self.rng.random((count, 3)) * (self.wide, 1, 1)
        return places[np.argsort(places[:, 1])].tolist()

    def y(self, depth):
        return self.horizon + depth * (1 - self.horizon)


def _meadow(brush):
    for rise, t in ((0.05, 0.8), (0.02, 0.3)):
        brush.fill(brush.ridge(brush.horizon - rise, 0.1), brush.ink("hills", t))
    brush.fill(brush.ridge(brush.horizon, 0.03), brush.ink("ground", 0.45))
    for x, depth, luck in brush.places(380):
        y, tall = brush.y(1.08 * depth), (0.03 + 0.09 * depth) * (0.6 + 0.6 * luck)
        lean, thick, t = 0.8 * tall * (17 * luck % 1 - 0.5), 0.09 * tall + 0.003, 31 * luck % 1
        blade = [(x - thick, y), (x + lean, y - tall), (x + thick, y)]
        brush.fill(blade, brush.ink("ground", t))
    for x, depth, _ in brush.places(brush.rng.integers(9)):
        y, r, petal = brush.y(0.1 + 0.85 * depth), 0.008 + 0.008 * depth, _random_color(brush.rng)
        for angle in range(5):
            dx, dy = _turn(1.3 * r, 0, 2 * math.pi / 5 * angle)
            brush.dot(x + dx, y + dy, r, petal)
        brush.dot(x, y, 0.9 * r, _GOLD)


def _snow(brush):
    brush.fill(brush.ridge(brush.horizon, 0.16), brush.ink("ground", 0.3))
    for x, _, luck in brush.places(brush.rng.integers(2, 7)):
        _fir(brush, x, brush.horizon + 0.03, 0.14 + 0.16 * luck)
    for depth in np.linspace(0, 1, 6) ** 1.3:
        drift, t = brush.ridge(brush.y(depth), 0.1), brush.rng.uniform(0.45, 0.7)
        brush.fill(drift, brush.ink("ground", 1))
        brush.fill(
            [(x, y + 0.012 + 0.01 * math.sin(9 * x)) for x, y in drift], brush.ink("ground", t)
        )
    x = brush.wide * brush.rng.uniform(-0.2, 0.8)
    for depth in np.linspace(1, 0.1, 11) ** 1.5:  # tracks
        x += 0.06 * (0.3 + depth)
        brush.dot(x, brush.y(depth), 0.018 * (0.3 + depth), brush.ink("ground", 0.05), flat=0.6)
    for x, y, luck in brush.places(70):  # flakes
        brush.dot(x, y, 0.003 + 0.006 * luck, brush.ink("ground", 1))


def _fir(brush, x, y, tall):
    for i in range(3):
        wide, low, top = tall * (0.36 - 0.08 * i), y - 0.27 * i * tall, y - (0.5 + 0.25 * i) * tall
        brush.fill([(x - wide, low), (x, top), (x + wide, low)], brush.ink("fir", 0.3 * i))
        low = (low + top) / 2
        brush.fill([(x - wide / 2, low), (x, top), (x + wide / 2, low)], brush.ink("ground", 0.9))


def _beach(brush):
    brush.box(0, brush.horizon - 0.16, brush.wide, 1, brush.ink("sea", 0.4))
    for x, depth, luck in brush.places(30):
        y, wide = brush.horizon - 0.15 + 0.14 * depth, 0.015 + 0.035 * depth
        wave = [(x + i * wide, y + 0.01 * (i % 2)) for i in range(5)]
        brush.line(wave, brush.ink("sea", round(luck)), 0.006)
    shore = brush.ridge(brush.horizon + 0.02, 0.05)
    for shift, ramp, t in ((-0.014, "foam", 1), (0, "ground", 0.3), (0.03, "ground", 0.55)):
        brush.fill([(x, y + shift) for x, y in shore], brush.ink(ramp, t))
    x, (a, b) = np.linspace(0, brush.wide, 40), 2 * math.pi * brush.rng.random(2)
    depth = 0.1
    while depth < 1.1:
        b += brush.rng.normal(0, 0.3)
        wave = np.sin(5 * x + a + 2 * depth) + 0.6 * np.sin(13 * x + b - 5 * depth)
        for t, shift in ((0.12, 0), (0.9, -0.014 * (0.2 + depth))):
            y = brush.y(depth) + (0.004 + 0.014 * depth) * wave + shift
            brush.line(np.stack([x, y], -1).tolist(), brush.ink("ground", t), 0.009 * (0.4 + depth))
        depth += 0.04 + 0.1 * depth
    for x, depth, luck in brush.places(14):
        brush.dot(x, brush.y(0.1 + depth), 0.003 + 0.006 * depth, brush.ink("ground", luck))


def _living_room(brush):
    wall = brush.rng.choice((_striped_wall, _dotted_wall))
    wall(brush)
    board, vanish = brush.rng.uniform(0.16, 0.22), brush.wide * brush.rng.uniform(0.3, 0.7)
    for i in range(-8, 9):
        far, near = ([vanish + k * board * j for j in (i, i + 1)] for k in (0.45, 1.2))
        plank = [(far[0], brush.horizon), (far[1], brush.horizon), (near[1], 1), (near[0], 1)]
        brush.fill(plank, brush.ink("ground", brush.rng.uniform(0.3, 0.75)))
        brush.line([plank[0], plank[3]], brush.ink("ground", 0), 0.008)
    brush.box(0, brush.horizon - 0.05, brush.wide, brush.horizon, _WHITE)
    brush.line([(0, brush.horizon), (brush.wide, brush.horizon)], brush.ink("ground", 0), 0.008)
    if brush.rng.random() < 0.5:
        for size, t in ((0.62, 0), (0.57, 0.9), (0.52, 0.35), (0.31, 0.7), (0.26, 0.2)):
            brush.dot(*brush.foot, size, brush.ink("rug", t), flat=0.25)


def _striped_wall(brush):
    step = brush.wide / brush.rng.integers(16, 26)
    for i in range(26):
        ink = brush.ink("stripes", 0.25 if i % 2 else 0.8)
        brush.box(i * step, 0, (i + 1) * step, brush.horizon, ink)


def _dotted_wall(brush):
    step = brush.wide / brush.rng.integers(7, 11)
    brush.box(0, 0, brush.wide, brush.horizon, brush.ink("dots", 0.35))
    for i, j in np.ndindex(12, 14):
        brush.dot((i + 0.5 * (j % 2)) * step, 0.8 * j * step, 0.2 * step, brush.ink("dots", 0.95))


# fmt: off
_SCENES = {
    "meadow": (_meadow, {
        "far": [(120, 176, 226), (206, 226, 236)], "hills": [(70, 120, 80), (140, 180, 130)],
        "ground": [(44, 88, 44), (98, 150, 62), (172, 198, 94)],
    }),
    "snow": (_snow, {
        "far": [(170, 188, 226), (234, 234, 244)], "fir": [(40, 78, 74), (70, 112, 98)],
        "ground": [(150, 172, 212), (198, 212, 236), (248, 250, 254)],
    }),
    "beach": (_beach, {
        "far": [(140, 196, 226), (236, 232, 214)], "sea": [(36, 128, 150), (150, 214, 214)],
        "foam": [_WHITE], "ground": [(178, 136, 86), (224, 192, 138), (250, 234, 196)],
    }),
    "living_room": (_living_room, {
        "far": [_WHITE], "rug": [(120, 44, 56), (232, 190, 166)],
        "ground": [(110, 62, 42), (178, 112, 74), (212, 156, 112)],
        "stripes": [(196, 186, 120), (236, 228, 178)], "dots": [(104, 150, 148), (196, 222, 210)],
    }),
}
# fmt: on
BACKGROUNDS = tuple(_SCENES)


def _draw_ball(brush, scale):
    """Puts a ball beside the pet; `scale` is a body unit in picture heights."""
    rng, r = brush.rng, scale * brush.rng.uniform(0.1, 0.14)
    x = brush.foot[0] + rng.choice((-1, 1)) * scale * rng.uniform(0.5, 0.8)
    y, color = brush.foot[1] - 0.8 * r, _random_color(rng)
    brush.dot(x, y + 0.85 * r, 1.1 * r, (90, 84, 80), flat=0.25)
    brush.dot(x, y, r, tuple(int(0.75 * c) for c in color))
    brush.dot(x - 0.08 * r, y - 0.08 * r, 0.9 * r, color)
    brush.dot(x - 0.35 * r, y - 0.45 * r, 0.2 * r, _WHITE)


def _random_color(rng):
    hsv = rng.random(), rng.uniform(0.6, 0.85), rng.uniform(0.65, 0.9)
    return tuple(int(255 * c) for c in colorsys.hsv_to_rgb(*hsv))


def _change(rng):
    """Returns a small change of hue (added), saturation and brightness (factors)."""
    return rng.uniform((-0.012, 0.88, 0.92), (0.012, 1.12, 1.06)).tolist()


def _vary(rgb, change):
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in rgb))
    h, s, v = (h + change[0]) % 1, min(s * change[1], 1), min(v * change[2], 1)
    return tuple(255 * c for c in colorsys.hsv_to_rgb(h, s, v))


def _ramp(colors):
    t, stops = np.linspace(0, 1, 64), np.linspace(0, 1, len(colors))
    channels = [np.interp(t, stops, channel) for channel in zip(*colors, strict=True)]
    return [tuple(color) for color in np.stack(channels, -1).astype(int).tolist()]


# Pictures


def plan(index, *, split="train", seed=0):
    """Returns the names of breed and background of a picture, without drawing it.

    Each run of 32 pictures shows every breed before every background once.

    Args:
        index: place of the picture in its split, from 0 on.
        split: one of `SIZES`.
        seed: another seed gives another book.

    Returns:
        One of `BREEDS` and one of `BACKGROUNDS`.

    Raises:
        ValueError: if the split is unknown, or the index or the seed is negative.
    """
    count = len(BREEDS) * len(BACKGROUNDS)
    order = _generator(index // count, split, seed, purpose=1).permutation(count)
    breed, background = divmod(int(order[index % count]), len(BACKGROUNDS))
    return BREEDS[breed], BACKGROUNDS[background]


def draw(index, *, split="train", seed=0):
    """Draws a picture, which depends on nothing but the arguments.

    Args:
        index: place of the picture in its split, from 0 on. `SIZES` says how many pictures a
            split has by convention; there is no end to them.
        split: one of `SIZES`. Splits share no pictures.
        seed: another seed gives another book.

    Returns:
        An example: `images` uint8 `[H, W, 3]`, both sides in `SIDES`; `segmentation_masks` uint8
        `[H, W, 1]` of `PET`, `BACKGROUND` and, in a band around the outline, `BORDER`; `labels`,
        the place of the breed in `BREEDS`; `file_name`, such as `"toy_train_00012"`.

    Raises:
        ValueError: if the split is unknown, or the index or the seed is negative.
    """
    rng = _generator(index, split, seed, purpose=0)
    breed, background = plan(index, split=split, seed=seed)
    pose = str(rng.choice(list(_POSES)))
    shape = tuple(rng.integers(SIDES[0], SIDES[1] + 1, 2).tolist())
    mirror, light = rng.choice((-1, 1), 2).tolist()
    foot, scale = _place_pet(rng, shape, _POSES[pose], mirror)

    painter, ramps = _SCENES[background]
    spot = foot[0] / shape[0], foot[1] / shape[0]
    brush = _Brush(rng, shape, ramps, horizon=rng.uniform(0.42, 0.62), foot=spot)
    painter(brush)
    if rng.random() < 0.35:
        _draw_ball(brush, scale / shape[0])
    image = np.array(brush.image.reduce(2), np.float32)
    image *= _daylight(rng, shape, foot, scale, light)[..., None]

    stage = _Stage(image, rng, _BREEDS[breed], foot=foot, scale=scale, mirror=mirror, light=light)
    _draw_pet(stage, rng, _POSES[pose], asleep=pose == "lie" and rng.random() < 0.3)
    image *= rng.uniform(0.88, 1.08)
    image += 1.5 * rng.standard_normal((*shape, 1), dtype=np.float32)
    return {
        "images": image.clip(0, 255).astype(np.uint8),
        "segmentation_masks": _trimap(stage.outline)[..., None],
        "labels": BREEDS.index(breed),
        "file_name": f"toy_{split}_{index:05d}",
    }


def _generator(index, split, seed, *, purpose):
    if split not in SIZES:
        raise ValueError(f"`split` must be one of {', '.join(SIZES)}; got {split!r}")
    if index < 0 or seed < 0:
        raise ValueError(f"`index` and `seed` must not be negative; got {index} and {seed}")
    return np.random.default_rng([purpose, list(SIZES).index(split), index, seed])


def _place_pet(rng, shape, pose, mirror):
    """Returns where the pet stands, and the pixels of a body unit; the frame cuts some pets."""
    scale = min(shape) / pose.size * rng.uniform(0.66, 0.93)
    x, y = shape[1] * rng.uniform(0.42, 0.58), shape[0] * rng.uniform(0.84, 0.97)
    luck = rng.random()
    if luck < 0.12:
        x += (1 if luck < 0.06 else -1) * 0.2 * shape[1]
    elif luck < 0.24:
        scale, y = 1.4 * scale, y + 0.2 * shape[0]
    middle = (pose.tail[0] + pose.head[0]) / 2 - 0.05
    return (x - mirror * scale * middle, y), scale


def _daylight(rng, shape, foot, scale, light):
    """Returns the brightness of the background: clouds, and the pet's shadow on the ground."""
    x, y = _centers(np.s_[0 : shape[0], 0 : shape[1]])
    x, y = (x - foot[0] + light * 0.1 * scale) / (0.78 * scale), (y - foot[1]) / (0.16 * scale)
    shadow = np.clip(1.2 - np.sqrt(x * x + y * y), 0, 1)
    return (1 - 0.42 * shadow) * (1 + 0.025 * _noise(rng, shape, (shape[0] / 6, shape[1] / 6)))


def _trimap(outline):
    half = BORDER_WIDTH / 2 * sum(outline.shape) / 256
    mask = np.full(outline.shape, BORDER, np.uint8)
    mask[outline < -half], mask[outline > half] = PET, BACKGROUND
    return mask
