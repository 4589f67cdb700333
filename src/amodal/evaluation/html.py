"""The HTML page of a report: tables, charts and pictures in one file that needs nothing from outside.

Written without Jinja2: a template language would be one more package in the core, for pages of a few parts.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.drawing import canvas
from ..core.errors import AmodalError
from ..core.image import Image, encode_jpeg
from ..core.mask import Mask, bounding_box
from .charts import curves, histogram
from .metrics import BINS
from .rows import ScoredObject
from .tables import method_name, percent, published_rows

if TYPE_CHECKING:
    from ..data import Sample
    from .report import Report

__all__ = ["document", "jpeg", "outlined", "page", "strip", "table"]

STYLE = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:left}
th{background:#f4f4f4}th.n,td.n{text-align:right;font-variant-numeric:tabular-nums}.note{color:#666;font-size:12px}
figure{display:inline-block;margin:.4rem;vertical-align:top}figcaption{font-size:12px;color:#444;max-width:34rem}
img{max-width:100%;border:1px solid #ccc}summary{cursor:pointer;font-weight:600}
"""
VISIBLE, PREDICTED, TRUE = (40, 100, 230), (240, 130, 20), (30, 150, 70)
"""Colours of masks."""
CASES = 6
"""Pictures of each kind: best, worst, random."""


def document(title: str, body: Sequence[str]) -> str:
    """A whole HTML page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
        f"<h1>{escape(title)}</h1>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; cells that look like numbers are set right, and so are the heads of columns that begin with one."""
    numbers = [cell[:1].isdigit() for cell in rows[0]] if rows else [False] * len(head)
    heads = (f"<th{' class=n' if right else ''}>{escape(cell)}</th>" for cell, right in zip(head, numbers, strict=True))
    parts = ["<table><tr>", *heads, "</tr>"]
    for row in rows:
        cells = (f"<td{' class=n' if cell[:1].isdigit() else ''}>{escape(cell)}</td>" for cell in row)
        parts.append(f"<tr>{''.join(cells)}</tr>")
    return "".join([*parts, "</table>"])


def jpeg(image: Image, width: int = 360) -> str:
    """The picture as a data address, at most `width` pixels wide."""
    import cv2

    if image.shape[1] > width:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, 82)).decode()


def outlined(image: Image, mask: Mask, colour: tuple[int, int, int], box: tuple[int, int, int, int]) -> Image:
    """The photo on `box` (x0, y0, x1, y1) with a mask tinted and its outline drawn."""
    import cv2

    picture = canvas(image, box, 255).copy()
    bits = mask.crop(box)
    picture[bits] = (0.6 * picture[bits] + 0.4 * np.array(colour)).astype(np.uint8)
    contours, _ = cv2.findContours(bits.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(max(picture.shape[:2]) / 200))
    out: Image = cv2.drawContours(picture, contours, -1, colour, width)
    return out


def strip(sample: Sample, shown: Sequence[tuple[Mask, tuple[int, int, int]]], text: str, width: int) -> str:
    """An object's photo, and again with each mask in its colour, side by side; says so if the photo cannot be read.

    Args:
        sample: the object.
        shown: masks with their colours; the picture is cut to hold all of them.
        text: what is written below, after the object's name and category.
        width: of the whole, in pixels.
    """
    text = f"{sample.id}{': ' + sample.category if sample.category else ''}, {text}"
    try:
        image = sample.image
    except AmodalError as error:
        return f"<p>{escape(sample.id)}: {escape(str(error))}</p>"
    x0, y0, x1, y1 = bounding_box([mask.box for mask, _ in shown])
    margin = max(8, (x1 - x0 + y1 - y0) // 10)
    box = (x0 - margin, y0 - margin, x1 + margin, y1 + margin)
    views = [canvas(image, box, 255), *(outlined(image, mask, colour, box) for mask, colour in shown)]
    picture = jpeg(np.concatenate(views, axis=1), width)
    return f'<figure><img src="{picture}" alt="{escape(text)}"><figcaption>{escape(text)}</figcaption></figure>'


def page(report: Report) -> str:
    """The report as one HTML file."""
    content = report.content
    name = method_name(content["settings"])
    data = content["settings"].get("data", {})
    title = f"{name} on {data.get('name')}{' ' + data['split'] if data.get('split') else ''}"
    body = [
        f"<p>{content['objects']} objects in {content['images']} images, {content['occluded_objects']} occluded, "
        f"{content['failures']} failed. Protocol: {escape(str(content['settings'].get('protocol')))}. In per cent, with "
        "95 % bootstrap intervals over images. A failed object counts as an empty mask.</p>",
        *_tables(content, name),
        *_charts(report, name),
        *_pictures(report),
        *_details(content),
    ]
    return document(title, body)


def _tables(content: Mapping[str, Any], name: str) -> list[str]:
    rows = []
    for metric, entry in content["metrics"].items():
        cells = [percent(entry[who], bounds=True) for who in ("method", "visible", "hull")]
        rows.append([metric, *cells, str(entry["method"]["objects"]), entry["protocol"]])
    extra = [
        [
            "calibration_error",
            percent(content["calibration_error"], bounds=True),
            "of probability, over not visible pixels",
        ],
        [
            "prompt_iou",
            percent(content["prompt_iou"], bounds=True),
            "the visible mask that the method got, against the truth",
        ],
    ]
    if content["best_of"]:
        name_of_best = f"best of {content['best_of']['k']}"
        for key, what in (("iou", "mean IoU"), ("iou_pooled", "pooled IoU of each object's best sample")):
            extra.append([name_of_best, percent(content["best_of"][key], bounds=True), what])
    if content["order"]:
        order = content["order"]
        extra.append(
            [
                "order accuracy",
                "-" if order["accuracy"] is None else f"{100 * order['accuracy']:.1f}",
                f"of {order['pairs']} pairs in which one hides the other; {100 * order['accuracy_all']:.1f} of all "
                f"{order['pairs_all']} pairs; {order['of']}",
            ]
        )
    precision = [
        [
            label,
            percent({"value": entry["ap"], "low": entry["ap_low"], "high": entry["ap_high"]}, bounds=True),
            *("-" if entry[key] is None else f"{100 * entry[key]:.1f}" for key in ("ap50", "ap75", "ar")),
        ]
        for label, entry in content["average_precision"].items()
    ]
    parts = [
        "<h2>Metrics</h2>",
        table(["metric", name, "visible", "hull", "objects", "protocol of the column"], rows),
        table(["also", "value", "what"], extra),
        "<h2>Average precision</h2>",
        table(["occlusion", "AP", "AP50", "AP75", "AR"], precision),
        '<p class="note">COCO, class-agnostic, over the amodal masks; bins of amodalAPI: none, up to 25 %, above.</p>',
    ]
    if content["published"]:
        head, *published = published_rows(content)
        parts += ["<h2>Published</h2>", table(head, published)]
        parts.append('<p class="note">As published; only numbers of one protocol compare.</p>')
    if content.get("not_compared"):
        parts.append(f'<p class="note">{escape(content["not_compared"])}.</p>')
    return parts


def _charts(report: Report, name: str) -> list[str]:
    from .report import ious_of

    labels = [label for label in BINS if label != "<50"]
    parts = ["<h2>Over occlusion</h2>"]
    for metric, words in (("iou", "IoU"), ("iou_occluded_defined", "IoU of the occluded region")):
        series = {}
        for who, shown in (("method", name), ("visible", "visible"), ("hull", "hull")):
            entries = [report.content["bins"][label][metric][who] for label in labels]
            series[shown] = [None if e["value"] is None else (e["value"], e["low"], e["high"]) for e in entries]
        if len(set(series)) < 3:
            series = {f"{name} (method)": series[name], **{k: v for k, v in series.items() if k != name}}
        axis = [f"{label} % ({report.content['bins'][label]['objects']})" for label in labels]
        parts.append(
            f"<figure>{curves(words, axis, series)}<figcaption>{words}, mean by share occluded</figcaption></figure>"
        )
    chart = histogram("IoU of all objects", ious_of(report.rows))
    parts.append(f"<figure>{chart}<figcaption>IoU of all objects of {escape(name)}</figcaption></figure>")
    return parts


def _pictures(report: Report) -> list[str]:
    """Best, worst and random cases: photo, visible, prediction, truth."""
    if report.data is None:
        return []
    scored = [row for row in report.rows if row.iou is not None]
    occluded = [row for row in scored if row.occlusion > 0.05] or scored
    ranked = sorted(occluded, key=lambda row: (row.iou or 0.0, row.id))
    groups = {
        "Worst": ranked[:CASES],
        "Best": ranked[::-1][:CASES],
        "Random": random.Random(0).sample(ranked, min(CASES, len(ranked))),
    }
    samples = report.data.by_ids({row.id for rows in groups.values() for row in rows})
    parts = [
        "<h2>Cases</h2>",
        '<p class="note">Occluded objects: photo, visible (blue), prediction (orange), truth (green).</p>',
    ]
    for kind, rows in groups.items():
        parts.append(f"<details open><summary>{kind}</summary>")
        parts += [_case(samples[row.id], row) for row in rows if row.id in samples]
        parts.append("</details>")
    return parts


def _case(sample: Sample, row: ScoredObject) -> str:
    shown = [(sample.visible, VISIBLE), (row.amodal, PREDICTED), (sample.amodal, TRUE)]
    return strip(sample, shown, f"{sample.occlusion_rate:.0%} occluded, IoU {row.iou:.3f}", 760)


def _details(content: Mapping[str, Any]) -> list[str]:
    import json

    parts = []
    if content["failed"]:
        parts += [
            "<h2>Failed</h2>",
            table(["object", "error"], [[row["id"], row["error"]] for row in content["failed"]]),
        ]
    if content["skipped"]:
        parts += ["<h2>Skipped</h2>", table(["bad entry"], [[text] for text in content["skipped"]])]
    if content["notes"]:
        parts += ["<h2>Notes</h2>", table(["of the data set"], [[text] for text in content["notes"]])]
    settings = escape(json.dumps(content["settings"], indent=1))
    return [*parts, f"<details><summary>Settings and versions</summary><pre>{settings}</pre></details>"]
