"""Writing views: single pictures, an animation or a film, and the cameras."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import OutputError
from ...core.files import check_targets, read_bytes, write_bytes, write_json
from ...core.image import encode_png
from .protocol import RelativeCamera

__all__ = ["planned_files", "save_orbit"]

RATE = 8
"""Pictures a second."""


def save_orbit(
    pictures: NDArray[np.uint8],
    cameras: Sequence[RelativeCamera],
    folder: str | os.PathLike[str],
    stem: str = "object",
    *,
    form: str = "png",
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the views and, last, `<stem>.views.json` with their cameras.

    Args:
        pictures: (N, S, S, 3) uint8 RGB.
        cameras: one per picture.
        folder: where.
        stem: of the file names.
        form: "png" for `<stem>.view00.png` ..., "gif" or "mp4" for one file `<stem>.views.gif` or `.mp4`.
        record: JSON-ready, what made the views; goes into the JSON.
        overwrite: replace files that exist.

    Returns:
        the files, the JSON last.

    Raises:
        OutputError: a file exists and may not be replaced, or films cannot be written here.
    """
    *paths, table = planned_files(folder, stem, len(pictures), form, overwrite)
    if form == "png":
        for path, picture in zip(paths, pictures, strict=True):
            write_bytes(path, encode_png(picture))
    else:
        write_bytes(paths[0], gif(pictures) if form == "gif" else mp4(pictures))
    files = paths if form == "png" else paths * len(cameras)
    rows = [{**camera.to_dict(), "file": path.name} for camera, path in zip(cameras, files, strict=True)]
    units = "elevation and azimuth in degrees, radius in the object's longest side; all relative to the input's camera"
    write_json(table, {"cameras": rows, "units": units, **dict(record or {})})
    return [*paths, table]


def planned_files(
    folder: str | os.PathLike[str], stem: str, count: int, form: str, overwrite: bool = False
) -> list[Path]:
    """The files that `save_orbit` will write for `count` views, the JSON last; to be asked before long work.

    Raises:
        OutputError: one exists and may not be replaced.
    """
    root = Path(folder)
    names = [f"view{number:02d}.png" for number in range(count)] if form == "png" else [f"views.{form}"]
    paths = [root / f"{stem}.{name}" for name in (*names, "views.json")]
    check_targets(paths, overwrite)
    return paths


def gif(pictures: NDArray[np.uint8]) -> bytes:
    """An endless animation."""
    from PIL import Image as PILImage

    frames = [PILImage.fromarray(picture) for picture in pictures]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=1000 // RATE, loop=0)
    return buffer.getvalue()


def mp4(pictures: NDArray[np.uint8]) -> bytes:
    """A film, by OpenCV. Raises OutputError where it was built without an encoder."""
    import cv2

    height, width = pictures.shape[1:3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        writer = cv2.VideoWriter(str(path), int.from_bytes(b"mp4v", "little"), RATE, (width, height))
        if not writer.isOpened():
            raise OutputError("OpenCV cannot write films here; choose gif or png")
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
        writer.release()
        return read_bytes(path)
