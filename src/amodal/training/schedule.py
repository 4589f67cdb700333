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
    """Exponential moving average of a network's weights; buffers (batch statistics) are copied.

    The decay starts low and rises to `decay`, so that the first steps are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the current weights."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine: list[torch.Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(mine, [p.detach() for p in network.parameters()], weight)
        for a, b in zip(self.network.buffers(), network.buffers(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, weight)
            else:
                a.copy_(b)
