"""Batch statistics of a network that several processes train: as if one process had made all passes, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["Statistics"]


class Statistics:
    """The running means and variances of a network's batch norms, over the passes of all processes.

    A pass takes each of them from r to k r + c; c is the batch's own, k = (1 - momentum) to the number of calls. So the passes of P
    processes, in the order of their batches, take it to k^P r + the sum over p of k^(P - 1 - p) c_p: one sum over the processes.

    Args:
        network: the same in all processes, also in its statistics.
        process, processes: the number of this one, and how many there are.
    """

    def __init__(self, network: nn.Module, process: int, processes: int) -> None:
        self.process, self.processes = process, processes
        norms = (layer for layer in network.modules() if isinstance(layer, _NormBase) and layer.momentum is not None)
        self.layers = [layer for layer in norms if layer.running_mean is not None]
        self._before: list[tuple[Tensor, int]] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Note what they are before a pass."""
        self._before = [(self._values(layer), self._count(layer)) for layer in self.layers]

    @torch.no_grad()
    def part(self) -> Tensor:
        """What this process's pass adds to all of them, (N,); to be summed over the processes."""
        parts = []
        for layer, (before, count) in zip(self.layers, self._before, strict=True):
            keep = self._keep(layer, count)
            own = self._values(layer) - keep * before
            parts.append(keep ** (self.processes - 1 - self.process) * own)
        return torch.cat(parts)

    @torch.no_grad()
    def end(self, total: Tensor) -> None:
        """Take the sum of all processes' parts."""
        shares = torch.split(total, [len(before) for before, _ in self._before])
        for layer, share, (before, count) in zip(self.layers, shares, self._before, strict=True):
            assert layer.running_mean is not None and layer.running_var is not None
            assert layer.num_batches_tracked is not None
            mean, var = (share + self._keep(layer, count) ** self.processes * before).chunk(2)
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(var)
            layer.num_batches_tracked += (self.processes - 1) * (self._count(layer) - count)

    @staticmethod
    def _values(layer: _NormBase) -> Tensor:
        assert layer.running_mean is not None and layer.running_var is not None
        return torch.cat([layer.running_mean, layer.running_var])

    @staticmethod
    def _count(layer: _NormBase) -> int:
        return int(layer.num_batches_tracked) if layer.num_batches_tracked is not None else 0

    def _keep(self, layer: _NormBase, count: int) -> float:
        assert layer.momentum is not None
        return float((1 - layer.momentum) ** (self._count(layer) - count))
