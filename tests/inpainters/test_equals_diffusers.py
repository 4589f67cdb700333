"""Our loop against diffusers' own pipelines, on the same files, at the same seed."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal.inpainters.diffusers import Diffusers
from amodal.inpainters.schedulers import SCHEDULERS
from amodal.plugins.protocols import Sampling

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
# diffusers' Euler scheduler converts tensors to NumPy in a way that NumPy 2.4 warns about
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE = 32


def inputs(count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    conditions = rng.integers(-128, 129, (count, SIDE, SIDE, 3)).astype(np.float32) / 128  # exact in [0, 1] too
    areas = np.zeros((count, SIDE, SIDE), np.float32)
    areas[:, 7:21, 5:26] = 1  # not aligned to the latents on purpose
    return conditions, areas


@cache
def inpainter(folder: Path, blank: bool) -> Diffusers:
    return Diffusers({"model": str(folder), "size": SIDE, "blank": blank}, device="cpu")


@cache
def pipeline(cls: str, folder: Path) -> Any:
    made = getattr(diffusers, cls).from_pretrained(folder)
    made.set_progress_bar_config(disable=True)
    return made


def ours(folder: Path, sampling: Sampling, seed: int, blank: bool = False) -> np.ndarray:
    return inpainter(folder, blank).paint(*inputs(), [seed], sampling)


def theirs(made: Any, sampling: Sampling, generator: Any, **more: Any) -> np.ndarray:
    conditions, areas = inputs()
    picture = made(
        prompt="",
        image=(torch.from_numpy(conditions).permute(0, 3, 1, 2) + 1) / 2,
        mask_image=torch.from_numpy(areas)[:, None],
        height=SIDE,
        width=SIDE,
        num_inference_steps=sampling.steps,
        strength=sampling.strength,
        generator=generator,
        output_type="pt",
        **more,
    ).images
    return picture.permute(0, 2, 3, 1).numpy() * 2 - 1


def seeded(seed: int):
    return torch.Generator("cpu").manual_seed(seed)


@pytest.mark.parametrize(
    ("scheduler", "strength"), [("default", 1.0), ("default", 0.6), ("euler", 1.0), ("dpm++", 0.6), ("unipc", 1.0)]
)
def test_four_channels_with_weights_zero_one_are_stable_diffusion_inpaint(tiny, scheduler, strength):
    folder, sampling = tiny("text"), Sampling(5, (0.0, 1.0), strength, scheduler)
    mine = ours(folder, sampling, 3)
    made = pipeline("StableDiffusionInpaintPipeline", folder)
    own = made.scheduler
    if scheduler != "default":
        made.scheduler = getattr(diffusers, SCHEDULERS[scheduler]).from_config(own.config)
    expected = theirs(made, sampling, seeded(3), guidance_scale=1.0)
    made.scheduler = own
    np.testing.assert_allclose(mine, expected, atol=1e-5)
    np.testing.assert_array_equal(
        ours(folder, Sampling(5, None, strength, scheduler), 3), mine
    )  # None: as networks of its kind do


@pytest.mark.parametrize(
    ("family", "cls"),
    [
        ("sd15", "StableDiffusionInpaintPipeline"),
        ("sd2", "StableDiffusionInpaintPipeline"),
        ("sdxl", "StableDiffusionXLInpaintPipeline"),
    ],
)
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_nine_channels_blanked_without_leak_are_the_plain_pipeline(tiny, family, cls, strength):
    sampling = Sampling(5, (0.0, 0.0), strength)
    mine = ours(tiny(family), sampling, 4, blank=True)
    expected = theirs(pipeline(cls, tiny(family)), sampling, seeded(4), guidance_scale=1.0)
    np.testing.assert_allclose(mine, expected, atol=1e-5)
    np.testing.assert_array_equal(
        ours(tiny(family), Sampling(5, None, strength), 4), mine
    )  # what is plain is told by None


def test_flux_fill_blanked_without_leak_is_the_plain_pipeline(tiny):
    """Given the same noise: diffusers' pipeline draws it after encoding the picture, we only encode what is used."""
    sampling = Sampling(4, (0.0, 0.0), 1.0)
    mine = ours(tiny("flux-fill"), sampling, 5, blank=True)
    generator = seeded(5)
    noise = torch.randn((1, 4, SIDE // 2, SIDE // 2), generator=generator)
    packed = diffusers.FluxFillPipeline._pack_latents(noise, 1, 4, SIDE // 2, SIDE // 2)
    made = pipeline("FluxFillPipeline", tiny("flux-fill"))
    expected = theirs(made, sampling, generator, latents=packed, guidance_scale=30.0)
    np.testing.assert_allclose(mine, expected, atol=1e-5)
