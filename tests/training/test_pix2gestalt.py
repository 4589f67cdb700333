"""Training pix2gestalt through the loop: accumulation, the projection's own rate, exact resume, export to the method."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from amodal import load  # noqa: E402
from amodal.cli import run  # noqa: E402
from amodal.core.errors import DataError, OptionError, WeightsError  # noqa: E402
from amodal.core.image import encode_png, read  # noqa: E402
from amodal.core.mask import Mask  # noqa: E402
from amodal.synthesis.pairs.build import build_pairs  # noqa: E402
from amodal.synthesis.pairs.source import PairsConfig, Whole  # noqa: E402
from amodal.training import checkpoint  # noqa: E402
from amodal.training.loop import Trainer, share  # noqa: E402
from amodal.training.recipe import Recipe, RecipeError, parse_recipe  # noqa: E402
from amodal.training.tasks import open_task  # noqa: E402
from amodal.training.tasks.pix2gestalt import load_pair, open_pairs  # noqa: E402
from tiny_pix2gestalt import TINY, tiny_networks  # noqa: E402


def disc(number: int) -> Whole:
    rows, columns = np.indices((80, 80))
    mask = Mask.from_array((columns - 36 - number) ** 2 + (rows - 40) ** 2 < (14 + number) ** 2)
    image = np.random.default_rng(number).integers(60, 120, (80, 80, 3), dtype=np.uint8)
    image[mask.to_array((80, 80))] = (200, 20 * number, 30)
    return Whole(f"photo{number}", lambda: image, mask)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """`pairs/`, and `sd/`: an image-conditioned Stable Diffusion of 4 channels."""
    from diffusers import UNet2DConditionModel

    root = tmp_path_factory.mktemp("training")
    build_pairs([disc(k) for k in range(6)], root / "pairs", PairsConfig(side=64))
    torch.manual_seed(1)
    UNet2DConditionModel(**{**TINY.unet, "in_channels": 4, "cross_attention_dim": 10}).save_pretrained(root / "sd/unet")
    networks = tiny_networks()
    networks.vae.save_pretrained(root / "sd/vae")
    networks.image_encoder.save_pretrained(root / "sd/image_encoder")
    return root


@pytest.fixture
def recipe(folders) -> Recipe:
    return parse_recipe(
        {
            "task": "pix2gestalt",
            "run": {
                "steps": 4,
                "batch": 2,
                "device": "cpu",
                "precision": "fp32",
                "workers": 0,
                "log_every": 1,
                "validate_every": 4,
                "checkpoint_every": 2,
            },
            "optimizer": {"lr": 1e-3, "warmup": 2, "schedule": "trapezoid", "ema": 0.9999, "clip": 1000.0},
            "network": {"start": str(folders / "sd")},
            "data": {"pairs": str(folders / "pairs"), "steps": 2, "validate": 2},
        }
    )


def test_run_resume_and_export(folders, recipe, tmp_path, capsys):
    whole = Trainer(recipe, open_task(recipe), tmp_path / "whole")
    metrics = whole.train()
    assert set(metrics) == {"mse", "iou", "error"} and (tmp_path / "whole" / "sheet.jpg").stat().st_size > 0
    first = replace(recipe, run=replace(recipe.run, steps=2, validate_every=100))
    begun = open_task(first)
    begun.validate = lambda network, device: ({}, None)
    Trainer(first, begun, tmp_path / "parts").train()
    second = Trainer(recipe, open_task(recipe), tmp_path / "parts")
    second.resume()
    assert second.step == 2
    second.train()
    one, two = (checkpoint.load(tmp_path / name) for name in ("whole", "parts"))
    for part in ("network", "average"):
        assert all(torch.equal(one[part][key], two[part][key]) for key in one[part])
    start = open_task(recipe).networks
    assert not torch.equal(one["network"]["unet.conv_in.weight"], start.unet.conv_in.weight)
    assert (one["network"]["unet.conv_in.weight"][:, 4:] != 0).any()  # the new channels learn
    assert set(one["network"]) == {f"unet.{k}" for k in start.unet.state_dict()} | {
        "projection.weight",
        "projection.bias",
    }

    import json

    (tmp_path / "recipe.toml").write_text(to_toml(json.loads((tmp_path / "whole" / "recipe.json").read_text())))
    weights = tmp_path / "whole" / "weights.safetensors"
    assert run(["export", str(tmp_path / "recipe.toml"), str(weights), "-o", str(tmp_path / "model")]) == 0
    model = load("pix2gestalt", device="cpu", options={"model": str(tmp_path / "model"), "steps": 2})
    unet = model.method.networks.unet
    assert torch.allclose(unet.conv_in.weight, one["average"]["unet.conv_in.weight"], atol=1e-3)
    image = disc(1).image()
    assert model(image, mask=disc(1).mask).amodal.contains(disc(1).mask)

    # What else lies in the run's folder, and the folder, are no model: told where one comes from.
    for given, words in (
        (weights, f"{weights} holds what a run .* learnt .*; make a folder of it with amodal export"),
        (weights.parent, f"{weights} holds what a run .* learnt .*; make a folder of it with amodal export"),
        (weights.with_name("checkpoint.pt"), f"goes on from; give the weights that it learnt, .*: {weights}"),
    ):
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "converting checkpoint.pt")
            with pytest.raises(WeightsError, match=words):
                load("pix2gestalt", device="cpu", options={"model": str(given)})
        if given.is_file():
            assert run(["data", "convert-weights", str(given), str(tmp_path / "converted")]) == 1
            assert re.search(words, capsys.readouterr().err)

    from safetensors.torch import load_file, save_file

    large = load_file(weights)
    large["projection.weight"][0, 0] = 1e6
    save_file(large, tmp_path / "large.safetensors")
    capsys.readouterr()
    assert (
        run(["export", str(tmp_path / "recipe.toml"), str(tmp_path / "large.safetensors"), "-o", str(tmp_path / "l")])
        == 1
    )
    assert "weight holds values that half precision cannot hold" in capsys.readouterr().err


def to_toml(record: dict) -> str:
    import json

    lines = [f"task = {json.dumps(record.pop('task'))}"]
    for name, section in record.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in section.items()]
    return "\n".join(lines)


def test_rates_and_warm_up(recipe, tmp_path):
    trainer = Trainer(recipe, open_task(recipe), tmp_path)
    projection = set(trainer.network.projection.parameters())
    seen = []
    step = trainer.optimizer.step

    def watch(*given, **named):
        rates = {p in projection: group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
        seen.append((rates[False], rates[True]))
        return step(*given, **named)

    trainer.optimizer.step = watch
    trainer.task.validate = lambda network, device: ({}, None)
    trainer.train()
    assert seen == [pytest.approx((rate, 10 * rate)) for rate in (5e-4, 1e-3, 1e-3, 1e-3)]
    plain = replace(recipe, optimizer=replace(recipe.optimizer, name="sgd"))
    groups = Trainer(plain, open_task(plain), tmp_path / "sgd").optimizer.param_groups
    assert sorted(group["factor"] for group in groups) == [1.0, 10.0]


def test_accumulation_is_the_mean_over_passes(recipe, tmp_path):
    """Two passes of two in a step give the gradient that their mean loss has."""
    twice = replace(recipe, run=replace(recipe.run, steps=1, accumulate=2))
    trainer = Trainer(twice, open_task(twice), tmp_path / "run")
    trainer.task.validate = lambda network, device: ({}, None)
    trainer.train()
    got = trainer.network.projection.weight.grad
    task = open_task(twice)
    learner = task.network()
    source = task.source(twice.run.seed, twice.run.batch)
    losses = []
    for number in range(2):
        batch = tuple(torch.from_numpy(x) for x in source[number])
        losses.append(task.loss(learner, batch, number)[0])
    (sum(losses) / 2).backward()
    assert torch.allclose(got, learner.projection.weight.grad, rtol=1e-3, atol=1e-6)


def launch(processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch -m amodal ...` in so many processes on the CPU (gloo)."""
    source = Path(__file__).parents[2] / "src"
    many = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1"]
    many += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *many, "-m", "amodal", *arguments],
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_two_processes_learn_what_one_does(recipe, tmp_path):
    """`accelerate launch`: the two share the passes of each step, one writes; only the order of sums differs."""
    recipe = replace(recipe, run=replace(recipe.run, accumulate=2, threads=1))
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(recipe.to_dict()))
    done = launch(2, "train", str(path), "-o", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mse") == 1 and done.stderr.count("samples/s") == 4  # one of them speaks
    Trainer(recipe, open_task(recipe), tmp_path / "one").train()
    one, two = (checkpoint.load(tmp_path / name) for name in ("one", "two"))
    start = open_task(recipe).networks.unet.state_dict()
    for key, value in one["network"].items():
        assert torch.allclose(value, two["network"][key], rtol=1e-4, atol=1e-5), key
        assert torch.allclose(one["average"][key], two["average"][key], rtol=1e-4, atol=1e-5), key
    moved = (one["network"]["unet.conv_in.weight"] - start["conv_in.weight"]).abs().max()
    assert moved > 1e-3  # far more than the tolerance
    rows = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("one", "two")]
    losses = [[float(line.split(",")[3]) for line in lines[1:]] for lines in rows]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and len(losses[0]) == 4


def test_processes_that_cannot_share(tmp_path):
    assert share(24, 8) == 3
    with pytest.raises(RecipeError, match="2 processes .* must be a multiple of 2; it is 3"):
        share(3, 2)


def test_every_pair_once_an_epoch(recipe, folders):
    source = open_task(recipe).source(0, 1)
    seen = [source[k][1].tobytes() for k in range(10)]  # five pairs train, one validates
    assert len(set(seen[:5])) == 5 and sorted(seen[:5]) == sorted(seen[5:]) and seen[:5] != seen[5:]
    assert source[0][0].shape == (1, 64, 64, 3) and source[0][2].dtype == bool


def test_pairs_that_cannot_train(recipe, folders, tmp_path):
    for folder in ("occlusion", "whole", "whole_mask", "visible_object_mask"):
        file = sorted((folders / "pairs" / folder).iterdir())[0]
        (tmp_path / folder).mkdir()
        shutil.copy(file, tmp_path / folder)
    task = open_task(replace(recipe, data={"pairs": str(tmp_path)}))
    with pytest.raises(DataError, match="holds one pair; training needs a second one"):
        task.source(0, 1)
    (whole,) = (tmp_path / "whole").iterdir()
    whole.write_bytes(encode_png(read(whole)[:, :32]))
    with pytest.raises(DataError, match=r"_whole.png is 32 x 64 pixels, the masks are 64 x 64"):
        load_pair(open_pairs(tmp_path, "train")[0], 64)


def test_recipes_that_cannot_work(recipe):
    with pytest.raises(RecipeError, match=r"network\.start"):
        open_task(replace(recipe, network={}))
    with pytest.raises(OptionError, match="has no key 'checkpoint'"):
        open_task(replace(recipe, network={"start": "x", "checkpoint": True}))
