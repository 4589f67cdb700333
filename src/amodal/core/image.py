"""Reading, checking and writing pictures: the only place where pixels change form.

Inside amodal an image is one thing: (H, W, 3) uint8 RGB, upright. EXIF rotation, alpha, 16 bit, CMYK, palettes, grey and
animation are dealt with here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import AmodalError, ImageError, MaskError
from .mask import Mask, Size, check_frame, check_reach
from .mask_picture import read_labels, read_soft, soft_of
from .picture import (
    MAX_PIXELS,
    SUFFIXES,
    Source,
    is_picture,
    load_upright,
    name_of,
    open_picture,
    orientation,
    scale_of,
    split_colours,
    stored_size,
)
from .png import encode_png
from .remarks import remark

if TYPE_CHECKING:
    pass

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Image",
    "as_image",
    "as_mask",
    "encode_jpeg",
    "encode_png",
    "framed_mask",
    "is_picture",
    "picture_size",
    "read",
    "read_labels",
    "read_mask",
    "read_rgba",
    "read_soft",
    "size_and_turn",
    "split_colours",
    "to_numpy",
]

Image = NDArray[np.uint8]


def as_image(value: Any) -> Image:
    """A picture given in Python as (H, W, 3) uint8 RGB: such an array or tensor, a PIL image, or what `read` takes.

    Raises:
        ImageError: anything else, with what to do about it.
    """
    if isinstance(value, str | os.PathLike | bytes) or hasattr(value, "read"):
        return read(value)
    if _is_pil(value):
        return _on_white(*split_colours(load_upright(value, "the image"), "the image"), "the image")
    array = to_numpy(value, ImageError, "image")
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
        if array.shape[0] * array.shape[1] > MAX_PIXELS:
            raise ImageError(f"image has {array.shape[0] * array.shape[1]:,} pixels, above the limit of {MAX_PIXELS:,}")
        return np.ascontiguousarray(array)
    if array.dtype.kind == "f" and array.ndim == 3 and array.shape[2] == 3:
        advice = "convert it first: (image * 255).round().astype(np.uint8) if it is in 0..1"
    elif array.ndim == 3 and array.shape[0] == 3:
        advice = "move the channels last: image.transpose(1, 2, 0)"
    elif array.ndim == 3 and array.shape[2] == 4:
        advice = "drop the alpha channel: image[..., :3]"
    elif array.ndim == 2:
        advice = "repeat the grey channel: np.repeat(image[..., None], 3, axis=2)"
    else:
        advice = "read files with amodal.read(path)"
    raise ImageError(f"image must be (H, W, 3) uint8 RGB, got {array.shape} {array.dtype}; {advice}")


def to_numpy(value: Any, error: type[AmodalError], what: str) -> NDArray[Any]:
    """A list, array or torch tensor (on any device) as a NumPy array of numbers.

    Raises:
        error: ragged, of text or objects, complex, or not an array at all; `what` names it.
    """
    try:
        if np.ma.is_masked(value):
            raise error(f"{what} has masked values, which say nothing; fill them first: {what}.filled(0)")
        if hasattr(value, "detach") and hasattr(value, "cpu"):  # a torch tensor; files have a `detach` too
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        array = np.asarray(value)
    except AmodalError:
        raise
    except Exception as reason:
        raise error(f"{what} must be an array of numbers, got {type(value).__name__} ({reason})") from reason
    if array.dtype.kind not in "buif":
        raise error(f"{what} must be an array of numbers, got {type(value).__name__} of {array.dtype}")
    return array


def _is_pil(value: object) -> bool:
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(value, pil.Image)


def read(source: Source) -> Image:
    """Read a picture as (H, W, 3) uint8 sRGB, upright.

    EXIF orientation is applied; an embedded colour profile is converted to sRGB; transparency is laid on white; 16-bit pictures
    are scaled to 8 bits by their full range (65535); CMYK, Lab, palette and grey are converted; of an animation the first frame
    is taken, with a warning.

    Args:
        source: a path, the file's bytes or an open binary file. Formats: `picture.FORMATS`.

    Raises:
        ImageError: absent, empty, truncated, not a picture, or above `MAX_PIXELS`.
    """
    name = name_of(source)
    with open_picture(source) as picture:
        return _on_white(*split_colours(load_upright(picture, name), name), name)


def read_rgba(source: Source) -> Image:
    """Read a picture as (H, W, 4) uint8 sRGB with straight alpha, upright; alpha is 255 where the file has none.

    Raises:
        ImageError: as `read`.
    """
    name = name_of(source)
    with open_picture(source) as picture:
        rgb, alpha = split_colours(load_upright(picture, name), name)
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha])


def picture_size(source: Source) -> Size:
    """(H, W) of a picture as `read` returns it, from its header alone.

    Raises:
        ImageError: as `read`, but for damage beyond the header.
    """
    return size_and_turn(source)[0]


def size_and_turn(source: Source) -> tuple[Size, int]:
    """As `picture_size`, and EXIF's orientation: 1 is upright, 2 to 4 turn or mirror the picture without changing its size."""
    with open_picture(source) as picture:
        turn = orientation(picture, name_of(source))
        width, height = stored_size(picture)
    return ((width, height) if turn in (5, 6, 7, 8) else (height, width)), turn


def _on_white(rgb: Image, alpha: Image | None, name: str) -> Image:
    if alpha is not None:
        if not alpha.any():
            remark(f"{name} is transparent everywhere, so that it is all white", stacklevel=3)
        rows = max(1, (1 << 22) // rgb.shape[1])
        for top in range(0, len(rgb), rows):
            part = alpha[top : top + rows, :, None].astype(np.uint16)
            laid = rgb[top : top + rows] * part + 255 * (255 - part) + 127
            rgb[top : top + rows] = laid // 255
    return rgb


def framed_mask(value: Any, what: str = "mask") -> tuple[Mask, Size | None]:
    """A mask given in Python or JSON, and the (H, W) of the picture that it was drawn on, None if that is not known.

    Args:
        value: a `Mask`; an array, list or tensor (H, W), whose pixels that are not 0 (for floats: > 0.5) are the object; a PIL
            image; the path, bytes or open file of a mask picture, see `read_soft`; a COCO RLE `{"size", "counts"}`; or what
            `Mask.to_dict` returns (an RLE of a crop with its `origin`, whose frame is not known).
        what: what to call it in errors.

    Raises:
        MaskError: none of these.
        ImageError: a path that cannot be read.
    """
    if isinstance(value, Mask):
        return value, None
    if isinstance(value, Mapping):
        mask = Mask.from_dict(value)
        return mask, None if "origin" in value else (int(value["size"][0]), int(value["size"][1]))
    if isinstance(value, str | os.PathLike | bytes) or hasattr(value, "read"):
        bits = read_soft(value) > 0.5
    elif _is_pil(value):
        bits = soft_of(load_upright(value, f"the {what}"), f"the {what}") > 0.5
    else:
        bits = to_numpy(value, MaskError, what)
        if bits.ndim != 2:
            raise MaskError(f"{what} must be an array (H, W), got shape {bits.shape}; of an RGB mask take one channel")
        mask = Mask.from_array(bits)
        _tell_values(bits, what)
        return mask, (bits.shape[0], bits.shape[1])
    return Mask.from_array(bits), (bits.shape[0], bits.shape[1])


def _tell_values(values: NDArray[Any], what: str) -> None:
    """Warn of an array that holds more than yes and no, beyond the shares 0..1."""
    if values.dtype == bool or not values.size:
        return
    low, high = values.min(), values.max()
    if values.dtype.kind != "f":
        if high > 1 and not ((values == 0) | (values == high)).all():
            text = f"{what} holds whole numbers up to {high}; every one but 0 is taken for the object"
            remark(f"{text} (for brightness, give mask > {high // 2})", stacklevel=4)
    elif scale_of(float(low), float(high)) != 1 and not ((values == 0) | (values == high)).all():
        text = f"{what} holds values from {low:g} to {high:g}; what is above 0.5 is taken for the object"
        remark(f"{text} (give shares in 0..1, or mask > THRESHOLD)", stacklevel=4)


def as_mask(value: Any, size: Size, what: str = "mask") -> Mask:
    """A mask given in Python or JSON for a picture of `size` (H, W): the one door by which masks enter.

    Args:
        value: as in `framed_mask`.
        size: the picture's (H, W). An array, a mask picture and an RLE must have it. A `Mask`, and an RLE with an `origin`, may
            leave the frame as far as `check_reach` allows.
        what: what to call it in errors.

    Raises:
        MaskError: no mask, of another size (tells both), or too far beyond the frame.
        ImageError: a path that cannot be read.
    """
    mask, frame = framed_mask(value, what)
    if frame is not None:
        check_frame(frame, size, what)
    check_reach(mask, size, what)
    return mask


def read_mask(source: Source, size: Size | None = None, *, invert: bool = False) -> Mask:
    """Read a mask picture: white (or opaque, or labelled; see `read_soft`) marks the object; the threshold is half.

    Args:
        source: a path, bytes or an open binary file.
        size: the (H, W) that the mask must have.
        invert: white marks the background.

    Raises:
        MaskError: of another size than `size`, or empty.
        ImageError: as `read`.
    """
    name = name_of(source)
    soft = read_soft(source)
    if size is not None:
        check_frame(soft.shape, size, f"mask {name}")
    bits = soft > 0.5
    if invert:
        bits = ~bits
    mask = Mask.from_array(bits)
    if not mask:
        raise MaskError(f"mask {name} marks no pixel; white (or opaque) pixels must mark the visible object")
    share = mask.area / bits.size
    if share > 0.9 and not invert:
        remark(
            f"mask {name} is {share:.0%} white; white marks the visible object. If white is the background, invert the mask",
            stacklevel=2,
        )
    return mask


def encode_jpeg(image: Image, quality: int = 90) -> bytes:
    """JPEG bytes of (H, W, 3) uint8 RGB."""
    import cv2

    return bytes(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
