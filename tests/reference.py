"""pycocotools and scikit-image, the references for masks, COCO's files and distances, imported where a test first uses them.

So the other tests of a module run without them, as they must where only the light package is installed.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["COCO", "COCOeval", "coco_mask", "find_boundaries", "hausdorff_distance"]


class Later:
    """A module that is imported at the first use; the test that uses it is skipped where the module is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(pytest.importorskip(self._name), attribute)


coco_mask = Later("pycocotools.mask")


def COCO(*given: Any) -> Any:
    """`pycocotools.coco.COCO`."""
    return pytest.importorskip("pycocotools.coco").COCO(*given)


def COCOeval(*given: Any) -> Any:
    """`pycocotools.cocoeval.COCOeval`."""
    return pytest.importorskip("pycocotools.cocoeval").COCOeval(*given)


def find_boundaries(*given: Any, **named: Any) -> Any:
    """`skimage.segmentation.find_boundaries`."""
    return pytest.importorskip("skimage.segmentation").find_boundaries(*given, **named)


def hausdorff_distance(*given: Any, **named: Any) -> Any:
    """`skimage.metrics.hausdorff_distance`."""
    return pytest.importorskip("skimage.metrics").hausdorff_distance(*given, **named)
