"""Puts the command groups together."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__

__all__ = ["build"]


def build() -> typer.Typer:
    """The whole command line. Each group's module defines `register(app)`."""
    from . import (
        batch,
        catalog,
        data,
        demo,
        doctor,
        evaluate,
        fetch,
        order,
        recognize,
        reconstruct,
        segment,
        serve,
        train,
    )

    app = typer.Typer(
        name="amodal",
        help="Sees the whole object: amodal masks and completed pictures from a photo and a prompt.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    ) -> None:
        pass

    for group in (
        segment,
        order,
        batch,
        serve,
        recognize,
        reconstruct,
        catalog,
        demo,
        data,
        evaluate,
        train,
        fetch,
        doctor,
    ):
        group.register(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"amodal {__version__}")
        raise typer.Exit
