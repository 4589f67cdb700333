"""8-bit weights: the linear layers of a network kept as int8 with a scale per output, half the memory of 16 bits.

The paper runs FLUX quantised so that it fits a 24 GB card. Only weights are quantised; the arithmetic stays in the
network's precision, so it runs on every device and needs no other package.
"""

from __future__ import annotations

from typing import Any

__all__ = ["quantise"]


def quantise(network: Any) -> Any:
    """Replace every `Linear` of a network by one with int8 weights, in place.

    Each row of a weight matrix is scaled to [-127, 127] by its largest magnitude and rounded, so an entry is off by at most
    1/254 of it.

    Args:
        network: a torch module, on the CPU.

    Returns:
        the network.
    """
    import torch
    from torch import nn

    class Linear8(nn.Module):
        weight: torch.Tensor
        scale: torch.Tensor

        def __init__(self, linear: nn.Linear) -> None:
            super().__init__()
            values = linear.weight.detach().float()
            scale = values.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
            self.register_buffer("weight", torch.round(values / scale).to(torch.int8))
            self.register_buffer("scale", scale.to(linear.weight.dtype))
            self.bias = linear.bias
            self.in_features, self.out_features = linear.in_features, linear.out_features

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            weight = self.weight.to(self.scale.dtype) * self.scale
            return nn.functional.linear(values, weight, self.bias)

    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, Linear8(child))
    return network
