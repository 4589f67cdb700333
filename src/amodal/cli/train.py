"""`amodal train`: train one of the project's networks from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import hint

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to train, on what, for how long.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Overrides the recipe.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="RUN", help="Folder of a new run.")] = None,
    resume: Annotated[Path | None, typer.Option("--resume", metavar="RUN", help="Go on with this run.")] = None,
) -> None:
    """Train a network: logs, checkpoints and averaged weights go to the run's folder; a killed run goes on with --resume."""
    from ..errors import MissingExtraError, OutputError, UsageError
    from ..training.recipe import read_recipe

    if (output is None) == (resume is None):
        raise UsageError("give either -o RUN for a new run or --resume RUN to go on with one")
    parsed = read_recipe(recipe, settings)
    try:
        from ..training.loop import Trainer
        from ..training.tasks import open_task
    except ImportError as error:
        raise MissingExtraError(
            f'training needs the package {error.name!r}; run: pip install "amodal[train]"'
        ) from error
    folder = resume or output
    assert folder is not None
    if output is not None and (output / "checkpoint.pt").exists():
        raise OutputError(f"{output} holds a run already; go on with --resume {output}, or choose another folder")
    trainer = Trainer(parsed, open_task(parsed), folder)
    if resume is not None:
        trainer.resume()
    metrics = trainer.train()
    for name, value in metrics.items():
        typer.echo(f"{name} {value:.4f}")
    hint(f"weights: {folder / 'weights.safetensors'}; logs: {folder / 'log.csv'}, {folder / 'validation.csv'}")
