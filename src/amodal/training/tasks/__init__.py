"""The tasks that the training loop knows, by name. Importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ...errors import nearest
from ..recipe import Recipe, RecipeError

if TYPE_CHECKING:
    from ..task import Task

__all__ = ["TASKS", "open_task"]

TASKS = {
    "asbu": "deocclusion:ErasedTask",
    "deocclusion": "deocclusion:ErasedTask",
    "deocclusion-content": "content:ContentTask",
    "deocclusion-single": "deocclusion:SingleStageTask",
    "occamodal": "occamodal:OccAmodalTask",
    "pix2gestalt": "pix2gestalt:Pix2GestaltTask",
    "pocket-inpainter": "pocket_inpainter:PocketInpainterTask",
    "pocket-segmenter": "pocket_segmenter:PocketSegmenterTask",
    "sdamodal": "sdamodal:SDAmodalTask",
}


def open_task(recipe: Recipe) -> Task:
    """The task that a recipe names, with its sections checked. Raises RecipeError."""
    if recipe.task not in TASKS:
        raise RecipeError(f"no training task named {recipe.task!r}; {nearest(recipe.task, TASKS)}")
    module, _, name = TASKS[recipe.task].partition(":")
    task: Task = getattr(import_module(f".{module}", __name__), name)(recipe)
    return task
