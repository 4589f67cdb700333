"""Losses of PCNet-M, PCNet-C and ASBU."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import asbu_parts

__all__ = ["content_loss", "eraser_weights", "mask_loss", "uncertainty_loss"]


def eraser_weights(eraser: Tensor, inside: float = 5.0) -> Tensor:
    """Per-pixel weights: `inside` under the eraser, 1 elsewhere; of the eraser's shape."""
    return 1 + (inside - 1) * eraser


def mask_loss(output: Tensor, target: Tensor, eraser: Tensor, inside: float = 5.0) -> Tensor:
    """PCNet-M: cross-entropy, weighted under the eraser, summed and divided by the number of pixels.

    Args:
        output: logits (B, 2, S, S).
        target: 1 on the whole object, (B, S, S) integer.
        eraser: (B, S, S) float of 0 and 1.
        inside: weight under the eraser.
    """
    each = F.cross_entropy(output, target.long(), reduction="none")
    return (each * eraser_weights(eraser, inside)).mean()


def uncertainty_loss(
    output: Tensor,
    target: Tensor,
    eraser: Tensor,
    kind: Literal["gaussian", "cross-entropy"] = "gaussian",
    edge: Tensor | None = None,
    edge_kind: Literal["mse", "bce"] = "mse",
    inside: float = 5.0,
) -> Tensor:
    """ASBU: the error divided by the predicted deviation, which is itself kept small (Nguyen and Todorovic, ICCV 2021).

    gaussian: 0.5 ((y - mu) / sigma)^2 + 0.5 sigma^2 per pixel; cross-entropy: BCE(mu, y) / sigma^2 + 0.5 sigma^2.

    Args:
        output: the network's two outputs (B, 2, S, S), see `asbu_parts`.
        target: (B, S, S), 1 on the whole object.
        eraser: (B, S, S) float of 0 and 1.
        kind: which of the two.
        edge: where the network should be unsure: the occlusion boundary (B, S, S) of 0 and 1; None leaves that out.
        edge_kind: how the deviation is compared with it.
        inside: weight under the eraser.
    """
    mean, deviation = asbu_parts(output)
    truth = target.to(mean.dtype)
    if kind == "gaussian":
        fit = 0.5 * ((truth - mean) / deviation) ** 2
    else:
        fit = F.binary_cross_entropy_with_logits(output[:, 0], truth, reduction="none") / deviation**2
    each = (fit + 0.5 * deviation**2) * eraser_weights(eraser, inside)
    loss = each.sum() / (each.numel() + 1)
    if edge is None:
        return loss
    if edge_kind == "mse":
        return loss + F.mse_loss(deviation, edge)
    return loss + F.binary_cross_entropy(deviation.clamp(1e-6, 1 - 1e-6), edge)


def content_loss(
    made: Tensor, target: Tensor, known: Tensor, valid: float = 1.0, hole: float = 6.0, smooth: float = 0.1
) -> tuple[Tensor, dict[str, Tensor]]:
    """PCNet-C's terms that need no other network (Liu et al., ECCV 2018, equations 1, 2 and 6).

    Args:
        made: what the network makes, (B, 3, S, S).
        target: the whole picture, (B, 3, S, S).
        known: 1 where the network saw it, 0 in the hole, (B, 1, S, S).
        valid: weight of the mean absolute difference where it is known.
        hole: the same in the hole; both are divided by all pixels.
        smooth: weight of the total variation in the hole and one pixel around it, the rest taken from the picture.

    Returns:
        the sum and its three parts, not weighted.
    """
    each = (made - target).abs()
    whole = known * target + (1 - known) * made
    near = F.max_pool2d(1 - known, 3, 1, 1)
    across = (whole[..., 1:] - whole[..., :-1]).abs() * near[..., 1:] * near[..., :-1]
    down = (whole[..., 1:, :] - whole[..., :-1, :]).abs() * near[..., 1:, :] * near[..., :-1, :]
    parts = {
        "valid": (each * known).mean(),
        "hole": (each * (1 - known)).mean(),
        "smooth": (across.sum() + down.sum()) / whole.numel(),
    }
    return valid * parts["valid"] + hole * parts["hole"] + smooth * parts["smooth"], parts


def class_loss(output: Tensor, target: Tensor) -> Tensor:
    """The single-stage networks and SDAmodal: plain cross-entropy over (B, 2, S, S) logits and (B, S, S) classes."""
    return torch.nn.functional.cross_entropy(output, target.long())
