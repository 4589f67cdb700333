"""The small data set that runs, predictions and reports are tested on."""

from pathlib import Path

import pytest

import amodal
from disc_sets import make_discs


@pytest.fixture
def data(tmp_path: Path) -> amodal.Dataset:
    return amodal.dataset("folder", make_discs(tmp_path / "set"))
