"""Inpainting pairs: what an inpainter is shown (condition, area) and the picture that it should make of it.

Two kinds, as an inpainter meets them in this package: *objects*, where the visible part stands on a plain background and the
whole object is wanted (the tuning-free method's condition image, and the painting of occluded pixels), and *photographs* with
a hole of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.scaling import to_unit
from .library import Library
from .paint import Painted, paint
from .place import Layout, Placer
from .sprites import Bits
from .views import crop_view, wear

__all__ = ["PairConfig", "PairStream"]

Array = NDArray[np.float32]
Pair = tuple[Array, Array, Array, Array, Array]
"""Target, condition, area, weight, object."""
OBJECT_TARGETS = {"person": 0.25, "thing": 0.45, "photo": 0.1, "render": 0.15, "shape": 0.05}
SEEN, OCCLUDED, ELSEWHERE = 0.15, 2.5, 0.02
"""How much a pixel of the visible part, of the hidden part, and one far from object and area count; others count 1."""
KINDS = {"none": 0.12, "one": 0.48, "two": 0.28, "bars": 0.12}


@dataclass(frozen=True)
class PairConfig:
    """What the pairs are made of.

    Attributes:
        size: side of the square pictures, in pixels.
        objects: share of object pairs; the rest are photographs with a hole.
        noise: largest share of Gaussian noise in the object's condition pixels (the tuning-free paper's s is 0.3).
    """

    size: int = 128
    objects: float = 0.65
    noise: float = 0.4


class PairStream:
    """Pairs by number: the same number, the same pair."""

    def __init__(self, library: Library, config: PairConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        wholes = {
            name: weight for name, weight in OBJECT_TARGETS.items() if name == "photo" or library.wholes.get(name)
        }
        self.placer = Placer(library, wholes, KINDS)

    def sample(self, index: int) -> Pair:
        """Pair number `index`.

        Returns:
            target (3, S, S) and condition (3, S, S) float32, nominally in [-1, 1], area (1, S, S) float32 in {0, 1},
            weight (1, S, S) float32 > 0: how much each pixel of the picture counts, and object (1, S, S) float32 in
            {0, 1}: where the target is not the condition's ground; in a photograph with a hole, the hole.
        """
        rng, layout, view, painted = self._draw(index)
        if rng.random() < self.config.objects:
            return self._object(rng, layout, view, painted)
        return self._photo(rng, painted)

    def painting(self, index: int) -> tuple[Array, Bits, Bits]:
        """Painting number `index`, for whoever is told what is known and nothing of the object's shape.

        Returns:
            picture (S, S, 3) float32 in [-1, 1], known (S, S) and wanted (S, S) bool: the occluded pixels of an object of which
            only the visible ones are known, or a photograph's hole. What is neither does not matter.
        """
        rng, layout, view, painted = self._draw(index)
        if rng.random() < self.config.objects:
            seen, complete, amodal = self._both(rng, layout, view, painted)
            visible = painted.visible
            return np.where(visible[..., None], seen, complete), visible, amodal & ~visible
        image, area = to_unit(wear(rng, painted.image)), photo_area(rng, painted)
        return image, ~area & painted.inside, area & painted.inside

    def _draw(self, index: int) -> tuple[np.random.Generator, Layout, NDArray[np.float64], Painted]:
        """The chance of pair number `index`, a layout with a target that can be seen, its view and its picture."""
        rng = np.random.default_rng([self.seed, index])
        for _ in range(20):
            layout = self.placer.draw(rng)
            factor = float(np.exp(rng.uniform(np.log(1.2), np.log(2.4))))
            shift = tuple(rng.uniform(-1, 1, 2) * 0.1)
            view = crop_view(layout.box, factor, self.config.size, shift, bool(rng.random() < 0.5))
            painted = paint(layout, view, (self.config.size, self.config.size))
            if painted.visible.sum() >= 40:
                break
        return rng, layout, view, painted

    def _both(
        self, rng: np.random.Generator, layout: Layout, view: NDArray[np.float64], painted: Painted
    ) -> tuple[Array, Array, Bits]:
        """The picture with the occluders and without, (S, S, 3) float32 each, and the amodal mask (S, S)."""
        size = (self.config.size, self.config.size)
        alone = replace(
            layout,
            layers=() if layout.photo is not None else (layout.layers[layout.target],),
            target=-1 if layout.photo is not None else 0,
        )
        clear = paint(alone, view, size)
        both = to_unit(wear(rng, np.hstack([painted.image, clear.image])))
        amodal = (clear.amodal & painted.inside) | painted.visible  # what lies beyond the frame was never photographed
        return both[:, : size[1]], both[:, size[1] :], amodal

    def _object(self, rng: np.random.Generator, layout: Layout, view: NDArray[np.float64], painted: Painted) -> Pair:
        seen, complete, amodal = self._both(rng, layout, view, painted)
        visible = painted.visible
        ground = background(rng, seen, visible)
        target = np.where(amodal[..., None], complete, ground)
        condition = np.where(visible[..., None], seen, ground)
        occluded = amodal & ~visible
        area = object_area(rng, visible, occluded)
        weight = object_weight(area, visible, occluded, np.square(target - ground).mean(axis=2))
        share = float(rng.uniform(0, self.config.noise)) if rng.random() < 0.6 else 0.0
        if share:
            noise = rng.standard_normal(condition.shape, np.float32)
            noisy = (1 - share) * condition + share * noise
            condition = np.where(visible[..., None], noisy, condition)
        return planes(target, condition, area, weight, amodal)

    def _photo(self, rng: np.random.Generator, painted: Painted) -> Pair:
        image = to_unit(wear(rng, painted.image))
        area = photo_area(rng, painted)
        known = ~area & painted.inside
        fill = image[known].mean(axis=0) if known.any() else np.zeros(3, np.float32)
        condition = np.where(known[..., None], image, fill)
        target = np.where(painted.inside[..., None], image, fill)
        return planes(target, condition, area, np.where(area, 1.0, ELSEWHERE), ~known)

    def batch(self, number: int, count: int) -> Pair:
        """Batch number `number`: two of (B, 3, S, S), three of (B, 1, S, S)."""
        items = [self.sample(number * count + i) for i in range(count)]
        target, condition, area, weight, thing = (np.stack(part) for part in zip(*items, strict=True))
        return target, condition, area, weight, thing


def planes(
    target: NDArray[np.floating], condition: NDArray[np.floating], area: Bits, weight: NDArray[np.floating], thing: Bits
) -> Pair:
    """(S, S, 3) pictures to contiguous (3, S, S) float32, area, weight and object to (1, S, S)."""
    first, second = (np.ascontiguousarray(p.transpose(2, 0, 1), np.float32) for p in (target, condition))
    where, counts, whole = (part[None].astype(np.float32) for part in (area, weight, thing))
    return first, second, where, counts, whole


def background(rng: np.random.Generator, image: Array, visible: Bits) -> Array:
    """What surrounds the object: its mean colour, colours drawn from its own pixels and blurred, or any plain colour."""
    colours = image[visible]
    kind = rng.random()
    if kind < 0.15:
        return np.broadcast_to(colours.mean(axis=0), image.shape).astype(np.float32)
    if kind < 0.8:
        drawn = colours[rng.integers(len(colours), size=visible.shape)]
        sigma = float(np.exp(rng.uniform(np.log(0.015), np.log(0.1))) * len(visible))
        return np.asarray(cv2.GaussianBlur(drawn, (0, 0), sigma), np.float32)
    return np.broadcast_to(rng.uniform(-1, 1, 3), image.shape).astype(np.float32)


def object_area(rng: np.random.Generator, visible: Bits, occluded: Bits) -> Bits:
    """Everything but the visible object; its convex hull, often grown; or the hidden part, grown and ragged.

    The hull need not reach all of the hidden part: the tuning-free method's area does not know it.
    """
    kind, size = rng.random(), len(visible)
    if kind < 0.15:
        return ~visible
    if kind < 0.75:
        points = cv2.convexHull(np.argwhere(visible)[:, ::-1].astype(np.int32))
        canvas = np.zeros(visible.shape, np.uint8)
        cv2.fillConvexPoly(canvas, points, 1)
        return grow(canvas, int(rng.integers(0, size // 6)) if rng.random() < 0.25 else 0)
    return np.asarray(grow(occluded.astype(np.uint8), int(rng.integers(0, size // 8))) & ~visible)


def object_weight(area: Bits, visible: Bits, occluded: Bits, contrast: NDArray[np.floating]) -> NDArray[np.floating]:
    """How much each pixel counts: the hidden part most, what is near the object or in the area 1, the rest less.

    The area says where to start, not where to end: the object may go on beyond it. A pair whose hidden part looks like the
    ground counts more, or its shape would not be learnt.

    Args:
        contrast: (S, S) squared difference of target and ground.
    """
    near = area | grow((visible | occluded).astype(np.uint8), len(area) // 8)
    weight = np.where(visible, SEEN, np.where(occluded, OCCLUDED, np.where(near, 1.0, ELSEWHERE)))
    apart = float(contrast[occluded].mean()) if occluded.any() else 0.5
    return weight * float(np.clip(0.3 / (apart + 0.03), 0.5, 6.0))


def photo_area(rng: np.random.Generator, painted: Painted) -> Bits:
    """A hole: where something stands in the picture, a box, or some strokes."""
    kind, size = rng.random(), painted.visible.shape[0]
    canvas = np.zeros(painted.visible.shape, np.uint8)
    if kind < 0.4:
        shape = painted.occluder if painted.occluder.any() else painted.visible
        canvas = np.roll(shape.astype(np.uint8), rng.integers(-size // 4, size // 4, 2), (0, 1))
    elif kind < 0.7:
        side = rng.integers(size // 8, size // 2, 2)
        top = rng.integers(0, size - side)
        canvas[top[0] : top[0] + side[0], top[1] : top[1] + side[1]] = 1
    else:
        points = rng.integers(0, size, (int(rng.integers(2, 6)), 2)).astype(np.int32)
        cv2.polylines(canvas, [points], False, 1, int(rng.integers(6, max(7, size // 5))))
    return np.asarray(grow(canvas, int(rng.integers(0, 5))))


def grow(bits: NDArray[np.uint8], reach: int) -> Bits:
    """Dilate by a disc of `reach` pixels."""
    if reach <= 0:
        return bits > 0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(bits, kernel) > 0)
