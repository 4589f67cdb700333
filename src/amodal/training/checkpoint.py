"""Checkpoints: everything a run needs to go on as if it had never stopped, written so that a kill cannot spoil it."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ..errors import WeightsError

NAME = "checkpoint.pt"


class CheckpointError(WeightsError):
    """A checkpoint is missing, damaged, or of another network."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `folder/checkpoint.pt` atomically: a temporary file, flushed to disk, takes the old one's place.

    Raises:
        CheckpointError: No room on the disk, or the folder cannot be written; the last checkpoint stays.
    """
    temporary = folder / f".{NAME}.{os.getpid()}"
    try:
        with temporary.open("wb") as f:
            torch.save(state, f)
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(folder / NAME)
    except (OSError, RuntimeError) as e:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write a checkpoint to {folder}: {e}. The last good one is kept; free some space and resume."
        ) from None


def load(folder: Path) -> dict[str, Any]:
    """Read `folder/checkpoint.pt` (tensors and plain values only; nothing is executed).

    Raises:
        CheckpointError: Missing or damaged.
    """
    path = folder / NAME
    if not path.exists():
        raise CheckpointError(f"no checkpoint in {folder}; give the folder of a run that amodal train made")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, UnpicklingError) as e:
        raise CheckpointError(f"cannot read the checkpoint {path}: {e}; it is damaged, start the run anew") from None
    return state


def check_fits(network: torch.nn.Module, weights: dict[str, Any], where: str) -> None:
    """Raise CheckpointError, naming the first differences, unless `weights` fit `network` exactly."""
    mine = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    theirs = {k: tuple(v.shape) for k, v in weights.items()}
    missing = [k for k in mine if k not in theirs]
    extra = [k for k in theirs if k not in mine]
    shape = [f"{k} {theirs[k]} instead of {mine[k]}" for k in mine if k in theirs and mine[k] != theirs[k]]
    if missing or extra or shape:
        parts = [
            f"{len(x)} {n} ({', '.join(x[:2])})"
            for n, x in (("missing", missing), ("unknown", extra), ("of another shape", shape))
            if x
        ]
        raise CheckpointError(f"{where} holds another network: {'; '.join(parts)}. Use the recipe it was made with.")
