"""Pictures of masks and of labels: what their transparency, palette, colours or numbers say of the object.

Where that is a guess, a warning says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError
from .picture import WIDE, Source, load_upright, name_of, open_picture, scale_of, split_colours
from .remarks import remark

if TYPE_CHECKING:
    from PIL import Image as PILImage

__all__ = ["read_labels", "read_soft", "soft_of"]

MAX_LABEL = 20
"""Whole numbers up to it are labels where they could be a brightness too."""
COLOURED, DARK = 16, 16
"""A picture is coloured where its channels are further apart, and a colour is black up to this value of its channels."""
COLOURS = 256
"""A picture of more colours is no map of labels."""
BETWEEN, LEVELS = 0.1, 32
"""A grey picture is a map of labels perhaps, if this share of what is not black is not the brightest, in at most so many values."""


def read_soft(source: Source) -> NDArray[np.float32]:
    """Read a mask picture as (H, W) float32 in [0, 1]; where what it means is a guess, a warning says so.

    - Transparency: alpha, where it is not the same everywhere.
    - A palette of greys: brightness. A palette of colours: a label map, of which every label but 0 is the object; where colour 0 is
      not black, but another one that is used is, every label but that.
    - Colours without a palette, at most 256 of them and black among them: a label map as well, of which all but black is the object.
    - Whole numbers of at most 20 (0 and 1, say): labels as well, in 8 or 16 bits.
    - 0 and one other value, whatever it is (a share in 0..1 is none): that value is the object.
    - Anything else: brightness, of floats as `scale_of` says.

    Raises:
        ImageError: as `amodal.core.image.read`.
    """
    name = name_of(source)
    with open_picture(source) as picture:
        return soft_of(load_upright(picture, name), name, lossless=picture.format not in ("JPEG", "MPO"))


def soft_of(picture: PILImage.Image, name: str, lossless: bool = True) -> NDArray[np.float32]:
    """As `read_soft`, of a decoded picture; `lossless` says whether its values are those that were saved."""
    from PIL.Image import fromarray

    if picture.has_transparency_data:
        rgb, alpha = split_colours(picture, name)
        if alpha is not None and alpha.min() < alpha.max():
            seen = rgb[alpha > 127].max(axis=1, initial=0) > 127
            if seen.any() and not seen.all():
                _told(f"mask {name} has both transparency and brightness; what is opaque is taken for the object")
            return np.asarray(alpha / np.float32(255), np.float32)
    if (labels := _palette_labels(picture, name)) is not None:
        return _labelled(labels, name)
    if picture.mode in ("La", "RGBa", "LAB"):  # which Pillow cannot convert to grey
        picture = fromarray(split_colours(picture, name)[0])
    if picture.mode not in (*WIDE, "1", "L"):
        rgb = np.asarray(picture.convert("RGB"))
        red, green, blue = (rgb[..., channel] for channel in range(3))
        apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        if apart.max() > COLOURED:
            return _coloured(rgb, name, lossless)
    values = np.asarray(picture if picture.mode in WIDE else picture.convert("L"))
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ImageError(f"mask {name} holds values that are no finite numbers; it must be in 0..1")
    elif lossless and 0 < values.max() <= MAX_LABEL and values.min() >= 0:
        return _labelled(values, name)
    return _by_brightness(values, name, lossless)


def _by_brightness(values: NDArray[Any], name: str, lossless: bool) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    share = values.dtype.kind == "f" and scale_of(low, high) == 1
    if lossless and not share and low == 0 and high > 1 and ((values == 0) | (values == high)).all():
        if high not in (255, 65535):
            _told(f"mask {name} holds the values 0 and {high:g}; the pixels of {high:g} are taken for the object")
        return (values > 0).astype(np.float32)
    top = scale_of(low, high) if values.dtype.kind == "f" else next((top for top in (255, 65535) if high <= top), None)
    if top is None or (low < 0 and values.dtype.kind != "f"):
        raise ImageError(f"mask {name} holds values from {low:g} to {high:g}; masks are 8 or 16 bit, or float in 0..1")
    if lossless and (levels := _labels_perhaps(values, high, top)):
        text = f"mask {name} holds {levels} values up to {high:g}, labels perhaps"
        _told(f"{text}; what is above half of {top} is taken for the object")
    return np.asarray(np.clip(values / np.float32(top), 0, 1), np.float32)


def _labels_perhaps(values: NDArray[Any], high: float, top: int) -> int:
    """How many values a picture holds, if it may be a map of labels: few, and none white, or even areas of them. 0 for shades."""
    between = (values > 0) & (values < high)
    enough = BETWEEN * np.count_nonzero(values)
    if np.count_nonzero(between) <= enough or (levels := len(np.unique(values))) > LEVELS:
        return 0
    inner = values[1:, 1:]
    even = between[1:, 1:] & (inner == values[:-1, 1:]) & (inner == values[1:, :-1]) & (inner < 0.9 * high)
    return levels if high < top or (top > 1 and np.count_nonzero(even) > enough) else 0


def _coloured(rgb: NDArray[np.uint8], name: str, lossless: bool) -> NDArray[np.float32]:
    """The object in a picture in colours (H, W, 3)."""
    from PIL.Image import fromarray

    codes = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)  # (H, W), a number a colour
    black = rgb.max(axis=2) <= DARK
    if lossless and black.any() and len(np.unique(codes)) <= COLOURS:
        _told(f"mask {name} holds colours; every one but black is taken for the object")
        return np.asarray(~black, np.float32)
    _told(f"mask {name} is a picture in colours; what is brighter than half is taken for the object")
    return np.asarray(np.asarray(fromarray(rgb).convert("L")) / np.float32(255), np.float32)


def _palette_labels(picture: PILImage.Image, name: str) -> NDArray[np.uint8] | None:
    """The indices of a picture whose palette holds colours, the background's 0; None for palettes of greys and without one."""
    if picture.mode != "P" or picture.palette is None:
        return None
    indices = np.asarray(picture)
    colours = np.zeros((256, 3), np.int16)
    listed = np.asarray(picture.getpalette("RGB") or [], np.int16).reshape(-1, 3)[:256]
    colours[: len(listed)] = listed
    used = np.unique(indices)
    if np.ptp(colours[used], axis=1).max() <= COLOURED:
        return None
    if colours[0].max() <= DARK:
        return indices
    black = used[colours[used].max(axis=1) <= DARK]
    if len(black) != 1:
        _told(f"mask {name}: its palette's colour 0 is {tuple(colours[0].tolist())}, which is taken for the background")
        return indices
    _told(f"mask {name}: its palette's colour {black[0]} is black, and taken for the background in place of colour 0")
    swapped = np.arange(256, dtype=np.uint8)
    swapped[[0, black[0]]] = black[0], 0
    return np.asarray(swapped[indices])


def _labelled(labels: NDArray[Any], name: str) -> NDArray[np.float32]:
    count = int(np.count_nonzero(np.bincount(labels.ravel())[1:])) if labels.max() else 0
    if count > 1:
        _told(f"mask {name} holds {count} labels; every one but 0 is taken for the object")
    return (labels > 0).astype(np.float32)


def _told(text: str) -> None:
    remark(text, stacklevel=5)


def read_labels(source: Source) -> NDArray[np.int64] | None:
    """The values of a label map (H, W), upright: the indices of a colour palette (see `read_soft`), a 16- or 32-bit picture's whole
    numbers, or those of a grey picture that holds several, none above 20. None for any other picture, which `read_mask` reads.

    Raises:
        ImageError: as `amodal.core.image.read`.
    """
    name = name_of(source)
    with open_picture(source) as picture:
        if picture.mode in WIDE and picture.mode != "F":
            return np.asarray(load_upright(picture, name)).astype(np.int64)
        if picture.mode not in ("P", "L") or picture.format in ("JPEG", "MPO"):
            return None
        whole = load_upright(picture, name)
    labels = _palette_labels(whole, name)
    if labels is None:
        labels = np.asarray(whole.convert("L"))
        if labels.max() > MAX_LABEL or np.count_nonzero(np.bincount(labels.ravel())[1:]) < 2:
            return None
    return labels.astype(np.int64)
