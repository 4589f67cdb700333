"""`amodal train`: train one of the project's networks from a recipe."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Force, hint

if TYPE_CHECKING:
    from ..training.recipe import Recipe

__all__ = ["export", "train"]

Settings = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Overrides the recipe.")]


def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="RECIPE.toml", help="What to train, on what, for how long [with --resume: as the run began]."
        ),
    ] = None,
    settings: Settings = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN", help="Folder of the run; one that was stopped goes on."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with this run, with other settings too.")
    ] = None,
    force: Force = False,
) -> None:
    """Train a network: logs, checkpoints and averaged weights go to the run's folder; the same command goes on with a stopped run."""
    from ..core.extras import missing
    from ..runtime.devices import emulates_bf16
    from ..training.run_folder import RunFolder, is_main

    parsed = _recipe(recipe, settings, output, resume, force)
    try:
        from ..training.loop import Trainer
        from ..training.tasks import open_task
    except ImportError as error:
        raise missing("training", error, "train") from error
    folder = resume or output
    assert folder is not None
    task = open_task(parsed)
    run = RunFolder(folder, parsed, overwrite=force, changed=resume is not None)
    with run if is_main() else nullcontext():
        trainer = Trainer(parsed, task, run.folder, begun=run.begun or resume is not None)
        if trainer.main and parsed.run.precision == "bf16" and emulates_bf16(trainer.device):
            hint("this processor has no instructions for bf16; --set run.precision=fp32 trains several times faster")
        trainer.accelerator.wait_for_everyone()  # the main process has opened the folder by now
        if run.begun or resume is not None:
            trainer.resume()
            if trainer.main:
                hint(f"{trainer.step} of {parsed.run.steps} steps are done already; going on")
        metrics = trainer.train()
    if not trainer.main:
        return
    for name, value in metrics.items():
        typer.echo(f"{name} {value:.4f}")
    folder = run.folder
    hint(f"weights: {folder / 'weights.safetensors'}; logs: {folder / 'log.csv'}, {folder / 'validation.csv'}")


def _recipe(
    recipe: Path | None, settings: list[str] | None, output: Path | None, resume: Path | None, force: bool
) -> Recipe:
    """The recipe that the command names: a file, or that of a run. Raises UsageError, RecipeError."""
    from ..core.errors import UsageError
    from ..training.recipe import read_recipe, recipe_of_run

    if (output is None) == (resume is None):
        raise UsageError("give either -o RUN, or --resume RUN to go on with a run whatever its settings")
    if resume is not None and force:
        raise UsageError("--resume goes on with a run, --force begins it anew; leave one of them out")
    if recipe is not None:
        return read_recipe(recipe, settings)
    if resume is not None:
        return recipe_of_run(resume, settings)
    raise UsageError("a new run needs a recipe, such as recipes/embedded.toml")


def export(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="The recipe of the run.")],
    weights: Annotated[
        list[Path],
        typer.Argument(metavar="WEIGHTS.safetensors...", help="A run's averaged weights; of several files the mean."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the ONNX files go.")],
    settings: Settings = None,
    force: Force = False,
) -> None:
    """Write a trained network as ONNX, checked against torch; prints each file's SHA-256 for weights.toml."""
    from ..core.errors import UsageError
    from ..core.extras import missing
    from ..core.files import check_folder, check_targets
    from ..training.recipe import read_recipe
    from ..weights.catalogue import sha256

    check_folder(output)
    check_targets([] if force else sorted(output.glob("[!.]*")), force)
    parsed = read_recipe(recipe, settings)
    try:
        from ..training.start import network_of, read_weights
        from ..training.task import Exports
        from ..training.tasks import open_task
    except ImportError as error:
        raise missing("export", error, "train") from error
    task = open_task(parsed)
    if not isinstance(task, Exports):
        raise UsageError(
            f"{parsed.task} has no other form: give its method the run's weights.safetensors as the option weights"
        )
    network = network_of(task)
    read_weights(network, *weights)
    output.mkdir(parents=True, exist_ok=True)
    for path in task.export(network, output):
        typer.echo(f"{path}  sha256 {sha256(path)}  {path.stat().st_size} bytes")
