"""PNG files, written fast: rows as differences to the row above, packed by igzip where it is installed, else by zlib.

igzip is made for speed where zlib is made for size; `python -m benchmarks resolution` measures what saving costs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError

__all__ = ["encode_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = {1: 0, 3: 2, 4: 6}
"""Channels to PNG's colour type: grey, RGB, RGBA."""
UP = 2
"""PNG's number of the filter that takes each byte's difference to the one above."""


def encode_png(array: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of (H, W) bool or uint8, (H, W, 3) RGB or (H, W, 4) RGBA, which say that they are sRGB; bool becomes 0 and 255.

    Raises:
        ImageError: of another shape or kind, or without a pixel.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in COLOURS or not array.size or array.dtype not in (np.uint8, bool):
        raise ImageError(f"cannot encode an array of shape {array.shape} and type {array.dtype} as PNG")
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 8, COLOURS[channels], 0, 0, 0)
    colours = [(b"sRGB", b"\0")] if array.ndim == 3 else []  # perceptual intent
    chunks = [(b"IHDR", header), *colours, (b"IDAT", _packer()(filtered(array))), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def filtered(array: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What a PNG packs: (H, 1 + bytes of a row) uint8, each row its difference to the one above, after the filter's number."""
    values = array.view(np.uint8) * np.uint8(255) if array.dtype == bool else array
    rows = np.ascontiguousarray(values).reshape(len(values), -1)
    lines = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = UP
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    return lines


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


@cache
def _packer() -> Callable[[NDArray[np.uint8]], bytes]:
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this processor
        return lambda lines: zlib.compress(lines.data, 1)
    return lambda lines: bytes(isal_zlib.compress(lines.data, 1))
