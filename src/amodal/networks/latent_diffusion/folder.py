"""From a name to a folder of networks: a fetched checkpoint is converted once, at its first use."""

from __future__ import annotations

import warnings
from pathlib import Path

from ...core.errors import OutputError, WeightsError
from ...plugins.protocols import Progress, no_progress
from ...weights.catalogue import cache_folder, entries, locate
from ...weights.digest import content_digest
from .convert import convert_checkpoint, refuse_trained
from .model import Architecture

__all__ = ["ready_folder"]


def ready_folder(model: str, architecture: Architecture | None = None, progress: Progress = no_progress) -> Path:
    """The folder that `Networks.from_pretrained` loads.

    Args:
        model: fetched weights by name, a folder of networks, or a checkpoint file in the original layout (or a folder with
            one): that is converted to half precision and kept in the cache.
        architecture: of the checkpoint; by default the released model whose tensors it holds.
        progress: called once per converted tensor.

    Raises:
        UnknownNameError, WeightsError: absent, with what to do; or of another model.
    """
    path = locate(model)
    if (path / "model_index.json").is_file():
        return path
    known = entries().get(model)  # of several checkpoints of a repository its entry names one
    patterns = known.files if known is not None and known.files else ("*.ckpt",)
    checkpoints = sorted(each for one in patterns for each in path.glob(one)) if path.is_dir() else [path]
    if not checkpoints:
        refuse_trained(path / "weights.safetensors")
        return path  # loading says what is absent
    if len(checkpoints) > 1:
        names = ", ".join(each.name for each in checkpoints)
        raise WeightsError(f"{path} holds {len(checkpoints)} checkpoints ({names}); name the one that is meant")
    checkpoint = checkpoints[0]
    refuse_trained(checkpoint)
    digest = content_digest([checkpoint])  # checkpoints of one network have the same size, and often the same name
    folder = cache_folder() / "weights" / "converted" / f"{checkpoint.stem.replace('=', '-')}-{digest[:16]}"
    if not folder.is_dir():
        size = checkpoint.stat().st_size
        warnings.warn(f"converting {checkpoint.name} ({size / 1e9:.1f} GB) once, to {folder}", stacklevel=2)
        try:
            convert_checkpoint(checkpoint, folder, architecture=architecture, progress=progress)
        except OutputError:
            if not folder.is_dir():  # another process was quicker
                raise
    return folder
