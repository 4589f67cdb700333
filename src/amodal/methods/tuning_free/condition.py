"""The condition image: the visible object, partly noised, on a background made from its own colours."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.image import Image
from ...core.mask import Bits
from ...core.scaling import to_unit

__all__ = ["Background", "condition_picture", "draw_background"]

Background = Literal["histogram", "mean", "blur", "photo"]


def condition_picture(
    picture: Image,
    visible: Bits,
    background: NDArray[np.float32],
    object_noise: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The object's pixels `s eps + (1 - s) I`, everything else background (tuning-free paper: x_obj and x_bck).

    Args:
        picture: (S, S, 3) uint8 RGB, the photo around the object.
        visible: (S, S) bool.
        background: (S, S, 3) float32 in [-1, 1], of `draw_background`.
        object_noise: s in [0, 1].
        rng: draws eps, standard normal per channel.

    Returns:
        (S, S, 3) float32; the object's pixels may pass [-1, 1].
    """
    photo = to_unit(picture)
    noise = rng.standard_normal(photo.shape, np.float32)
    known = np.float32(object_noise) * noise + np.float32(1 - object_noise) * photo
    return np.where(visible[..., None], known, background)


GRID = 128
"""Cells a side for which the histogram background draws colours. Drawn for each pixel of a picture of 1,024, the blur, whose width
follows the side, would leave one colour: of 100 grey levels between two colours 11 are left at 128 pixels, and 1 at 1,024."""


def draw_background(
    picture: Image, visible: Bits, kind: Background, rng: np.random.Generator, *, blur: float = 0.02, bins: int = 16
) -> NDArray[np.float32]:
    """What surrounds the object in the condition image.

    An object on a contrasting ground makes the network draw an edge where the visible part ends; ground of the object's own
    colours does not (tuning-free paper).

    Args:
        picture: (S, S, 3) uint8 RGB.
        visible: (S, S) bool, not empty.
        kind: "histogram": colours drawn from the joint colour histogram of the visible pixels, one for each of at most `GRID` x
            `GRID` cells, then blurred, so that the ground looks alike at every S; "mean": their
            mean colour; "blur": the photo, blurred; "photo": the photo.
        rng: draws the colours.
        blur: standard deviation of the Gaussian blur, as a share of the side.
        bins: bins per channel of the histogram.

    Returns:
        (S, S, 3) float32 in [-1, 1].
    """
    import cv2

    colours = picture[visible]
    if kind == "mean":
        out = np.broadcast_to(colours.astype(np.float32).mean(axis=0), picture.shape)
    elif kind == "histogram":
        side = min(GRID, picture.shape[0])
        cells = draw_colours(colours, side * side, bins, rng).reshape(side, side, 3)
        out = cv2.resize(cells, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    else:
        out = picture.astype(np.float32)
    sigma = blur * picture.shape[0]
    if kind in ("histogram", "blur") and sigma > 0:
        out = cv2.GaussianBlur(out, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(out / 127.5 - 1, np.float32)


def draw_colours(colours: NDArray[np.uint8], count: int, bins: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """`count` colours from the joint histogram of `colours` (n, 3) uint8: a bin by its frequency, then uniform within it.

    Returns:
        (count, 3) float32 in [0, 255].
    """
    width = 256 / bins
    cells = (colours // width).astype(np.int64)
    codes = (cells[:, 0] * bins + cells[:, 1]) * bins + cells[:, 2]
    found, frequency = np.unique(codes, return_counts=True)
    drawn = rng.choice(found, size=count, p=frequency / frequency.sum())
    corner = np.stack([drawn // bins**2, drawn // bins % bins, drawn % bins], axis=1)
    return np.minimum((corner + rng.random((count, 3))) * width, 255).astype(np.float32)
