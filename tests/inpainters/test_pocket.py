"""The pocket inpainter: pairs, schedule, and a tiny network through training task, export and ONNX Runtime."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from amodal import Mask, load
from amodal.core.errors import Cancelled, DataError, UsageError
from amodal.inpainters.pocket.inpainter import Pocket
from amodal.inpainters.pocket.schedule import CosineSteps, levels
from amodal.pipeline import Model
from amodal.plugins.protocols import Sampling
from amodal.plugins.registry import create_method, create_segmenter
from amodal.synthesis.composites.build import LibraryConfig, open_library
from amodal.synthesis.composites.pairs import PairConfig, PairStream
from amodal.training.recipe import read_recipe
from amodal.training.tasks import open_task
from photo_sets import make_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def recipe(photos):
    path = photos / "recipe.toml"
    path.write_text(
        'task = "pocket-inpainter"\n[run]\nsteps = 2\nbatch = 2\n[network]\nwidths = [16, 16, 16]\ndepths = [1, 1, 1]\n'
        f'[data]\nsizes = [[0, 64]]\n[data.library]\nphotos = "{photos}/photos"\nbackgrounds = "{photos}/backgrounds"\ninvented = 2\n'
    )
    return read_recipe(path)


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """A tiny network after 40 steps on two batches, its loss before and after, its ONNX file, its task."""
    torch.manual_seed(0)
    task = open_task(recipe)
    network = task.network()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    source = task.source(0, 4)
    batches = [tuple(torch.from_numpy(part) for part in source[number]) for number in range(2)]

    def error() -> float:
        with torch.inference_mode():  # the same times and noise before and after: they come from the number
            return float(np.mean([float(task.loss(network, batches[k % 2], k)[0]) for k in range(12)]))

    losses = [error()]
    for step in range(40):
        loss, _ = task.loss(network, batches[step % 2], step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    losses.append(error())
    (path,) = task.export(network, tmp_path_factory.mktemp("onnx"))
    return network, losses, path, task


def test_pairs_are_the_same_for_the_same_number(photos):
    library = open_library(LibraryConfig(photos=f"{photos}/photos", backgrounds=f"{photos}/backgrounds", invented=2))
    first, second = (PairStream(library, PairConfig(64), seed=3) for _ in range(2))
    for number in (0, 7):
        for a, b in zip(first.sample(number), second.sample(number), strict=True):
            assert a.dtype == np.float32
            assert np.array_equal(a, b)
    target, condition, area, weight, thing = first.batch(0, 6)
    assert target.shape == condition.shape == (6, 3, 64, 64)
    assert area.shape == weight.shape == thing.shape == (6, 1, 64, 64)
    assert set(np.unique(area)) <= {0.0, 1.0} and area.any()
    assert weight.min() > 0
    clean = PairStream(library, PairConfig(64, noise=0.0), seed=3).batch(0, 6)
    outside = np.broadcast_to(clean[2] == 0, clean[0].shape)
    # What is not asked for is known already: equal but for where the occluder stood outside of the area.
    assert np.abs(clean[0] - clean[1])[outside].mean() < np.abs(clean[0] - clean[1])[~outside].mean()


def test_the_target_is_the_condition_wherever_the_object_is_not(photos):
    library = open_library(LibraryConfig(photos=f"{photos}/photos", backgrounds=f"{photos}/backgrounds", invented=2))
    for objects in (0.0, 1.0):
        target, condition, _, _, thing = PairStream(library, PairConfig(64, objects, noise=0.0), seed=3).batch(0, 8)
        assert set(np.unique(thing)) == {0.0, 1.0}
        ground = np.broadcast_to(thing == 0, target.shape)
        assert np.array_equal(target[ground], condition[ground])
        changed = np.abs(target - condition).max(axis=1, keepdims=True) > 0
        assert (changed & (thing > 0)).any(axis=(1, 2, 3)).mean() > 0.8


class Knows(torch.nn.Module):
    """A network that knows the targets and objects, and the v that leads there from any noisy picture."""

    def __init__(self, target: torch.Tensor, thing: torch.Tensor) -> None:
        super().__init__()
        self.target, self.thing, self.seen = target, thing, []

    def forward(self, noisy, area, condition, time):
        angle = (time * torch.pi / 2)[:, None, None, None]
        self.seen.append(noisy)
        return (angle.cos() * noisy - self.target[: len(noisy)]) / angle.sin(), 40 * self.thing - 20


def test_what_is_learnt_leads_to_the_target_also_when_the_condition_leaks(recipe, photos):
    batch = tuple(torch.from_numpy(part) for part in open_task(recipe).source(0, 8)[0])
    seen = []
    for share in (0.0, 1.0):
        task = open_task(replace(recipe, loss={"leaked": share, "own": 0.0}))
        knows = Knows(batch[0], batch[4])
        assert float(task.loss(knows, batch, 3)[0]) < 1e-6
        seen += knows.seen
        assert float(task.loss(Knows(batch[0], 1 - batch[4]), batch, 3)[0]) > 1, "where the object is counts too"
        assert float(task.loss(lambda noisy, area, condition, time: (noisy, 40 * batch[4] - 20), batch, 3)[0]) > 0.05
    changed = (seen[0] - seen[1]).abs().amax(1) > 1e-4
    assert changed.any()
    assert not changed[batch[2][:, 0] == 0].any(), "it leaks inside the area alone"


def test_a_picture_of_its_own_leads_to_the_target_too(recipe):
    batch = tuple(torch.from_numpy(part) for part in open_task(recipe).source(0, 8)[0])

    class Grey(Knows):
        """Knows the target, but sees grey in noise alone."""

        def forward(self, noisy, area, condition, time):
            v, logit = super().forward(noisy, area, condition, time)
            if len(self.seen) == 1:
                v = v + self.target[: len(v)] / (time * torch.pi / 2).sin()[:, None, None, None]
            return v, logit[: len(v)]

    grey = Grey(batch[0], batch[4])
    task = open_task(replace(recipe, loss={"leaked": 0.0, "own": 1.0}))
    assert float(task.loss(grey, batch, 3)[0]) < 1e-6
    first, second = grey.seen
    assert first.shape == second.shape
    # Noise and grey: what is seen the second time tells nothing of the target.
    seen, truth = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (second, batch[0]))
    assert float(torch.cosine_similarity(seen, truth).abs().max()) < 0.05


def test_schedule_inverts_v_exactly():
    rng = np.random.default_rng(0)
    picture = rng.uniform(-1, 1, (1, 3, 4, 4)).astype(np.float32)
    noise = rng.standard_normal(picture.shape).astype(np.float32)
    schedule = CosineSteps(5)
    latent = schedule.noised(picture, noise, 0)
    for index in range(schedule.steps):
        alpha, sigma = levels(schedule.times[index])
        assert alpha**2 + sigma**2 == pytest.approx(1)
        latent = schedule.step(alpha * noise - sigma * picture, index, latent)
    assert np.allclose(latent, picture, atol=1e-5)
    assert CosineSteps(10, 0.5).steps == 5


def test_where_no_object_is_v_leads_to_the_condition(recipe):
    network = open_task(recipe).network()
    torch.nn.init.constant_(network.out.bias, -30.0)  # logits among the rest
    rng = torch.Generator().manual_seed(0)
    noisy, condition = torch.rand(2, 2, 3, 64, 64, generator=rng)
    time = torch.tensor([0.4, 0.9])
    with torch.inference_mode():
        v, logit = network(noisy, torch.ones(2, 1, 64, 64), condition, time)
    angle = (time * torch.pi / 2)[:, None, None, None]
    assert logit.shape == (2, 1, 64, 64) and float(logit.max()) < -20
    assert torch.allclose(angle.cos() * noisy - angle.sin() * v, condition, atol=1e-5)


def test_validation_pairs_that_are_not_there_are_told_before_the_first_step(recipe):
    task = open_task(
        replace(recipe, data={**recipe.data, "validation": {"photos": "nowhere", "backgrounds": "nowhere"}})
    )
    with pytest.raises(DataError, match="nowhere"):
        task.source(0, 2)


def test_training_lowers_the_loss(trained):
    before, after = trained[1]
    assert after < 0.9 * before


def test_validation_gives_error_and_sheet(trained):
    network, _, _, task = trained
    scores, sheet = task.validate(network, torch.device("cpu"))
    assert 0 < scores["error"] < 255
    assert sheet.dtype == np.uint8 and sheet.ndim == 3


@pytest.fixture
def pocket(trained):
    painter = Pocket({"weights": str(trained[2]), "steps": 3, "batch": 2})
    painter.size = 64
    return painter


def some(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    areas = np.zeros((count, 64, 64), np.float32)
    areas[:, 16:48, 16:48] = 1
    return rng.uniform(-1, 1, (count, 64, 64, 3)).astype(np.float32), areas


def test_torch_and_onnx_agree(trained, pocket):
    network = trained[0]
    conditions, areas = some(1)
    made = pocket.paint(conditions, areas, [5], Sampling(1, (0.0, 0.0)))
    noise = np.random.default_rng(5).standard_normal((3, 64, 64), np.float32)[None]
    inputs = (noise, areas[:, None], conditions.transpose(0, 3, 1, 2), np.array([CosineSteps(1).times[0]], np.float32))
    with torch.inference_mode():
        v = network(*(torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in inputs))[0].numpy()
    alpha, sigma = levels(CosineSteps(1).times[0])
    expected = np.clip(alpha * noise - sigma * v, -1, 1).transpose(0, 2, 3, 1)
    assert np.abs(made - expected).max() < 0.02


def test_batch_equals_single_and_seeds_matter(pocket):
    conditions, areas = some(3)
    together = pocket.paint(conditions, areas, [1, 2, 3], Sampling(2))
    for i in range(3):
        alone = pocket.paint(conditions[i : i + 1], areas[i : i + 1], [i + 1], Sampling(2))
        assert alone.tobytes() == together[i : i + 1].tobytes()
    other = pocket.paint(conditions[:1], areas[:1], [9], Sampling(2))
    assert not np.array_equal(other, together[:1])
    assert np.abs(together).max() <= 1


def test_full_leak_outside_keeps_the_known_pixels(pocket):
    conditions, areas = some(1)
    made = pocket.paint(conditions, areas, [0], Sampling(2, (0.0, 1.0)))
    outside = areas[0] == 0
    assert np.allclose(made[0][outside], conditions[0][outside], atol=1e-6)


def test_cancel_within_a_step(pocket):
    calls = []

    def progress(what: str, done: int, total: int) -> None:
        calls.append((what, done, total))
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        pocket.paint(*some(3), [1, 2, 3], Sampling(4), progress)
    assert calls == [("step", 1, 8)]


def test_the_tuning_free_method_drives_it(pocket, photo, disc_visible):
    model = Model(create_method("tuning-free", {"steps": 2}), create_segmenter("grabcut"), pocket)
    results = [model(photo, mask=disc_visible, seed=4, samples=2) for _ in range(2)]
    assert results[0].rgba.tobytes() == results[1].rgba.tobytes()
    assert results[0].amodal.contains(Mask.from_array(disc_visible))


def test_it_draws_for_the_tuning_free_method_and_paints_for_none(pocket, photo, disc_visible):
    hull = load("hull")
    model = Model(hull.method, hull.segmenter, pocket)
    assert model.inpainter is pocket and model.painter.name == "painter"
    plain = hull(photo, mask=disc_visible)
    assert np.array_equal(model(photo, mask=disc_visible).rgba, plain.rgba) and plain.occluded.area > 0
    with pytest.raises(UsageError, match="'pocket' draws objects for methods that read their shape"):
        load("hull", inpainter="pocket")
