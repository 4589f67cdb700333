"""Rows: what is kept of every evaluated object, and the file they are appended to, which survives a kill exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..core.errors import DataError
from ..core.files import parse_json, read_json, read_lines
from ..core.mask import Mask, bounding_box
from ..core.regions import convex_hull
from ..core.soft_mask import SoftMask
from ..data import Sample
from ..engine.store import Store
from .metrics import best_of, boundary_f, calibration_bins, count

if TYPE_CHECKING:
    from .answers import Outcome

__all__ = ["BASELINES", "NOTHING", "RowFile", "ScoredObject", "answered_row", "failed_row", "make_row", "overlaps_of"]

Shape = TypeVar("Shape", bound=BaseModel)
NOTHING = Mask.from_array(np.zeros((0, 0), bool))

LISTED = Field(strict=False)
"""Tuples, which JSON writes as lists."""
Overlap = Annotated[tuple[str, float], LISTED]
Unmatched = Annotated[tuple[float | None, list[Overlap]], LISTED]
BASELINES = ("visible", "hull")
"""Printed beside every method: the true visible mask as it is, and its convex hull."""


SevenCounts = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=7, max_length=7)]
"""The pixel counts of `metrics.Counts`."""


class BestOf(BaseModel):
    """The best of several samples.

    Attributes:
        k: of how many.
        iou: its IoU, the highest of them.
        counts: its pixel counts; None in rows that were written before they were kept.
    """

    k: int = Field(ge=1)
    iou: float
    counts: SevenCounts | None = None


class ScoredObject(BaseModel):
    """One scored object: a line of `rows.jsonl`.

    Attributes:
        id, image, category: of the object.
        kind: the data set's own, where it has one.
        occlusion: share of the object that is occluded.
        iou, iou_occluded: of the scored mask; None where neither it nor the truth has a pixel there.
        counts: "method" and each baseline to the seven pixel counts of `metrics.Counts`.
        boundary_f: the same to the F measure of contours.
        overlaps: objects of the picture that the scored mask overlaps by half or more, with the IoU.
        score: the method's own quality, or None.
        mask: the scored mask, as `Mask.to_dict` gives it.
        error: why there is no answer; then the mask is empty.
        seconds: that the answer took.
        visible_iou: of the visible mask that the method got, with the true one.
        calibration: ten bins of (pixels, sum of probability, pixels of the object); see `metrics.calibration_bins`.
        best_of: the best of several samples.
        occluder_given: whether the method got the true occluder, where it is asked with occluders.
        order: on a picture's last row, how many pairs are ordered right; see `pipeline.order.OrderCount`.
        unmatched: on a picture's last row, score and overlaps of predictions that are of no object.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    def __repr__(self) -> str:
        return f"ScoredObject({self.id}, iou={self.iou}, occlusion={self.occlusion:.0%})"

    id: str
    image: str
    category: str | None
    kind: Any = None
    occlusion: float
    iou: float | None
    iou_occluded: float | None = None
    counts: dict[str, SevenCounts]
    boundary_f: dict[str, float | None]
    overlaps: list[Overlap]
    score: float | None
    mask: dict[str, Any]
    error: str | None = None
    seconds: float | None = None
    visible_iou: float | None = None
    calibration: list[Annotated[tuple[float, float, float], LISTED]] | None = Field(
        default=None, min_length=10, max_length=10
    )
    best_of: BestOf | None = None
    occluder_given: bool | None = None
    order: Annotated[tuple[int, int, int, int], LISTED] | None = None
    unmatched: list[Unmatched] | None = None

    @field_validator("counts", "boundary_f")
    @classmethod
    def of_all(cls, value: dict[str, Any]) -> dict[str, Any]:
        """The method and the baselines, no other."""
        if set(value) != {"method", *BASELINES}:
            raise ValueError("is not of the method and the baselines")
        return value

    @property
    def amodal(self) -> Mask:
        """The scored mask."""
        return Mask.from_dict(self.mask)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: what is known of the object, and no more."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def from_dict(cls, content: Any, where: str) -> ScoredObject:
        """The row that JSON of `where` holds. Raises DataError: it is none."""
        return _checked(cls, content, f"{where} holds a line that is not a row of amodal evaluate")


class RunShape(BaseModel):
    """What `run.json` must hold, as far as it is read again."""

    data: dict[str, Any] = {}
    method: dict[str, Any] = {}


def make_row(sample: Sample, predicted: Mask, scene: Sequence[Sample], score: float | None = None) -> ScoredObject:
    """One object's row.

    Args:
        sample: the object with its truth.
        predicted: the amodal mask that is scored; cut at the frame unless the truth goes beyond it.
        scene: all objects of the picture; the prediction's overlaps with them make average precision possible.
        score: of the prediction, for ranking.
    """
    scored = {"method": predicted, "visible": sample.visible}
    scored["hull"] = convex_hull(sample.visible) if sample.visible else sample.visible
    if not sample.beyond_frame:
        scored = {name: mask.clip(sample.size) for name, mask in scored.items()}
    diagonal = float(np.hypot(*sample.size))
    counts = {name: list(count(mask, sample.amodal, sample.visible)) for name, mask in scored.items()}
    both, either, occluded_both, occluded_either = counts["method"][:4]
    return ScoredObject(
        id=sample.id,
        image=sample.image_id,
        category=sample.category,
        kind=sample.extra.get("kind"),
        occlusion=round(sample.occlusion_rate, 6),
        iou=both / either if either else None,
        iou_occluded=occluded_both / occluded_either if occluded_either else None,
        counts=counts,
        boundary_f={name: boundary_f(mask, sample.amodal, diagonal=diagonal) for name, mask in scored.items()},
        overlaps=overlaps_of(scored["method"], scene),
        score=score,
        mask=scored["method"].to_dict(),
        error=None,
    )


def overlaps_of(predicted: Mask, scene: Sequence[Sample]) -> list[tuple[str, float]]:
    """The objects of a picture that a mask overlaps by half or more, with the IoU."""
    found = ((sample.id, predicted.iou(sample.amodal)) for sample in scene)
    return [(name, round(value, 6)) for name, value in found if value >= 0.5]


def failed_row(sample: Sample, scene: Sequence[Sample], error: str) -> ScoredObject:
    """The row of an object without an answer: scored as an empty mask."""
    row = make_row(sample, NOTHING, scene)
    row.error, row.seconds = error, 0.0
    return row


def answered_row(sample: Sample, outcome: Outcome, scene: Sequence[Sample], seconds: float) -> ScoredObject:
    """The row of an answer, with what it tells beside its mask: calibration, best sample, how well the prompt was segmented."""
    samples = list(outcome.samples)
    if not sample.beyond_frame:
        samples = [mask.clip(sample.size) for mask in samples]
    row = make_row(sample, outcome.amodal, scene, outcome.score)
    row.seconds = round(seconds, 4)
    row.calibration = [tuple(each) for each in np.round(_calibration(sample, outcome.probability), 3).tolist()]
    row.best_of = None
    if len(samples) > 1:
        best = best_of(samples, sample.amodal)
        seven = list(count(best, sample.amodal, sample.visible))
        row.best_of = BestOf(k=len(samples), iou=best.iou(sample.amodal), counts=seven)
    row.visible_iou = outcome.visible.iou(sample.visible)
    return row


def _calibration(sample: Sample, soft: SoftMask) -> Any:
    """Calibration bins over the pixels that are not visible and that the method or the truth gives to the object."""
    box = bounding_box((soft.box, sample.amodal.box))
    if not sample.beyond_frame:
        box = (max(box[0], 0), max(box[1], 0), min(box[2], sample.size[1]), min(box[3], sample.size[0]))
    values, truth = soft.crop(box), sample.amodal.crop(box)
    counted = ((values > 0) | truth) & ~sample.visible.crop(box)
    return calibration_bins(values[counted], truth[counted])


class RowFile:
    """`run.json` (what was run) and `rows.jsonl` (one row a line) of a run's folder, a `Store`; opened again, it goes on where it
    stopped. Use as a context manager.

    Args:
        folder: the run's folder; None keeps the rows in memory.
        settings: JSON-ready; everything that the rows depend on.
        overwrite: replace an earlier run.

    Raises:
        OutputError: the folder holds a run with other settings or no run but other files, or another process works there.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.rows: list[ScoredObject] = []
        self.done: set[str] = set()
        """Ids that have a row."""
        self._store: Store | None = None
        if folder is not None:
            self._store = Store(
                folder,
                settings,
                head="run.json",
                journal="rows.jsonl",
                owns=("report.json", "report.html"),
                free=("versions",),
                overwrite=overwrite,
                alone=True,
            )

    def add(self, row: ScoredObject) -> None:
        """Append a row; when this returns, killing the process loses nothing."""
        self.rows.append(row)
        self.done.add(row.id)
        if self._store is not None:
            self._store.append(row.to_dict())

    def __enter__(self) -> RowFile:
        if self._store is not None:
            self._store.__enter__()
            self.rows = [ScoredObject.from_dict(row, str(self._store.journal)) for row in self._store.entries]
            self.done = {row.id for row in self.rows}
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.__exit__()


def read_rows(path: Path) -> Iterator[ScoredObject]:
    """The whole rows of a file; what a kill cut short at its end is left out.

    Raises:
        DataError: the file is absent or a line before the end is not a row.
    """
    for number, line in read_lines(path, DataError):
        if line.endswith(b"\n"):
            yield ScoredObject.from_dict(parse_json(line, f"{path}, line {number}", DataError), str(path))


def read_settings(path: Path) -> dict[str, Any]:
    """What a `run.json` says was run. Raises DataError: absent, damaged or no such file."""
    content = read_json(path, DataError)
    _checked(RunShape, content, f"{path} is not what amodal evaluate wrote of a run")
    return dict(content)


def _checked(shape: type[Shape], content: Any, wrong: str) -> Shape:
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise DataError(f"{wrong}: {place or 'all of it'}: {first['msg'].lower()}") from error
