"""The honest baselines without weights: `visible` (nothing is occluded) and `hull` (the convex hull of the visible mask)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..core.image import Image
from ..core.regions import convex_hull
from ..plugins.protocols import Context, Method, Prediction, Request

__all__ = ["Hull", "Visible"]


class Visible(Method):
    """The visible mask as it is."""

    name: ClassVar[str] = "visible"
    summary: ClassVar[str] = "the visible mask taken as the whole object; the lower baseline"
    license: ClassVar[str] = "Apache-2.0"
    draws: ClassVar[bool] = False

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        context.progress("object", len(requests), len(requests))
        return [[Prediction(request.visible)] for request in requests]


class Hull(Method):
    """The convex hull over all parts of the visible mask."""

    name: ClassVar[str] = "hull"
    summary: ClassVar[str] = "the convex hull of the visible mask; the geometric baseline"
    license: ClassVar[str] = "Apache-2.0"
    draws: ClassVar[bool] = False

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        predictions = []
        for done, request in enumerate(requests, 1):
            predictions.append([Prediction(convex_hull(request.visible))])
            context.progress("object", done, len(requests))
        return predictions
