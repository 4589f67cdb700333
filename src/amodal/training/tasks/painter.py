"""Training of the painter: colours and texture of occluded pixels, from the visible ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import Depths, Weight, Widths, config, section
from ...core.scaling import to_bytes
from ...inpainters.classical import membrane
from ...inpainters.painter.network import Painter
from ...networks.lite import Frozen
from ...networks.onnx_export import export
from ...synthesis.composites.build import open_library
from ...synthesis.composites.library import Library
from ...synthesis.composites.pairs import PairConfig, PairStream
from ..recipe import Recipe
from .objects import side_at
from .pocket_inpainter import DataConfig

__all__ = ["PainterTask"]

Paintings = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Target (B, 3, S, S), the same smooth where unknown (B, 3, S, S), known (B, 1, S, S) and wanted (B, 1, S, S) of 0 and 1."""
FIXED = 64
"""Paintings that are validated on."""


@config
class NetworkConfig:
    """See `Painter`."""

    widths: Widths = (96, 144, 192, 256)
    depths: Depths = (1, 2, 2, 2)


@config
class LossConfig:
    """Weights of the loss: the mean absolute difference of colours and the perceptual distance (docs/metrics.md)."""

    colour: Weight = 1.0
    perceptual: Weight = 0.5


class PaintingBatches:
    """Batches of paintings by number, `passes` of them a step; the library is loaded when the first is asked for."""

    def __init__(self, data: DataConfig, seed: int, batch: int, passes: int = 1) -> None:
        self.data, self.seed, self.count, self.passes = data, seed, batch, passes
        self._library: Library | None = None

    def __getitem__(self, number: int) -> Paintings:
        if self._library is None:
            self._library = open_library(self.data.library)
        size = side_at(self.data.sizes, number // self.passes)
        stream = PairStream(self._library, PairConfig(size, self.data.objects, self.data.noise), self.seed)
        rows = []
        for index in range(number * self.count, (number + 1) * self.count):
            picture, known, wanted = stream.painting(index)
            smooth = np.where(known[..., None], picture, membrane(picture, ~known) if known.any() else 0)
            planes = (picture.transpose(2, 0, 1), smooth.transpose(2, 0, 1), known[None], wanted[None])
            rows.append([np.ascontiguousarray(part, np.float32) for part in planes])
        target, smooth, told, counted = (np.stack(part) for part in zip(*rows, strict=True))
        return target, smooth, told, counted


class PainterTask:
    """See `amodal.training.task.Task`."""

    shipped: ClassVar[dict[str, tuple[str, str]]] = {"painter": ("", "")}

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.network_config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        self.seed, self.passes = recipe.run.seed, recipe.run.accumulate
        self.features = Frozen()
        self._fixed: Paintings | None = None

    def network(self) -> nn.Module:
        return Painter(self.network_config.widths, self.network_config.depths)

    def source(self, seed: int, batch: int) -> PaintingBatches:
        if self.data.validation:
            self.fixed()  # errors of its folders before the first step, not at the first validation
        return PaintingBatches(self.data, seed, batch, self.passes)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        target, smooth, known, wanted = (part.contiguous(memory_format=torch.channels_last) for part in batch)
        made = network(smooth, known).float()
        colour = ((made - target).abs() * wanted).sum() / wanted.sum().clamp(min=1) / 3
        # The encoder looks at every 4th, 8th and 16th pixel: were it always the same ones, a grid would grow between them.
        move = tuple(np.random.default_rng([self.seed, number]).integers(0, 16, 2).tolist())
        seen = self.distance(*(torch.roll(part, move, (2, 3)) for part in (made, target, known, wanted)))
        parts = {"colour": colour.detach(), "perceptual": seen.detach()}
        return self.weights.colour * colour + self.weights.perceptual * seen, parts

    def distance(self, made: Tensor, target: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
        """The perceptual distance over the wanted pixels, of pictures that are grey where nothing is known or wanted."""
        pictures = [torch.where(wanted > 0, picture, target * known) for picture in (made, target)]  # (B, 3, S, S)
        with torch.no_grad():
            truth = self.features(pictures[1])[:3]
        total = made.new_zeros(())
        for mine, other in zip(self.features.followed(pictures[0])[:3], truth, strict=True):
            place = F.adaptive_avg_pool2d(wanted, (mine.shape[2], mine.shape[3]))  # (B, 1, h, w)
            apart = (F.normalize(mine.float(), dim=1) - F.normalize(other.float(), dim=1)).square().sum(1, keepdim=True)
            total = total + (apart * place).sum() / place.sum().clamp(min=1e-6) / 3
        return total

    def fixed(self) -> Paintings:
        """The paintings that are validated on."""
        if self._fixed is None:
            last = ((0, self.data.sizes[-1][1]),)
            data = replace(self.data, sizes=last, objects=1.0, library=self.data.validation or self.data.library)
            self._fixed = PaintingBatches(data, 12345, FIXED)[0]
        return self._fixed

    @torch.inference_mode()
    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """Mean absolute error in grey levels and perceptual distance on fixed objects, each beside the smooth filling's."""
        network.eval()
        parts: list[tuple[Tensor, ...]] = [
            tuple(torch.from_numpy(part[first : first + 16]).to(device) for part in self.fixed())
            for first in range(0, FIXED, 16)
        ]
        scores = dict.fromkeys(("error", "error_smooth", "perceptual", "perceptual_smooth"), 0.0)
        shown = []
        for target, smooth, known, wanted in parts:
            made = network(smooth, known).float().clamp(-1, 1)
            for name, picture in (("", made), ("_smooth", smooth)):
                error = ((picture - target).abs() * wanted).sum() / wanted.sum() / 3 * 127.5
                scores["error" + name] += float(error) / len(parts)
                scores["perceptual" + name] += float(self.distance(picture, target, known, wanted)) / len(parts)
            object_only = torch.maximum(known, wanted)
            shown.append(
                torch.cat([torch.where(object_only > 0, x, 1.0) for x in (target * known, smooth, made, target)], 3)
            )
        rows = torch.cat(shown)[:24].permute(0, 2, 3, 1).cpu().numpy()
        columns = [np.vstack(list(rows[first : first + 8])) for first in range(0, 24, 8)]
        return scores, to_bytes(np.hstack(columns))

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        """`painter.onnx`, in 8 bits: picture and known in, picture out."""
        side = self.data.sizes[-1][1]
        known = torch.ones(2, 1, side, side)
        known[:, :, side // 4 : side // 2] = 0
        examples = [torch.linspace(-1, 1, side).expand(2, 3, side, side).contiguous(), known]
        path = folder / "painter.onnx"
        export(network, examples, ["picture", "known"], ["painted"], path, {"size": str(side)}, tolerance=0.1, bits=8)
        return [path]
