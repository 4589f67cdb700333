"""`pocket`: the embedded inpainter, a small diffusion network that runs with ONNX Runtime, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.options import Options
from ...networks.onnx_session import open_session
from ...plugins.protocols import Inpainter, Progress, Sampling, no_progress
from ...runtime.parallel import overlapped
from ...weights.catalogue import embedded
from ..leak import ORDINARY, sample, weight_map
from .schedule import CosineSteps

__all__ = ["Pocket"]

Array = NDArray[np.float32]


class PocketOptions(Options):
    """Options of the pocket inpainter."""

    steps: int = Field(
        8,
        ge=1,
        le=200,
        description="network evaluations when it paints occluded pixels; methods that drive it have their own",
    )
    batch: int = Field(8, ge=1, le=256, description="pictures per network evaluation; bounds the memory")
    weights: str | None = Field(None, description="an ONNX file of your own in place of the embedded one")


class Pocket(Inpainter):
    """A pixel-space diffusion network of 128 x 128 pixels, trained to complete objects and to fill photographs."""

    name: ClassVar[str] = "pocket"
    summary: ClassVar[str] = (
        "draws objects for the tuning-free method, 128 px; no GPU, no download, no torch; paints no pixels"
    )
    license: ClassVar[str] = "Apache-2.0"
    Options: ClassVar[type[Options]] = PocketOptions
    memory: ClassVar[str] = "about 300 MB"
    weights: ClassVar[tuple[str, ...]] = ("pocket-inpainter",)
    paints: ClassVar[bool] = False  # grain: it was trained to get shapes right
    size = 128

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self.default_sampling = Sampling(self.options.steps)

    def warm_up(self) -> None:
        self._session()

    def paint(
        self,
        conditions: NDArray[np.float32],
        areas: NDArray[np.float32],
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Progress = no_progress,
    ) -> NDArray[np.float32]:
        self.one_schedule(sampling)
        out = np.empty(conditions.shape, np.float32)
        steps = CosineSteps(sampling.steps, sampling.strength).steps
        chunks = range(0, len(conditions), self.options.batch)
        total, done = steps * len(chunks), 0

        def step_done() -> None:
            nonlocal done
            done += 1
            progress("step", done, total)

        for first in chunks:
            part = slice(first, first + self.options.batch)
            out[part] = self._paint(conditions[part], areas[part], seeds[part], sampling, step_done)
        return out

    def _paint(self, conditions: Array, areas: Array, seeds: Sequence[int], sampling: Sampling, progress: Any) -> Array:
        session = self._session()
        known = np.ascontiguousarray(np.clip(conditions, -1, 1).transpose(0, 3, 1, 2), np.float32)
        area = np.ascontiguousarray(areas[:, None], np.float32)
        noise = np.stack([np.random.default_rng(seed).standard_normal(known.shape[1:], np.float32) for seed in seeds])
        schedule = CosineSteps(sampling.steps, sampling.strength)

        def predict(latent: Array, index: int) -> Array:
            time = np.full(len(latent), schedule.times[index], np.float32)
            feed = {"noisy": latent.astype(np.float32), "area": area, "condition": known, "time": time}
            # One picture at a time: the same bytes whatever else is in the batch.
            rows = [{k: v[i : i + 1] for k, v in feed.items()} for i in range(len(latent))]
            return np.concatenate(list(overlapped(lambda row: session.run(None, row)[0], rows)))

        def upright(picture: Array) -> Array:
            return np.asarray(np.clip(picture, -1, 1).transpose(0, 2, 3, 1), np.float32)

        def shown(step: int, latent: Array) -> None:
            if sampling.watch is not None:
                sampling.watch(seeds, step, upright(latent))

        return upright(
            sample(predict, schedule, known, noise, weight_map(area, sampling.leak or ORDINARY), progress, shown)
        )

    def _session(self) -> Any:
        return open_session(self.options.weights or str(embedded("pocket-inpainter")))
