"""pix2gestalt: seconds and peak memory for 1, 4 and 16 samples; few-step solvers against the paper's 200 steps.

On a GPU: full-size networks with random weights (speed and memory do not depend on the values). Without one: tiny networks on
the CPU, which tells what batching and few steps save, not how fast the real model is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import Skip


def run(published: int = 200, steps: int = 25) -> dict[str, Any]:
    """Times by setting; `speedup` is 16 samples of the published DDIM steps one after the other to 16 samples of `steps` at once."""
    try:
        import torch
    except ImportError as error:
        raise Skip("torch is not installed") from error
    from amodal.networks.latent_diffusion.model import PUBLISHED
    from amodal.networks.latent_diffusion.sampling import Settings

    cuda = torch.cuda.is_available()
    architecture = PUBLISHED if cuda else tiny()
    torch.manual_seed(0)
    networks = architecture.build().eval()
    if cuda:
        networks.to("cuda", torch.bfloat16)
        networks.vae.float()
        networks.unet.to(memory_format=torch.channels_last)
    picture = np.random.default_rng(0).integers(0, 256, (1, networks.size, networks.size, 3), dtype=np.uint8)
    mask = np.zeros((1, networks.size, networks.size), bool)
    mask[:, 20:50, 20:50] = True
    rows: list[dict[str, Any]] = []
    slow = Settings(steps=published, batch=1)
    one = timed(networks, picture, mask, 1, slow, cuda)
    rows.append({"setting": f"ddim {published}, one at a time", **one})
    for samples in (1, 4, 16):
        fast = Settings(steps=steps, solver="dpm++", batch=16)
        rows.append({"setting": f"dpm++ {steps}, as one batch", **timed(networks, picture, mask, samples, fast, cuda)})
    return {
        "clock": "wall" if cuda else "processor",
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "networks": "full size, bf16, random weights" if cuda else "tiny, fp32, random weights",
        "rows": rows,
        "sequential_16_s": round(16 * one["seconds"], 3),
        "speedup": round(16 * one["seconds"] / rows[-1]["seconds"], 2),
        "gpu": "measured" if cuda else "skipped: no GPU here; run it on one for seconds and memory of the real size",
    }


def timed(networks: Any, picture: Any, mask: Any, samples: int, settings: Any, cuda: bool) -> dict[str, Any]:
    """Encode and draw: seconds (see `measure`) and peak GPU memory."""
    from amodal.networks.latent_diffusion.sampling import encode, sample

    def work() -> None:
        condition = encode(networks, picture, mask).take([0] * samples)
        sample(networks, condition, [(0, k) for k in range(samples)], settings)

    seconds = measure(work, cuda)
    row: dict[str, Any] = {"samples": samples, "seconds": round(seconds, 4)}
    if cuda:
        import torch

        row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    return row


def measure(work: Callable[[], None], cuda: bool) -> float:
    """The lower of two runs after one to warm up: wall seconds with the device's queue on a GPU, processor seconds on a CPU."""
    import torch

    clock = time.perf_counter if cuda else time.process_time
    values = []
    for _ in range(3):
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = clock()
        work()
        if cuda:
            torch.cuda.synchronize()
        values.append(clock() - start)
    return min(values[1:])


def tiny() -> Any:
    """64 x 64 pixels, four levels, a few channels."""
    from amodal.networks.latent_diffusion.model import PUBLISHED, Architecture

    unet = {"sample_size": 8, "block_out_channels": (8, 8, 16, 16), "cross_attention_dim": 12, "attention_head_dim": 2}
    vae = {"block_out_channels": (4, 4, 8, 8), "norm_num_groups": 4, "sample_size": 64}
    encoder = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return Architecture(
        "pix2gestalt",
        unet={**PUBLISHED.unet, **unet, "norm_num_groups": 4},
        vae={**PUBLISHED.vae, **vae},
        image_encoder={**PUBLISHED.image_encoder, **encoder, "image_size": 28, "projection_dim": 10},
    )
