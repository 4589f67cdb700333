"""Rows: what is kept of every evaluated object, and the file they are appended to, which survives a kill exactly."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..completion import Completion
from ..data import Sample
from ..errors import DataError, OutputError
from ..files import read_json, write_json
from ..mask import Mask, Size, bounding_box
from ..methods.baselines import convex_hull
from .metrics import best_of, boundary_f, calibration_bins, count

__all__ = ["BASELINES", "RowFile", "make_row", "predicted_mask", "within"]

BASELINES = ("visible", "hull")
"""Printed beside every method: the true visible mask as it is, and its convex hull."""


def within(mask: Mask, size: Size) -> Mask:
    """The part of a mask inside a frame (H, W); the mask itself if all of it is."""
    x0, y0, x1, y1 = mask.box
    box = (max(x0, 0), max(y0, 0), min(x1, size[1]), min(y1, size[0]))
    if box == mask.box:
        return mask
    if box[0] >= box[2] or box[1] >= box[3]:
        return Mask.from_array(np.zeros((0, 0), bool))
    return Mask.from_array(mask.crop(box), box[:2])


def make_row(
    sample: Sample, predicted: Mask, scene: Sequence[Sample], *, score: float | None = None, **more: Any
) -> dict[str, Any]:
    """One object's row, JSON-ready.

    Args:
        sample: the object with its truth.
        predicted: the amodal mask that is scored; cut at the frame unless the truth goes beyond it.
        scene: all objects of the picture; the prediction's overlaps with them make average precision possible.
        score: of the prediction, for ranking.
        more: further fields.
    """
    scored = {"method": predicted, "visible": sample.visible}
    scored["hull"] = convex_hull(sample.visible) if sample.visible else sample.visible
    if not sample.beyond_frame:
        scored = {name: within(mask, sample.size) for name, mask in scored.items()}
    diagonal = float(np.hypot(*sample.size))
    overlaps = [(other.id, scored["method"].iou(other.amodal)) for other in scene]
    counts = {name: list(count(mask, sample.amodal, sample.visible)) for name, mask in scored.items()}
    both, either, hidden_both, hidden_either = counts["method"][:4]
    return {
        "id": sample.id,
        "image": sample.image_id,
        "category": sample.category,
        "kind": sample.extra.get("kind"),
        "occlusion": round(sample.occlusion_rate, 6),
        "iou": both / either if either else None,
        "iou_occluded": hidden_both / hidden_either if hidden_either else None,
        "counts": counts,
        "boundary_f": {name: boundary_f(mask, sample.amodal, diagonal=diagonal) for name, mask in scored.items()},
        "overlaps": [[name, round(value, 6)] for name, value in overlaps if value >= 0.5],
        "score": score,
        "mask": scored["method"].to_dict(),
        "error": None,
        **more,
    }


def completion_fields(sample: Sample, completion: Completion) -> dict[str, Any]:
    """What a `Completion` tells beside its mask: calibration, the best of its samples, how well the prompt was segmented."""
    samples = [item.amodal for item in completion.samples]
    if not sample.beyond_frame:
        samples = [within(mask, sample.size) for mask in samples]
    return {
        "score": completion.score,
        "calibration": np.round(_calibration(sample, completion), 3).tolist(),
        "best_of": {"k": len(samples), "iou": best_of(samples, sample.amodal)} if len(samples) > 1 else None,
        "visible_iou": completion.visible.iou(sample.visible),
    }


def _calibration(sample: Sample, completion: Completion) -> Any:
    """Calibration bins over the pixels that are not visible and that the method or the truth gives to the object."""
    soft = completion.probability
    box = bounding_box((soft.box, sample.amodal.box))
    if not sample.beyond_frame:
        box = (max(box[0], 0), max(box[1], 0), min(box[2], sample.size[1]), min(box[3], sample.size[0]))
    values, truth = soft.crop(box), sample.amodal.crop(box)
    counted = ((values > 0) | truth) & ~sample.visible.crop(box)
    return calibration_bins(values[counted], truth[counted])


def predicted_mask(row: Mapping[str, Any]) -> Mask:
    """The scored mask of a row."""
    return Mask.from_dict(row["mask"])


class RowFile:
    """`run.json` (what was run) and `rows.jsonl` (one row a line) of a run's folder; opened again, it goes on where it stopped.

    Args:
        folder: the run's folder; None keeps the rows in memory.
        settings: JSON-ready; everything that the rows depend on.
        resume: go on with an earlier run of the same settings.
        overwrite: replace an earlier run.

    Raises:
        OutputError: the folder holds a run already (and neither flag is given), or one with other settings.
    """

    def __init__(
        self, folder: Path | None, settings: dict[str, Any], *, resume: bool = False, overwrite: bool = False
    ) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.rows: list[dict[str, Any]] = []
        self.done: set[str] = set()
        """Ids that have a row."""
        self._file: Any = None
        if folder is None:
            return
        rows, run = folder / "rows.jsonl", folder / "run.json"
        if run.exists() and not resume and not overwrite:
            raise OutputError(f"{folder} holds a run already; add --resume to go on with it, or --force to replace it")
        if run.exists() and resume:
            self._check(read_json(run, DataError))
            self.rows = list(read_rows(rows)) if rows.exists() else []
        else:
            rows.unlink(missing_ok=True)
            write_json(run, self.settings)
        self.done = {row["id"] for row in self.rows}
        self._file = open_at_line(rows, len(self.rows))

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; when this returns, killing the process loses nothing."""
        self.rows.append(row)
        self.done.add(row["id"])
        if self._file is not None:
            self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._file.flush()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()

    def _check(self, earlier: dict[str, Any]) -> None:
        changed = [
            key for key in {*earlier, *self.settings} - {"versions"} if earlier.get(key) != self.settings.get(key)
        ]
        if changed:
            key = sorted(changed)[0]
            raise OutputError(
                f"{self.folder} was run with other settings ({key}: {json.dumps(earlier.get(key))}, now "
                f"{json.dumps(self.settings.get(key))}); use the same ones, another folder with -o, or --force"
            )


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The whole rows of a file; what a kill cut short at its end is left out.

    Raises:
        DataError: the file is absent or a line before the end is not a row.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; is {path.parent} the folder of a run?") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}: line {number} is not a row: {error}") from error
        if not isinstance(row, dict) or "id" not in row or "counts" not in row:
            raise DataError(f"{path}: line {number} is not a row of amodal evaluate")
        yield row


def open_at_line(path: Path, lines: int) -> Any:
    """The file opened for appending after its first `lines` lines; the rest is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b")
    file.seek(0)
    for _ in range(lines):
        file.readline()
    file.truncate(file.tell())
    file.seek(0, os.SEEK_END)
    return file
