"""Recipes: parsing, overrides, and errors that name the nearest key."""

from pathlib import Path

import pytest

from amodal.core.errors import OptionError
from amodal.training.recipe import parse_recipe, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_committed_recipes_parse(path):
    assert read_recipe(path).run.steps > 0


def test_overrides(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('task = "embedded"\n[run]\nsteps = 5\n')
    recipe = read_recipe(path, ["run.steps=7", "optimizer.lr=1", "data.library.photos=here", "data.sizes=[[0, 64]]"])
    assert recipe.run.steps == 7
    assert recipe.optimizer.lr == 1.0
    assert recipe.data == {"library": {"photos": "here"}, "sizes": [[0, 64]]}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"task": "embedded", "run": {"stpes": 3}}, r"section \[run\] has no key 'stpes'; did you mean 'steps'"),
        ({"task": "embedded", "rum": {}}, "no key 'rum'; did you mean 'run'"),
        ({"run": {}}, 'needs task = "NAME"'),
        ({"task": "embedded", "run": {"steps": "many"}}, 'run.steps = "many": input should be a valid integer'),
        ({"task": "embedded", "run": {"steps": True}}, "run.steps = True: input should be a valid integer"),
        ({"task": "embedded", "run": {"seed": -1}}, "run.seed = -1: input should be greater than or equal to 0"),
        ({"task": "embedded", "run": 3}, r"\[run\] must be a section, got 3"),
        ({"task": "embedded", "optimizer": {"lr": float("nan")}}, "optimizer.lr = nan: input should be"),
        ({"task": "embedded", "optimizer": {"lr": -1}}, "optimizer.lr = -1: input should be greater than 0"),
        ({"task": "embedded", "optimizer": {"ema": 5}}, "optimizer.ema = 5: input should be less than 1"),
        (
            {"task": "embedded", "optimizer": {"clip": -1}},
            "optimizer.clip = -1: input should be greater than or equal to 0",
        ),
        (
            {"task": "embedded", "optimizer": {"name": "sgdm"}},
            "optimizer.name = \"sgdm\": input should be 'adamw' or 'sgd'",
        ),
        ({"task": "embedded", "data": []}, r"\[data\] of the recipe must be a section"),
    ],
)
def test_bad_recipes_are_told(raw, words):
    with pytest.raises(OptionError, match=words):
        parse_recipe(raw)


@pytest.mark.parametrize(
    ("task", "data", "words"),
    [
        ("embedded", {"sizes": [[5, 32]]}, "the first pair begins at step 0"),
        ("painter", {"sizes": [[0, 64], [2, 32], [1, 96]]}, "each further one at a later step"),
        ("embedded", {"factor": [2.8, 1.3]}, r"the lower bound is above the upper one; write \[1.3, 2.8\]"),
        ("deocclusion", {"crop": {"scale": [1.2, 0.8]}}, r"data.crop.scale = .*write \[0.8, 1.2\]"),
        ("embedded", {"kinds": {"ones": 1}}, "data.kinds = .*nothing is called 'ones'; did you mean 'one'"),
        ("pocket-segmenter", {"targets": {"thing": 1, "persn": 1}}, "nothing is called 'persn'; did you mean 'person'"),
    ],
)
def test_data_that_no_run_can_make_are_told(task, data, words):
    pytest.importorskip("torch")
    from amodal.training.tasks import open_task

    with pytest.raises(OptionError, match=words):
        open_task(parse_recipe({"task": task, "data": data}))


@pytest.mark.parametrize("task", ["embedded", "pocket-inpainter", "pocket-segmenter"])
def test_levels_of_a_network_agree(task):
    pytest.importorskip("torch")
    from amodal.training.tasks import open_task

    with pytest.raises(OptionError, match="widths has 2 levels, depths"):
        open_task(parse_recipe({"task": task, "network": {"widths": [8, 16]}}))


@pytest.mark.parametrize(
    ("task", "network", "words"),
    [
        ("deocclusion", {"widths": [4] * 6}, "network.widths has 6 levels; the network of deocclusion has five"),
        ("asbu", {"widths": [4] * 3}, "network.widths = .*at least 5 items"),
        ("deocclusion-single", {"image_widths": [4] * 5}, "network.image_widths = .*at most 4 items"),
        ("occamodal", {"widths": [4] * 5}, "network.widths = .*at least 6 items"),
        ("deocclusion-content", {"widths": [4] * 8}, r"cannot be made .*change its section \[network\]"),
        ("pocket-inpainter", {"widths": [4] * 3}, r"cannot be made \(num_channels .*change its section \[network\]"),
    ],
)
def test_sizes_that_no_network_has_are_told(task, network, words):
    pytest.importorskip("torch")
    from amodal.training.start import network_of
    from amodal.training.tasks import open_task

    data = {"data": {"size": 256}} if task == "deocclusion-content" else {}
    with pytest.raises(OptionError, match=words):
        network_of(open_task(parse_recipe({"task": task, "network": network, **data})))


def test_bad_files_are_told(tmp_path):
    with pytest.raises(OptionError, match="cannot read"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("task = ")
    with pytest.raises(OptionError, match="not TOML"):
        read_recipe(tmp_path / "bad.toml")
    (tmp_path / "good.toml").write_text('task = "embedded"')
    with pytest.raises(OptionError, match="section.key=value"):
        read_recipe(tmp_path / "good.toml", ["steps"])


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("run", "workers", 10**6),
        ("run", "threads", 10**20),
        ("run", "batch", 10**12),
        ("run", "seed", 2**63),
        ("run", "steps", 10**400),
        ("run", "accumulate", -(10**400)),
    ],
)
def test_numbers_that_no_machine_can_do_are_refused(part, key, value):
    with pytest.raises(OptionError, match=rf"{part}\.{key} = "):
        parse_recipe({"task": "occamodal", part: {key: value}})
