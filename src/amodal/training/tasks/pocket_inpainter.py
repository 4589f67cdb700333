"""Training of the pocket inpainter: v-prediction on inpainting pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import Depths, Positive, Share, Weight, Widths, config, levels_agree, section
from ...core.scaling import to_bytes
from ...inpainters.leak import sample
from ...inpainters.pocket.network import LEAST, PocketInpainter
from ...inpainters.pocket.schedule import LAST, CosineSteps, levels
from ...networks.onnx_export import export
from ...synthesis.composites.build import LibraryConfig, open_library
from ...synthesis.composites.library import Library
from ...synthesis.composites.pairs import Pair, PairConfig, PairStream
from ..recipe import Recipe
from .objects import Sizes, side_at

Array = NDArray[np.float32]
LEAK = 0.8
"""Largest share of the condition in a noisy picture it leaks into; that of repeated leaks of 0.3 stays below."""


@config
class DataConfig:
    """Where pictures come from and what pairs are made of.

    Attributes:
        library: Folders; see `LibraryConfig`.
        validation: Folders of the fixed validation pairs; empty: those of `library`.
        sizes: (first step, side of the pictures) pairs, ascending: a run may start on small pictures.
        objects, noise: See `PairConfig`.
    """

    library: LibraryConfig = LibraryConfig()
    validation: LibraryConfig | None = None
    sizes: Sizes = ((0, 128),)
    objects: Share = 0.65
    noise: Share = 0.4


@config
class NetworkConfig:
    """See `PocketInpainter`."""

    widths: Widths = (128, 192, 288)
    depths: Depths = (1, 2, 2)

    def __post_init__(self) -> None:
        levels_agree(self.widths, self.depths)


@config
class LossConfig:
    """Weights of the loss.

    Attributes:
        late: Times are drawn as uniform numbers to this power: below 1 they crowd where noise is strong and content decided;
            much below, so few are left where it is weak that pictures stay grainy.
        leaked: Share of the pairs whose noisy picture the condition leaks into.
        own: Share of the pairs whose noisy picture holds the network's own first prediction in place of the target.
        shape: Weight of the cross entropy of where the object is; that of v is 1.
    """

    late: Positive = 0.4
    leaked: Share = 0.5
    own: Share = 0.5
    shape: Weight = 1.0


class PairBatches:
    """Batches of pairs by number, `passes` of them a step; the library is loaded when the first is asked for."""

    def __init__(self, library: LibraryConfig, config: DataConfig, seed: int, batch: int, passes: int = 1) -> None:
        self.folders, self.config, self.seed, self.count, self.passes = library, config, seed, batch, passes
        self._library: Library | None = None

    def __getitem__(self, number: int) -> Pair:
        if self._library is None:
            self._library = open_library(self.folders)
        size = side_at(self.config.sizes, number // self.passes)
        pairs = PairConfig(size, self.config.objects, self.config.noise)
        return PairStream(self._library, pairs, self.seed).batch(number, self.count)


class PocketInpainterTask:
    """See `amodal.training.task.Task`."""

    shipped: ClassVar[dict[str, tuple[str, str]]] = {"pocket-inpainter": ("network.", "")}

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.network_config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        self.seed, self.passes = recipe.run.seed, recipe.run.accumulate
        self._fixed: Pair | None = None

    def network(self) -> nn.Module:
        return PocketInpainter(self.network_config.widths, self.network_config.depths)

    def source(self, seed: int, batch: int) -> PairBatches:
        if self.data.validation:
            self.fixed()  # errors of its folders before the first step, not at the first validation
        return PairBatches(self.data.library, self.data, seed, batch, self.passes)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of v at random times, weighted as the pairs say; see `PairStream`.

        In some pairs the condition has leaked into the noisy picture inside the area, as the tuning-free method lets it
        (equation 7); in some it is not the target that was noised but the network's own first prediction, as in sampling, where it
        would lose what it first believed if it trusted whatever it sees. Wanted is the v that leads to the clean target;
        such pairs' error is that of the picture, sin^2 of v's.
        Colours alone would leave the outline blurred: where the object is has a loss of its own.
        """
        target, condition, area, weight, thing = (part.contiguous(memory_format=torch.channels_last) for part in batch)
        seed = np.random.SeedSequence([self.seed, number]).generate_state(1)
        chance = torch.Generator(target.device).manual_seed(int(seed[0]))

        def draw() -> Tensor:
            return torch.rand(len(target), 1, 1, 1, device=target.device, generator=chance)

        time = draw().pow(self.weights.late) * LAST
        angle = time * torch.pi / 2
        noise = torch.randn(target.shape, device=target.device, generator=chance)
        start = target.clone()
        guessed = round(self.weights.own * len(target))
        if guessed:
            start[:guessed] = self.predict(network, condition[:guessed], area[:guessed], noise[:guessed].flip(0))
        leak = (draw() < self.weights.leaked) * draw() * LEAK
        change = start - target + leak * area * (condition - start)
        noisy = angle.cos() * (target + change) + angle.sin() * noise
        sine = angle.sin().clamp(min=LEAST)
        changed = change.abs().amax((1, 2, 3), keepdim=True) > 0
        wanted = angle.cos() * noise - angle.sin() * target + angle.cos().square() / sine * change
        found, logit = network(noisy, area, condition, time.flatten())
        error = (found.float() - wanted).square().mean(1, keepdim=True) * torch.where(changed, sine.square(), 1.0)
        outline = F.binary_cross_entropy_with_logits(logit.float(), thing, reduction="none")
        # Each pair counts by its highest weight, however small its area.
        highest = weight.amax((1, 2, 3))
        each = ((error + self.weights.shape * outline) * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
        inside = area.sum().clamp(min=1)
        return (each * highest).mean(), {
            "inside": (error * area).sum() / inside,
            "shape": (outline * area).sum().detach() / inside,
        }

    @torch.no_grad()
    def predict(self, network: nn.Module, condition: Tensor, area: Tensor, noise: Tensor) -> Tensor:
        """The pictures (B, 3, S, S) that the network sees in noise alone."""
        alpha, sigma = levels(LAST)
        noisy = alpha * condition + sigma * noise
        v, _ = network(noisy, area, condition, torch.full((len(noise),), LAST, device=noise.device))
        picture: Tensor = alpha * noisy - sigma * v.float()
        return picture.clamp(-1, 1)

    def fixed(self) -> Pair:
        """The pairs that are validated on."""
        if self._fixed is None:
            last = replace(self.data, sizes=((0, self.data.sizes[-1][1]),))
            self._fixed = PairBatches(self.data.validation or self.data.library, last, 12345, 48)[0]
        return self._fixed

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """Mean absolute error inside the area after 8 steps, in grey levels, on 48 fixed pairs; beside the mean colour's."""
        target, condition, area, *_ = self.fixed()
        made = paint(network, condition, area, device)
        inside = area.sum()
        scores = {
            "error": float((np.abs(made - target) * area).sum() / inside / 3 * 127.5),
            "error_of_condition": float((np.abs(condition - target) * area).sum() / inside / 3 * 127.5),
        }
        # Condition, drawing and truth side by side (3, S, 3 S); eight pairs below each other, three columns of them.
        rows = np.concatenate([condition, made, target], axis=3)[:24].transpose(0, 2, 3, 1)
        return scores, to_bytes(np.hstack([np.vstack(list(rows[first : first + 8])) for first in (0, 8, 16)]))

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        """`pocket-inpainter.onnx`, in 8 bits: noisy, area, condition and time in, v out."""
        side = self.data.sizes[-1][1]
        ramp = torch.linspace(-1, 1, side).expand(2, 3, side, side)
        examples = [ramp, torch.ones(2, 1, side, side), -ramp, torch.tensor([0.3, 0.9])]
        names = ["noisy", "area", "condition", "time"]
        path = folder / "pocket-inpainter.onnx"
        export(Velocity(network).eval(), examples, names, ["v"], path, {"size": str(side)}, tolerance=0.2, bits=8)
        return [path]


class Velocity(nn.Module):
    """The network without its second answer: what ships."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, area: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        v: Tensor = self.network(noisy, area, condition, time)[0]
        return v


@torch.inference_mode()
def paint(network: nn.Module, condition: Array, area: Array, device: torch.device, steps: int = 8) -> Array:
    """The network's pictures for conditions (B, 3, S, S) and areas (B, 1, S, S), without a leak."""
    network.eval()
    shown, where = torch.from_numpy(condition).to(device), torch.from_numpy(area).to(device)
    schedule = CosineSteps(steps)

    def predict(latent: Array, index: int) -> Array:
        time = torch.full((len(latent),), float(schedule.times[index]), device=device)
        found, _ = network(torch.from_numpy(latent).to(device), where, shown, time)
        return np.asarray(found.float().cpu().numpy())

    noise = np.random.default_rng(0).standard_normal(condition.shape, np.float32)
    return np.asarray(np.clip(sample(predict, schedule, None, noise, None, lambda: None), -1, 1))
