"""Objects for training: the project's data sets in a mixture, drawn by chance, cut into crops."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from torch import nn

from ...core.config import Count, Natural, Positive, Share, Span, Weight, config
from ...core.crop import Crop
from ...core.mask import Mask
from ...data import Dataset, Sample, dataset
from ...data.crops import Augmentation, random_crop
from ..recipe import RecipeError

T = TypeVar("T", bound=np.generic)
Arrays = tuple[NDArray[Any], ...]
Side = Annotated[int, Field(ge=8, le=4096)]
"""Side of a square crop in pixels."""


def _from_zero(sizes: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    firsts = [first for first, _ in sizes]
    if firsts[0] or sorted(set(firsts)) != firsts:
        raise ValueError("the first pair begins at step 0, each further one at a later step than the one before")
    return sizes


Sizes = Annotated[tuple[tuple[Natural, Side], ...], Field(min_length=1), AfterValidator(_from_zero)]
"""(first step, side) pairs, ascending from 0: a run may start on small crops."""


def side_at(sizes: Sizes, step: int) -> int:
    """The side of the crops of a step."""
    return [side for first, side in sizes if first <= step][-1]


@config
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
    share: Weight = 1.0
    options: dict[str, object] = field(default_factory=dict)


@config
class CropConfig:
    """How crops vary; see `amodal.data.crops.Augmentation`."""

    shift: Share = 0.2
    scale: Span = (0.8, 1.2)
    flip: Share = 0.5
    enlarge: Positive = 3.0
    margin: Positive = 1.1

    def augmentation(self) -> Augmentation:
        """As the cropping functions take it."""
        return Augmentation(self.shift, self.scale, self.flip, self.enlarge, self.margin)


@config
class ObjectsConfig:
    """What crops are made of.

    Attributes:
        sets: data sets with their shares; see `SetConfig`.
        validation: data sets to validate on, with amodal truth.
        validation_limit: objects of each of them.
        size: side of the crops.
        crop: how crops vary; see `CropConfig`.
    """

    sets: tuple[SetConfig, ...] = ()
    validation: tuple[SetConfig, ...] = ()
    validation_limit: Count = 200
    size: Side = 256
    crop: CropConfig = CropConfig()


@dataclass(frozen=True)
class OpenSet:
    """A data set that is read from, and how often."""

    data: Dataset
    share: float


def open_sets(sets: tuple[SetConfig, ...], where: str) -> list[OpenSet]:
    """The data sets of a recipe's list.

    Raises:
        RecipeError: no set at all.
        DataError, UsageError: a set cannot be opened.
    """
    if not sets:
        raise RecipeError(f'{where} names no data set; give [[{where}]] name = "cocoa", root = "FOLDER"')
    return [OpenSet(dataset(c.name, c.root, c.split or None, options=c.options), c.share) for c in sets]


@dataclass(frozen=True)
class Drawn:
    """An object drawn by chance: the set that it is from (which knows the other objects of its picture), and its crop."""

    data: Dataset
    sample: Sample
    crop: Crop
    flip: bool

    def mask(self, mask: Mask) -> NDArray[np.bool_]:
        """A mask of the object's picture in the crop, (S, S) bool."""
        return self.mirrored(self.crop.bits(mask))

    def picture(self) -> NDArray[np.uint8]:
        """The picture in the crop, (S, S, 3) uint8."""
        return self.mirrored(self.crop.image(self.sample.image, cubic=True))

    def mirrored(self, values: NDArray[T]) -> NDArray[T]:
        """Values of the crop (S, S, ...), mirrored if the crop is."""
        return values[:, ::-1].copy() if self.flip else values


def mixture_of(sets: tuple[SetConfig, ...], where: str) -> Mixture:
    """The mixture of a recipe's list; a function of plain values, so that data processes can call it."""
    opened = open_sets(sets, where)
    if not any(one.share for one in opened):
        raise RecipeError(f"no set of {where} has a share above 0; give one to each that is to be drawn from")
    return Mixture(opened)


class Mixture:
    """Objects drawn from several sets: first the set by its share, then one of its objects, all equally likely."""

    def __init__(self, sets: list[OpenSet]) -> None:
        self.sets = sets
        shares = np.array([one.share for one in sets], np.float64)
        self.odds = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> tuple[Dataset, Sample]:
        """One object with a visible part, and the set that it is from."""
        for _ in range(1000):
            data = self.sets[rng.choice(len(self.sets), p=self.odds)].data
            sample = data[int(rng.integers(len(data)))]
            if sample.visible:
                return data, sample
        raise RecipeError("a thousand objects in a row have no visible pixel; look at the data with amodal data check")

    def crop(self, rng: np.random.Generator, size: int, augmentation: Augmentation, *, shift: bool = True) -> Drawn:
        """An object large enough to train on, in a crop around it."""
        for _ in range(1000):
            data, sample = self.draw(rng)
            made = random_crop(sample.visible.box, size, rng, augmentation, shift=shift)
            if made is not None:
                return Drawn(data, sample, *made)
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


class ObjectTask(ABC):
    """What tasks that learn to complete objects from their crops share: batches of chance, and validation on whole objects."""

    data: ObjectsConfig
    threshold: float = 0.5
    """What is at least so probable is in the mask."""

    @property
    def facts(self) -> dict[str, str]:
        """What weights tell of themselves: `size`, the side of the crops that they were trained on, in pixels."""
        return {"size": str(self.data.size)}

    @cached_property
    def samples(self) -> list[Sample]:
        """What a run is validated on: the first objects of each set of `data.validation` that have a visible part."""
        limit, sets = self.data.validation_limit, self.data.validation
        return [
            sample
            for one in (open_sets(sets, "data.validation") if sets else ())
            for sample in itertools.islice((each for each in one.data if each.visible), limit)
        ]

    def batches(self, make: Callable[[Mixture, np.random.Generator], Arrays], seed: int, batch: int) -> ObjectBatches:
        """Batches of samples that `make` makes. Errors of the data show now, not in a data process or at the first validation."""
        sets = partial(mixture_of, self.data.sets, "data.sets")
        sets()
        _ = self.samples
        return ObjectBatches(sets, make, seed, batch)

    @abstractmethod
    def values(self, network: nn.Module, sample: Sample, crop: Crop, device: torch.device) -> NDArray[np.float32]:
        """The amodal mask's probability (S, S) in the crop around a sample."""

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """Mean IoU of whole objects, and mean IoU of the occluded region of those more than 5 % occluded, in per cent.

        The visible mask is added to the prediction, as the pipeline does.
        """
        network.eval()
        scores: dict[str, list[float]] = {"iou": [], "occluded_iou": []}
        how = self.data.crop
        for sample in self.samples:
            crop = Crop.around(sample.visible.box, self.data.size, enlarge=how.enlarge, margin=how.margin)
            values = self.values(network, sample, crop, device)
            made = crop.mask_back((values > self.threshold).astype(np.float32)) | sample.visible
            scores["iou"].append(made.iou(sample.amodal))
            if sample.occluded.area > 0.05 * sample.amodal.area:
                scores["occluded_iou"].append((made - sample.visible).iou(sample.occluded))
        return {name: 100 * float(np.mean(values)) for name, values in scores.items() if values}, None
