"""The tasks that the training loop knows, by name. Importing this loads no torch.

Another package adds one by an entry point in the group `amodal.tasks`: a class that is called with the recipe.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from ...core.errors import nearest
from ...core.extras import entry_points, load
from ..recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from ..task import Task

__all__ = ["TASKS", "open_task"]

TASKS = {
    "asbu": "deocclusion:ErasedTask",
    "deocclusion": "deocclusion:ErasedTask",
    "deocclusion-content": "content:ContentTask",
    "deocclusion-single": "deocclusion:SingleStageTask",
    "embedded": "embedded:EmbeddedTask",
    "occamodal": "occamodal:OccAmodalTask",
    "pix2gestalt": "pix2gestalt:Pix2GestaltTask",
    "painter": "painter:PainterTask",
    "pocket-inpainter": "pocket_inpainter:PocketInpainterTask",
    "pocket-segmenter": "pocket_segmenter:PocketSegmenterTask",
    "sdamodal": "sdamodal:SDAmodalTask",
}


RENAMED = {"occamodal-paper": "occamodal"}
"""The names that tasks had once, and have now."""


def open_task(recipe: Recipe) -> Task:
    """The task that a recipe names, with its sections checked. An old name works, with a warning. Raises OptionError, PluginError."""
    if recipe.task in RENAMED:
        warnings.warn(f"the task {recipe.task!r} is called {RENAMED[recipe.task]!r} now", stacklevel=2)
        recipe = replace(recipe, task=RENAMED[recipe.task])
    if recipe.task == "occamodal" and "library" in recipe.data:
        raise RecipeError(
            'the recipe is one of the compact network; its task is called "embedded" now, and "occamodal" is the paper\'s'
        )
    added = {point.name: point for point in entry_points("amodal.tasks") if point.name not in TASKS}
    if recipe.task in added:
        task: Task = load(added[recipe.task], f"task {recipe.task!r}")(recipe)
        return task
    if recipe.task not in TASKS:
        raise RecipeError(f"no training task named {recipe.task!r}; {nearest(recipe.task, [*TASKS, *added])}")
    module, _, name = TASKS[recipe.task].partition(":")
    own: Task = getattr(import_module(f".{module}", __name__), name)(recipe)
    return own
