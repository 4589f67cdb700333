"""Reconstruction of occluded scans: the visible part alone, the completed object, the whole one (tables 3 and 4's protocol)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.measure import Skip

OBJECTS = 4
SIZE = 96


def run() -> dict[str, Any]:
    """The means per input for the lifter without weights and the default method; every 13th of the objects."""
    shared = Path(os.environ.get("AMODAL_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    files = sorted((shared / "objects").glob("*.glb"))[::13][:OBJECTS]
    if len(files) < 2:
        raise Skip(f"the development data is not at {shared} (set AMODAL_SHARED_DATA)")
    from amodal import load
    from amodal.downstream.evaluate_3d import evaluate_reconstruction, occluded_views
    from amodal.downstream.reconstruct import create_lifter

    views = occluded_views(files, size=SIZE)
    model = load()
    lifter = create_lifter("inflate", {"resolution": 48})
    report = evaluate_reconstruction(views, lifter, model, novel=4)
    return {
        "objects": [file.stem for file in files],
        "views": len(views),
        "size": SIZE,
        "lifter": lifter.provenance(),
        "method": model.method.name,
        "table": report.table(),
        "failures": report.failures,
    }
