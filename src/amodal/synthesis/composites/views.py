"""What the network sees of a scene: the square crop around a visible mask, and how pictures are worn before it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .place import Affine
from .sprites import Bits, Image


def crop_view(
    box: tuple[float, float, float, float],
    factor: float,
    size: int,
    shift: tuple[float, float] = (0, 0),
    flip: bool = False,
    frame: tuple[int, int] | None = None,
) -> Affine:
    """2 x 3 map from picture to a `size` square crop whose side is `factor` times the longer side of `box`.

    Args:
        box: (x0, y0, x1, y1), half-open.
        shift: Displacement of the crop's centre as a fraction of its side.
        flip: Mirror left and right.
        frame: (H, W) of the picture: the crop is then never larger than its longer side, nor further out than needed.
    """
    # 1. Side and centre of the window, in pixels of the picture.
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0, 4.0) * factor
    cx, cy = (x0 + x1) / 2 + shift[0] * side, (y0 + y1) / 2 + shift[1] * side
    # 2. Kept to the frame: no wider than its longer side, and inside of it where it fits.
    if frame is not None:
        side = min(side, float(max(frame)))
        cy, cx = (
            d / 2 if side >= d else min(max(c, side / 2), d - side / 2) for c, d in zip((cy, cx), frame, strict=True)
        )
    # 3. The map; mirrored, x runs the other way about the same centre.
    s = size / side
    if flip:
        return np.array([[-s, 0, size / 2 + s * cx], [0, s, size / 2 - s * cy]])
    return np.array([[s, 0, size / 2 - s * cx], [0, s, size / 2 - s * cy]])


def wear(rng: np.random.Generator, image: Image) -> Image:
    """Give a composite one common history: exposure, colour cast, blur, noise and jpeg."""
    x = image.astype(np.float32)
    # Contrast and brightness about middle grey, then a gain a channel: exposure and white balance.
    if rng.random() < 0.8:
        x = (x - 128) * np.exp(rng.normal(0, 0.18)) + 128 + rng.normal(0, 18)
        x *= np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    # Fewer colours.
    if rng.random() < 0.12:
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * rng.uniform(0, 0.6)
    # Out of focus.
    if rng.random() < 0.3:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.3, 1.2)))
    # Noise of the sensor, in grey levels.
    if rng.random() < 0.4:
        x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(1, 9))
    worn = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        code = cv2.imencode(".jpg", worn, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))])[1]
        worn = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return worn


def worn_mask(rng: np.random.Generator, mask: Bits) -> Bits:
    """The visible mask as a segmenter might give it: edge moved, rounded, wavy, with small errors."""
    # The blurred mask (H, W) in [0, 1], cut at a level that wanders: moved edge, round corners, waves near the edge.
    soft = mask.astype(np.float32)
    h, w = mask.shape
    sigma = float(rng.uniform(0.6, 2.0))
    level = 0.5 + rng.uniform(-0.25, 0.25)
    low: NDArray[np.float32] = rng.standard_normal((max(2, h // 12), max(2, w // 12)), np.float32)
    wave = cv2.resize(low, (w, h), interpolation=cv2.INTER_CUBIC) * np.float32(rng.uniform(0, 0.22))
    noisy = cv2.GaussianBlur(soft, (0, 0), sigma) + wave * (cv2.GaussianBlur(soft, (0, 0), sigma * 1.5) > 0.02) > level
    return np.asarray(noisy if noisy.any() else mask)
