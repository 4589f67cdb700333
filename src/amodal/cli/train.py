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
    app.command("export")(export)


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
    if not trainer.main:
        return
    for name, value in metrics.items():
        typer.echo(f"{name} {value:.4f}")
    hint(f"weights: {folder / 'weights.safetensors'}; logs: {folder / 'log.csv'}, {folder / 'validation.csv'}")


def export(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="The recipe of the run.")],
    weights: Annotated[
        list[Path],
        typer.Argument(metavar="WEIGHTS.safetensors...", help="A run's averaged weights; of several files the mean."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the ONNX files go.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Overrides the recipe.")
    ] = None,
) -> None:
    """Write a trained network as ONNX, checked against torch; prints each file's SHA-256 for weights.toml."""
    from ..errors import MissingExtraError
    from ..training.recipe import read_recipe
    from ..weights import sha256

    parsed = read_recipe(recipe, settings)
    try:
        from ..training.loop import read_weights
        from ..training.tasks import open_task
    except ImportError as error:
        raise MissingExtraError(f'export needs the package {error.name!r}; run: pip install "amodal[train]"') from error
    task = open_task(parsed)
    network = task.network()
    read_weights(network, *weights)
    output.mkdir(parents=True, exist_ok=True)
    for path in task.export(network, output):
        typer.echo(f"{path}  sha256 {sha256(path)}  {path.stat().st_size} bytes")
