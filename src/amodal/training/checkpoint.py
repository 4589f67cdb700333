"""Checkpoints: everything a run needs to go on as if it had never stopped, written so that a kill cannot spoil it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..core.errors import MALFORMED, WeightsError, reason_of, reported
from ..core.files import atomic_write
from ..weights.tensors import read_header, read_torch
from .run_folder import CHECKPOINT, WEIGHTS

NAME = CHECKPOINT


class CheckpointError(WeightsError):
    """A checkpoint is missing, damaged, or of another network."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `folder/checkpoint.pt` atomically: a temporary file, flushed to disk, takes the old one's place.

    Raises:
        CheckpointError: No room on the disk, or the folder cannot be written; the last checkpoint stays.
    """
    try:
        with atomic_write(folder / NAME) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as e:
        why = (
            e.__context__ if isinstance(e.__context__, OSError) else e
        )  # torch hides the system's reason under its own
        raise CheckpointError(
            f"no checkpoint could be written in {folder} ({reason_of(why)}). The last good one is kept; mend that and "
            "repeat the run, which goes on"
        ) from None


def save_weights(folder: Path, weights: dict[str, torch.Tensor], facts: dict[str, str]) -> None:
    """Write `folder/weights.safetensors` atomically, with `facts` as its metadata.

    Raises:
        CheckpointError: No room on the disk, or the folder cannot be written; the last ones stay.
    """
    from safetensors.torch import save_file

    part = folder / f".{WEIGHTS}.part"  # what a kill leaves of it goes at the next start
    try:
        with reported(CheckpointError, f"no weights could be written in {folder}", "mend that and repeat the run"):
            save_file(weights, part, metadata=facts)
            part.chmod(0o644)
            part.replace(folder / WEIGHTS)
    finally:
        part.unlink(missing_ok=True)


def weights_step(folder: Path) -> int | None:
    """The step of which `folder/weights.safetensors` is; None if it is not there or damaged."""
    try:
        facts = read_header(folder / WEIGHTS).get("__metadata__", {})
        return int(facts["step"])
    except (WeightsError, *MALFORMED):
        return None


def load(folder: Path) -> dict[str, Any]:
    """Read `folder/checkpoint.pt` (tensors and plain values only; nothing is executed).

    Raises:
        CheckpointError: Missing or damaged.
    """
    path = folder / NAME
    if not path.exists():
        raise CheckpointError(
            f"no checkpoint in {folder}: the run was stopped before its first one; begin it again by its recipe"
        )
    try:
        state = read_torch(path, mapped=False)
    except WeightsError as e:
        raise CheckpointError(f"cannot read the checkpoint: {e}; if no copy of it is left, start the run anew") from e
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a checkpoint of a run; start the run anew")
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
