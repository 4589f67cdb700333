"""The painter: paintings, and a tiny network through training task, export and ONNX Runtime."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from amodal.core.errors import DataError
from amodal.inpainters.classical import Classical
from amodal.inpainters.painter.inpainter import Painter
from amodal.inpainters.painter.network import BLOCK, Copy
from amodal.plugins.protocols import Sampling
from amodal.synthesis.composites.build import LibraryConfig, open_library
from amodal.synthesis.composites.pairs import PairConfig, PairStream
from amodal.training.recipe import read_recipe
from amodal.training.tasks import open_task
from photo_sets import make_photos

SIDE = 64


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    photos = make_photos(tmp_path_factory.mktemp("photos"))
    path = photos / "recipe.toml"
    path.write_text(
        'task = "painter"\n[run]\nsteps = 2\nbatch = 2\n[network]\nwidths = [16, 16, 16]\ndepths = [1, 1, 1]\n'
        f"[data]\nsizes = [[0, {SIDE}]]\n[data.library]\n"
        f'photos = "{photos}/photos"\nbackgrounds = "{photos}/backgrounds"\ninvented = 2\n'
    )
    return read_recipe(path)


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """A tiny network after 30 steps on one batch, its loss before and after, its ONNX file, its task."""
    torch.manual_seed(0)
    task = open_task(recipe)
    network = task.network()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    batch = tuple(torch.from_numpy(part) for part in task.source(0, 4)[0])
    losses = []
    for step in range(30):
        loss, _ = task.loss(network, batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    (path,) = task.export(network.eval(), tmp_path_factory.mktemp("onnx"))
    return network, losses, path, task


@pytest.fixture
def painter(trained):
    made = Painter({"weights": str(trained[2])})
    made.size = SIDE
    return made


def some(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    areas = np.zeros((count, SIDE, SIDE), np.float32)
    areas[:, 16:48, 16:48] = 1
    return rng.uniform(-1, 1, (count, SIDE, SIDE, 3)).astype(np.float32), areas


def test_paintings_are_the_same_for_the_same_number_and_know_nothing_of_what_is_wanted(recipe):
    folders = recipe.data["library"]
    library = open_library(LibraryConfig(folders["photos"], folders["backgrounds"], invented=2))
    for objects in (0.0, 1.0):
        first, second = (PairStream(library, PairConfig(SIDE, objects), seed=3) for _ in range(2))
        wanted_ever = False
        for number in range(6):
            (picture, known, wanted), again = first.painting(number), second.painting(number)
            assert all(np.array_equal(a, b) for a, b in zip((picture, known, wanted), again, strict=True))
            assert picture.dtype == np.float32 and np.abs(picture).max() <= 1
            assert not (known & wanted).any()
            wanted_ever |= bool(wanted.any())
        assert wanted_ever


def test_batches_are_smooth_where_nothing_is_known(recipe):
    target, smooth, known, wanted = open_task(recipe).source(0, 6)[0]
    assert target.shape == smooth.shape == (6, 3, SIDE, SIDE) and known.shape == wanted.shape == (6, 1, SIDE, SIDE)
    told = np.broadcast_to(known > 0, target.shape)
    assert np.array_equal(smooth[told], target[told])
    assert (
        np.abs(np.diff(smooth, axis=3))[~told[..., 1:]].mean() < np.abs(np.diff(target, axis=3))[told[..., 1:]].mean()
    )


def test_a_network_begins_with_the_smooth_picture(recipe):
    task = open_task(recipe)
    batch = tuple(torch.from_numpy(part) for part in task.source(0, 2)[0])
    with torch.inference_mode():
        made = task.network().eval()(batch[1], batch[2])
    assert torch.allclose(made, batch[1], atol=1e-6)


def test_the_distance_counts_wanted_pixels_alone(recipe):
    task = open_task(recipe)
    target, smooth, known, wanted = (torch.from_numpy(part) for part in task.source(0, 4)[0])
    assert float(task.distance(target, target, known, wanted)) == pytest.approx(0, abs=1e-6)
    assert float(task.distance(smooth, target, known, wanted)) > 0.05
    elsewhere = torch.where(wanted > 0, target, torch.rand(target.shape))
    assert float(task.distance(elsewhere, target, known, wanted)) == pytest.approx(0, abs=1e-6)


def test_detail_is_copied_from_known_blocks_that_look_alike():
    torch.manual_seed(0)
    copy = Copy(4)
    features = torch.zeros(1, 4, 16, 16)
    features[..., :8], features[..., 8:] = 1, -1  # left and right look different
    for layer in (copy.query, copy.key):
        torch.nn.init.constant_(layer.weight, 0.1)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.constant_(copy.sharpness, 6.0)
    detail = torch.full((1, 3, 64, 64), 0.25)
    detail[..., 32:] = -0.5
    known = torch.ones(1, 1, 64, 64)
    known[..., : 2 * BLOCK, :] = 0
    with torch.inference_mode():
        taken = copy(features, detail * known + 9 * (1 - known), known)
    assert torch.allclose(taken[..., :16, :24], torch.tensor(0.25), atol=0.02)
    assert torch.allclose(taken[..., :16, 40:], torch.tensor(-0.5), atol=0.02)


def test_training_lowers_the_loss(trained):
    losses = trained[1]
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


def test_validation_compares_with_the_smooth_filling(trained):
    network, _, _, task = trained
    scores, sheet = task.validate(network, torch.device("cpu"))
    assert 0 < scores["error"] < 255 and scores["perceptual_smooth"] > 0
    assert sheet.dtype == np.uint8 and sheet.ndim == 3


def test_it_paints_what_torch_paints_and_keeps_what_is_known(trained, painter):
    network = trained[0].eval()
    conditions, areas = some(2)
    made = painter.paint(conditions, areas, [1, 2], Sampling(1))
    known = areas == 0
    assert np.array_equal(made[known], conditions[known])
    smooth = Classical().paint(conditions, areas, [1, 2], Sampling(1))
    with torch.inference_mode():
        planes = torch.from_numpy(np.ascontiguousarray(smooth.transpose(0, 3, 1, 2)))
        expected = network(planes, 1 - torch.from_numpy(areas)[:, None]).numpy().transpose(0, 2, 3, 1)
    assert np.abs(made - np.where(known[..., None], conditions, np.clip(expected, -1, 1))).max() < 0.05
    alone = painter.paint(conditions[1:], areas[1:], [7], Sampling(1))
    assert alone.tobytes() == made[1:].tobytes()


def test_nothing_known_or_nothing_wanted_is_left_as_it_is(painter):
    conditions, _ = some(1)
    for area in (np.zeros((1, SIDE, SIDE), np.float32), np.ones((1, SIDE, SIDE), np.float32)):
        assert np.array_equal(painter.paint(conditions, area, [0], Sampling(1)), conditions)


def test_validation_folders_that_are_not_there_are_told_before_the_first_step(recipe):
    task = open_task(
        replace(recipe, data={**recipe.data, "validation": {"photos": "nowhere", "backgrounds": "nowhere"}})
    )
    with pytest.raises(DataError, match="nowhere"):
        task.source(0, 2)
