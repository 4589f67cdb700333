"""On a GPU: seconds and peak memory an object, the tuning-free method's inpainters beside pix2gestalt, in one process.

Full-size networks with random weights (speed and memory do not depend on the values), bf16, one object at a time: 10 evaluations
of an inpainter without guidance (our default; the paper's count is not known), 200 steps of pix2gestalt with guidance. The
tuning-free paper reports SD 2 as 19 times as fast with 4.1 times less memory, SDXL as 4.8 times as fast with 1.4 times less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.diffusion import SIDES, UNETS, inputs, network_of, peak
from benchmarks.measure import Skip
from benchmarks.pix2gestalt import measure, tiny

STEPS, THEIRS = 10, 200
REPORTED = {"sd2": {"faster": 19.0, "less_memory": 4.1}, "sdxl": {"faster": 4.8, "less_memory": 1.4}}
"""Of the tuning-free paper, over pix2gestalt; at second hand."""


def run() -> dict[str, Any]:
    """Measure, on a GPU."""
    try:
        import torch
    except ImportError as error:
        raise Skip('torch is not installed; pip install "amodal[diffusion]"') from error
    if not torch.cuda.is_available():
        raise Skip("no CUDA GPU here; full-size networks take minutes a picture on a CPU")
    name = torch.cuda.get_device_name()
    return {"gpu": name, "dtype": "bf16", **compare(torch.device("cuda"), torch.bfloat16)}


def compare(
    device: Any, dtype: Any, *, small: bool = False, steps: int = STEPS, theirs: int = THEIRS
) -> dict[str, Any]:
    """Seconds and peak bytes of each network, and how many times pix2gestalt's they are; see REPORTED.

    Args:
        device: where all run.
        dtype: their precision.
        small: narrow networks and small pictures, for machines without a GPU.
        steps: of the inpainters.
        theirs: of pix2gestalt.
    """
    found: dict[str, dict[str, Any]] = {"pix2gestalt": cost(device, pix2gestalt(device, dtype, small, theirs))}
    for family in UNETS:
        found[family] = cost(device, inpainter(family, device, dtype, small, steps))
        other = found["pix2gestalt"]
        found[family]["faster"] = round(other["seconds"] / found[family]["seconds"], 2)
        if other["peak_bytes"] is not None:
            found[family]["less_memory"] = round(other["peak_bytes"] / found[family]["peak_bytes"], 2)
    return {"steps": {"tuning-free": steps, "pix2gestalt": theirs}, "networks": found, "reported": REPORTED}


def cost(device: Any, work: Callable[[], None]) -> dict[str, Any]:
    """Seconds (on a CPU of the processor) and peak bytes on the GPU (None on a CPU) of one object."""
    seconds = measure(work, device.type == "cuda")
    return {"seconds": round(seconds, 4), "peak_bytes": peak(device, work)}


def inpainter(family: str, device: Any, dtype: Any, small: bool, steps: int) -> Callable[[], None]:
    """One object through an inpainter with the tuning-free method's leak."""
    from amodal.plugins.protocols import Sampling

    backbone = network_of(family, device, dtype, shrink=8 if small else 1)
    picture, area = inputs(1, SIDES[family] // (8 if small else 1))
    sampling = Sampling(steps, (0.3, 0.0), 0.99)

    def work() -> None:
        backbone.paint(picture, area, [0], sampling, lambda: None)

    return work


def pix2gestalt(device: Any, dtype: Any, small: bool, steps: int) -> Callable[[], None]:
    """One object through pix2gestalt, one sample."""
    import torch

    from amodal.networks.latent_diffusion.model import PUBLISHED
    from amodal.networks.latent_diffusion.sampling import Settings, encode, sample

    torch.manual_seed(0)
    networks = (tiny() if small else PUBLISHED).build().eval().to(device, dtype)
    networks.vae.float()
    picture = np.random.default_rng(0).integers(0, 256, (1, networks.size, networks.size, 3), dtype=np.uint8)
    mask = np.zeros((1, networks.size, networks.size), bool)
    mask[:, 20:50, 20:50] = True

    def work() -> None:
        sample(networks, encode(networks, picture, mask), [(0, 0)], Settings(steps=steps, batch=1))

    return work
