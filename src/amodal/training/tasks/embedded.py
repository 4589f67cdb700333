"""Training of the embedded network on composites and rendered rooms."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import Depths, Positive, Share, Span, Weight, Width, Widths, config, levels_agree, section
from ...core.mask import Mask
from ...methods.embedded.inference import Look, predict
from ...methods.embedded.method import WEIGHTS
from ...methods.embedded.network import EmbeddedNetwork
from ...networks.image_encoder import LEVELS
from ...networks.lite import Frozen
from ...networks.onnx_export import export
from ...synthesis.composites import stream as crops
from ...synthesis.composites.build import LibraryConfig, open_library, open_rooms
from ..recipe import Recipe
from . import sets
from .objects import Sizes, side_at


@config
class DataConfig:
    """Where pictures come from and what crops are made of.

    Attributes:
        library: Folders; see `LibraryConfig`.
        sizes: (first step, crop side) pairs, ascending: a run may start on small crops.
        targets, kinds, factor, shift, mask_noise, within, plain: See `StreamConfig`.
        validation: Folder of the fixed sets; "" validates on nothing.
    """

    library: LibraryConfig = LibraryConfig()
    sizes: Sizes = ((0, 160),)
    targets: crops.Targets = field(default_factory=lambda: dict(crops.DEFAULT_TARGETS))
    kinds: crops.Kinds = field(default_factory=lambda: dict(crops.DEFAULT_KINDS))
    factor: Span = (1.3, 2.8)
    shift: Share = 0.12
    mask_noise: Share = 0.3
    within: bool = False
    plain: Share = 0.0
    validation: str = ""


@config
class NetworkConfig:
    """Widths and depths; see `EmbeddedNetwork`."""

    widths: Widths = (64, 128, 192, 288)
    depths: Depths = (1, 1, 2, 2)
    head: Width = 96

    def __post_init__(self) -> None:
        levels_agree(self.widths, self.depths)


@config
class LossConfig:
    """Weights of the loss.

    Attributes:
        occluder_weight: Weight of a pixel under the occluder, others weigh 1 (PCNet-M: 5 under the eraser).
        rim_weight: Weight of background pixels within 3 pixels of the given mask, where false growth begins.
        outside_weight: Weight of pixels outside the picture's frame.
        unknown_weight: Weight of pixels whose truth is not known (counted as background).
        dice: Soft Dice of the whole amodal mask.
        occluded: Soft Dice of the occluded region, over samples that have one.
        occluder: Cross-entropy of the occluder head.
        temperature: Of the logits, fitted after training; written into the exported file.
    """

    occluder_weight: Weight = 4.0
    rim_weight: Weight = 3.0
    outside_weight: Weight = 0.5
    unknown_weight: Weight = 0.1
    dice: Weight = 0.5
    occluded: Weight = 0.5
    occluder: Weight = 0.3
    temperature: Positive = 1.0


class CropBatches:
    """Batches of crops by number, `passes` of them a step; the library is loaded when the first is asked for."""

    def __init__(self, config: DataConfig, seed: int, batch: int, passes: int = 1) -> None:
        self.config, self.seed, self.count, self.passes = config, seed, batch, passes
        self._stream: crops.CropStream | None = None

    def open(self) -> crops.CropStream:
        """The stream; its library is loaded once."""
        if self._stream is None:
            c = self.config
            made = crops.StreamConfig(160, c.targets, c.kinds, c.factor, c.shift, c.mask_noise, c.within, c.plain)
            library, rooms = open_library(c.library, c.targets), open_rooms(c.library, c.targets)
            self._stream = crops.CropStream(library, made, self.seed, rooms)
        return self._stream

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self.open().batch(number, self.count, side_at(self.config.sizes, number // self.passes))


def inputs(image: Tensor, truth: Tensor) -> Tensor:
    """(B, S, S, 3) and (B, S, S) uint8 to the network's (B, 5, S, S), channels last."""
    rgb = image.permute(0, 3, 1, 2).float() / 127.5 - 1
    inside = (truth & crops.INSIDE).bool().unsqueeze(1)
    given = (truth & crops.GIVEN).bool().unsqueeze(1)
    return torch.cat([rgb * inside, given.float(), inside.float()], 1).contiguous(memory_format=torch.channels_last)


class EmbeddedTask:
    """See `amodal.training.task.Task`."""

    shipped: ClassVar[dict[str, tuple[str, str]]] = {WEIGHTS: ("", "")}

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.network_config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        self.passes = recipe.run.accumulate
        self.image = Frozen()

    def network(self) -> nn.Module:
        c = self.network_config
        return EmbeddedNetwork(c.widths, c.depths, c.head)

    def source(self, seed: int, batch: int) -> CropBatches:
        if self.data.validation:
            self.groups()  # errors of the fixed sets before the first step, not at the first validation
        return CropBatches(self.data, seed, batch, self.passes)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy whose pixels weigh more under what hides them (as PCNet-M's under the eraser), and soft Dice."""
        image, truth = batch
        x = inputs(image, truth)
        logits = network(x, *self.image(x[:, :3])).float()
        w = self.weights

        def plane(bit: int) -> Tensor:
            return (truth & bit).bool()

        amodal, occluder, inside = plane(crops.AMODAL), plane(crops.OCCLUDER), plane(crops.INSIDE)
        known, given = plane(crops.KNOWN), plane(crops.GIVEN)
        weight = 1 + (w.occluder_weight - 1) * occluder.float()
        near = F.max_pool2d(given.float().unsqueeze(1), 7, 1, 3).squeeze(1).bool()
        weight = torch.where(near & ~given & ~amodal, w.rim_weight, weight)
        weight = torch.where(inside, weight, w.outside_weight)
        weight = torch.where(known, weight, w.unknown_weight * weight)
        a, o = logits[:, 0], logits[:, 1]
        bce = (F.binary_cross_entropy_with_logits(a, amodal.float(), reduction="none") * weight).mean()
        occ = F.binary_cross_entropy_with_logits(o, occluder.float(), reduction="none")
        occ = (occ * (known & inside)).mean()
        p = torch.sigmoid(a) * weight.clamp(max=1)
        t = amodal.float() * weight.clamp(max=1)
        dice = 1 - (2 * (p * t).sum((1, 2)) + 20) / (p.square().sum((1, 2)) + t.square().sum((1, 2)) + 20)
        free = (~given & inside & known).float()
        ph, th = p * free, t * free
        some = (th.sum((1, 2)) > 20).float()
        occluded = 1 - (2 * (ph * th).sum((1, 2)) + 5) / (ph.square().sum((1, 2)) + th.square().sum((1, 2)) + 5)
        occluded_mean = (occluded * some).sum() / some.sum().clamp(min=1)
        total = bce + w.dice * dice.mean() + w.occluded * occluded_mean + w.occluder * occ
        return total, {"bce": bce, "dice": dice.mean(), "occluded": occluded_mean, "occ": occ}

    def groups(self) -> dict[str, tuple[sets.Item, ...]]:
        """What is validated on."""
        root = Path(self.data.validation)
        return {
            "composites": sets.fixed_set(root / "composites_dev")[::2],
            "bookstore": sets.fixed_set(root / "bookstore_dev"),
            "whole": sets.whole_photos(root / "photos")[:100],
        }

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        if not self.data.validation:
            return {}, None
        size = self.data.sizes[-1][1]

        @torch.inference_mode()
        def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
            t = torch.from_numpy(x).to(device, memory_format=torch.channels_last)
            return np.asarray(network(t, *self.image(t[:, :3])).float().cpu(), np.float32)

        def prediction(item: sets.Item) -> NDArray[np.bool_]:
            amodal, _ = predict(run, item.image, Mask.from_array(item.visible), Look(size))
            return amodal.threshold().to_array((item.visible.shape[0], item.visible.shape[1]))

        metrics: dict[str, float] = {}
        groups = self.groups()
        for name, items in groups.items():
            metrics |= {f"{name}_{k}": v for k, v in sets.score(items, prediction).items()}
        occluded = [i for i in groups["composites"] if (i.amodal & ~i.visible).any()]
        shown = occluded[:20] + list(groups["bookstore"][:20])
        return metrics, sets.picture(shown, [prediction(i) for i in shown])

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        size = self.data.sizes[-1][1]
        example = torch.zeros(2, EmbeddedNetwork.inputs, size, size)
        example[:, :3] = torch.linspace(-1, 1, size)
        example[1, 3:, size // 4 : size // 2] = 1
        with torch.no_grad():
            seen = self.image(example[:, :3])
        path = folder / "embedded.onnx"
        facts = {"size": str(size), "temperature": str(self.weights.temperature)}
        export(network.eval(), [example, *seen], ["crop", *LEVELS], ["logits"], path, facts)
        return [path]
