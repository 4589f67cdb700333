"""Patches of what is known: `from_patches` fills a hole in a photograph with them, `retouched` gives a painting their texture.

A hole is filled from coarse to fine, each of its patches like one that is known.
Search and vote in turn, as Wexler, Shechtman and Irani do (Space-Time Completion of Video, PAMI 2007), from a first guess that grows
inwards from the rim (Newson et al., Video Inpainting of Complex Scenes, 2014). On coarse levels all patches are compared, on finer ones
the coarser match and the neighbours' matches (Barnes et al., PatchMatch, SIGGRAPH 2009). Nothing is drawn by chance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..core.image import Image

__all__ = ["from_patches", "retouched"]

REACH = 3
SIDE = 2 * REACH + 1
"""Pixels from a patch's centre to its edge, and from edge to edge."""
COARSEST, COMPARED = 48, 100
"""Longer side of the coarsest level, at least; of the last level on which all patches are compared, at most."""
ROUNDS = 3
"""Searches and votes on each level."""
NUMBERS = 24
"""Principal components by which patches are compared where all are, and how many patches must be known."""
PEELED = 2500
"""Known patches, about, that are tried for the first guess."""
OWN = 600
"""Known patches, about, that a painting is retouched with."""
UNITS = 256
"""To one of a picture's values: patches whose squared distances agree to a whole one of these are equally near."""
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0), (0, 2), (2, 0), (0, -2), (-2, 0))
"""Rows and columns to the neighbours whose matches are tried."""

Floats = NDArray[np.float32]
Bits = NDArray[np.bool_]
Places = NDArray[np.int64]
"""(2, N) or (2, h, w): rows and columns of patches' centres."""


class Level(NamedTuple):
    """The picture (h, w, 3) at one size, its hole (h, w), the patches that reach into the hole and those that are known."""

    picture: Floats
    hole: Bits
    wanted: Places
    known: Bits


def from_patches(picture: Floats, hole: Bits, start: Floats) -> Floats:
    """The picture with its hole filled by patches of what is known; by `start` where hardly a patch is known.

    Args:
        picture: (H, W, 3) float32.
        hole: (H, W) bool; True where the picture is not known.
        start: (H, W, 3) float32, another filling.
    """
    import cv2

    high, low = max(hole.shape), min(hole.shape)
    shrinks = [2**k for k in range(8) if (high >= COARSEST * 2**k or not k) and low >= SIDE * 2**k]
    matches: Places | None = None  # (2, h, w) of the coarser level: where the patch at each pixel was found
    made = start
    for shrink in reversed(shrinks):
        level = _level(picture, hole, made, shrink)
        if np.count_nonzero(level.known) < NUMBERS or not level.wanted.size:
            continue
        if matches is None:
            level = level._replace(picture=_peeled(level))
        else:
            matches = _nearest(level.known, _at(_finer(matches, level.hole.shape), level.wanted))
        made, matches = _settle(level, matches)
    whole = cv2.resize(made, hole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where(hole[..., None], whole, picture))


def retouched(picture: Image, known: Bits, part: Bits) -> Image:
    """The picture, a part of it made of the known patches that are most like what is there; as it is where hardly a patch is known.

    Each patch that reaches into the part is replaced by the nearest known one, and each pixel becomes the mean of what the patches
    over it say. All sums are of whole numbers below 2^24, so that they are the same on every processor.

    Args:
        picture: (H, W, 3) uint8.
        known: (H, W) bool; where patches are taken from.
        part: (H, W) bool; what is retouched.
    """
    import cv2

    square = np.ones((SIDE, SIDE), np.uint8)
    inner = np.zeros_like(known)
    inner[REACH:-REACH, REACH:-REACH] = True
    whole = inner & cv2.erode(known.view(np.uint8), square, borderValue=0).view(bool)
    wanted = np.stack(np.nonzero(inner & cv2.dilate(part.view(np.uint8), square).view(bool)))
    there = np.stack(np.nonzero(whole))[:, :: 1 + np.count_nonzero(whole) // OWN]
    if there.shape[1] < NUMBERS or not wanted.size:
        return picture
    values = picture.astype(np.float32) - 128
    matches = there[:, _nearest_keys(_patches(values, there), _patches(values, wanted))]
    level = Level(values, part, wanted, whole)
    made = _vote(values, level, matches, np.ones(wanted.shape[1], np.float32)) + 128
    return np.where(part[..., None], np.rint(made), picture).astype(np.uint8)


def _nearest_keys(keys: Floats, asked: Floats) -> Places:
    """(N,): of the keys (K, D) the number of the nearest one to each of what is asked (N, D); the first of those that are equally near
    to a whole unit, whatever the order in which a processor adds up."""
    half = (keys**2).sum(axis=1) / 2
    rows = max(1, (1 << 21) // len(keys))
    parts = [np.argmax(np.rint(asked[k : k + rows] @ keys.T - half), axis=1) for k in range(0, len(asked), rows)]
    return np.concatenate(parts)


def _level(picture: Floats, hole: Bits, made: Floats, shrink: int) -> Level:
    import cv2

    size = (hole.shape[1] // shrink, hole.shape[0] // shrink)
    area = cv2.INTER_AREA
    unknown = cv2.resize(hole.astype(np.float32), size, interpolation=area) > 0
    guess = cv2.resize(made, size, interpolation=area if made.shape[1] >= size[0] else cv2.INTER_LINEAR)
    both = np.where(unknown[..., None], guess, cv2.resize(picture, size, interpolation=area))
    touched = cv2.dilate(unknown.view(np.uint8), np.ones((SIDE, SIDE), np.uint8)).view(bool)
    inner = np.zeros_like(unknown)
    inner[REACH:-REACH, REACH:-REACH] = True
    return Level(np.asarray(both, np.float32), unknown, np.stack(np.nonzero(touched & inner)), inner & ~touched)


def _peeled(level: Level) -> Floats:
    """A first guess: rings of the hole, from its rim inwards, each pixel from the patch that fits what is told around it."""
    import cv2

    picture: Floats = level.picture.copy()
    missing = level.hole.copy()
    known = np.stack(np.nonzero(level.known))
    known = known[:, :: 1 + known.shape[1] // PEELED]
    keys, middles = _patches(picture, known).astype(np.float64) * UNITS, _at(picture.transpose(2, 0, 1), known).T
    squares = (keys**2).T
    while True:
        told = cv2.erode(missing.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).view(bool)
        ring = np.zeros_like(missing)
        ring[REACH:-REACH, REACH:-REACH] = (missing & ~told)[REACH:-REACH, REACH:-REACH]
        places = np.stack(np.nonzero(ring))
        if not places.size:
            return picture
        weight = _patches(np.repeat(~missing[..., None], 3, axis=2).astype(np.float32), places)
        asked = _patches(picture, places) * weight * UNITS
        apart = np.rint(weight @ squares - 2 * asked @ keys.T)
        picture[places[0], places[1]] = middles[apart.argmin(axis=1)]
        missing[places[0], places[1]] = False


def _settle(level: Level, matches: Places | None) -> tuple[Floats, Places]:
    """Search and vote in turn; the picture, and (2, h, w) where the patch at each pixel was found (itself where known)."""
    picture = level.picture
    for turn in range(ROUNDS):
        if matches is None or max(level.hole.shape) <= COMPARED:
            matches, apart = _compare(picture, level)
        else:
            matches, apart = _propagate(picture, level, matches)
        usual = np.percentile(apart, 75) + 1e-4
        # The last vote is for the best matches alone: means of many would be blurred.
        weights = np.exp(-apart / (usual * (2 if turn < ROUNDS - 1 else 0.3))) + 1e-6
        picture = _vote(picture, level, matches, weights.astype(np.float32))
    field: Places = np.indices(level.hole.shape)
    assert matches is not None
    field[:, level.wanted[0], level.wanted[1]] = matches
    return picture, field


def _compare(picture: Floats, level: Level) -> tuple[Places, Floats]:
    """Of all known patches the one nearest to each wanted one, and how far it is apart (N,)."""
    known = np.stack(np.nonzero(level.known))
    keys, asked = _patches(picture, known), _patches(picture, level.wanted)
    mean = keys.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh((keys - mean).T @ (keys - mean))
    best = _nearest_keys(*((each - mean) @ axes[:, -NUMBERS:] * UNITS for each in (keys, asked)))
    return known[:, best], ((asked - keys[best]) ** 2).mean(axis=1)


def _propagate(picture: Floats, level: Level, matches: Places) -> tuple[Places, Floats]:
    """Better ones of the matches that the neighbours have, each moved by as much as the neighbour is away."""
    asked, matches = _patches(picture, level.wanted), matches.copy()
    apart = ((asked - _patches(picture, matches)) ** 2).mean(axis=1)
    limit = np.array(level.hole.shape)[:, None]
    field = np.full((2, *level.hole.shape), -1)
    for step in np.array(STEPS)[:, :, None]:
        field[:, level.wanted[0], level.wanted[1]] = matches
        found = _at(field, np.clip(level.wanted + step, 0, limit - 1)) - step
        inside = ((found >= 0) & (found < limit)).all(axis=0)
        tried = np.flatnonzero(inside & _at(level.known, np.clip(found, 0, limit - 1)) & (found != matches).any(axis=0))
        distance = ((asked[tried] - _patches(picture, found[:, tried])) ** 2).mean(axis=1)
        better = distance < apart[tried]
        matches[:, tried[better]], apart[tried[better]] = found[:, tried[better]], distance[better]
    return matches, apart


def _vote(picture: Floats, level: Level, matches: Places, weights: Floats) -> Floats:
    """The hole's pixels as the weighted mean of what the matches of all patches over them say."""
    total, weight = np.zeros_like(picture), np.zeros(level.hole.shape, np.float32)
    for offset in np.indices((SIDE, SIDE)).reshape(2, -1).T[:, :, None] - REACH:
        (y, x), there = level.wanted + offset, matches + offset
        total[y, x] += picture[there[0], there[1]] * weights[:, None]
        weight[y, x] += weights
    voted = level.hole & (weight > 0)
    out: Floats = picture.copy()
    out[voted] = total[voted] / weight[voted][:, None]
    return out


def _patches(picture: Floats, places: Places) -> Floats:
    """(N, 3 * SIDE * SIDE): the patches about places."""
    windows = sliding_window_view(picture, (SIDE, SIDE), axis=(0, 1))
    return np.asarray(windows[places[0] - REACH, places[1] - REACH].reshape(places.shape[1], 3 * SIDE * SIDE))


def _finer(field: Places, shape: tuple[int, ...]) -> Places:
    """Matches (2, h, w) of a coarser level at `shape`: each pixel's is where its coarser pixel's lies, as far into it."""
    places = np.indices(shape)
    ratio = np.array([new / old for new, old in zip(shape, field.shape[1:], strict=True)])[:, None, None]
    coarse = np.minimum((places / ratio).astype(np.int64), np.array(field.shape[1:])[:, None, None] - 1)
    return np.asarray(np.rint(_at(field, coarse) * ratio + places - coarse * ratio).astype(np.int64))


def _nearest(known: Bits, places: Places) -> Places:
    """Each place (2, N), or the nearest one that is known."""
    import cv2

    _, labels = cv2.distanceTransformWithLabels((~known).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    there = np.stack(np.nonzero(known))
    of_label = np.zeros((2, int(labels.max()) + 1), np.int64)
    of_label[:, _at(labels, there)] = there
    return of_label[:, _at(labels, np.clip(places, 0, np.array(known.shape)[:, None] - 1))]


def _at(values: NDArray[Any], places: Places) -> NDArray[Any]:
    """What an array (..., h, w) holds at places."""
    return np.asarray(values[..., places[0], places[1]])
