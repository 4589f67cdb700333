"""Sampling all views of an object together (SyncDreamer): DDIM over the views' latents with a shared feature volume."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...plugins.protocols import Progress, no_progress
from .model import SCHEDULE, Networks
from .sampling import Condition, Settings, decode, encode_pictures, generators, guided
from .volume import look_into

__all__ = ["sample_views", "views_noise"]


def sample_views(
    networks: Networks,
    picture: NDArray[np.uint8],
    poses: Tensor,
    seed: int,
    settings: Settings,
    progress: Progress = no_progress,
) -> NDArray[np.uint8]:
    """Draw all views of an object on white.

    The released program evaluates all DDIM times 1, 1 + c, 1 + 2 c, ... with c = 1000 // S, downwards (a few more than S where
    that does not divide 1000), and adds no noise at the last; its condition is a sample of the VAE's posterior, here its mode.

    Args:
        networks: with a volume.
        picture: (S, S, 3) uint8, the object on white.
        poses: (views, 4) as `pose_numbers` gives them.
        seed: of the noise; view k draws from (seed, k).
        settings: steps, eta, guidance, and views per evaluation.
        progress: called once per network evaluation.

    Returns:
        (views, S, S, 3) uint8 RGB.
    """
    from diffusers import DDIMScheduler

    views = len(poses)
    streams = generators([(seed, number) for number in range(views)])
    side = networks.size // networks.factor
    shape = (int(networks.vae.config.latent_channels), side, side)
    device = networks.unet.device

    def draw() -> Tensor:
        return torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(device)

    scheduler = DDIMScheduler(**SCHEDULE)
    scheduler.set_timesteps(settings.steps)
    stride = 1000 // settings.steps
    times = list(range(1, 1000, stride))[::-1]
    with torch.inference_mode():
        token, latent = encode_pictures(networks, picture[None], poses)
        condition = Condition(token, latent.expand(views, -1, -1, -1))
        latents = draw()
        for done, time in enumerate(times, 1):

            def count(what: str, at: int, of: int, done: int = done) -> None:
                progress(what, (done - 1) * of + at, len(times) * of)

            predicted = views_noise(networks, latents, time, condition, poses.to(device), settings, count)
            fresh = draw() if settings.eta > 0 and done < len(times) else torch.zeros_like(latents)
            step = scheduler.step(predicted, time, latents, eta=settings.eta, variance_noise=fresh)
            latents = step.prev_sample
        return decode(networks, latents)


def views_noise(
    networks: Networks,
    latents: Tensor,
    time: int,
    condition: Condition,
    poses: Tensor,
    settings: Settings,
    progress: Progress = no_progress,
) -> Tensor:
    """The predicted noise of all views (views, 4, h, w); without the condition the volume is zero as well."""
    volume, kind = networks.volume, networks.unet.dtype
    moment = volume.embed_time(torch.tensor([time], device=latents.device)).to(kind)
    poses = poses.to(kind)
    space = volume.space(latents.to(kind), moment, poses)
    starts = range(0, len(latents), settings.batch)
    out = []
    for done, start in enumerate(starts, 1):
        rows = list(range(start, min(start + settings.batch, len(latents))))
        seen = volume.frustum(space, moment, poses, rows, latents.shape[-1])
        if settings.guidance != 1:  # `guided` puts the unconditional half first
            seen = {width: torch.cat([torch.zeros_like(each), each]) for width, each in seen.items()}
        with look_into(networks.unet, volume, seen):
            out.append(guided(networks, latents[rows], time, condition.take(rows), settings.guidance))
        progress("step", done, len(starts))
    return torch.cat(out)
