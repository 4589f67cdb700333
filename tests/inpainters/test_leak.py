"""The sampling loop against equation 7 in closed form, with a hand-made denoiser."""

import numpy as np
import pytest

from amodal.core.errors import Cancelled
from amodal.inpainters.leak import sample, steps_run, weight_map


class Line:
    """Noise levels 1, ..., 0 in equal steps; x_t = (1 - s) clean + s noise; the "network" predicts noise - clean."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.levels = np.linspace(1, 0, steps + 1)

    def start(self, known, noise):
        return noise

    def step(self, prediction, index, latent):
        return latent + (self.levels[index + 1] - self.levels[index]) * prediction

    def noised(self, known, noise, index):
        return (1 - self.levels[index]) * known + self.levels[index] * noise


def arrays(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    known, noise, model = rng.normal(size=(3, 2, 4, 8, 8))
    return known, noise, model, rng.uniform(size=(2, 1, 8, 8))


def run(steps, leak, seed=0, progress=lambda: None):
    known, noise, model, area = arrays(seed)
    weights = weight_map(area, leak)
    return sample(lambda latent, index: noise - model, Line(steps), known, noise, weights, progress), weights


@pytest.mark.parametrize("leak", [(0.3, 0.0), (0.0, 0.3), (0.3, 0.3), (0.7, 1.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_loop_equals_its_closed_form(leak, steps):
    """With a denoiser that pulls straight to `model`, x - noise is a geometric sum that can be written down.

    Step i adds d_i (noise - model) and then mixes: with e = x - noised(known), equation 7 gives e' = (1 - W)(e + h (known - model))
    with h the level's change; the start's e is 0.
    """
    known, _noise, model, _area = arrays()
    result, weights = run(steps, leak)
    keep = 1 - weights
    shift = (model - known) / steps
    expected = known + shift * sum(keep ** (k + 1) for k in range(steps))
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_no_leak_is_the_model_alone():
    _known, _noise, model, _area = arrays()
    result, weights = run(5, (0.0, 0.0))
    assert weights is None
    np.testing.assert_allclose(result, model, atol=1e-12)


def test_ordinary_inpainting_keeps_what_is_outside():
    known, noise, model, area = arrays()
    area = (area > 0.5).astype(float)
    result = sample(lambda *_: noise - model, Line(4), known, noise, weight_map(area, (0, 1)), lambda: None)
    np.testing.assert_array_equal(result * (1 - area), known * (1 - area))
    np.testing.assert_allclose(result * area, model * area, atol=1e-12)


@pytest.mark.parametrize(
    ("leak", "inside", "outside"),
    [((0.3, 0), 0.3, 0.0), ((0, 0.3), 0.0, 0.3), ((0, 1), 0.0, 1.0), ((0.7, 1), 0.7, 1.0)],
)
def test_weights_follow_the_area(leak, inside, outside):
    area = np.array([1.0, 0.5, 0.0])
    np.testing.assert_allclose(weight_map(area, leak), [inside, (inside + outside) / 2, outside])


def test_torch_and_numpy_agree():
    import torch

    known, noise, model, area = arrays()
    here, _ = run(6, (0.3, 0.1))
    tensors = [torch.from_numpy(values) for values in (known, noise, model, area)]
    there = sample(
        lambda *_: tensors[1] - tensors[2], Line(6), *tensors[:2], weight_map(tensors[3], (0.3, 0.1)), lambda: None
    )
    np.testing.assert_array_equal(here, there.numpy())


def test_one_network_evaluation_a_step_and_cancel_within_one():
    calls = []

    def predict(latent, index):
        calls.append(index)
        return latent

    def stop():
        if len(calls) == 3:
            raise Cancelled("enough")

    known, noise, _, area = arrays()
    with pytest.raises(Cancelled):
        sample(predict, Line(20), known, noise, area, stop)
    assert calls == [0, 1, 2]


@pytest.mark.parametrize(
    ("steps", "strength", "run"), [(20, 1.0, 20), (10, 0.99, 10), (20, 0.5, 10), (5, 0.6, 3), (1, 0.3, 1)]
)
def test_steps_are_the_evaluations_above_the_starting_level(steps, strength, run):
    assert steps_run(steps, strength) == run
