"""The contact sheet of a data set: photos with visible and amodal masks in one HTML file."""

from __future__ import annotations

import random
from html import escape

from ..core.errors import UsageError
from ..data import Dataset, Sample
from .html import TRUE, VISIBLE, document, strip

__all__ = ["ORDERS", "contact_sheet"]

ORDERS = ("random", "first", "occluded")


def contact_sheet(
    data: Dataset, count: int = 48, order: str = "random", seed: int = 0, limit: int | None = None
) -> str:
    """An HTML page that needs nothing from outside.

    Args:
        data: the data set.
        count: how many objects to show.
        order: "random" (by seed), "first", or "occluded" (the most occluded first; decodes all masks).
        seed: of the random choice.
        limit: choose among the first objects only.

    Raises:
        UsageError: an unknown order.
    """
    if order not in ORDERS:
        raise UsageError(f"the order is one of {', '.join(ORDERS)}, got {order!r}")
    ids = data.ids()[:limit]
    if order == "random":
        ids = sorted(random.Random(seed).sample(ids, min(count, len(ids))), key=ids.index)
    elif order == "occluded":
        rates = {sample.id: sample.occlusion_rate for scene in data.scenes(limit) for sample in scene}
        ids = sorted(rates, key=lambda name: (-rates[name], name))
    chosen = [sample for name in ids[:count] for sample in data.by_ids([name]).values()]
    body = [
        f"<p>{len(chosen)} of {len(data)} objects, {escape(order)}. Photo, visible mask (blue), amodal mask (green).</p>"
    ]
    body += map(_figure, chosen)
    title = f"{data.name} {data.split or ''}".strip()
    return document(title, body)


def _figure(sample: Sample) -> str:
    text = f"{sample.occlusion_rate:.0%} occluded{', stuff' if sample.stuff else ''}"
    return strip(sample, [(sample.visible, VISIBLE), (sample.amodal, TRUE)], text, 540)
