"""Where things lie in a composite: what is drawn over what, at which size, and how much of the target is covered."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError
from ...core.mask import Mask
from .library import Library
from .sprites import Image, Photo, Sprite, warp

Affine = NDArray[np.float64]
FRAME = 480.0
"""Longer side of a layout's frame, in its own units; a fixed set is rendered at one pixel a unit."""
PROBE = 3.0
"""Units per pixel of the coarse masks that decide how much of a target is covered."""


@dataclass(frozen=True)
class Layer:
    """One sprite in the frame. `gain` and `lift` change its colours; `shadow` is the strength of a soft shadow."""

    sprite: Sprite
    matrix: Affine
    gain: NDArray[np.float64]
    lift: float = 0.0
    shadow: float = 0.0


@dataclass(frozen=True)
class Layout:
    """A composite before it is painted.

    The target is either `layers[target]` or, where `photo` is given, the photo's own object, which lies under all
    layers. `box` is the half-open box (x0, y0, x1, y1) of its visible part in frame units, to within `PROBE`.
    """

    size: tuple[int, int]
    background: Image
    background_matrix: Affine
    layers: tuple[Layer, ...]
    target: int
    photo: Photo | None = None
    kind: str = "none"
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def similarity(
    scale: float,
    turn: float,
    flip: bool,
    aspect: float,
    shear: float,
    source: tuple[float, float],
    to: tuple[float, float],
) -> Affine:
    """2 x 3 map that puts point `source` at `to`, with rotation `turn` (radians), mirror, aspect and shear."""
    # linear (2, 2): scale * turn * shear * (mirror, aspect); offset (2,) brings `source` to `to`.
    c, s = np.cos(turn), np.sin(turn)
    linear = (
        np.array([[c, -s], [s, c]])
        @ np.array([[1, shear], [0, 1]])
        @ np.diag([(-1 if flip else 1) * aspect, 1 / aspect])
    )
    linear = linear * scale
    offset = np.array(to) - linear @ np.array(source)
    return np.column_stack([linear, offset])


def _posed(
    rng: np.random.Generator,
    sprite: Sprite,
    side: float,
    to: tuple[float, float],
    source: tuple[float, float] | None = None,
) -> Layer:
    """The sprite with its longer side about `side` units, in a random pose; people stay upright more than things."""
    # Chance in a fixed order: turn, aspect, shear, mirror, gain, lift, shadow. Another would change every data set.
    spread = {"person": 0.1, "thin": 1.5, "shape": 0.3}.get(sprite.group, 0.22)
    turn = rng.normal(0, spread) if rng.random() < 0.7 else rng.normal(0, 0.02)
    aspect = float(np.exp(rng.normal(0, 0.1)))
    shear = rng.normal(0, 0.06)
    flip = bool(rng.random() < 0.5)
    matrix = similarity(side / sprite.size, turn, flip, aspect, shear, source or sprite.centre, to)
    gain = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.04, 3))
    return Layer(sprite, matrix, gain, rng.normal(0, 8), 0.35 * rng.random() if rng.random() < 0.2 else 0.0)


def _pick(rng: np.random.Generator, items: list[Sprite]) -> Sprite:
    return items[int(rng.integers(len(items)))]


class Placer:
    """Draws layouts from a library.

    Args:
        library: What to draw from; wholes need at least one group.
        targets: Weight of each group of whole objects as the target; "photo" (a photograph's own object) and
            "scene" (an object of a cluttered photograph, partly known) are groups too.
        kinds: Weight of "none", "one", "two" (occluders) and "bars" (thin occluders).
    """

    def __init__(self, library: Library, targets: dict[str, float], kinds: dict[str, float]) -> None:
        have = {g for g, items in library.wholes.items() if items}
        have |= {"photo"} if library.photos else set()
        have |= {"scene"} if library.scenes else set()
        self.library = library
        self.groups = [g for g in targets if g in have and targets[g] > 0]
        if not self.groups:
            raise DataError(f"no target objects: the library holds {sorted(have)}, the weights name {sorted(targets)}")
        if not library.backgrounds and set(self.groups) - {"photo", "scene"}:
            raise DataError(
                f"objects are laid on backgrounds, and the library has none; name a folder of pictures in library.backgrounds, "
                f"or draw only photo and scene, not {', '.join(self.groups)}"
            )
        self.group_p = _normal([targets[g] for g in self.groups])
        self.kinds = list(kinds)
        self.kind_p = _normal([kinds[k] for k in self.kinds])
        self.occluders = {g: items for g, items in library.wholes.items() if items}
        if library.parts:
            self.occluders["part"] = library.parts
        self.occluder_groups = list(self.occluders)
        weight = {"person": 2.0, "thing": 3.0, "part": 2.0, "render": 0.7, "shape": 1.3}
        self.occluder_p = _normal([weight.get(g, 1.0) for g in self.occluder_groups])

    def draw(self, rng: np.random.Generator) -> Layout:
        """One layout with a target of which a useful part is visible."""
        for _ in range(30):
            layout = self._try(rng)
            if layout is not None:
                return layout
        raise DataError("no usable layout in 30 tries; are the objects of this library too small or too thin?")

    def _try(self, rng: np.random.Generator) -> Layout | None:
        group = self.groups[int(rng.choice(len(self.groups), p=self.group_p))]
        kind = self.kinds[int(rng.choice(len(self.kinds), p=self.kind_p))]
        # 1. The target: a photograph's own object (mask is its outline), or a sprite laid on a background.
        if group in ("photo", "scene"):
            source = self.library.photos if group == "photo" else self.library.scenes
            photo = source[int(rng.integers(len(source)))]
            size, matrix = self._frame(rng, photo.image, whole=True)
            mask = warp(photo.mask, matrix / PROBE, _probe(size))
            base: Layout = Layout(size, photo.image, matrix, (), -1, photo, kind)
            target_group = photo.group
        else:
            picture = self.library.backgrounds[int(rng.integers(len(self.library.backgrounds)))]
            size, matrix = self._frame(rng, picture)
            sprite = _pick(rng, self.library.wholes[group])
            # Sides are drawn evenly on a logarithmic scale: as many small objects as large ones.
            side = FRAME * np.exp(rng.uniform(np.log(0.14), np.log(0.68)))
            to = self._spot(rng, sprite, side, size)
            layers = self._behind(rng, to, side) if rng.random() < 0.45 else []
            layers.append(_posed(rng, sprite, side, to))
            base = Layout(size, picture, matrix, tuple(layers), len(layers) - 1, None, kind)
            target_group = sprite.group
            mask = _alpha(layers[-1], size)
        # 2. What hides it.
        return self._cover(rng, base, mask, target_group)

    def _frame(self, rng: np.random.Generator, picture: Image, whole: bool = False) -> tuple[tuple[int, int], Affine]:
        # (H, W) of the frame and the map (2, 3) from the picture to it: scaled to fit, enlarged by chance, half mirrored.
        h, w = picture.shape[:2]
        scale = FRAME / max(h, w)
        size = (round(h * scale), round(w * scale))
        zoom = 1.0 if whole else float(np.exp(rng.uniform(0, 0.5)))
        shift = rng.uniform(1 - zoom, 0, 2) * np.array([size[1], size[0]])
        flip = rng.random() < 0.5
        matrix = np.array([[scale * zoom, 0, shift[0]], [0, scale * zoom, shift[1]]])
        if flip:
            matrix[0] = [-matrix[0, 0], 0, size[1] - shift[0]]
            if not whole:
                matrix[0, 2] = size[1] * zoom + shift[0]
        return size, matrix

    def _spot(
        self, rng: np.random.Generator, sprite: Sprite, side: float, size: tuple[int, int]
    ) -> tuple[float, float]:
        """Where the target's centre goes: inside the frame as a whole where it fits, for a few partly outside."""
        if rng.random() < 0.12:
            return size[1] * rng.uniform(0, 1), size[0] * rng.uniform(0, 1)
        # half, room (2,) are (x, y): half of the object's box, and how far its centre may lie from the middle.
        x0, y0, x1, y1 = sprite.box
        half = side / max(x1 - x0, y1 - y0) * np.array([x1 - x0, y1 - y0]) / 2
        room = np.maximum(np.array([size[1], size[0]]) / 2 - half - 4, 0)
        x, y = np.array([size[1], size[0]]) / 2 + rng.uniform(-1, 1, 2) * room
        return float(x), float(y)

    def _behind(self, rng: np.random.Generator, to: tuple[float, float], side: float) -> list[Layer]:
        """Things the target itself covers; the network has to see that they are not its occluders."""
        layers = []
        for _ in range(int(rng.integers(1, 3))):
            other = self._occluder(rng, None)
            reach = side * np.exp(rng.uniform(-0.7, 0.6))
            place = (to[0] + rng.normal(0, 0.4) * side, to[1] + rng.normal(0, 0.4) * side)
            layers.append(_posed(rng, other, reach, place))
        return layers

    def _occluder(self, rng: np.random.Generator, like: str | None) -> Sprite:
        if like in self.occluders and rng.random() < 0.25:
            return _pick(rng, self.occluders[like])
        group = self.occluder_groups[int(rng.choice(len(self.occluder_groups), p=self.occluder_p))]
        return _pick(rng, self.occluders[group])

    def _cover(self, rng: np.random.Generator, base: Layout, mask: Image, group: str) -> Layout | None:
        """Lay occluders over the target until a sensible part of it is hidden."""
        # 1. solid (h, w) bool on the probe grid: the target. Too small, or mostly outside of the frame: no layout.
        solid = mask > 127
        area = int(solid.sum())
        if area < 20:
            return None
        if base.photo is None:
            x0, y0, x1, y1 = _target_extent(base)
            if area * PROBE**2 < 0.35 * _full_area(base):
                return None
        else:
            x0, y0, x1, y1 = (PROBE * c for c in Mask.from_array(solid).box)
        # 2. Its longer side in units; occluders are drawn relative to it.
        side = float(max(x1 - x0, y1 - y0))
        layers = list(base.layers)
        if base.kind == "none":
            if rng.random() < 0.3:
                beside = self._beside(rng, solid, base.size, side, group)
                layers += [beside] if beside is not None else []
            return _with(base, layers, solid)
        # 3. Up to six tries for each occluder: it must hide something new, and leave enough to be seen.
        want = {"one": 1, "two": 2, "bars": 1}[base.kind]
        limit = 0.85
        occluded = np.zeros_like(solid)
        points = np.argwhere(solid) * PROBE
        for _ in range(want):
            for _ in range(6):
                layer = self._over(rng, base.kind, points, side, group)
                cover = _alpha(layer, base.size) > 127
                ratio = float((solid & (occluded | cover)).sum()) / area
                fresh = float((solid & cover).sum()) / area
                low = 0.012 if base.kind == "bars" else 0.04
                if low < fresh and ratio < limit and area * (1 - ratio) > 7:
                    layers.append(layer)
                    occluded |= cover
                    break
        if len(layers) == len(base.layers):
            return None
        return _with(base, layers, solid & ~occluded)

    def _over(
        self, rng: np.random.Generator, kind: str, points: NDArray[np.floating[Any]], side: float, group: str
    ) -> Layer:
        # points (P, 2) are (y, x) of the target in units: the occluder goes over one of them.
        y, x = points[int(rng.integers(len(points)))]
        if kind == "bars":
            sprite = _pick(rng, self.library.thin) if self.library.thin else self._occluder(rng, None)
            return _posed(rng, sprite, side * rng.uniform(1.2, 3), (float(x), float(y)))
        sprite = self._occluder(rng, group)
        reach = side * np.exp(rng.uniform(np.log(0.35), np.log(1.7)))
        # Either the middle or any point of the occluder lies on a point of the target.
        u, v = sprite.centre
        bx0, by0, bx1, by1 = sprite.box
        source = (u + rng.uniform(-0.5, 0.5) * (bx1 - bx0), v + rng.uniform(-0.5, 0.5) * (by1 - by0))
        return _posed(rng, sprite, reach, (float(x), float(y)), source)

    def _beside(
        self, rng: np.random.Generator, solid: NDArray[np.bool_], size: tuple[int, int], side: float, group: str
    ) -> Layer | None:
        """Something in front that touches or nearly touches the target without covering it."""
        # Around the target's centre, at about half the sum of both sides: near, and in four tries not over it.
        ys, xs = (PROBE * c for c in np.nonzero(solid))
        for _ in range(4):
            angle = rng.uniform(0, 2 * np.pi)
            reach = side * np.exp(rng.uniform(-1, 0.4))
            far = (side + reach) * rng.uniform(0.35, 0.6)
            layer = _posed(
                rng,
                self._occluder(rng, group),
                reach,
                (xs.mean() + far * np.cos(angle), ys.mean() + far * np.sin(angle)),
            )
            if not (solid & (_alpha(layer, size) > 100)).any():
                return layer
        return None


def _normal(weights: list[float]) -> NDArray[np.float64]:
    p: NDArray[np.float64] = np.asarray(weights, np.float64) / sum(weights)
    return p


def _with(base: Layout, layers: list[Layer], visible: NDArray[np.bool_]) -> Layout:
    x0, y0, x1, y1 = (PROBE * c for c in Mask.from_array(visible).box)
    return replace(base, layers=tuple(layers), box=(x0, y0, x1, y1))


def _alpha(layer: Layer, size: tuple[int, int]) -> Image:
    """Alpha of a layer on the coarse probe grid, where one pixel is PROBE units."""
    level = 1 if len(layer.sprite.levels) > 1 else 0
    return warp(layer.sprite.levels[level][..., 3], layer.matrix / PROBE, _probe(size), 2**level)


def _probe(size: tuple[int, int]) -> tuple[int, int]:
    return math.ceil(size[0] / PROBE), math.ceil(size[1] / PROBE)


def _target_extent(base: Layout) -> tuple[float, float, float, float]:
    layer = base.layers[base.target]
    x0, y0, x1, y1 = layer.sprite.box
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float) @ layer.matrix[:, :2].T + layer.matrix[:, 2]
    return (*corners.min(0), *corners.max(0))


def _full_area(base: Layout) -> float:
    layer = base.layers[base.target]
    return float((layer.sprite.levels[0][..., 3] > 127).sum() * abs(np.linalg.det(layer.matrix[:, :2])))
