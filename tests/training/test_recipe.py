"""Recipes: parsing, overrides, and errors that name the nearest key."""

from pathlib import Path

import pytest

from amodal.training.recipe import RecipeError, parse_recipe, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_committed_recipes_parse(path):
    assert read_recipe(path).run.steps > 0


def test_overrides(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('task = "occamodal"\n[run]\nsteps = 5\n')
    recipe = read_recipe(path, ["run.steps=7", "optimizer.lr=1", "data.library.photos=here", "data.sizes=[[0, 64]]"])
    assert recipe.run.steps == 7
    assert recipe.optimizer.lr == 1.0
    assert recipe.data == {"library": {"photos": "here"}, "sizes": [[0, 64]]}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"task": "occamodal", "run": {"stpes": 3}}, r"section \[run\] has no key 'stpes'; did you mean 'steps'"),
        ({"task": "occamodal", "rum": {}}, "no key 'rum'; did you mean 'run'"),
        ({"run": {}}, 'needs task = "NAME"'),
        ({"task": "occamodal", "run": {"steps": "many"}}, "run.steps must be int, got 'many'"),
        ({"task": "occamodal", "run": {"steps": True}}, "run.steps must be int, got True"),
        ({"task": "occamodal", "run": {"seed": -1}}, "run.seed must not be negative, got -1"),
        ({"task": "occamodal", "run": 3}, r"\[run\] of the recipe must be a section"),
        ({"task": "occamodal", "data": []}, r"\[data\] of the recipe must be a section"),
    ],
)
def test_bad_recipes_are_told(raw, words):
    with pytest.raises(RecipeError, match=words):
        parse_recipe(raw)


def test_bad_files_are_told(tmp_path):
    with pytest.raises(RecipeError, match="cannot read"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("task = ")
    with pytest.raises(RecipeError, match="not TOML"):
        read_recipe(tmp_path / "bad.toml")
    (tmp_path / "good.toml").write_text('task = "occamodal"')
    with pytest.raises(RecipeError, match="section.key=value"):
        read_recipe(tmp_path / "good.toml", ["steps"])
