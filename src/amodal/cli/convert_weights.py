"""`amodal data convert-weights`: a released checkpoint to a folder of safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.files import read_json
from .common import AsJson, hint, print_json, progress_bar, word

__all__ = ["convert_weights"]

Checkpoint = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="A released .ckpt file: pix2gestalt, Zero-1-to-3, SyncDreamer.")
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.")]
Kind = Annotated[str, typer.Option("--dtype", help="fp16 (2.5 GB), bf16 or fp32 (5 GB).")]
NoEma = Annotated[bool, typer.Option("--no-ema", help="The last weights of the UNet in place of the averaged ones.")]

USES = {
    "Pix2Gestalt": "segment IMAGE --point X,Y --method pix2gestalt --set",
    "Zero123Pipeline": "views IMAGE --point X,Y --model zero123 --view",
    "SyncDreamer": "views IMAGE --point X,Y --model syncdreamer --view",
}
"""What to do with a converted model, by its class."""


def convert_weights(
    checkpoint: Checkpoint, folder: Folder, dtype: Kind = "fp16", no_ema: NoEma = False, as_json: AsJson = False
) -> None:
    """Turn a released checkpoint (pix2gestalt: 15.5 GB) into a folder of safetensors (2.5 GB), tensor by tensor."""
    from ..networks.latent_diffusion.convert import convert_checkpoint

    with progress_bar("converting") as progress:
        made = convert_checkpoint(checkpoint, folder, dtype=dtype, ema=not no_ema, progress=progress)
    files = {str(path.relative_to(made)): path.stat().st_size for path in sorted(made.rglob("*.safetensors"))}
    if as_json:
        print_json({"folder": str(made), "files": files})
    else:
        for name, size in files.items():
            typer.echo(f"{made / name}  {size / 1e6:.1f} MB")
    hint(f"next: amodal {USES[read_json(made / 'model_index.json')['_class_name']]} model={word(made)}")
