"""The image encoder that ships: features of a picture at four scales for the embedded networks, and ImageNet's classes.

EfficientNet-Lite0 with its ImageNet weights (see `lite.py` and the model card). ONNX Runtime, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..core.image import Image
from ..core.scaling import to_unit
from ..weights.catalogue import embedded
from .onnx_session import open_session

__all__ = ["CLASSIFIER", "ENCODER", "LEVELS", "Classified", "class_names", "classify", "encode", "warm_up"]

Floats = NDArray[np.float32]
ENCODER, CLASSIFIER = "image-encoder", "image-classifier"
"""Names in weights.toml."""
LEVELS = ("level4", "level8", "level16", "level32")
"""Names of the encoder's outputs: features at 1/4, 1/8, 1/16 and 1/32 of the picture."""
SIDE = 224
"""Side of the square that is classified, in pixels."""
CROP = 7 / 8
"""Of the picture's shorter side; the encoder was trained to see the middle of a photograph."""


@dataclass(frozen=True)
class Classified:
    """What the classifier says of N pictures.

    Attributes:
        features: (N, 1280) float32, not negative: pooled features, for perceptual distances or a classifier of one's own.
        logits: (N, 1000) float32 over `class_names()`.
    """

    features: Floats
    logits: Floats

    def probabilities(self) -> Floats:
        """(N, 1000) float32; each row sums to one."""
        odds = np.exp(self.logits - self.logits.max(1, keepdims=True))
        return np.asarray(odds / odds.sum(1, keepdims=True), np.float32)


def encode(pictures: Floats, threads: int = 0) -> list[Floats]:
    """Features of (N, 3, H, W) float32 RGB in [-1, 1], H and W multiples of 32.

    Args:
        pictures: what lies outside of a frame is 0.
        threads: of ONNX Runtime; 0 takes one per core.

    Returns:
        four arrays float32: (N, 24, H/4, W/4), (N, 40, H/8, W/8), (N, 112, H/16, W/16), (N, 320, H/32, W/32).

    Raises:
        WeightsError: the file is missing from the installation or altered.
    """
    session = _session(ENCODER, threads)
    return [np.asarray(a, np.float32) for a in session.run(list(LEVELS), {"picture": np.ascontiguousarray(pictures)})]


def warm_up(threads: int = 0) -> None:
    """Open the encoder, so that `encode` need not. Raises as it does."""
    _session(ENCODER, threads)


def classify(pictures: Sequence[Image], threads: int = 0) -> Classified:
    """ImageNet's classes of pictures, each (H, W, 3) uint8 RGB of any size: the middle square, 7/8 of the shorter side.

    A cut-out belongs on white with a margin of about a tenth around it, as `downstream.recognition` shows it.

    Raises:
        WeightsError: a file is missing from the installation or altered.
    """
    head = _session(CLASSIFIER, threads)
    features, logits = [], []
    for picture in pictures:
        deepest = encode(_square(picture), threads)[-1]
        pooled, scores = head.run(["features", "logits"], {LEVELS[-1]: deepest})
        features.append(pooled[0])
        logits.append(scores[0])
    return Classified(
        np.asarray(features, np.float32).reshape(-1, 1280), np.asarray(logits, np.float32).reshape(-1, 1000)
    )


@cache
def class_names() -> tuple[str, ...]:
    """The 1,000 English names of ImageNet's classes, in the order of the logits; two of them may be alike."""
    facts = _session(CLASSIFIER, 0).get_modelmeta().custom_metadata_map
    return tuple(facts["classes"].split("\n"))


def _square(picture: Image) -> Floats:
    """(1, 3, SIDE, SIDE) float32 in [-1, 1]: the middle of a picture."""
    import cv2

    height, width = picture.shape[:2]
    side = max(1, round(CROP * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    shrinks = side > SIDE
    square = cv2.resize(
        np.ascontiguousarray(picture[top : top + side, left : left + side]),
        (SIDE, SIDE),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
    )
    return np.asarray(to_unit(square).transpose(2, 0, 1)[None])


def _session(name: str, threads: int):  # type: ignore[no-untyped-def]
    return open_session(str(embedded(name)), threads)
