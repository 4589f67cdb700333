"""What COCO-like annotation files share: polygons rasterised as pycocotools does, RLEs, lists joined by id, images looked up."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import MALFORMED, AmodalError, DataError, MaskError, reason_of
from ..core.files import read_json
from ..core.image import MAX_PIXELS
from ..core.mask import Mask, Size, union

__all__ = [
    "by_id",
    "decode",
    "find_image",
    "first_file",
    "frame_of",
    "from_polygon",
    "guarded",
    "inside",
    "number_of",
    "read_lists",
    "read_shape",
    "whole_number",
]

LONGEST = 4_000_000
"""Pixels that the outline of a polygon may be long: drawing takes memory for each."""
SCALE = 5.0
"""pycocotools rasterises on a grid five times finer; the same number gives the same pixels."""


def from_polygon(points: Sequence[float] | NDArray[np.float64], size: Size) -> Mask:
    """The pixels inside a polygon, exactly those that pycocotools' `frPyObjects` gives.

    Args:
        points: x0, y0, x1, y1, ... in pixels; at least three points.
        size: (H, W) of the frame; what lies outside of it is cut off.

    Raises:
        MaskError: fewer than three points, an odd count, NaN or infinity.
    """
    flat = np.asarray(points, np.float64)
    if flat.ndim != 1 or flat.size % 2:
        raise MaskError("a polygon is a flat list x0, y0, x1, y1, ... with an even count of numbers")
    if flat.size < 6:
        raise MaskError(f"a polygon needs at least three points, this one has {flat.size // 2}")
    if not np.isfinite(flat).all():
        raise MaskError("a polygon holds NaN or infinity")
    if np.abs(flat).max() > 1e6:
        raise MaskError(f"a polygon has a coordinate of {flat[np.abs(flat).argmax()]:g} pixels")
    corners = flat.reshape(-1, 2)
    length = np.abs(corners - np.roll(corners, 1, 0)).max(1).sum()
    if length > LONGEST:
        raise MaskError(f"a polygon's outline is {length:,.0f} pixels long, more than the {LONGEST:,} that are drawn")
    tools = _pycocotools()
    if tools is not None:
        return Mask.from_rle(tools.frPyObjects([flat.tolist()], *size)[0])
    u, v = _outline(flat)
    columns, rows = _crossings(u, v, size)
    if columns.size == 0:
        return Mask.from_array(np.zeros((0, 0), bool))
    left, top = int(columns.min()), int(rows.min())
    toggles = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), np.uint8)
    np.bitwise_xor.at(toggles, (rows - top, columns - left), 1)
    # A crossing at row H closes a run at the lower edge of the frame: the last line of `toggles`, never inside.
    inside = np.bitwise_xor.accumulate(toggles, axis=0)[: size[0] - top]
    return Mask.from_array(inside, (left, top))


@cache
def _pycocotools() -> Any:
    """Its compiled code, ten times faster, where it is installed; what follows is the same without it."""
    try:
        from pycocotools import mask
    except ImportError:
        return None
    return mask


def _outline(flat: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dense points (u, v) along the closed outline on the fine grid, edge after edge, both ends included."""
    x = (SCALE * flat[0::2] + 0.5).astype(np.int64)
    y = (SCALE * flat[1::2] + 0.5).astype(np.int64)
    xs, ys, xe, ye = x, y, np.roll(x, -1), np.roll(y, -1)
    dx, dy = np.abs(xe - xs), np.abs(ye - ys)
    wide = dx >= dy
    flip = np.where(wide, xs > xe, ys > ye)
    xs, xe = np.where(flip, xe, xs), np.where(flip, xs, xe)
    ys, ye = np.where(flip, ye, ys), np.where(flip, ys, ye)
    steps = np.maximum(dx, dy)
    slope = np.where(wide, ye - ys, xe - xs) / np.maximum(steps, 1)
    edge = np.repeat(np.arange(steps.size), steps + 1)
    t = np.arange(edge.size) - np.repeat(np.cumsum(steps + 1) - (steps + 1), steps + 1)
    t = np.where(flip[edge], steps[edge] - t, t)
    across = slope[edge] * t + 0.5
    u = np.where(wide[edge], t + xs[edge], (xs[edge] + across).astype(np.int64))
    v = np.where(wide[edge], (ys[edge] + across).astype(np.int64), t + ys[edge])
    return u, v


def _crossings(u: NDArray[np.int64], v: NDArray[np.int64], size: Size) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the outline crosses the centre of a pixel column: the column and the first row below the crossing."""
    moved = np.flatnonzero(u[1:] != u[:-1]) + 1
    column = (np.where(u[moved] < u[moved - 1], u[moved], u[moved] - 1) + 0.5) / SCALE - 0.5
    keep = (np.floor(column) == column) & (column >= 0) & (column <= size[1] - 1)
    row = (np.minimum(v[moved], v[moved - 1]) + 0.5) / SCALE - 0.5
    rows = np.ceil(np.clip(row[keep], 0, size[0])).astype(np.int64)
    return column[keep].astype(np.int64), rows


def decode(segmentation: Any, size: Size) -> Mask:
    """A mask from whatever COCO-like files hold: one polygon, several, or an RLE (string, bytes or list of counts).

    Raises:
        MaskError: malformed, or an RLE of another size than the image's (H, W).
    """
    if isinstance(segmentation, Mapping):
        mask = Mask.from_rle(segmentation)
        height, width = (int(n) for n in segmentation["size"])
        if (height, width) != tuple(size):
            raise MaskError(f"the RLE is of {width} x {height} pixels, the image {size[1]} x {size[0]}")
        return mask
    if not isinstance(segmentation, list | tuple) or not segmentation:
        raise MaskError(f"a mask is a polygon or an RLE, got {type(segmentation).__name__}: {str(segmentation)[:40]}")
    try:
        if isinstance(segmentation[0], list | tuple):
            return union(from_polygon(part, size) for part in segmentation)
        return from_polygon(segmentation, size)
    except MALFORMED as error:
        if isinstance(error, AmodalError):
            raise
        raise MaskError(f"a polygon is a flat list of numbers: {error}") from error


def read_lists(path: Path, bad: Callable[[Path, str, str], None], content: Any = None) -> dict[str, Any]:
    """The dictionary of a COCO-like file, its `images` and `annotations` lists of records with an id (1.0 is 1).

    Args:
        path: the file.
        bad: what is done about an entry that is no such record, which is left out: see `Dataset.bad`.
        content: of the file, where it is read already.

    Raises:
        DataError: not readable, or not such a dictionary.
    """
    content = read_json(path, DataError) if content is None else content
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise DataError(f"{path} needs the keys images and annotations, as in COCO")
    for part in ("images", "annotations"):
        if not isinstance(content[part], list | tuple):
            raise DataError(f"{path}: {part} must be a list, as in COCO")
        known = []
        for number, record in enumerate(content[part]):
            if isinstance(record, dict) and ("id" in record or "image_id" in record):
                for key in ("id", "image_id", "category_id"):
                    if isinstance(record.get(key), float) and (whole := number_of(record[key])) is not None:
                        record[key] = whole
                known.append(record)
            else:
                bad(path, f"entry {number} of {part}", "it is not a record with an id")
        content[part] = known
    return content


def by_id(records: Iterable[Mapping[str, Any]], path: Path, what: str) -> dict[Any, Mapping[str, Any]]:
    """Records by their id; a record that is written twice is one. Raises DataError for two different ones with one id."""
    table: dict[Any, Mapping[str, Any]] = {}
    for record in records:
        if not isinstance(record.get("id"), int | str):
            raise DataError(f"{path}: one of the {what} has no id that is a number or text")
        if table.setdefault(record["id"], record) != record:
            raise DataError(f"{path}: two {what} have the id {record['id']}")
    return table


def read_shape(shape: Any, size: Size) -> Mask:
    """As `decode`; also our own masks that may leave the frame, with their `origin`. Raises MaskError."""
    if isinstance(shape, Mapping) and "origin" in shape:
        try:
            return Mask.from_dict(dict(shape))
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, AmodalError):
                raise
            raise MaskError(f"the origin of a mask is [x, y] in whole pixels: {error}") from error
    return decode(shape, size)


def inside(root: Path, name: str, folder: str = ".") -> Path:
    """The file that a data file names, in a folder below `root`; names with backslashes, as Windows writes them, are found too.

    Raises:
        DataError: the name leads out of `root`: a data file from elsewhere must not name any file of this machine.
    """
    for form in (name, name.replace("\\", "/")):
        path = os.path.normpath(os.path.join(root, folder, form))  # noqa: PTH118  as text: nothing is asked of the disk
        if Path(os.path.relpath(path, root)).parts[:1] == (os.pardir,):
            raise DataError(f"the file name {name[:80]!r} leads out of {root}; give the folder that it starts from")
        if os.path.isfile(path) or form == name.replace("\\", "/"):  # noqa: PTH113  never raises
            break
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113  neither raises
        raise DataError(f"{name[:80]!r} is no file: folders, pipes and devices are not opened")
    return Path(path)


def find_image(root: Path, folders: Sequence[str], file_name: str) -> Path:
    """The image in the first of `folders` that has it, else its path in the first one (where it is missing).

    Raises:
        DataError: the name leads out of `root`.
    """
    candidates = [inside(root, file_name, folder) for folder in folders]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])  # noqa: PTH113  never raises


def first_file(files: Sequence[Path]) -> Path:
    """The first of these files that is there, else the first (whose absence is then reported)."""
    return next((file for file in files if file.is_file()), files[0])


@contextmanager
def guarded(what: str = "the annotation") -> Iterator[None]:
    """A malformed record that is read inside (a field absent, of a wrong type or out of range), told as DataError."""
    try:
        yield
    except MALFORMED as error:
        if isinstance(error, AmodalError):
            raise
        reason = f"the field {error} is absent" if isinstance(error, KeyError) else reason_of(error)
        raise DataError(f"{what} is malformed: {reason}") from error


def frame_of(image: Mapping[str, Any]) -> Size:
    """(H, W) that an image's record states. Raises DataError: they are of no picture that can be read."""
    height, width = number_of(image["height"]), number_of(image["width"])
    if height is None or width is None or height < 1 or width < 1 or height * width > MAX_PIXELS:
        stated = f"{str(image['width'])[:20]} x {str(image['height'])[:20]}"
        raise DataError(f"its image is {stated} by the file, which no picture can be")
    return height, width


def number_of(value: Any) -> int | None:
    """The whole number that a field holds, as 80, 80.0 or "80"; None for anything else."""
    if isinstance(value, str):
        return whole_number(value)
    return (
        int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1 else None
    )


def whole_number(text: str) -> int | None:
    """The number that a text is in plain digits, at most 18 of them; None for any other text."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None
