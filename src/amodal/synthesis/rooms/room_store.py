"""Rendered rooms as a source of training crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.arrays import read_npz
from ...core.errors import DataError
from ...core.mask import Mask
from ..composites.paint import Painted
from ..composites.sprites import warp
from ..composites.views import crop_view
from .rooms import Room

__all__ = ["RoomStore"]

ARRAYS = ("image", "owner", "shape", "origin", "length", "bits", "count")
"""What a shard of rooms holds."""


class RoomStore:
    """Rendered rooms in memory, as a source of training crops.

    Args:
        folder: Shards written by `build_rooms`.
    """

    def __init__(self, folder: Path) -> None:
        self.rooms: list[Room] = []
        for path in sorted(folder.glob("rooms-*.npz")):
            self.rooms += _unpack(read_npz(path, ARRAYS, DataError, "make rooms with amodal data build rooms"))
        self.covered: list[tuple[int, int]] = []
        self.clear: list[tuple[int, int]] = []
        for r, room in enumerate(self.rooms):
            seen = np.bincount(room.owner.ravel(), minlength=len(room.masks) + 1)[1:]
            for i, mask in enumerate(room.masks):
                area = int(mask.sum())
                if seen[i] < 60 or area < 200 or seen[i] < 0.12 * area:
                    continue
                (self.covered if seen[i] < 0.88 * area else self.clear).append((r, i))
        if not self.covered:
            raise DataError(
                f"no rendered rooms with occluded objects in {folder}; make some with amodal data build rooms"
            )

    def draw(
        self, rng: np.random.Generator, factor: float, size: int, shift: Any, flip: bool, within: bool = False
    ) -> Painted:
        """A crop around one object: an occluded one four times out of five."""
        pool = self.covered if rng.random() < 0.8 or not self.clear else self.clear
        r, i = pool[int(rng.integers(len(pool)))]
        room = self.rooms[r]
        box = Mask.from_array(room.owner == i + 1).box
        view = crop_view(box, factor, size, shift, flip, room.owner.shape if within else None)
        return _crop(room, i, view, size)


def _crop(room: Room, i: int, view: NDArray[np.float64], size: int) -> Painted:
    out = (size, size)
    scale, shrink = abs(float(view[0, 0])), 1
    source = room.image
    if scale < 0.6:
        shrink = 2
        source = cv2.resize(source, (source.shape[1] // 2, source.shape[0] // 2), interpolation=cv2.INTER_AREA)
    image = warp(source, view, out, shrink)
    near = view.copy()
    near[:, 2] += view[:, :2] @ np.array([0.5, 0.5]) - 0.5
    owner = cv2.warpAffine(room.owner, near, (size, size), flags=cv2.INTER_NEAREST, borderValue=255)
    canvas = np.zeros(room.owner.shape, np.uint8)
    (x, y), bits = room.origins[i], room.masks[i]
    canvas[y : y + bits.shape[0], x : x + bits.shape[1]] = bits
    amodal = cv2.warpAffine(canvas, near, (size, size), flags=cv2.INTER_NEAREST) > 0
    inside = owner != 255
    visible = owner == i + 1
    amodal = (amodal | visible) & inside
    over = np.unique(room.owner[(canvas > 0) & (room.owner != i + 1)])
    occluder = np.isin(owner, over[over > 0])
    return Painted(image, visible, amodal, occluder, inside, inside, owner)


def _unpack(data: Any) -> list[Room]:
    rooms, at, byte = [], 0, 0
    image, owner, shape, origin, length, bits, counts = (data[k] for k in ARRAYS)
    for r, count in enumerate(counts):
        masks, origins = [], []
        for _ in range(int(count)):
            h, w = (int(v) for v in shape[at])
            flat = np.unpackbits(bits[byte : byte + length[at]])[: h * w]
            masks.append(flat.astype(bool).reshape(h, w))
            origins.append((int(origin[at][0]), int(origin[at][1])))
            byte += int(length[at])
            at += 1
        rooms.append(Room(image[r], owner[r], tuple(masks), tuple(origins)))
    return rooms
