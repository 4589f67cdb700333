"""How far batches agree: the same objects completed by different methods or settings, without any truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.mask import Mask
from ..data.annotations import guarded, read_shape
from ..engine.output import read_records
from .predictions import batch_shards
from .tables import apart, table

__all__ = ["agreement", "agreement_text"]

LISTED = 10
"""Objects that are named because the batches agree least on them."""


def agreement(folders: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """Batches compared with the first one, over the objects that all of them completed.

    Args:
        folders: of two or more batches of the same photos, or shards of them.

    Returns:
        JSON-ready: `objects` in common, `left_out` of each batch, and for each batch its mean `occlusion` rate and, of the amodal
        masks, the mean `iou` with the first batch's and the number of `equal` ones; `least`: the objects with the lowest IoU.

    Raises:
        DataError: fewer than two batches, a damaged one, or no object in common.
    """
    if len(folders) < 2:
        raise DataError("a comparison needs at least two batches")
    paths = [Path(folder) for folder in folders]
    runs = [_completed(path) for path in paths]
    common = sorted(set.intersection(*map(set, runs)))
    if not common:
        raise DataError(f"{paths[0]} and {paths[1]} have no completed object in common; are they of the same photos?")
    rows = []
    least: list[tuple[float, str, str]] = []
    for path, title, run in zip(paths, apart(paths), runs, strict=True):
        overlaps, occlusion = list[float](), list[float]()
        for name in common:
            with guarded(f"the record {name} of {path}"):
                overlaps.append(_mask(runs[0][name]).iou(_mask(run[name])))
                occlusion.append(float(run[name]["occlusion_rate"]))
        means = {"occlusion": sum(occlusion) / len(common), "iou": sum(overlaps) / len(common)}
        rows.append({"folder": title, **means, "equal": overlaps.count(1.0), "left_out": len(run) - len(common)})
        least += [(value, name, title) for value, name in zip(overlaps, common, strict=True) if value < 1]
    lowest = [{"id": name, "folder": folder, "iou": value} for value, name, folder in sorted(least)[:LISTED]]
    return {"format": "amodal/agreement/1", "objects": len(common), "runs": rows, "least": lowest}


def _completed(path: Path) -> dict[str, Mapping[str, Any]]:
    """The records of a batch by id, without those that failed."""
    records = (record for shard in batch_shards(path) for record in read_records(shard))
    return {str(record.get("id")): record for record in records if record.get("status") == "done"}


def _mask(record: Mapping[str, Any]) -> Mask:
    return read_shape(record.get("beyond_frame") or record["amodal"], (record["height"], record["width"]))


def agreement_text(content: Mapping[str, Any]) -> str:
    """The comparison as a table, in per cent."""
    first = content["runs"][0]["folder"]
    rows = [["batch", "mean occlusion", f"mean IoU with {first}", "equal", "left out"]]
    for run in content["runs"]:
        shares = [f"{100 * run['occlusion']:.1f}", f"{100 * run['iou']:.1f}"]
        rows.append([run["folder"], *shares, str(run["equal"]), str(run["left_out"])])
    least = [f"  {each['iou']:.3f}  {each['id']} ({each['folder']})" for each in content["least"]]
    tail = ["", "least alike:", *least] if least else []
    return "\n".join([f"{content['objects']} objects completed by all", "", table(rows), *tail])
