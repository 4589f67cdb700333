"""Times, one step, guidance and conditions against closed forms; solvers against a fine solution; seeds against batches."""

import numpy as np
import pytest
import torch

from amodal.methods.pix2gestalt.cutout import white_mask
from amodal.networks.latent_diffusion.sampling import (
    CLIP_MEAN,
    CLIP_STD,
    Condition,
    Settings,
    clip_pixels,
    ddim_timesteps,
    denoise,
    encode,
    guided,
    make_scheduler,
    sample,
)
from tiny_pix2gestalt import tiny_networks

SEEDS = [(7, 0), (7, 1), (8, 0)]


@pytest.fixture(scope="module")
def networks():
    return tiny_networks()


@pytest.fixture(scope="module")
def condition(networks) -> Condition:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    return encode(networks, pictures, random.random((3, 64, 64)) > 0.5)


def alphas() -> np.ndarray:
    """The cumulative products of the schedule: linear in the square root from 0.00085 to 0.012."""
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def test_times():
    times = ddim_timesteps(200)
    assert (len(times), times[0], times[1], times[-1]) == (199, 991, 986, 1)
    assert (len(ddim_timesteps(50)), ddim_timesteps(50)[0]) == (49, 961)
    # 30 does not divide 1000: 1, 34, ..., 991, of which the largest is left out
    assert (len(ddim_timesteps(30)), ddim_timesteps(30)[0]) == (30, 958)
    assert make_scheduler(Settings(steps=200)).timesteps.tolist() == times
    assert len(make_scheduler(Settings(steps=25, solver="dpm++")).timesteps) == 25


@pytest.mark.parametrize("steps", [200, 100, 50, 25, 150, 7, 10, 2, 5, 499])
def test_times_are_the_authors(steps):
    """Every (1000 // S)-th of 1 ... 1000 without the largest, descending: their list, whatever S divides."""
    expected = list(range(1, 1001, 1000 // steps))[-2::-1]
    assert ddim_timesteps(steps) == expected
    assert make_scheduler(Settings(steps=steps)).timesteps.tolist() == expected


def step_by_hand(latents, noise, fresh, time, before, eta):
    """DDIM (Song et al. 2021, equation 12) in float64; the time before the first is the first of the schedule."""
    a = alphas()
    now, then = a[time], a[before] if before >= 0 else a[0]
    sigma = eta * np.sqrt((1 - then) / (1 - now) * (1 - now / then))
    clean = (latents - np.sqrt(1 - now) * noise) / np.sqrt(now)
    return np.sqrt(then) * clean + np.sqrt(1 - then - sigma**2) * noise + sigma * fresh


@pytest.mark.parametrize(("time", "eta"), [(991, 1.0), (991, 0.0), (501, 0.5), (1, 1.0)])
def test_one_step_in_closed_form(time, eta):
    random = np.random.default_rng(time)
    latents, noise, fresh = random.standard_normal((3, 1, 4, 8, 8))
    scheduler = make_scheduler(Settings(steps=200))
    tensors = [torch.from_numpy(x).float() for x in (latents, noise, fresh)]
    got = scheduler.step(tensors[1], time, tensors[0], eta=eta, variance_noise=tensors[2]).prev_sample
    expected = step_by_hand(latents, noise, fresh, time, time - 5, eta)
    assert np.allclose(got.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_guidance_nulls_projected_token_and_channels(networks, condition):
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def noise(concat, token):
        return networks.unet(torch.cat([latents, concat], 1), 500, encoder_hidden_states=token).sample

    with torch.inference_mode():
        bound = noise(condition.concat, condition.token)
        free = noise(torch.zeros(3, 8, 8, 8), torch.zeros(3, 1, 12))
        assert (bound - free).abs().max() > 1e-3  # else the comparison below says nothing
        for weight in (0.0, 1.0, 2.0):
            got = guided(networks, latents, 500, condition, weight)
            assert torch.allclose(got, free + weight * (bound - free), atol=1e-5)


def test_guidance_of_one_evaluates_half(networks, condition):
    sizes = []
    hook = networks.unet.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    with torch.inference_mode():
        guided(networks, torch.zeros(3, 4, 8, 8), 5, condition, 1.0)
        guided(networks, torch.zeros(3, 4, 8, 8), 5, condition, 2.0)
    hook.remove()
    assert sizes == [3, 6]


def test_whole_loop_against_one_written_out(networks, condition):
    """10 steps, eta 1, guidance 2: the same noise through ten lines of numpy."""
    one = condition.take([0])
    got = denoise(networks, one, [(3, 1)], Settings(steps=10))
    from amodal.networks.latent_diffusion.sampling import generators

    stream = generators([(3, 1)])[0]
    latents = torch.randn((4, 8, 8), generator=stream)[None].double().numpy()
    for time in range(801, 0, -100):
        with torch.inference_mode():
            noise = guided(networks, torch.from_numpy(latents).float(), time, one, 2.0).double().numpy()
        fresh = torch.randn((4, 8, 8), generator=stream)[None].double().numpy()
        latents = step_by_hand(latents, noise, fresh, time, time - 100, 1.0)
    assert np.allclose(got.numpy(), latents, rtol=1e-3, atol=2e-3)


def test_conditions_are_unscaled_modes(networks, condition):
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    masks = random.random((3, 64, 64)) > 0.5
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    marked = torch.from_numpy(np.where(masks, 1.0, -1.0)).float()[:, None].expand(-1, 3, -1, -1)
    with torch.inference_mode():
        expected = [networks.vae.encode(x).latent_dist.mean for x in (values, marked)]
        assert torch.allclose(condition.concat, torch.cat(expected, 1), atol=1e-5)
        pixels = clip_pixels(values, 28)
        token = networks.projection(networks.image_encoder(pixel_values=pixels).image_embeds)
    assert torch.allclose(condition.token[:, 0], token, atol=1e-5)


def test_clip_pixels_align_corners_and_do_not_antialias():
    stripes = torch.ones(1, 3, 257, 257)
    stripes[..., 1::2] = -1
    mean, deviation = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)
    pixels = clip_pixels(stripes, 129)[0] * deviation + mean
    assert torch.allclose(pixels, torch.ones(3, 129, 129), atol=1e-5)  # every second column, exactly; no averaging
    ramp = torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)
    row = (clip_pixels(ramp, 224)[0] * deviation + mean)[0, 0]
    assert abs(row[0].item()) < 1e-5 and abs(row[-1].item() - 1) < 1e-5
    assert torch.allclose(row[1:-1], torch.linspace(0, 1, 224)[1:-1], atol=2e-3)


def test_fast_solvers_keep_the_answer(networks, condition):
    """The deterministic solvers in 25 steps are nearer to the finely solved equation than DDIM in 25 steps."""
    one = condition.take([0])

    def solve(solver, steps):
        return denoise(networks, one, [(1, 0)], Settings(steps=steps, eta=0.0, solver=solver))

    fine = solve("dpm++", 80)
    plain = (solve("ddim", 25) - fine).abs().mean()
    for solver in ("dpm++", "unipc"):
        error = (solve(solver, 25) - fine).abs().mean()
        assert error < 0.5 * plain, (solver, error, plain)
        assert error < 0.1 * fine.abs().mean()


@pytest.mark.parametrize("solver", ["ddim", "dpm++sde", "unipc"])
def test_rows_depend_on_their_own_seed_alone(networks, condition, solver):
    together = sample(networks, condition, SEEDS, Settings(steps=4, solver=solver, batch=8))
    apart = sample(networks, condition, SEEDS, Settings(steps=4, solver=solver, batch=1))
    assert together.shape == (3, 64, 64, 3) and together.dtype == np.uint8
    assert np.abs(together.astype(int) - apart).max() <= 1  # the order of summation may differ
    alone = sample(networks, condition.take([1]), SEEDS[1:2], Settings(steps=4, solver=solver, batch=1))
    assert np.array_equal(alone[0], apart[1])
    assert not np.array_equal(*sample(networks, condition.take([0, 0]), [(7, 0), (7, 1)], Settings(steps=4)))


def changed(kind):
    """The tiny networks in a faster form, as the method makes them."""
    fast = tiny_networks()
    if kind in ("bf16", "all"):
        for part in (fast.unet, fast.image_encoder, fast.projection):  # the VAE stays in fp32
            part.to(torch.bfloat16)
    if kind in ("channels last", "all"):
        fast.unet.to(memory_format=torch.channels_last)
    return fast


@pytest.mark.parametrize(("kind", "mean", "largest"), [("channels last", 0.01, 1), ("bf16", 1, 12), ("all", 1, 12)])
def test_fast_forms_keep_the_answer(networks, condition, kind, mean, largest):
    """In grey levels of pictures whose deviation is about 45: exact but for rounding, and within bf16's three digits."""
    settings = Settings(steps=8, solver="dpm++", batch=3)
    plain = sample(networks, condition, SEEDS, settings).astype(int)
    fast = changed(kind)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    told = encode(fast, pictures, random.random((3, 64, 64)) > 0.5)
    error = np.abs(sample(fast, told, SEEDS, settings) - plain)
    assert error.mean() <= mean and error.max() <= largest, (error.mean(), error.max())
    assert plain.std() > 20


def test_ticks_once_per_evaluation(networks, condition):
    ticks = []
    sample(networks, condition, SEEDS, Settings(steps=5, batch=2), lambda *t: ticks.append(t))
    assert ticks == [("step", done, 8) for done in range(1, 9)]


def test_white_mask_threshold_and_weights():
    picture = np.zeros((1, 4, 3), np.uint8)
    picture[0] = [(255, 255, 255), (251, 251, 251), (250, 250, 250), (255, 255, 230)]
    assert white_mask(picture).tolist() == [[False, False, True, True]]
    # 0.114 * 255 + 0.587 * 255 + 0.299 * 230 = 247.5: the third channel weighs 0.299
    assert not white_mask(np.array([[[230, 255, 255]]], np.uint8)).any()  # 252.2
