"""The contact sheet of a data set: photos with visible and amodal masks in one HTML file."""

from __future__ import annotations

import random
from html import escape

from ..data import Dataset, Sample
from ..drawing import canvas
from ..errors import AmodalError, UsageError
from ..mask import bounding_box
from .html import document, jpeg, outlined

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
    chosen = ids[:count]
    body = [
        f"<p>{len(chosen)} of {len(data)} objects, {escape(order)}. Photo, visible mask (blue), amodal mask (green).</p>"
    ]
    for name in chosen:
        try:
            body.append(_figure(data.by_ids([name])[name]))
        except AmodalError as error:
            body.append(f"<p>{escape(name)}: {escape(str(error))}</p>")
    title = f"{data.name} {data.split or ''}".strip()
    return document(title, body)


def _figure(sample: Sample) -> str:
    import numpy as np

    image = sample.image
    x0, y0, x1, y1 = bounding_box((sample.amodal.box, sample.visible.box))
    margin = max(8, (x1 - x0 + y1 - y0) // 10)
    box = (x0 - margin, y0 - margin, x1 + margin, y1 + margin)
    views = [
        canvas(image, box, 255),
        outlined(image, sample.visible, (40, 100, 230), box),
        outlined(image, sample.amodal, (30, 150, 70), box),
    ]
    words = [sample.id, sample.category or "", f"{sample.occlusion_rate:.0%} occluded", "stuff" if sample.stuff else ""]
    text = ", ".join(word for word in words if word)
    strip = np.concatenate(views, axis=1)
    return (
        f'<figure><img src="{jpeg(strip, 540)}" alt="{escape(text)}"><figcaption>{escape(text)}</figcaption></figure>'
    )
