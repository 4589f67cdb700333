"""Reconstruction and novel views of occluded scans: the rows of tables 3 and 4 with what runs without weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.measure import Skip

OBJECTS = 30
SIZE = 256
"""As the paper's."""
FOLDER = Path("build/benchmarks/reconstruct")
"""Where the run lies until it is whole: a killed one goes on."""


def run() -> dict[str, Any]:
    """The table of `amodal reconstruct --evaluate` for the default method and `inflate`, of a few random objects."""
    data = Path(os.environ.get("AMODAL_DATA", Path(__file__).parents[1] / "data"))
    if not (data / "objects").is_dir():
        raise Skip(f"the development sets are not at {data} (set AMODAL_DATA)")
    from amodal import load
    from amodal.downstream.reconstruction.evaluate_3d import Evaluation, evaluate_reconstruction
    from amodal.downstream.reconstruction.reconstruct import create_lifter

    how = Evaluation(create_lifter("inflate"), load(), size=SIZE)
    content = evaluate_reconstruction(data / "objects", how, FOLDER, count=OBJECTS)
    shutil.rmtree(FOLDER)
    return {name: value for name, value in content.items() if name != "rows"}
