"""The loop that fits a field: seeded step by step, resumable, with progress and cancelling."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.errors import OutputError
from ...core.files import write_bytes
from ...plugins.protocols import Progress, no_progress
from ...weights.tensors import load_tensors
from .field import VoxelField

__all__ = ["StateFile", "optimise"]

EVERY = 50
"""Steps between two saved states."""


class StateFile:
    """The state of an unfinished fit: grid, Adam's moments and step, for the settings that it belongs to.

    Args:
        path: a safetensors file; made at the first save, removed when the fit is whole.
        settings: JSON-ready: all that the result depends on.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        text = json.dumps(dict(settings), sort_keys=True)
        digest = hashlib.sha256(text.encode()).digest()
        self.mark = torch.tensor(list(digest), dtype=torch.uint8)
        self.extra: dict[str, Tensor] = {}

    def read(self) -> dict[str, Tensor]:
        """What was saved; nothing without a file.

        Raises:
            OutputError: the state belongs to another input, other options or another seed.
            WeightsError: the file is damaged.
        """
        if not self.path.is_file():
            return {}
        saved = load_tensors(self.path)
        if "mark" not in saved or not torch.equal(saved["mark"], self.mark):
            raise OutputError(
                f"{self.path} is the state of another fit (other input, options or seed); remove it, or choose another folder"
            )
        return saved

    def remember(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """What is dear to make before the fit: from the file, else made and written at once. Raises as `read`."""
        saved = self.read()
        self.extra[name] = saved[name] if name in saved else make()
        if name not in saved:
            self._write({})
        return self.extra[name]

    def restore(self, field: VoxelField, optimiser: torch.optim.Adam) -> int:
        """Put a saved state back; returns the steps done, 0 without one. Raises as `read`."""
        saved = self.read()
        if "step" not in saved:
            return 0
        with torch.no_grad():
            field.grid.copy_(saved["grid"])
        state = optimiser.state_dict()
        state["state"] = {0: {name: saved[name] for name in ("step", "exp_avg", "exp_avg_sq")}}
        optimiser.load_state_dict(state)
        return int(saved["step"])

    def save(self, field: VoxelField, optimiser: torch.optim.Adam) -> None:
        """Write the state atomically."""
        moments = optimiser.state_dict()["state"].get(0)
        if moments is not None:  # at least one step was made
            self._write({"grid": field.grid.detach(), **moments})

    def _write(self, tensors: Mapping[str, Tensor]) -> None:
        from safetensors.torch import save

        everything = {**tensors, **self.extra, "mark": self.mark}
        write_bytes(self.path, save({name: value.cpu().contiguous() for name, value in everything.items()}))


def optimise(
    field: VoxelField,
    loss: Callable[[int, torch.Generator], Tensor],
    steps: int,
    *,
    rate: float = 0.3,
    seed: int = 0,
    state: StateFile | None = None,
    progress: Progress = no_progress,
) -> None:
    """Fit a field by Adam.

    Args:
        field: changed in place.
        loss: of a step's number and its chance; step k's chance depends on (seed, k) alone, so that a fit that goes on after
            a kill ends where it would have ended.
        steps: in all.
        rate: of learning at the start; it falls to a tenth.
        seed: of the chance.
        state: where to keep the state every 50 steps, and when the fit is stopped.
        progress: called once per step; may raise to cancel.
    """
    optimiser = torch.optim.Adam([field.grid], lr=rate, betas=(0.9, 0.99))
    done = state.restore(field, optimiser) if state else 0
    try:
        for step in range(done, steps):
            words = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF, step]).generate_state(1, np.uint64)
            value = loss(step, torch.Generator("cpu").manual_seed(int(words[0] >> 1)))
            optimiser.param_groups[0]["lr"] = rate * (1 - 0.9 * step / steps)  # the noise of the last steps would stay
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if state and (step + 1) % EVERY == 0:
                state.save(field, optimiser)
            progress("fit", step + 1, steps)
    except BaseException:  # cancelled, killed by a key, out of memory: what was done is kept
        if state:
            state.save(field, optimiser)
        raise
    if state:
        state.path.unlink(missing_ok=True)
