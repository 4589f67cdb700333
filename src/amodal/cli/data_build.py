"""`amodal data build ...`: one subcommand a kind of data set that can be built."""

from __future__ import annotations

import typer

from . import build_composites, build_pairs, build_scenes

__all__ = ["register"]


def register(data: typer.Typer) -> None:
    """Add the group `build` to `amodal data`; every builder adds its command to it here."""
    build = typer.Typer(help="Build data sets: photos, composites, scenes.", no_args_is_help=True)
    for group in (build_scenes, build_composites, build_pairs):
        group.register(build)
    data.add_typer(build, name="build")
