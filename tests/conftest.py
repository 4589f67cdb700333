"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("AMODAL_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs and annotations beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the development data is not at {SHARED} (set AMODAL_SHARED_DATA)")
    return SHARED


@pytest.fixture
def photo() -> np.ndarray:
    """A small picture with an orange disc, partly behind a grey bar, on a blue-green gradient: (96, 128, 3) uint8."""
    rows, columns = np.indices((96, 128))
    image = np.stack([columns, rows + 60, 160 - rows], axis=-1).clip(0, 255).astype(np.uint8)
    disc = (rows - 48) ** 2 + (columns - 60) ** 2 < 30**2
    image[disc] = (230, 120, 20)
    image[:, 66:82] = 128
    return image


@pytest.fixture
def disc_visible() -> np.ndarray:
    """The visible part of the photo's disc: (96, 128) bool, two pieces."""
    rows, columns = np.indices((96, 128))
    disc = (rows - 48) ** 2 + (columns - 60) ** 2 < 30**2
    disc[:, 66:82] = False
    return disc


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("sd15")` is the folder of a tiny diffusion model of that family; see `tiny_diffusion.FAMILIES`."""
    pytest.importorskip("diffusers")
    from tiny_diffusion import build

    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = build(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder
