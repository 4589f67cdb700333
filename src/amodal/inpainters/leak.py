"""The one sampling loop, with leakage conditioning (equation 7 of the tuning-free paper). Works on any arrays: NumPy, torch.

At every step, after the network's own update, the known picture leaks in: `x = W known + (1 - W) model`. `known` is the
condition picture at the step's noise level, always with the same noise, the one that the sampling started from; after the
last step it is the clean condition. The weight map `W` follows the area M pixel by pixel: `leak[0]` inside, `leak[1]` outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["NOTHING", "ORDINARY", "Schedule", "sample", "steps_run", "weight_map"]


NOTHING, ORDINARY = (0.0, 0.0), (0.0, 1.0)
"""Leaks (inside, outside): none, and that of ordinary latent inpainting, where the area is the model's and the rest is known."""


class Schedule(Protocol):
    """A noise schedule of `steps` steps; arrays are of whatever kind the inpainter works with.

    Attributes:
        steps: how many times the network is evaluated.
    """

    steps: int

    def start(self, known: Any, noise: Any) -> Any:
        """What the first step starts from: noise, or (for a strength below 1) the noised `known`."""

    def step(self, prediction: Any, index: int, latent: Any) -> Any:
        """The network's prediction at step `index` to the latent after that step."""

    def noised(self, known: Any, noise: Any, index: int) -> Any:
        """`known` at the noise level from which step `index` starts (1 <= index < steps)."""


def weight_map(area: Any, leak: tuple[float, float]) -> Any:
    """The weights W of the known picture: `leak[0]` where `area` is 1, `leak[1]` where it is 0, linear between.

    Args:
        area: in [0, 1]; any shape that broadcasts with the latents.
        leak: (inside, outside). (0.3, 0) is the default reading of equation 7, (0, 1) is ordinary latent inpainting.

    Returns:
        W like `area`, or None where the weights are zero everywhere and nothing leaks.
    """
    inside, outside = leak
    if inside == outside == 0:
        return None
    return inside * area + outside * (1 - area)


def sample(
    predict: Callable[[Any, int], Any],
    schedule: Schedule,
    known: Any,
    noise: Any,
    weights: Any,
    progress: Callable[[], None],
    watch: Callable[[int, Any], None] | None = None,
) -> Any:
    """Denoise from `noise` to a picture, with one network evaluation a step.

    Args:
        predict: (latent, index of the step) to the network's prediction.
        schedule: the noise levels and the step from one to the next.
        known: the clean condition, like the latents; may be None if neither weights nor the schedule's start use it.
        noise: standard normal, like the latents; the same in the start and at every step.
        weights: of `weight_map`, or None.
        progress: called after every network evaluation; what it raises ends the sampling.
        watch: `watch(step, latent)` sees the latents after every step, from step 1 on.

    Returns:
        the clean latents.
    """
    rest = None if weights is None else 1 - weights
    latent = schedule.start(known, noise)
    for index in range(schedule.steps):
        latent = schedule.step(predict(latent, index), index, latent)
        if weights is not None:
            last = index + 1 == schedule.steps
            target = known if last else schedule.noised(known, noise, index + 1)
            latent = weights * target + rest * latent
        if watch is not None:
            watch(index + 1, latent)
        progress()
    return latent


def steps_run(steps: int, strength: float) -> int:
    """How many of `steps` are run at a strength: the last ceil(steps strength), at least one.

    diffusers rounds down, so that a strength of 0.99 costs it a step: ten steps here are ten evaluations of the network.
    """
    return max(1, min(math.ceil(steps * strength - 1e-9), steps))
