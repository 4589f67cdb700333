"""Training of the pocket inpainter: v-prediction on inpainting pairs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data.composites.build import LibraryConfig, open_library
from ...data.composites.library import Library
from ...data.composites.pairs import Pair, PairConfig, PairStream
from ...inpainters.leak import sample
from ...inpainters.pocket.network import PocketInpainter
from ...inpainters.pocket.schedule import LAST, CosineSteps
from ...networks.onnx_export import export
from ..recipe import Recipe, section

Array = NDArray[np.float32]
LEAK = 0.8
"""Largest share of the condition in a noisy picture it leaks into; that of repeated leaks of 0.3 stays below."""


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from and what pairs are made of.

    Attributes:
        library: Folders; see `LibraryConfig`.
        validation: Folders of the fixed validation pairs; empty: those of `library`.
        sizes: (first step, side of the pictures) pairs, ascending: a run may start on small pictures.
        objects, noise: See `PairConfig`.
    """

    library: dict[str, object] = field(default_factory=dict)
    validation: dict[str, object] = field(default_factory=dict)
    sizes: tuple[tuple[int, ...], ...] = ((0, 128),)
    objects: float = 0.65
    noise: float = 0.4


@dataclass(frozen=True)
class NetworkConfig:
    """See `PocketInpainter`."""

    widths: tuple[int, ...] = (128, 192, 288)
    depths: tuple[int, ...] = (1, 2, 2)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss.

    Attributes:
        late: Times are drawn as uniform numbers to this power: below 1 they crowd where noise is strong and content decided.
        leaked: Share of the pairs whose noisy picture the condition leaks into.
    """

    late: float = 0.35
    leaked: float = 0.5


class PairBatches:
    """Batches of pairs by number; the library is loaded when the first is asked for."""

    def __init__(self, library: dict[str, object], config: DataConfig, seed: int, batch: int) -> None:
        self.folders, self.config, self.seed, self.count = library, config, seed, batch
        self._library: Library | None = None

    def __getitem__(self, number: int) -> Pair:
        if self._library is None:
            self._library = open_library(section(self.folders, LibraryConfig, "data.library"))
        size = [side for first, side in self.config.sizes if first <= number][-1]
        pairs = PairConfig(size, self.config.objects, self.config.noise)
        return PairStream(self._library, pairs, self.seed).batch(number, self.count)


class PocketInpainterTask:
    """See `amodal.training.task.Task`."""

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.network_config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        self.seed = recipe.run.seed
        self._fixed: Pair | None = None

    def network(self) -> nn.Module:
        return PocketInpainter(self.network_config.widths, self.network_config.depths)

    def source(self, seed: int, batch: int) -> PairBatches:
        return PairBatches(self.data.library, self.data, seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of v at random times, weighted as the pairs say; see `PairStream`.

        In some pairs the condition has leaked into the noisy picture inside the area, as the tuning-free method lets it
        (equation 7); wanted is the v that leads back to the clean target. Their error is that of the picture, sin^2 of v's.
        """
        target, condition, area, weight = (part.contiguous(memory_format=torch.channels_last) for part in batch)
        seed = np.random.SeedSequence([self.seed, number]).generate_state(1)
        chance = torch.Generator(target.device).manual_seed(int(seed[0]))

        def draw() -> Tensor:
            return torch.rand(len(target), 1, 1, 1, device=target.device, generator=chance)

        time = draw().pow(self.weights.late) * LAST
        angle = time * torch.pi / 2
        noise = torch.randn(target.shape, device=target.device, generator=chance)
        leak = (draw() < self.weights.leaked) * draw() * LEAK
        change = leak * area * (condition - target)
        noisy = angle.cos() * (target + change) + angle.sin() * noise
        sine = angle.sin().clamp(min=0.05)
        wanted = angle.cos() * noise - angle.sin() * target + angle.cos().square() / sine * change
        found = network(noisy, area, condition, time.flatten()).float()
        error = (found - wanted).square().mean(1, keepdim=True) * torch.where(leak > 0, sine.square(), 1.0)
        # Each pair counts by its highest weight, however small its area.
        highest = weight.amax((1, 2, 3))
        each = (error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
        return (each * highest).mean(), {"inside": (error * area).sum() / area.sum().clamp(min=1)}

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """Mean absolute error inside the area after 8 steps, in grey levels, on 48 fixed pairs; beside the mean colour's."""
        if self._fixed is None:
            last = replace(self.data, sizes=((0, self.data.sizes[-1][1]),))
            self._fixed = PairBatches(self.data.validation or self.data.library, last, 12345, 48)[0]
        target, condition, area, _ = self._fixed
        made = paint(network, condition, area, device)
        inside = area.sum()
        scores = {
            "error": float((np.abs(made - target) * area).sum() / inside / 3 * 127.5),
            "error_of_condition": float((np.abs(condition - target) * area).sum() / inside / 3 * 127.5),
        }
        rows = [np.hstack([_rgb(p[i]) for p in (condition, made, target)]) for i in range(24)]
        columns = [np.vstack(rows[i : i + 8]) for i in range(0, 24, 8)]
        return scores, np.hstack(columns)

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        """`pocket-inpainter.onnx`: noisy, area, condition and time in, v out."""
        side = self.data.sizes[-1][1]
        ramp = torch.linspace(-1, 1, side).expand(2, 3, side, side)
        examples = [ramp, torch.ones(2, 1, side, side), -ramp, torch.tensor([0.3, 0.9])]
        path = folder / "pocket-inpainter.onnx"
        export(network.eval(), examples, ["noisy", "area", "condition", "time"], "v", path, {"size": str(side)})
        return [path]


@torch.inference_mode()
def paint(network: nn.Module, condition: Array, area: Array, device: torch.device, steps: int = 8) -> Array:
    """The network's pictures for conditions (B, 3, S, S) and areas (B, 1, S, S), without a leak."""
    network.eval()
    shown, where = torch.from_numpy(condition).to(device), torch.from_numpy(area).to(device)
    schedule = CosineSteps(steps)

    def predict(latent: Array, index: int) -> Array:
        time = torch.full((len(latent),), float(schedule.times[index]), device=device)
        with torch.autocast(device.type, torch.bfloat16):
            found = network(torch.from_numpy(latent).to(device), where, shown, time)
        return np.asarray(found.float().cpu().numpy())

    noise = np.random.default_rng(0).standard_normal(condition.shape, np.float32)
    return np.asarray(np.clip(sample(predict, schedule, None, noise, None, lambda: None), -1, 1))


def _rgb(picture: Array) -> NDArray[np.uint8]:
    return np.asarray((np.clip(picture.transpose(1, 2, 0), -1, 1) + 1) * 127.5, np.uint8)
