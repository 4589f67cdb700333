"""The pocket inpainter's noise levels and its DDIM steps, in NumPy: cosine schedule, prediction of v."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..leak import steps_run

__all__ = ["CosineSteps", "levels"]

Array = NDArray[np.float32]
LAST = 0.98
"""Largest time: beyond it the cosine schedule has practically no signal left."""


def levels(time: float) -> tuple[float, float]:
    """(alpha, sigma) at `time` in [0, 1]: cos and sin of a quarter turn; alpha^2 + sigma^2 = 1."""
    angle = time * np.pi / 2
    return float(np.cos(angle)), float(np.sin(angle))


class CosineSteps:
    """`amodal.inpainters.leak.Schedule` over evenly spaced times from `LAST` (or less, for a strength below 1) to 0.

    Deterministic DDIM (eta 0): picture and noise are read off v, then put together again at the next level.
    """

    def __init__(self, steps: int, strength: float = 1.0) -> None:
        self.steps = steps_run(steps, strength)
        self.times = np.linspace(LAST, 0.0, steps + 1)[steps - self.steps :]
        self.from_noise = strength >= 1

    def start(self, known: Array, noise: Array) -> Array:
        """Noise, or the noised condition for a strength below 1."""
        return noise if self.from_noise else self.noised(known, noise, 0)

    def step(self, prediction: Array, index: int, latent: Array) -> Array:
        """From time `index` to the next with the predicted v."""
        alpha, sigma = levels(self.times[index])
        picture = np.clip(alpha * latent - sigma * prediction, -1, 1)
        noise = (latent - alpha * picture) / max(sigma, 1e-4)
        alpha, sigma = levels(self.times[index + 1])
        return np.asarray(alpha * picture + sigma * noise, np.float32)

    def noised(self, known: Array, noise: Array, index: int) -> Array:
        """The condition at the level from which step `index` starts."""
        alpha, sigma = levels(self.times[index])
        return np.asarray(alpha * known + sigma * noise, np.float32)
