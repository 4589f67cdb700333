"""Puts the command groups together. A command's module is imported when the command is run, so that `--help` is there at once."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from .. import __version__

__all__ = ["COMMANDS", "build"]

COMMANDS = {
    "segment": ("segment", "Complete objects: photo and prompt in; amodal mask, cut-out, overlay and JSON out."),
    "layers": ("layers", "Take a photo apart: every object complete, in order, over the restored background."),
    "order": ("order", "Print the occlusion graph: which objects hide which, and the layers from front to back."),
    "batch": ("batch", "Complete all objects of all photos."),
    "serve": ("serve", "Serve the web page and the HTTP API."),
    "recognize": ("recognize", "Name an occluded object: complete it, then classify it."),
    "reconstruct": ("reconstruct", "Lift an occluded object to 3-D: complete it, then make a mesh of it."),
    "views": ("views", "Draw an occluded object from all around: complete it, then ask a novel-view model."),
    "list": ("catalog", "List what can be chosen."),
    "show": ("catalog", "Show one method, inpainter, segmenter, data set or weights: options, license, size, memory."),
    "demo": ("demo", "Run the main job on bundled photographs and say where the results are."),
    "evaluate": ("evaluate", "Measure methods, or masks made elsewhere, on data sets."),
    "compare": ("compare", "Compare runs on the same objects: differences, a table, pictures side by side."),
    "train": ("train", "Train a network: logs, checkpoints and averaged weights go to the run's folder."),
    "export": ("train", "Write a trained network as ONNX, checked against torch."),
    "fetch": ("fetch", "Fetch weights, resumed and checked."),
    "doctor": ("doctor", "Tell what works here, what does not, and what to do about it."),
    "data": ("data", "A sample set to try; check, look at, convert and build data sets."),
}
"""Name to the module of `amodal.cli` with a function of that name (or a `register`), and what the list of commands says of it."""

SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Commands(TyperGroup):
    """The commands of `COMMANDS`, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        from .common import flat

        app = typer.Typer(**SETTINGS)
        module = import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        if hasattr(module, "register"):
            module.register(app)
        else:
            app.command(cmd_name)(flat(getattr(module, cmd_name)))
        app.callback()(lambda: None)  # a group even where the module has one command
        command = get_group(app).commands[cmd_name]
        if not gc.isenabled():  # see `cli.main`
            gc.freeze()
            gc.enable()
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="amodal",
        help="Sees the whole object: amodal masks and completed pictures from a photo and a prompt.",
        no_args_is_help=True,
        cls=Commands,
        **SETTINGS,
    )

    @app.callback()
    def root(
        version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    ) -> None:
        pass

    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"amodal {__version__}")
        raise typer.Exit
