"""`amodal data build ...`: one subcommand a kind of data set that can be built."""

from __future__ import annotations

import typer

__all__ = ["register"]


def register(data: typer.Typer) -> None:
    """Add the group `build` to `amodal data`; every builder adds its command to it here."""
    build = typer.Typer(help="Build data sets: photos, composites, scenes.", no_args_is_help=True)
    data.add_typer(build, name="build")
