"""OccAmodal as published: its layout, what each stage sees and learns from, and a run that serves the method."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from amodal.core.errors import OptionError, WeightsError
from amodal.core.mask import Mask
from amodal.data import Sample, dataset
from amodal.plugins import registry
from disc_sets import make_discs
from official_layouts import make_cocoa, make_mp3d

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from amodal.methods.occamodal.network import TwoStageOccAmodal, layout_of  # noqa: E402
from amodal.networks.picture_unet import PictureUNet  # noqa: E402
from amodal.training.loop import Trainer  # noqa: E402
from amodal.training.recipe import parse_recipe, read_recipe  # noqa: E402
from amodal.training.tasks import open_task  # noqa: E402
from amodal.training.tasks.occamodal import known_occluder  # noqa: E402

TINY = {"widths": (4, 4, 6, 8, 8, 8), "image_widths": (4, 4, 4, 8), "reduced": 4}


def test_the_published_layout():
    network = TwoStageOccAmodal()
    assert network.occluder.up0.conv.conv[0].in_channels == 1280, "512 and 256 of the picture, and 512 of the skip"
    assert (network.occluder.inc.conv.conv[0].in_channels, network.amodal.inc.conv.conv[0].in_channels) == (1, 2)
    assert sum(p.numel() for p in network.parameters()) == 50_566_372


@pytest.mark.parametrize(("final_skip", "find_occluder"), [(True, True), (False, True), (False, False)])
def test_the_rows_of_table_3(final_skip, find_occluder):
    network = TwoStageOccAmodal(**TINY, final_skip=final_skip, find_occluder=find_occluder).eval()
    visible, picture = torch.zeros(2, 1, 64, 64), torch.randn(2, 3, 64, 64)
    visible[..., 10:30, 10:30] = 1
    first, second = network(visible, picture)
    assert second.shape == (2, 2, 64, 64) and (first is None) is not find_occluder
    skips = network.amodal.up4.conv.conv[0].in_channels
    assert skips == (8 if final_skip else 4), "the fifth skip is that at full size"
    assert layout_of(network.state_dict()) == {**TINY, "final_skip": final_skip, "find_occluder": find_occluder}
    assert layout_of(PictureUNet(1, **TINY).state_dict()) == {}


def test_stage_2_sees_a_binary_occluder_and_does_not_train_stage_1():
    network = TwoStageOccAmodal(**TINY)
    seen = []
    network.amodal.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    visible, picture = torch.zeros(1, 1, 64, 64), torch.randn(1, 3, 64, 64)
    visible[..., :32] = 1
    with torch.no_grad():  # stage 1 says "no occluder", but not by far: a soft occluder would leak 0.4 everywhere
        network.occluder.outc.conv.weight.zero_()
        network.occluder.outc.conv.bias[:] = torch.tensor([0.4, 0.0])
    _, second = network(visible, picture)
    assert torch.equal(seen[0][:, :1], visible) and not seen[0][:, 1].any()
    second.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in network.occluder.parameters())
    known = torch.zeros_like(visible)
    known[..., 32:40] = 1
    network(visible, picture, known)
    assert seen[1][0, 1, 5].nonzero().ravel().tolist() == [30, 31, 32, 33], "both masks grown by 5 x 5 meet here"


def test_true_occluders(tmp_path):
    make_cocoa(tmp_path / "cocoa")
    data = dataset("cocoa", tmp_path / "cocoa", "val")
    for sample in data:
        others = data.by_ids(sample.occluders).values()
        known = known_occluder(sample, data)
        assert (known is None) is (not sample.occluders and bool(sample.occluded))
        for other in others:
            assert known.contains(other.visible)
    make_mp3d(tmp_path / "mp3d")
    shapes = dataset("mp3d-amodal", tmp_path / "mp3d")
    assert all(known_occluder(sample, shapes) is None for sample in shapes), "MP3D-Amodal tells no relations"
    box, front = Mask.from_box((0, 0, 2, 2)), Mask.from_box((1, 1, 3, 3))
    given = Sample("a", "a", np.zeros((4, 4, 3), np.uint8), (4, 4), box, box, occluder=front)
    assert known_occluder(given, data) == front


def recipe_for(sets, **network):
    return parse_recipe(
        {
            "task": "occamodal",
            "run": {"steps": 2, "batch": 2, "device": "cpu", "precision": "fp32", "threads": 1, "workers": 0},
            "optimizer": {"name": "sgd", "lr": 1e-3, "warmup": 0, "schedule": "steps", "ema": 0.0, "clip": 0},
            "data": {"sets": sets, "validation": sets[:1], "size": 32, "validation_limit": 2},
            "network": {**TINY, **network},
        }
    )


def test_a_run_serves_the_method(tmp_path):
    import amodal

    make_discs(tmp_path / "discs")
    make_mp3d(tmp_path / "mp3d")
    sets = [
        {"name": "folder", "root": str(tmp_path / "discs"), "share": 0.9},
        {"name": "mp3d-amodal", "root": str(tmp_path / "mp3d"), "share": 0.1},
    ]
    recipe = recipe_for(sets)
    metrics = Trainer(recipe, open_task(recipe), tmp_path / "run").train()
    assert 0 <= metrics["iou"] <= 100
    options = {"weights": str(tmp_path / "run" / "weights.safetensors")}
    model = amodal.load("occamodal", options=options, device="cpu")
    assert model.method.options.input_size == 32, "the size of the recipe's crops, which the weights tell"
    sample = next(iter(dataset("folder", tmp_path / "discs")))
    result = model(sample.image, mask=sample.visible)
    assert result.amodal.contains(sample.visible)
    assert model(sample.image, mask=sample.visible, occluder=Mask.from_box((0, 0, 1, 1))).amodal == sample.visible


def test_samples_without_relations_do_not_teach_stage_1(tmp_path):
    make_mp3d(tmp_path)
    recipe = recipe_for([{"name": "mp3d-amodal", "root": str(tmp_path)}])
    task = open_task(recipe)
    batch = tuple(torch.from_numpy(part) for part in task.source(0, 2)[0])
    network = task.network()
    total, parts = task.loss(network, batch, 0)
    assert float(parts["occluder"]) == 0 and float(total.detach()) == float(parts["amodal"])
    total.backward()
    assert not any(p.grad.any() for p in network.occluder.parameters() if p.grad is not None)


def test_the_recipe_makes_both_stages():
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "occamodal.toml")
    assert isinstance(open_task(replace(recipe, data={}, network=TINY)).network(), TwoStageOccAmodal)


def test_what_is_missing_or_wrong_is_told(tmp_path):
    import amodal

    with pytest.raises(OptionError, match="the one that ships is embedded"):
        amodal.load("occamodal")
    save_file(PictureUNet(1, **TINY).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not hold OccAmodal's two stages"):
        amodal.load("occamodal", options={"weights": str(tmp_path / "other.safetensors")})


def test_the_old_names_work_and_are_told(tmp_path):
    import amodal

    registry._renamed.cache_clear()
    save_file(TwoStageOccAmodal(**TINY).state_dict(), tmp_path / "own.safetensors")
    with pytest.warns(UserWarning, match="the method 'occamodal-paper' is called 'occamodal' now"):
        model = amodal.load("occamodal-paper", options={"weights": str(tmp_path / "own.safetensors")}, device="cpu")
    assert model.provenance()["method"]["name"] == "occamodal"
    assert "occamodal-paper" not in registry.names("methods")
    with pytest.warns(UserWarning, match="the task 'occamodal-paper' is called 'occamodal' now"):
        open_task(parse_recipe({"task": "occamodal-paper"}))
    with pytest.raises(OptionError, match='compact network; its task is called "embedded"'):
        open_task(parse_recipe({"task": "occamodal", "data": {"library": {}}}))


def test_single_stage_with_six_levels_is_setting_d_of_table_4(tmp_path):
    import amodal

    six = parse_recipe({"task": "deocclusion-single", "network": {k: v for k, v in TINY.items() if k != "reduced"}})
    network = open_task(six).network()
    assert isinstance(network, PictureUNet)
    save_file(network.state_dict(), tmp_path / "six.safetensors")
    options = {"weights": str(tmp_path / "six.safetensors"), "input_size": 32}
    model = amodal.load("deocclusion-single", options=options, device="cpu")
    visible = Mask.from_box((8, 8, 24, 24))
    assert model(np.zeros((32, 32, 3), np.uint8), mask=visible).amodal.contains(visible)
