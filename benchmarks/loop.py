"""The sampling loop against its bare network calls, and batches of 8 against one at a time, on a CPU.

Compared by processor time, not by the clock: the ratios then hold on a busy machine too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.measure import Skip

STEPS = 4
SIDE = 128
"""Side of the pictures: 16 x 16 latents, where a call is cheap and the loop weighs most."""


def run() -> dict[str, object]:
    """Ratios: the loop over its bare calls (the promise is 1.05 at most), a network call on 8 pictures over 8 calls on one."""
    try:
        import torch
    except ImportError as error:
        raise Skip('torch is not installed; pip install "amodal[diffusion]"') from error
    from benchmarks.diffusion import network_of

    backbone = network_of("sd15", torch.device("cpu"), torch.float32, shrink=4)
    results: dict[str, object] = {
        "network": "Stable Diffusion 1.5's UNet at a quarter of its width, random weights, fp32",
        "parameters": sum(p.numel() for p in backbone.network.parameters()),
        "threads": torch.get_num_threads(),
        "steps": STEPS,
        "loop_over_bare_calls": compare(lambda: drive(backbone), lambda: drive(backbone, bare=True), 7),
    }
    for side in (SIDE, 2 * SIDE):
        together, alone = calls(backbone, side, 8, 1), calls(backbone, side, 1, 8)
        results[f"one_call_on_8_over_8_calls_on_1_at_{side}"] = compare(together, alone, 2)
    return results


def drive(backbone: Any, bare: bool = False) -> None:
    """The whole sampling with leakage, without the autoencoder; or the same network calls and nothing else."""
    import torch

    from amodal.inpainters.leak import sample, weight_map
    from amodal.inpainters.schedulers import SchedulerSteps, make_scheduler
    from benchmarks.diffusion import inputs

    generators = [torch.Generator().manual_seed(0)]
    conditions, areas = inputs(1, SIDE)
    with torch.inference_mode():
        noise = backbone.noise(conditions, generators)
        scheduler = make_scheduler(backbone.own_scheduler, "default")
        schedule = SchedulerSteps(scheduler, STEPS, 1.0, generators, conditions.device)
        mask = backbone.latent_area(areas)
        predict = backbone.predictor(schedule, torch.cat([mask, noise], dim=1), conditions.shape)
        if bare:
            for index in range(schedule.steps):
                predict(noise, index)
        else:
            sample(predict, schedule, noise, noise, weight_map(mask, (0.3, 0.0)), lambda: None)


def calls(backbone: Any, side: int, pictures: int, times: int) -> Callable[[], None]:
    """`times` network calls on `pictures` pictures each."""
    import torch

    latents = torch.randn(pictures, 9, side // 8, side // 8)
    prompt = backbone.prompt.embedding.expand(pictures, -1, -1)

    def work() -> None:
        with torch.inference_mode():
            for _ in range(times):
                backbone.network(latents, torch.tensor(500), encoder_hidden_states=prompt)

    return work


def compare(first: Callable[[], Any], second: Callable[[], Any], times: int) -> dict[str, Any]:
    """Processor seconds of two pieces of work, run in turns; `ratio` is the median of first over second."""
    first(), second()
    rows = []
    for _ in range(times):
        row = []
        for work in (first, second):
            start = time.process_time()
            work()
            row.append(time.process_time() - start)
        rows.append(row)
    ratios = sorted(a / b for a, b in rows)
    return {
        "first_median_cpu_s": round(statistics.median(a for a, _ in rows), 6),
        "second_median_cpu_s": round(statistics.median(b for _, b in rows), 6),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_lowest": round(ratios[0], 4),
        "ratio_highest": round(ratios[-1], 4),
        "runs": times,
    }
