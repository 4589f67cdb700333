"""diffusers' schedulers by short names, and as the `Schedule` that the sampling loop drives."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from ..core.errors import OptionError, nearest, reported
from .leak import steps_run

__all__ = ["SCHEDULERS", "SchedulerSteps", "make_scheduler"]

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""First-order and multistep schedulers: one network evaluation a step. (`pndm` makes one more than asked for.)"""
OF_LATENTS = {"clip_sample": False, "skip_prk_steps": True}
"""What a checkpoint's scheduler leaves out if it has no such setting, and diffusers then takes otherwise: latents, which pass [-1, 1],
are not clipped, and `pndm` makes no steps of several evaluations."""


def make_scheduler(own: Any, name: str, flow: bool = False) -> Any:
    """A fresh scheduler: schedulers keep state while they sample, so every batch gets its own.

    Args:
        own: the checkpoint's scheduler, whose noise levels and kind of prediction are kept.
        name: "default" for the checkpoint's own, or a key of `SCHEDULERS`.
        flow: the network was trained by flow matching, which has the one scheduler it came with.

    Raises:
        OptionError: a name that is not known, or that does not fit the network.
    """
    import diffusers

    if name == "default":
        return type(own).from_config(own.config)
    if flow:
        raise OptionError(f"scheduler {name!r} does not fit a flow-matching network; leave scheduler=default")
    if name not in SCHEDULERS:
        raise OptionError(f"no scheduler named {name!r}; {nearest(name, ['default', *SCHEDULERS])}")
    return getattr(diffusers, SCHEDULERS[name]).from_config({**OF_LATENTS, **own.config})


class SchedulerSteps:
    """A diffusers scheduler as a `Schedule`.

    Args:
        scheduler: fresh from `make_scheduler`.
        steps: as in `Sampling`.
        strength: as in `Sampling`.
        generators: one per picture, for schedulers that add noise of their own.
        device: where the latents are.
        timing: what else the scheduler's `set_timesteps` takes.
    """

    def __init__(
        self,
        scheduler: Any,
        steps: int,
        strength: float,
        generators: Sequence[Any],
        device: Any,
        timing: dict[str, Any] | None = None,
    ) -> None:
        timing = timing or {}
        if "sigmas" not in timing:
            timing = {"num_inference_steps": steps, **timing}
        what = f"the scheduler {type(scheduler).__name__} cannot make {steps} steps"
        with reported(OptionError, what, "take another number, or another scheduler"):
            scheduler.set_timesteps(**timing, device=device)
        # A checkpoint's own scheduler may be of the second order: two entries a step, which must not be torn apart.
        first = (steps - steps_run(steps, strength)) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        self.scheduler = scheduler
        self.times = scheduler.timesteps[first:]
        self.steps = len(self.times)
        self.from_noise = strength >= 1
        takes = inspect.signature(scheduler.step).parameters
        self.extra = {"generator": list(generators)} if "generator" in takes else {}
        self.flow = hasattr(scheduler, "scale_noise")

    def start(self, known: Any, noise: Any) -> Any:
        if self.from_noise:
            return noise if self.flow else noise * self.scheduler.init_noise_sigma
        return self._add(known, noise, self.times[:1])

    def step(self, prediction: Any, index: int, latent: Any) -> Any:
        return self.scheduler.step(prediction, self.times[index], latent, **self.extra, return_dict=False)[0]

    def noised(self, known: Any, noise: Any, index: int) -> Any:
        return self._add(known, noise, self.times[index : index + 1])

    def scaled(self, latent: Any, index: int) -> Any:
        """The latent as the network wants to see it."""
        return latent if self.flow else self.scheduler.scale_model_input(latent, self.times[index])

    def _add(self, known: Any, noise: Any, time: Any) -> Any:
        if self.flow:
            return self.scheduler.scale_noise(known, time, noise)
        return self.scheduler.add_noise(known, noise, time)
