"""An endless, reproducible stream of training crops: sample number i is the same whenever and wherever it is drawn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator

from ...core.config import Weight
from ...core.errors import nearest
from .library import Library
from .paint import Painted, paint, resize
from .place import Affine, Layout, Placer
from .sprites import Image
from .views import crop_view, wear, worn_mask

if TYPE_CHECKING:
    from ..rooms.room_store import RoomStore

VISIBLE, AMODAL, OCCLUDER, INSIDE, KNOWN, GIVEN = (1 << i for i in range(6))
"""Bits of the truth plane of a crop. GIVEN is the visible mask as the network gets it, VISIBLE the true one."""


DEFAULT_TARGETS: dict[str, float] = {
    "person": 0.22,
    "thing": 0.25,
    "photo": 0.15,
    "scene": 0.06,
    "shape": 0.05,
    "render": 0.06,
    "room": 0.24,
}
DEFAULT_KINDS: dict[str, float] = {"none": 0.2, "one": 0.4, "two": 0.25, "bars": 0.15}


def _names(known: Collection[str]) -> AfterValidator:
    def check(weights: dict[str, float]) -> dict[str, float]:
        for name in weights:
            if name not in known:
                raise ValueError(f"nothing is called {name!r}; {nearest(name, known)}")
        return weights

    return AfterValidator(check)


Targets = Annotated[dict[str, Weight], _names(DEFAULT_TARGETS)]
"""Weight of each kind of target; one that is not named weighs 0."""
Kinds = Annotated[dict[str, Weight], _names(DEFAULT_KINDS)]
"""Weight of each kind of occlusion; one that is not named weighs 0."""


@dataclass(frozen=True)
class StreamConfig:
    """What a stream is made of. Weights need not sum to one.

    Attributes:
        size: Side of the square crops in pixels.
        targets: Weight of each kind of target; see `Placer`; "room" draws from rendered 3-D rooms.
        kinds: Weight of "none", "one", "two", "bars".
        factor: Range of the crop's side over the visible box's longer side.
        shift: Largest displacement of the crop's centre, as a fraction of its side.
        mask_noise: Share of samples whose visible mask is worn.
        within: Crops stay inside the picture as far as they can.
        plain: Share of samples pasted as simple builders do: hard edges, at a resolution of the composite's own.
    """

    size: int = 128
    targets: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_TARGETS))
    kinds: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_KINDS))
    factor: tuple[float, float] = (1.3, 2.8)
    shift: float = 0.12
    mask_noise: float = 0.3
    within: bool = False
    plain: float = 0.0


class CropStream:
    """Training crops by number.

    Args:
        library: Where objects come from.
        config: What the crops are.
        seed: With the index it decides everything about a sample.
        rooms: Rendered rooms for the "room" targets, if any.
    """

    def __init__(self, library: Library, config: StreamConfig, seed: int = 0, rooms: RoomStore | None = None) -> None:
        self.config = config
        self.seed = seed
        self.rooms = rooms
        flat = {g: w for g, w in config.targets.items() if g != "room"}
        self.placer = Placer(library, flat, config.kinds)
        total = sum(config.targets.values())
        self.room_share = config.targets.get("room", 0.0) / total if rooms is not None else 0.0

    def sample(self, index: int, size: int | None = None) -> tuple[Image, Image]:
        """Crop number `index`.

        Returns:
            RGB (S, S, 3) uint8 and the truth plane (S, S) uint8 of bits (`VISIBLE`, `AMODAL`, ...).
        """
        rng = np.random.default_rng([self.seed, index])
        size = size or self.config.size
        for _ in range(20):
            painted = self._draw(rng, size)
            if painted.visible.sum() >= 12:
                break
        image = wear(rng, painted.image)
        image[~painted.inside] = 0
        given = painted.visible
        if rng.random() < self.config.mask_noise:
            given = worn_mask(rng, given) & painted.inside
            given = given if given.any() else painted.visible
        # The given mask is taken at its word where nothing covers the object: only what is hidden is to be found.
        amodal = given | (painted.amodal & ~painted.visible)
        truth = (
            painted.visible * VISIBLE + amodal * AMODAL + painted.occluder * OCCLUDER + painted.inside * INSIDE
            + painted.known * KNOWN + given * GIVEN
        )  # fmt: skip
        return image, truth.astype(np.uint8)

    def _draw(self, rng: np.random.Generator, size: int) -> Painted:
        low, high = self.config.factor
        factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        shift = tuple(rng.uniform(-1, 1, 2) * self.config.shift * min(1.0, factor - 1))
        flip = bool(rng.random() < 0.5)
        if rng.random() < self.room_share and self.rooms is not None:
            return self.rooms.draw(rng, factor, size, shift, flip, self.config.within)
        layout = self.placer.draw(rng)
        frame = layout.size if self.config.within else None
        view = crop_view(layout.box, factor, size, shift, flip, frame)
        if self.config.plain and rng.random() < self.config.plain:
            return _plainly(rng, layout, view, size)
        return paint(layout, view, (size, size))

    def batch(self, number: int, count: int, size: int | None = None) -> tuple[Image, Image]:
        """Batch number `number`: samples number*count ... as (B, S, S, 3) and (B, S, S) uint8."""
        items = [self.sample(number * count + i, size) for i in range(count)]
        return np.stack([a for a, _ in items]), np.stack([b for _, b in items])


def _plainly(rng: np.random.Generator, layout: Layout, view: Affine, size: int) -> Painted:
    """A view of a composite that was made with hard edges at half a pixel to one a unit, then resized."""
    scale = float(np.exp(rng.uniform(np.log(0.5), np.log(1.1)))) / abs(view[1, 1])
    own = int(np.clip(round(size * scale), size // 3, 2 * size))
    return resize(paint(layout, view * (own / size), (own, own), plain=True), (size, size))
