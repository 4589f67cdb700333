"""The visible masks of all objects of one picture, from mask pictures, a folder of them, or a label picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import MaskError
from .image import read_mask
from .mask import Mask, Size

__all__ = ["read_labels", "read_scene"]

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")


def read_scene(sources: str | Path | Sequence[str | Path], size: Size) -> tuple[list[str], list[Mask]]:
    """Names and visible masks of the objects of a picture.

    Args:
        sources: mask pictures (white marks the object), folders of mask pictures (by name), or label pictures: palette or
            16-bit ones, whose values 1, 2, ... mark one object each.
        size: (H, W) of the picture.

    Returns:
        one name per object (the file's stem; with the value, for a label picture), and its mask, never empty.

    Raises:
        MaskError: nothing there, an empty mask, or one of another size.
        ImageError: a file that is not a picture.
    """
    paths: list[Path] = []
    for source in [sources] if isinstance(sources, str | Path) else sources:
        path = Path(source).expanduser()
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not found:
                raise MaskError(f"the folder {path} holds no mask pictures (PNG, one object a file)")
            paths += found
        else:
            paths.append(path)
    names: list[str] = []
    masks: list[Mask] = []
    for path in paths:
        labels = read_labels(path, size)
        if labels is None:
            names.append(path.stem)
            masks.append(read_mask(path, size))
            continue
        values = [int(value) for value in np.unique(labels) if value]
        names += [f"{path.stem}:{value}" for value in values]
        masks += [Mask.from_array(labels == value) for value in values]
    if not masks:
        raise MaskError("no object is marked: the label picture is 0 everywhere; give one value above 0 per object")
    return names, masks


def read_labels(path: Path, size: Size) -> NDArray[np.int64] | None:
    """The values of a label picture (H, W), or None for any other picture (also one that cannot be read).

    Raises:
        MaskError: a label picture of another size than `size`.
    """
    from PIL import Image as PILImage
    from PIL import UnidentifiedImageError

    try:
        with PILImage.open(path) as picture:
            if picture.mode not in ("P", "I;16", "I;16B", "I;16L", "I"):
                return None
            labels = np.asarray(picture).astype(np.int64)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return None
    if labels.shape != tuple(size):
        raise MaskError(
            f"label picture {path} is {labels.shape[1]} x {labels.shape[0]} pixels, the image {size[1]} x {size[0]}; "
            "they must be equal"
        )
    return labels
