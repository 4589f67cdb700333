"""What the training loop asks of a task; everything specific to one network lives behind this protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Batch = tuple[NDArray[Any], ...]


class BatchSource(Protocol):
    """Batches by number, the same for the same number; opened inside each data process."""

    def __getitem__(self, number: int) -> Batch: ...


class Task(Protocol):
    """One network's training: how to build it, what it eats, what it must answer.

    A task may have an attribute `rates`: beginnings of parameter names to factors of the learning rate; an attribute `plain`:
    beginnings of names of parameters that are not averaged (`optimizer.ema`) but ship as they are; an attribute
    `compiled`: names of the submodules that its loss calls, where that is not the network itself (see `run.compile`); an
    attribute `facts`: strings by name that go into the metadata of its weights files; and an attribute `shipped`: names in
    weights.toml to what their tensors' names begin with, in the file and in the network (see `run.init_from`).
    """

    def network(self) -> nn.Module:
        """A freshly initialised network."""
        ...

    def source(self, seed: int, batch: int) -> BatchSource:
        """The stream of training batches; must pickle, and should load its data only when first asked."""
        ...

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss and named parts to log.

        All chance should come from the `number` of the batch: then a run that was stopped, or that several processes share,
        goes on exactly.
        """
        ...

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """Metrics on the fixed sets with the averaged weights, and a sheet of pictures (H, W, 3) RGB."""
        ...


@runtime_checkable
class Exports(Protocol):
    """A task whose network ships in another form than the run's `weights.safetensors`."""

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        """Write the averaged network (on the CPU) as the files that ship; returns their paths."""
        ...
