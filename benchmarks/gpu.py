"""`make bench-gpu`: everything that only a GPU can say, in under nine minutes, with random weights in networks of full size.

Each part saves `results/gpu/<part>.json` as it ends, so that whatever stops the run loses one part at most; a part that fails
says why in its file and the next one begins. With `--tiny` the same code runs on a CPU with small networks: a rehearsal.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amodal.core.errors import AmodalError
from amodal.core.files import write_json
from benchmarks.measure import RESULTS, Skip, machine

SECONDS = 520.0
"""No part begins after so many."""
RECIPES = Path(__file__).parents[1] / "recipes"
STEPS = 5
"""Training steps that are measured, after two to warm up."""
SMALL_RECIPE = ("run.batch=2", 'run.precision="fp32"', 'run.device="cpu"', "run.compile=false", "data.size=32")


def stable_diffusion(family: str) -> Callable[[Any, bool], dict[str, Any]]:
    """A U-Net's inpainting loop beside diffusers' own pipeline, alone and as a batch of eight; see `benchmarks.diffusion`."""

    def part(device: Any, tiny: bool) -> dict[str, Any]:
        import torch

        from benchmarks.diffusion import compare

        dtype = torch.float32 if tiny else torch.bfloat16
        return compare(family, device, dtype, shrink=8 if tiny else 1, steps=2 if tiny else 20, times=1 if tiny else 2)

    return part


def flux(device: Any, tiny: bool) -> dict[str, Any]:
    """FLUX.1 Fill: diffusers' pipeline in 16 bit, then ours with the same network, then ours with 8-bit weights."""
    from amodal.inpainters.int8 import quantise
    from benchmarks.flux import networks, ours, plain

    parts = networks(device, tiny)
    steps, side = (2, 64) if tiny else (20, 1024)
    rows = {"plain": timed(lambda: plain(parts, side, steps), device)}
    rows["ours"] = timed(lambda: ours(parts, side, steps), device)
    quantise(parts.transformer)
    gc.collect()
    rows["ours, 8 bit"] = timed(lambda: ours(parts, side, steps), device)
    return {"side": side, "steps": steps, **rows}


def pix2gestalt(device: Any, tiny: bool) -> dict[str, Any]:
    """1, 4 and 16 samples, the published schedule beside the fast one; see `benchmarks.pix2gestalt`."""
    from benchmarks.pix2gestalt import run

    return run(published=4, steps=2) if tiny else run()


def sdamodal(device: Any, tiny: bool) -> dict[str, Any]:
    """A picture's features, shared and not; see `benchmarks.sdamodal`."""
    from benchmarks.sdamodal import run

    return run(objects=2, draws=2) if tiny else run()


def choices(device: Any, tiny: bool) -> dict[str, Any]:
    """One evaluation of Stable Diffusion 2's U-Net: precision, memory layout, batch and compilation, one at a time."""
    import torch

    from benchmarks.diffusion import network_of

    out: dict[str, Any] = {}
    times = 1 if tiny else 3
    for dtype in (torch.float32, torch.bfloat16):
        backbone = network_of("sd2", device, dtype, shrink=8 if tiny else 1)
        unet, side = backbone.network, 8 if tiny else 64

        def step(count: int, unet: Any = unet, backbone: Any = backbone, dtype: Any = dtype, side: int = side) -> None:
            given = torch.randn(count, 9, side, side, device=device, dtype=dtype)
            text = backbone.prompt.embedding.expand(count, -1, -1).to(device, dtype)
            with torch.inference_mode():
                unet(given, torch.tensor(500, device=device), encoder_hidden_states=text)

        name = str(dtype).removeprefix("torch.")
        for layout in ("contiguous_format", "channels_last"):
            unet.to(memory_format=getattr(torch, layout))
            for count in (1, 2 if tiny else 8):
                out[f"{name}, {layout}, batch {count}"] = timed(lambda n=count: step(n), device, times)  # type: ignore[misc]
        if dtype == torch.bfloat16:
            unet.compile(backend="eager" if tiny else "inductor")
            for count in (1, 2 if tiny else 8):
                out[f"{name}, channels_last, compiled, batch {count}"] = timed(lambda n=count: step(n), device, times)  # type: ignore[misc]
    return out


def training(device: Any, tiny: bool) -> dict[str, Any]:
    """Steps a second of every recipe whose data is here, on one batch that stays on the device; making a batch stands beside it."""
    recipes = [RECIPES / "short-occamodal.toml"] if tiny else sorted(RECIPES.glob("*.toml"))
    out: dict[str, Any] = {}
    for path in recipes:
        try:
            with tempfile.TemporaryDirectory() as folder:
                out[path.stem] = train(path, Path(folder), device, SMALL_RECIPE if tiny else ())
        except (AmodalError, OSError, RuntimeError) as error:
            out[path.stem] = {"skipped": f"{type(error).__name__}: {error}"[:300]}
    return out


def train(path: Path, folder: Path, device: Any, settings: tuple[str, ...]) -> dict[str, Any]:
    """One recipe: seconds to make a batch on one core, training steps a second, and the peak of GPU memory."""
    import torch

    from amodal.training.loop import Trainer
    from amodal.training.recipe import read_recipe
    from amodal.training.tasks import open_task

    recipe = read_recipe(path, settings)
    task = open_task(recipe)
    source = task.source(recipe.run.seed, recipe.run.batch)
    source[0]  # its data is read
    start = time.perf_counter()
    batch = tuple(torch.from_numpy(part) for part in source[1])
    made = time.perf_counter() - start
    trainer = Trainer(recipe, task, folder)
    row = timed(lambda: trainer._one([(1, batch)]), device, times=STEPS, warm_up=2)
    return {"batch": recipe.run.batch, "batch_s": round(made, 4), "steps_per_s": round(1 / row["seconds"], 3), **row}


def timed(work: Callable[[], Any], device: Any, times: int = 3, warm_up: int = 1) -> dict[str, Any]:
    """The lowest wall seconds of some runs, with the device's queue, and the most GPU memory that torch held."""
    import torch

    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(warm_up + times):
        start = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    row = {"seconds": round(min(seconds[warm_up:]), 5)}
    return {**row, "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3)} if cuda else row


PARTS: dict[str, Callable[[Any, bool], dict[str, Any]]] = {
    "sd2": stable_diffusion("sd2"),
    "pix2gestalt": pix2gestalt,
    "choices": choices,
    "sdamodal": sdamodal,
    "sd15": stable_diffusion("sd15"),
    "training": training,
    "sdxl": stable_diffusion("sdxl"),
    "flux-fill": flux,
}
"""In the order of their worth: what has no time left is at the end."""


def measure(names: list[str], folder: Path, device: Any, tiny: bool, seconds: float) -> list[str]:
    """Run the parts and save each as it ends; returns those that failed."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    begun, failed = time.perf_counter(), []
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    for part in names:
        start = time.perf_counter()
        if start - begun > seconds:
            print(f"{part}: no time left", flush=True)
            failed.append(part)
            continue
        try:
            content: dict[str, Any] = {"result": PARTS[part](device, tiny)}
        except (AmodalError, ImportError, OSError, RuntimeError, TypeError, ValueError, Skip) as error:
            content = {"failed": f"{type(error).__name__}: {error}"[:500]}
            failed.append(part)
        took = round(time.perf_counter() - start, 1)
        write_json(
            folder / f"{part}.json", {"gpu": name, "tiny": tiny, "took_s": took, "machine": machine(), **content}
        )
        print(f"{part}: {took} s", content.get("failed", ""), flush=True)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return failed


def main(arguments: list[str]) -> int:
    """Run all parts or the named ones; returns 1 if one failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--tiny", action="store_true", help="rehearse on the CPU with small networks")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="no part begins after so many")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "gpu")
    given = parser.parse_args(arguments)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part named {', '.join(sorted(unknown))}; all: {', '.join(PARTS)}")
    import torch

    if not given.tiny and not torch.cuda.is_available():
        print("no CUDA GPU here; with --tiny the same code is rehearsed on the CPU", file=sys.stderr)
        return 2
    device = torch.device("cpu" if given.tiny else "cuda")
    return int(bool(measure(given.parts, given.output, device, given.tiny, given.seconds)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
