"""Pictures that compare methods: photo, visible mask, every method, truth, side by side; as a page and as one picture."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..core.drawing import canvas
from ..core.errors import AmodalError, DataError
from ..core.image import Image
from ..core.mask import Box, bounding_box
from ..data import Dataset, Sample
from .html import PREDICTED, TRUE, VISIBLE, document, jpeg, outlined
from .html import table as html_table
from .matrix import Run, labels_of, matrix_rows
from .metrics import OCCLUDED
from .rows import ScoredObject

__all__ = ["Case", "choose_cases", "compare_page", "compare_picture"]

COLOURS = {"visible": VISIBLE, "method": PREDICTED, "truth": TRUE}
KINDS = {
    "best": "Best: the highest mean IoU of all methods",
    "worst": "Worst: the lowest mean IoU of all methods",
    "different": "Most different: the largest distance between the best and the worst method",
    "random": "Random",
}
TILE, LINE, GAP = 200, 18, 4
"""Side of a panel, height of a line of text and the space between panels, in pixels."""


@dataclass(frozen=True)
class Case:
    """One object with what each method made of it.

    Attributes:
        kind: of `KINDS`.
        sample: the object with its photo and truth.
        labels: names of the methods.
        rows: the object's row of each method.
    """

    kind: str
    sample: Sample
    labels: tuple[str, ...]
    rows: tuple[ScoredObject, ...]

    @property
    def text(self) -> str:
        """The object in words."""
        words = [self.sample.id, (self.sample.category or "").strip(), f"{self.sample.occlusion_rate:.0%} occluded"]
        return ", ".join(word for word in words if word)

    def panels(self) -> list[tuple[str, Image]]:
        """Title and picture (TILE, TILE, 3) uint8 of each panel: photo, visible, the methods with their IoU, truth."""
        sample, image = self.sample, self.sample.image
        masks = [row.amodal for row in self.rows]
        x0, y0, x1, y1 = bounding_box((sample.amodal.box, sample.visible.box, *(mask.box for mask in masks)))
        side = max(x1 - x0, y1 - y0)
        side += 2 * max(8, side // 8)
        left, top = window((x0, x1), side, sample.size[1]), window((y0, y1), side, sample.size[0])
        box: Box = (left, top, left + side, top + side)
        made = [
            ("photo", canvas(image, box, 255)),
            ("visible", outlined(image, sample.visible, COLOURS["visible"], box)),
        ]
        for label, row, mask in zip(self.labels, self.rows, masks, strict=True):
            score = "failed" if row.error else "-" if row.iou is None else f"{100 * row.iou:.1f}"
            made.append((f"{label}: {score}", outlined(image, mask, COLOURS["method"], box)))
        made.append(("truth", outlined(image, sample.amodal, COLOURS["truth"], box)))
        return [(title, tile(picture)) for title, picture in made]

    def strip(self, name: str | None = None) -> Image:
        """All panels in one row under their titles: (LINE + TILE, n (TILE + GAP), 3) uint8.

        Args:
            name: of the data set, where a line above the rows names the columns: then the object and the IoU alone are written.
        """
        panels = self.panels()
        out = np.full((LINE + TILE, len(panels) * (TILE + GAP), 3), 255, np.uint8)
        words = [title for title, _ in panels]
        if name is not None:
            words = ["", "", *(title.rpartition(": ")[2] for title in words[2:-1]), ""]
        out[:LINE] = titles(words)
        if name is not None:
            wide = 2 * TILE + GAP
            out[:LINE, :wide] = write(f"{name}, {self.kind}: {self.text}", wide, LINE)
        for number, (_, picture) in enumerate(panels):
            x = number * (TILE + GAP)
            out[LINE:, x : x + TILE] = picture
        return out


def window(content: tuple[int, int], side: int, whole: int) -> int:
    """Where a window of `side` pixels about `content` (first, last) begins: within the photo's 0 ... `whole` as far as it can."""
    first, last = content
    begin = (whole - side) // 2 if side > whole else min(max((first + last - side) // 2, 0), whole - side)
    return max(min(begin, first), last - side)


def tile(picture: Image) -> Image:
    """A square picture at the panels' size."""
    import cv2

    how = cv2.INTER_AREA if picture.shape[0] > TILE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (TILE, TILE), interpolation=how))


def titles(texts: Sequence[str]) -> Image:
    """A line of texts, one above each panel: (LINE, n (TILE + GAP), 3) uint8."""
    return np.concatenate(
        [np.pad(write(text, TILE, LINE), ((0, 0), (0, GAP), (0, 0)), constant_values=255) for text in texts], 1
    )


def write(text: str, width: int, height: int) -> Image:
    """A line of text, dark on white, (height, width, 3) uint8; what does not fit is cut and marked."""
    from PIL import Image as PILImage
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(height - 5)
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    line = PILImage.new("RGB", (width, height), "white")
    ImageDraw.Draw(line).text((1, 0), text, fill=(30, 30, 30), font=font)
    return np.asarray(line)


def choose_cases(runs: Sequence[Run], data: Dataset, count: int = 4, seed: int = 0) -> list[Case]:
    """The occluded objects to look at: best, worst, most different and random ones, `count` of each, each object once.

    Args:
        runs: on one data set.
        data: it, for photos and truth.
        count: of each kind.
        seed: of the random ones.

    Raises:
        DataError: the runs have no object in common that the data set has.
    """
    labels = tuple(labels_of(runs))
    common = set.intersection(*(set(run.rows) for run in runs)) & set(data.ids())
    if not common:
        raise DataError(f"the runs on {runs[0].data} have no object in common with {data.root}; is this its folder?")
    names = [name for name in sorted(common) if runs[0].rows[name].occlusion > OCCLUDED] or sorted(common)
    scores = np.array([[run.rows[name].iou or 0.0 for run in runs] for name in names])
    mean, spread = scores.mean(axis=1), np.ptp(scores, axis=1)
    orders = {
        "different": np.argsort(-spread, kind="stable"),
        "best": np.argsort(-mean, kind="stable"),
        "worst": np.argsort(mean, kind="stable"),
        "random": np.array(random.Random(seed).sample(range(len(names)), len(names)), int),
    }
    chosen: dict[str, list[str]] = {}
    taken: set[str] = set()
    for kind, order in orders.items():
        chosen[kind] = [names[k] for k in order.tolist() if names[k] not in taken][:count]
        taken |= set(chosen[kind])
    samples = data.by_ids(taken)
    return [
        Case(kind, samples[name], labels, tuple(run.rows[name] for run in runs))
        for kind in KINDS
        for name in chosen[kind]
        if name in samples
    ]


def strips(cases: Sequence[Case]) -> list[tuple[Case, Image | str]]:
    """Each case with its row of panels, or with the reason why its photo cannot be shown."""
    made: list[tuple[Case, Image | str]] = []
    for case in cases:
        try:
            made.append((case, case.strip()))
        except AmodalError as error:
            made.append((case, str(error)))
    return made


def compare_page(content: Mapping[str, Any], cases: Mapping[str, Sequence[Case]]) -> str:
    """A self-contained HTML page: the tables of `matrix`, and the cases of each data set.

    Args:
        content: from `matrix`.
        cases: data set in words to its cases; may lack sets whose photos are not at hand.
    """
    body = [f"<p>Protocol: {escape(' / '.join(content['protocols']))}. In per cent.</p>"]
    for metric in content["values"]:
        head, *rows = matrix_rows(content, metric)
        body.append(html_table(head, rows))
    for name, chosen in cases.items():
        body.append(f"<h2>{escape(name)}</h2>")
        shown = strips(chosen)
        for kind, words in KINDS.items():
            if not any(case.kind == kind for case in chosen):
                continue
            body.append(f"<details open><summary>{words}</summary>")
            for case, picture in shown:
                if case.kind != kind:
                    continue
                text = escape(case.text)
                view = (
                    escape(picture) if isinstance(picture, str) else f'<img src="{jpeg(picture, 1600)}" alt="{text}">'
                )
                body.append(f'<figure style="max-width:100%">{view}<figcaption>{text}</figcaption></figure>')
            body.append("</details>")
    return document("Comparison of " + ", ".join(content["methods"]), body)


def compare_picture(cases: Mapping[str, Sequence[Case]]) -> Image:
    """All cases under each other as one picture (H, W, 3) uint8, for a paper or a talk; the columns are named once.

    Args:
        cases: data set in words to its cases.

    Raises:
        DataError: none of the photos can be read.
    """
    rows: list[Image] = []
    labels: tuple[str, ...] = ()
    for name, chosen in cases.items():
        for case in chosen:
            if labels != case.labels:
                labels = case.labels
                rows.append(titles(["photo", "visible", *labels, "truth"]))
            try:
                rows.append(case.strip(name))
            except AmodalError:
                continue  # its photo cannot be read; the page says why
    if all(len(row) == LINE for row in rows):
        raise DataError("there is no photo to show of these runs")
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)
