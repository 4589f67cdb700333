"""Reading, checking and writing pictures: the only place where pixels change form.

Inside amodal an image is one thing: (H, W, 3) uint8 RGB, upright. EXIF rotation, alpha, 16 bit, CMYK, palettes, grey and
animation are dealt with here.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, MaskError
from .mask import Mask, Size

if TYPE_CHECKING:
    from PIL import Image as PILImage

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Image",
    "check_image",
    "encode_png",
    "is_picture",
    "read",
    "read_mask",
    "read_soft",
]

Image = NDArray[np.uint8]
MAX_PIXELS = 100_000_000
"""Pictures above this many pixels are refused: a small file can unpack to gigabytes."""
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file of a folder is taken for a picture: its ending is one of `SUFFIXES`, and it is not hidden."""
    path = Path(path)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def check_image(image: Any) -> Image:
    """`image` itself if it is (H, W, 3) uint8 with at least one pixel.

    Raises:
        ImageError: anything else, with its shape and type.
    """
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or array.size == 0:
        raise ImageError(
            f"image must be (H, W, 3) uint8 RGB, got {array.shape} {array.dtype}; read files with amodal.read(path)"
        )
    return array


def read(source: str | os.PathLike[str] | bytes | BinaryIO) -> Image:
    """Read a picture as (H, W, 3) uint8 RGB, upright.

    EXIF orientation is applied; transparency is laid on white; 16-bit pictures are scaled to 8 bits by their full range (65535);
    CMYK, palette and grey are converted; of an animation the first frame is taken, with a warning.

    Args:
        source: a path, the file's bytes or an open binary file.

    Raises:
        ImageError: absent, empty, truncated, not a picture, or above `MAX_PIXELS`.
    """
    from PIL import Image as PILImage
    from PIL import ImageOps

    name = _name(source)
    with _open(source) as picture:
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            warnings.warn(f"{name} has {frames} frames; the first one is used", stacklevel=2)
        upright = _load(picture, name, ImageOps.exif_transpose)
        if upright.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            return _narrow(np.asarray(upright), name)
        if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
            rgba = upright.convert("RGBA")
            white = PILImage.new("RGBA", rgba.size, (255, 255, 255, 255))
            upright = PILImage.alpha_composite(white, rgba)
        return np.array(upright.convert("RGB"))


def read_soft(source: str | os.PathLike[str] | bytes | BinaryIO) -> NDArray[np.float32]:
    """Read a mask picture as (H, W) float32 in [0, 1]: its alpha where that says something, else its brightness.

    Raises:
        ImageError: as `read`.
    """
    from PIL import ImageOps

    name = _name(source)
    with _open(source) as picture:
        upright = _load(picture, name, ImageOps.exif_transpose)
        if upright.mode in ("RGBA", "LA"):
            alpha = np.asarray(upright.getchannel("A"))
            if alpha.min() < 255:
                return _unit(alpha)
        if upright.mode == "P":
            # A palette picture of a label map: any entry but the first is the object (the VOC and DAVIS habit).
            return (np.asarray(upright) > 0).astype(np.float32)
        if upright.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            return _unit(_narrow(np.asarray(upright), name)[..., 0])
        return _unit(np.asarray(upright.convert("L")))


def read_mask(
    source: str | os.PathLike[str] | bytes | BinaryIO, size: Size | None = None, *, invert: bool = False
) -> Mask:
    """Read a mask picture: white (or opaque) marks the object; the threshold is half.

    Args:
        source: a path, bytes or an open binary file.
        size: the (H, W) that the mask must have.
        invert: white marks the background.

    Raises:
        MaskError: of another size than `size`, or empty.
        ImageError: as `read`.
    """
    name = _name(source)
    soft = read_soft(source)
    if size is not None and soft.shape != tuple(size):
        raise MaskError(
            f"mask {name} is {soft.shape[1]} x {soft.shape[0]} pixels, the image {size[1]} x {size[0]}; "
            "they must be equal: export the mask at the image's size"
        )
    if soft.max() <= 0.5 and 0 < soft.max() <= 20 / 255:
        soft = (soft > 0).astype(np.float32)  # 0/1 files: as bright as a label, not as a picture
    bits = soft > 0.5
    if invert:
        bits = ~bits
    mask = Mask.from_array(bits)
    if not mask:
        raise MaskError(f"mask {name} marks no pixel; white (or opaque) pixels must mark the visible object")
    share = mask.area / bits.size
    if share > 0.9 and not invert:
        warnings.warn(
            f"mask {name} is {share:.0%} white; white marks the visible object. If white is the background, add --invert-mask",
            stacklevel=2,
        )
    return mask


def encode_png(array: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of (H, W) bool or uint8, (H, W, 3) RGB or (H, W, 4) RGBA; bool becomes 0 and 255."""
    import cv2

    values = array.astype(np.uint8) * 255 if array.dtype == bool else array
    if values.ndim == 3:
        values = cv2.cvtColor(values, cv2.COLOR_RGB2BGR if values.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, buffer = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise ImageError(f"cannot encode an array of shape {array.shape} as PNG")
    return bytes(buffer.tobytes())


def _name(source: object) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else "the given picture"


def _open(source: str | os.PathLike[str] | bytes | BinaryIO) -> PILImage.Image:
    from PIL import Image as PILImage
    from PIL import UnidentifiedImageError

    name = _name(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            if isinstance(source, bytes):
                picture = PILImage.open(io.BytesIO(source))
            elif isinstance(source, str | os.PathLike):
                picture = PILImage.open(Path(source))
            else:
                picture = PILImage.open(source)
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {name}") from error
    except PILImage.DecompressionBombError as error:
        raise ImageError(
            f"{name} unpacks to more than {MAX_PIXELS / 1e6:.0f} megapixels; scale it down first"
        ) from error
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder; give a picture, or use a shell pattern such as {name}/*.jpg") from error
    except UnidentifiedImageError as error:
        empty = isinstance(source, str | os.PathLike) and Path(source).stat().st_size == 0
        reason = (
            "is empty (0 bytes)" if empty else "is not a picture that can be read (JPEG, PNG, WebP, TIFF, BMP, GIF)"
        )
        raise ImageError(f"{name} {reason}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"cannot read {name}: {error}") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise ImageError(
            f"{name} is {width} x {height}, above the limit of {MAX_PIXELS / 1e6:.0f} megapixels; scale it down first"
        )
    return picture


def _load(picture: PILImage.Image, name: str, transpose: Any) -> PILImage.Image:
    """Decode now, so that a broken file fails here with a clear text."""
    try:
        picture.load()
        upright: PILImage.Image = transpose(picture)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{name} is damaged or cut short: {error}") from error
    return upright


def _unit(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values / np.float32(255), np.float32)


def _narrow(values: NDArray[Any], name: str) -> Image:
    """One wide channel (16-bit, 32-bit or float) to (H, W, 3) uint8 by the full range of its type."""
    if values.dtype.kind == "f":
        top = 1.0 if np.nanmax(values, initial=0) <= 1 else 255.0
        grey = np.nan_to_num(values) * (255.0 / top)
    else:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageError(f"{name} holds values from {low} to {high}; grey pictures must be 8 or 16 bit")
        grey = values.astype(np.float32) / (257.0 if values.dtype.itemsize == 2 or high > 255 else 1.0)
    narrow = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return np.repeat(narrow[..., None], 3, axis=2)
