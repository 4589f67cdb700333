"""Crops of SDAmodal: the square around the object, in the mask and in feature maps of another size and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.mask import Box, Size

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["crop_feature", "feature_box"]


def feature_box(box: Box, image_size: Size, map_size: Size) -> tuple[int, int, int, int]:
    """The part of a feature map that shows a box of the image: (x, y, width, height), each scaled by itself and truncated.

    Args:
        box: half-open (x0, y0, x1, y1) in image pixels; may pass the frame.
        image_size: (H, W) of the image.
        map_size: (h, w) of the map of the whole image, which need not have its aspect ratio.
    """
    x0, y0, x1, y1 = box
    height, width = image_size
    rows, columns = map_size
    return (
        int(x0 * columns / width),
        int(y0 * rows / height),
        int((x1 - x0) * columns / width),
        int((y1 - y0) * rows / height),
    )


def crop_feature(feature: Tensor, image_size: Size, box: Box) -> Tensor:
    """A feature map of the whole image on a box of the image, at the map's own size; zero beyond the frame.

    A box smaller than one cell of the map is cut from the map as if that had been enlarged to the image's size first
    (bilinear, corners not aligned).

    Args:
        feature: (C, h, w) float.
        image_size: (H, W).
        box: half-open (x0, y0, x1, y1) in image pixels; may pass the frame, not be empty.

    Returns:
        (C, h, w) float.
    """
    import torch.nn.functional as F

    rows, columns = feature.shape[-2:]
    x, y, width, height = feature_box(box, image_size, (rows, columns))
    if width == 0 or height == 0:
        window = _enlarged_crop(feature, image_size, box)
    else:
        inside = feature[:, max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
        left, top = min(max(0, -x), width), min(max(0, -y), height)
        right, bottom = width - left - inside.shape[2], height - top - inside.shape[1]
        window = F.pad(inside, (left, right, top, bottom))
    return F.interpolate(window[None], size=(rows, columns), mode="bilinear", align_corners=False)[0]


def _enlarged_crop(feature: Tensor, image_size: Size, box: Box) -> Tensor:
    """`feature` enlarged to `image_size` and cut at `box` (zero beyond the frame), without enlarging all of it."""
    x0, y0, x1, y1 = box
    part = _enlarged_lines(feature, image_size[0], y0, y1)
    return _enlarged_lines(part.transpose(1, 2), image_size[1], x0, x1).transpose(1, 2)


def _enlarged_lines(feature: Tensor, length: int, start: int, stop: int) -> Tensor:
    """Lines `start` to `stop` (along axis 1) of the map enlarged to `length` lines: (C, stop - start, w)."""
    import torch

    lines = torch.arange(start, stop, device=feature.device)
    count = feature.shape[1]
    place = ((lines + 0.5) * (count / length) - 0.5).clamp(0, count - 1)
    low = place.floor().long()
    weight = (place - low).to(feature.dtype)[None, :, None]
    high = (low + 1).clamp(max=count - 1)
    mixed = feature[:, low] * (1 - weight) + feature[:, high] * weight
    return mixed * ((lines >= 0) & (lines < length)).to(feature.dtype)[None, :, None]
