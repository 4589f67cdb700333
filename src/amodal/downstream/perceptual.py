"""A perceptual distance on features of the image encoder that ships. It is not LPIPS: another network, no learned weights."""

from __future__ import annotations

import numpy as np

from ..core.image import Image
from ..core.scaling import to_unit

__all__ = ["perceptual_distance"]


def perceptual_distance(picture: Image, truth: Image) -> float:
    """Squared distance of unit feature vectors, averaged over the places of four scales of EfficientNet-Lite0: 0 to 4.

    2 is that of features with nothing in common; more is rare, since features that point in opposite directions are.

    Zhang et al. 2018 (equation 1) with all channel weights 1 (their "uncalibrated" distance), on another network than theirs.

    Args:
        picture: (H, W, 3) uint8 RGB, H and W multiples of 32.
        truth: of the same size.
    """
    from ..networks.image_encoder import encode

    both = to_unit(np.stack([picture, truth]))
    distances = []
    for features in encode(np.ascontiguousarray(both.transpose(0, 3, 1, 2))):
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)
        distances.append(float(((unit[0] - unit[1]) ** 2).sum(axis=0).mean()))
    return float(np.mean(distances))
