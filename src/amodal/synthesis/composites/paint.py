"""Painting a layout into pixels and exact masks, at any view: the whole frame for fixed sets, a crop for training."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.mask import Mask
from .place import Affine, Layer, Layout
from .sprites import Bits, Image, warp


@dataclass(frozen=True)
class Painted:
    """A painted composite and its truth, all (H, W).

    Attributes:
        image: (H, W, 3) uint8 RGB.
        visible: Part of the target that can be seen.
        amodal: The whole target, inside the view.
        occluder: Visible part of everything that covers some of the target.
        inside: Where the picture is (a view may reach over its frame).
        known: Where the amodal truth is known.
        owner: (H, W) uint8, 1 + index of the layer seen at each pixel, 0 for the background.
    """

    image: Image
    visible: Bits
    amodal: Bits
    occluder: Bits
    inside: Bits
    known: Bits
    owner: Image


def paint(
    layout: Layout, view: Affine | None = None, size: tuple[int, int] | None = None, plain: bool = False
) -> Painted:
    """Paint a layout.

    Args:
        view: 2 x 3 map from frame units to output pixels; identity if None.
        size: Output (H, W); the frame's own size if None.
        plain: Edges are hard: a pixel belongs to one thing alone.
    """
    view = np.array([[1.0, 0, 0], [0, 1.0, 0]]) if view is None else view
    size = size or layout.size
    canvas = _background(layout, view, size)
    owner = np.zeros(size, np.uint8)
    masks: list[Bits] = []
    for index, layer in enumerate(layout.layers):
        rgba = layer.sprite.warp(chain(view, layer.matrix), size)
        rgba = hard(rgba) if plain else rgba
        masks.append(_lay(canvas, rgba, layer))
        owner[masks[-1]] = index + 1
    inside = _inside(layout, view, size)
    photo, front = layout.photo, layout.target + 1
    if photo is None:
        amodal = masks[layout.target]
        visible = (owner == layout.target + 1) & inside
    else:
        amodal = warp(photo.mask, chain(view, layout.background_matrix), size) > 127
        visible = amodal & (owner == 0) & inside
    covering = [i for i in range(front, len(masks)) if (masks[i] & amodal).any()]
    occluder = np.isin(owner, [i + 1 for i in covering]) & inside
    known = np.ones(size, bool)
    if photo is not None and photo.unknown is not None:
        # Under a pasted occluder the old neighbours are as unknown as where they are seen.
        known = warp(photo.unknown, chain(view, layout.background_matrix), size) <= 127
        known |= amodal
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    image[~inside] = 0
    return Painted(image, visible, amodal, occluder, inside, known, owner)


def hard(rgba: Image) -> Image:
    """Premultiplied RGBA with an alpha of 0 or 255."""
    alpha = rgba[..., 3:]
    scale = np.where(alpha > 127, 255 / np.maximum(alpha, 1).astype(np.float32), 0)
    return np.asarray(np.rint(np.minimum(rgba * scale, 255)), np.uint8)


def resize(painted: Painted, size: tuple[int, int]) -> Painted:
    """The same at another (H, W), as if the composite had been a picture file: averaged when it shrinks, else linear."""
    shrinks = size[0] < painted.image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    h, w = size

    def bits(plane: Bits) -> Bits:
        return np.asarray(cv2.resize(plane.astype(np.float32), (w, h), interpolation=how) > 0.5)

    return Painted(
        np.asarray(cv2.resize(painted.image, (w, h), interpolation=how), np.uint8),
        bits(painted.visible),
        bits(painted.amodal),
        bits(painted.occluder),
        bits(painted.inside),
        bits(painted.known),
        np.asarray(cv2.resize(painted.owner, (w, h), interpolation=cv2.INTER_NEAREST), np.uint8),
    )


def chain(outer: Affine, inner: Affine) -> Affine:
    """The affine map `inner` followed by `outer`, both 2 x 3."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _background(layout: Layout, view: Affine, size: tuple[int, int]) -> NDArray[np.float32]:
    matrix = chain(view, layout.background_matrix)
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    source, shrink = layout.background, 1
    if scale < 0.6:
        shrink = 2 if scale > 0.3 else 4
        h, w = source.shape[0] // shrink, source.shape[1] // shrink
        source = cv2.resize(source[: h * shrink, : w * shrink], (w, h), interpolation=cv2.INTER_AREA)
    return warp(source, matrix, size, shrink, border=1).astype(np.float32)


def _lay(canvas: NDArray[np.float32], rgba: Image, layer: Layer) -> Bits:
    """Paint one premultiplied layer over the canvas, only inside its own box; return its solid mask."""
    solid: Bits = rgba[..., 3] > 127
    x0, y0, x1, y1 = Mask.from_array(rgba[..., 3]).box
    if x0 == x1:
        return solid
    cut = (slice(y0, y1), slice(x0, x1))
    alpha = rgba[cut][..., 3:].astype(np.float32) / 255
    if layer.shadow > 0:
        _shadow(canvas, rgba[..., 3], layer.shadow, y1 - y0 - 1)
    colour = rgba[cut][..., :3] * layer.gain.astype(np.float32) + np.float32(layer.lift) * alpha
    canvas[cut] = canvas[cut] * (1 - alpha) + np.clip(colour, 0, 255)
    return solid


def _shadow(canvas: NDArray[np.float32], alpha: Image, strength: float, height: int) -> None:
    """A soft contact shadow: the silhouette moved down and aside, blurred; the object then covers its middle."""
    reach = max(1.0, 0.04 * height)
    moved = warp(alpha, np.array([[1, 0, reach], [0, 1, reach]], float), alpha.shape[:2])
    soft = cv2.GaussianBlur(moved, (0, 0), reach)
    canvas *= 1 - strength * (soft.astype(np.float32) / 255)[..., None]


def _inside(layout: Layout, view: Affine, size: tuple[int, int]) -> Bits:
    """Views are axis-parallel, so the frame is a rectangle in them."""
    corners = np.array([[0.0, 0.0], [layout.size[1], layout.size[0]]]) @ view[:, :2].T + view[:, 2]
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    return np.asarray(((y > y0) & (y < y1))[:, None] & ((x > x0) & (x < x1)))
