"""The training task `grow`: one number, learned from pairs of a visible and an amodal radius. A real task reads images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from amodal.training.recipe import Recipe


class Radius(nn.Module):
    """How many pixels to grow."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Parameter(torch.tensor(1.0))

    def forward(self, radius: Tensor) -> Tensor:
        return radius + self.pixels


class Pairs:
    """Radii of visible discs, and of the whole discs, 6 pixels more."""

    def __init__(self, seed: int, batch: int) -> None:
        self.seed, self.batch = seed, batch

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        visible = np.random.default_rng((self.seed, number)).uniform(5, 50, (self.batch, 1)).astype(np.float32)
        return visible, visible + 6


class GrowTask:
    """What `amodal train` asks of a task; see `amodal.training.task.Task`."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def network(self) -> nn.Module:
        return Radius()

    def source(self, seed: int, batch: int) -> Pairs:
        return Pairs(seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        visible, amodal = batch
        error = (network(visible) - amodal).abs().mean()
        return error, {"error": error}

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], None]:
        assert isinstance(network, Radius)
        return {"error": abs(float(network.pixels.detach()) - 6)}, None

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        assert isinstance(network, Radius)
        path = folder / "grow.txt"
        path.write_text(f"{float(network.pixels.detach()):.3f}\n")
        return [path]
