"""`amodal data convert-weights`: a released checkpoint to a folder of safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import AsJson, hint, print_json, progress

__all__ = ["register"]

Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="The released .ckpt file of pix2gestalt.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.")]
Kind = Annotated[str, typer.Option("--dtype", help="fp16 (2.5 GB), bf16 or fp32 (5 GB).")]
NoEma = Annotated[bool, typer.Option("--no-ema", help="The last weights of the UNet in place of the averaged ones.")]


def register(data: typer.Typer) -> None:
    """Add the command to `amodal data`."""
    data.command("convert-weights")(convert_weights)


def convert_weights(
    checkpoint: Checkpoint, folder: Folder, dtype: Kind = "fp16", no_ema: NoEma = False, as_json: AsJson = False
) -> None:
    """Turn pix2gestalt's released checkpoint (15 GB) into a folder of safetensors (2.5 GB), tensor by tensor."""
    from ..methods.pix2gestalt.convert import convert_checkpoint

    with progress("converting") as tick:
        made = convert_checkpoint(checkpoint, folder, dtype=dtype, ema=not no_ema, tick=tick)
    files = {str(path.relative_to(made)): path.stat().st_size for path in sorted(made.rglob("*.safetensors"))}
    if as_json:
        print_json({"folder": str(made), "files": files})
    else:
        for name, size in files.items():
            typer.echo(f"{made / name}  {size / 1e6:.1f} MB")
    hint(f"next: amodal segment IMAGE --point X,Y --method pix2gestalt --set model={made}")
