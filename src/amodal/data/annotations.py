"""What COCO-like annotation files share: polygons rasterised as pycocotools does, RLEs, lists joined by id, images looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import AmodalError, DataError, MaskError
from ..files import read_json
from ..mask import Mask, Size, union

__all__ = ["by_id", "decode", "find_image", "first_file", "from_polygon", "guarded", "read_lists"]

T = TypeVar("T")
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
    except (TypeError, ValueError) as error:
        if isinstance(error, AmodalError):
            raise
        raise MaskError(f"a polygon is a flat list of numbers: {error}") from error


def read_lists(path: Path, content: Any = None) -> dict[str, Any]:
    """The dictionary of a COCO-like file, its `images` and `annotations` checked to be lists of records with an id.

    Raises:
        DataError: not readable, not such a dictionary, or a record without an id.
    """
    content = read_json(path, DataError) if content is None else content
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise DataError(f"{path} needs the keys images and annotations, as in COCO")
    for part in ("images", "annotations"):
        for number, record in enumerate(content[part]):
            if not isinstance(record, dict) or ("id" not in record and "image_id" not in record):
                raise DataError(f"{path}: entry {number} of {part} is not a record with an id")
    return content


def by_id(records: Iterable[Mapping[str, Any]], path: Path, what: str) -> dict[Any, Mapping[str, Any]]:
    """Records by their id; a record that is written twice is one. Raises DataError for two different ones with one id."""
    table: dict[Any, Mapping[str, Any]] = {}
    for record in records:
        if "id" not in record:
            raise DataError(f"{path}: one of the {what} has no id")
        if table.setdefault(record["id"], record) != record:
            raise DataError(f"{path}: two {what} have the id {record['id']}")
    return table


def find_image(root: Path, folders: Sequence[str], file_name: str) -> Path:
    """The image in the first of `folders` that has it, else its path in the first one (where it is missing)."""
    candidates = [root / folder / file_name for folder in folders]
    return next((path for path in candidates if path.is_file()), candidates[0])


def first_file(files: Sequence[Path]) -> Path:
    """The first of these files that is there, else the first (whose absence is then reported)."""
    return next((file for file in files if file.is_file()), files[0])


def guarded(load: Callable[[], T]) -> Callable[[], T]:
    """`load`, with a malformed record (a field absent or of a wrong type) told as DataError."""

    def safe() -> T:
        try:
            return load()
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            if isinstance(error, AmodalError):
                raise
            what = f"the field {error} is absent" if isinstance(error, KeyError) else str(error)
            raise DataError(f"the annotation is malformed: {what}") from error

    return safe
