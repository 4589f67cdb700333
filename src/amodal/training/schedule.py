"""Learning-rate schedules and the moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from .recipe import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Learning rate of step 0 ... steps - 1: linear warm-up, then cosine, trapezoid or steps."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "steps":
        return config.lr * config.drop ** sum(step >= milestone for milestone in config.milestones)
    if config.schedule == "trapezoid":
        left = steps - step
        if left >= config.cooldown:
            return config.lr
        return config.lr * (1 - math.sqrt(1 - left / config.cooldown))
    progress = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class Average:
    """Exponential moving average of a network's weights and batch statistics; counts are copied.

    The decay starts low and rises to `decay`, so that the first steps are forgotten: (1 + n) / (10 + n) at the n-th update, from 1 on.
    """

    def __init__(self, network: nn.Module, decay: float, plain: tuple[str, ...] = ()) -> None:
        """
        Args:
            plain: beginnings of names of parameters that are kept as they are, not averaged.
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.plain = decay, plain

    @torch.no_grad()
    def update(self, network: nn.Module, number: int) -> None:
        """Move towards the current weights; `number` counts the updates from 1."""
        weight = 1 - min(self.decay, (1 + number) / (10 + number))
        now = dict(network.named_parameters())
        averaged = {name: mine for name, mine in self.network.named_parameters() if not name.startswith(self.plain)}
        torch._foreach_lerp_(list(averaged.values()), [now[name].detach() for name in averaged], weight)
        for name, mine in self.network.named_parameters():
            if name not in averaged:
                mine.copy_(now[name])
        for a, b in zip(self.network.buffers(), network.buffers(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, weight)
            else:
                a.copy_(b)
