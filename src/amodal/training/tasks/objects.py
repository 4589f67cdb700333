"""Objects for training: the project's data sets in a mixture, drawn by chance, cut into crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...crop import Crop
from ...data import Dataset, Sample, dataset
from ...data.crops import Augmentation, random_crop
from ...mask import Mask
from ..recipe import RecipeError, section

__all__ = ["CropConfig", "Mixture", "ObjectBatches", "SetConfig", "fixed_samples", "open_sets"]

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class SetConfig:
    """One data set of a mixture.

    Attributes:
        name: as in `amodal list datasets`.
        root: its folder.
        split: its part; "" is the reader's default.
        share: how often it is drawn from, relative to the others.
        options: of the reader.
    """

    name: str = "folder"
    root: str = ""
    split: str = ""
    share: float = 1.0
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class CropConfig:
    """How crops vary; see `amodal.data.crops.Augmentation`."""

    shift: float = 0.2
    scale: tuple[float, ...] = (0.8, 1.2)
    flip: float = 0.5
    enlarge: float = 3.0
    margin: float = 1.1

    def augmentation(self) -> Augmentation:
        """As the cropping functions take it."""
        low, high = self.scale
        return Augmentation(self.shift, (low, high), self.flip, self.enlarge, self.margin)


@dataclass(frozen=True)
class OpenSet:
    """A data set that is read from, and how often."""

    data: Dataset
    share: float


def open_sets(sets: tuple[dict[str, object], ...], where: str) -> list[OpenSet]:
    """The data sets of a recipe's list.

    Raises:
        RecipeError: an unknown key, or no set at all.
        DataError, UsageError: a set cannot be opened.
    """
    configs = [section(entry, SetConfig, where) for entry in sets]
    if not configs:
        raise RecipeError(f'{where} names no data set; give [[{where}]] name = "cocoa", root = "FOLDER"')
    return [OpenSet(dataset(c.name, c.root, c.split or None, options=c.options), c.share) for c in configs]


class Mixture:
    """Objects drawn from several sets: first the set by its share, then one of its objects, all equally likely."""

    def __init__(self, sets: list[OpenSet]) -> None:
        self.sets = sets
        shares = np.array([one.share for one in sets], np.float64)
        self.odds = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Sample:
        """One object with a visible part."""
        for _ in range(1000):
            data = self.sets[rng.choice(len(self.sets), p=self.odds)].data
            sample = data[int(rng.integers(len(data)))]
            if sample.visible:
                return sample
        raise RecipeError("a thousand objects in a row have no visible pixel; look at the data with amodal data check")

    def crop(
        self, rng: np.random.Generator, size: int, augmentation: Augmentation, *, shift: bool = True
    ) -> tuple[Sample, Crop, bool]:
        """An object large enough to train on, the crop around it, and whether that is mirrored."""
        for _ in range(1000):
            sample = self.draw(rng)
            made = random_crop(sample.visible.box, size, rng, augmentation, shift=shift)
            if made is not None:
                return sample, *made
        raise RecipeError(
            "a thousand objects in a row are smaller than 5 pixels; look at the data with amodal data stats"
        )


class ObjectBatches:
    """Batches by number, each sample made by `make(mixture, rng)`; the sets are opened when the first is asked for.

    Args:
        sets: opens the mixture; called in each data process.
        make: one sample's arrays.
        seed: sample k of batch n depends on (seed, n, k) alone.
        count: samples a batch.
    """

    def __init__(
        self,
        sets: Callable[[], Mixture],
        make: Callable[[Mixture, np.random.Generator], Arrays],
        seed: int,
        count: int,
    ) -> None:
        self.sets, self.make, self.seed, self.count = sets, make, seed, count
        self._mixture: Mixture | None = None

    def __getitem__(self, number: int) -> Arrays:
        if self._mixture is None:
            self._mixture = self.sets()
        rows = [
            self.make(self._mixture, np.random.default_rng([self.seed, number, place])) for place in range(self.count)
        ]
        return tuple(np.stack(column) for column in zip(*rows, strict=True))


def fixed_samples(sets: tuple[dict[str, object], ...], limit: int) -> list[Sample]:
    """The first `limit` objects of each set of `data.validation` that have a visible part: what a run is validated on."""
    chosen: list[Sample] = []
    for one in open_sets(sets, "data.validation") if sets else []:
        count = 0
        for sample in one.data:
            if sample.visible and count < limit:
                chosen.append(sample)
                count += 1
            elif count >= limit:
                break
    return chosen


def crop_scores(rows: list[tuple[Mask, Mask, Mask]]) -> dict[str, float]:
    """Mean IoU, and mean IoU of the occluded region over objects more than 5 % occluded, in percent.

    Args:
        rows: predicted amodal, visible and true amodal masks; the visible mask is added to the prediction, as the
            pipeline does.
    """
    every, hidden = [], []
    for predicted, visible, amodal in rows:
        made = predicted | visible
        every.append(made.iou(amodal))
        truth = amodal - visible
        if truth.area > 0.05 * amodal.area:
            hidden.append((made - visible).iou(truth))
    scores = {"iou": every, "occluded_iou": hidden}
    return {name: 100 * float(np.mean(values)) for name, values in scores.items() if values}
