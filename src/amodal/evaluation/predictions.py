"""Somebody else's masks, scored like a method: COCO results JSON or a folder of PNGs, joined by id, never by position."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import MALFORMED, AmodalError, DataError
from ..core.files import parse_json, read_bytes, read_json
from ..core.image import is_picture
from ..core.mask import Mask
from ..data import Dataset, Sample
from ..data.annotations import read_shape
from ..data.identity import identity
from ..data.masks import read_bits
from ..engine.output import check_finished, read_records
from ..plugins.protocols import Progress, no_progress, progress_of
from .answers import scene_order
from .joins import Key, as_key, check_one_photo_each, elsewhere, flat, image_keys, image_names, keys_of
from .metrics import Counts
from .report import Report
from .rows import NOTHING, RowFile, ScoredObject, failed_row, make_row, overlaps_of
from .run import check_limit, check_truth, versions
from .runs import count_rles

__all__ = ["Found", "Predictions", "batch_shards", "evaluate_predictions", "score"]

JOIN_KEYS = ("sample", "name", "annotation_id", "ann_id")
"""Fields of an entry that name the object, first found first; an entry without any is matched within its image. `id` is none of
them where there is an image: COCO's results number their entries by it."""


@dataclass(frozen=True)
class Found:
    """A predicted mask with its score; `where` tells its place for error texts."""

    mask: Mask
    score: float | None
    where: str


class Predictions:
    """Predicted amodal masks.

    A folder of PNGs named by object id ("/" in ids becomes "_"); a JSON list of `{"image_id", "segmentation", "score"}` as COCO
    results have it (also under the key `annotations`); or what `amodal batch` wrote: its folder or a shard. Entries with `sample`,
    `name` or `annotation_id` belong to that object; others are matched to the objects of their image one to one by IoU with the
    *visible* truth, so that the amodal truth has no say. Where entries have a `file_name`, or the file a list of `images`, that names
    their image, since its numbers need not be the data set's.

    Args:
        path: the file or folder.

    Raises:
        DataError: not readable, none of these, or two entries for one object.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.files: dict[str, Path] = {}
        self.named: dict[Key, tuple[int, Mapping[str, Any]]] = {}
        self.loose: dict[Key, list[tuple[int, Mapping[str, Any]]]] = {}
        self.malformed: list[str] = []
        """What is wrong with entries that are none."""
        self.listed: list[Any] = []
        """Records that may tell what the file of an image is called."""
        if shards := batch_shards(self.path):
            records = (record for shard in shards for record in read_records(shard) if record.get("status") == "done")
            for number, record in enumerate(records):
                self.listed.append(entry_of(record))
                self._add(number, self.listed[-1])
            return
        if self.path.is_dir():
            for file in sorted(file for file in self.path.rglob("*") if is_picture(file)):
                first = self.files.setdefault(file.stem, file)
                if first != file:
                    raise DataError(f"{first} and {file} both are for the object {file.stem}")
            if not self.files:
                raise DataError(f"{self.path} holds no mask pictures; name them by object id, for instance 0001.png")
            return
        content = read_json(self.path, DataError, finite=False)
        entries = content.get("annotations") if isinstance(content, dict) else content
        if not isinstance(entries, list):
            raise DataError(
                f"{self.path} is not a COCO results file: it must be a list of {{image_id, segmentation, score}}"
            )
        images = content.get("images") if isinstance(content, dict) else None
        self.listed = [*(images if isinstance(images, list) else ()), *entries]
        for number, entry in enumerate(entries):
            self._add(number, entry)
        if self.malformed and not (self.named or self.loose):
            raise DataError(f"{self.path}: {self.malformed[0]}")

    def _add(self, number: int, entry: Any) -> None:
        if not isinstance(entry, dict) or "segmentation" not in entry:
            self.malformed.append(f"entry {number} has no segmentation")
            return
        key = next((key for key in JOIN_KEYS if entry.get(key) is not None), None)
        image = next((entry[name] for name in ("image_id", "file_name") if entry.get(name) is not None), None)
        if key is None and image is None and "id" in entry:
            key = "id"
        if key is None:
            if image is None:
                self.malformed.append(f"entry {number} has neither image_id nor an object's id")
                return
            self.loose.setdefault(as_key(image), []).append((number, entry))
            return
        name = as_key(entry[key])
        if name in self.named:
            raise DataError(f"{self.path}: entries {self.named[name][0]} and {number} both are for the object {name}")
        self.named[name] = (number, entry)

    def settle(self, data: Dataset) -> None:
        """Where the file names its images, and the data set has such photos, join by these names: the numbers are the file's own.

        Raises:
            DataError: a name is that of several photos.
        """
        if names := image_names(self.listed, data):
            loose, self.loose = self.loose, {}
            for image, entries in loose.items():
                self.loose.setdefault(names.get(image) or image, []).extend(entries)
            if strange := [image for image in loose if isinstance(image, int) and names.get(image, "") is None]:
                data.note(
                    f"{self.path.name}: {len(strange)} of its images have a file_name that is of no photo of {data.name}, the first "
                    f"the image {strange[0]}; their numbers are taken for the data set's own"
                )
            for key, (number, entry) in self.named.items():
                self.named[key] = number, {**entry, "photo": names.get(as_key(entry.get("image_id")))}
        check_one_photo_each(self.loose, data)

    def fingerprint(self) -> dict[str, Any]:
        """JSON-ready: what identifies the predictions in a run."""
        files = list(self.files.values()) or batch_shards(self.path) or [self.path]
        digest = hashlib.sha256()
        for file in files:
            digest.update(os.fsencode(file.name) + b"\0" + read_bytes(file, DataError))
        return {"name": "predictions", "options": {"path": self.path.name, "sha256": digest.hexdigest()}}

    def unknown(self, data: Dataset) -> list[str]:
        """Names of predictions that no object of the data set has.

        Raises:
            DataError: one file is for two objects.
        """
        names: dict[str, str] = {}
        for name in data.ids() if self.files else ():
            if names.setdefault(flat(name), name) != name and flat(name) in self.files:
                raise DataError(
                    f"{self.files[flat(name)]} is for both objects {names[flat(name)]} and {name}; give a JSON file instead"
                )
        known: set[Key] = {form for name in data.ids() for form in (name, flat(name))}
        if self.named.keys() - known:
            known |= {key for sample in data for key in keys_of(sample.id, sample.coco and sample.coco[0])}
        return sorted(str(name) for name in (self.files.keys() | self.named.keys()) - known)

    def strange(self, data: Dataset) -> str | None:
        """What to say where there is no entry, or those without an object's id are of no image of the data set."""
        if not (self.files or self.named or self.loose or self.malformed):
            return "it holds no prediction at all"
        first: Sample | None = None
        for scene in data.scenes() if self.loose else ():
            first = first or scene[0]
            if any(key in self.loose for key in image_keys(scene[0])):
                return None
        if first is None:
            return None
        told = first.coco[1] if first.coco else first.image_id
        return (
            f"none of the {sum(map(len, self.loose.values()))} entries without an object's id is of an image of {data.name}: "
            f"the first has the image_id {next(iter(self.loose))!r}, the first image here {told!r}"
        )

    def of(self, scene: Sequence[Sample], bad: Callable[[str], None]) -> tuple[dict[str, Found | str], list[Found]]:
        """The predictions for a picture's objects by id (a text where one is malformed), and those that fit no object.

        `bad` is told what is wrong with malformed ones that name no object.
        """
        found: dict[str, Found | str] = {}
        for sample in scene:
            names = keys_of(sample.id, sample.coco and sample.coco[0])
            if file := self.files.get(sample.id) or self.files.get(flat(sample.id)):
                found[sample.id] = self._read(file, sample)
            elif entry := next((self.named[name] for name in names if name in self.named), None):
                found[sample.id] = elsewhere(*entry, sample) or self._decode(*entry, sample)
        first = scene[0]
        loose: list[tuple[int, Mapping[str, Any]]] = []
        for number, each in next((self.loose[key] for key in image_keys(first) if key in self.loose), []):
            if each.get("amodal_id") in {sample.id for sample in scene} - set(
                found
            ):  # the prompts had the objects' ids
                found[each["amodal_id"]] = self._decode(number, each, first)
            else:
                loose.append((number, each))
        decoded = [self._decode(number, entry, first) for number, entry in loose]
        for text in (item for item in decoded if isinstance(item, str)):
            bad(text)
        whole = [item for item in decoded if isinstance(item, Found)]
        matched, rest = match_by_visible(whole, [sample for sample in scene if sample.id not in found])
        return {**matched, **found}, rest

    def _read(self, file: Path, sample: Sample) -> Found | str:
        try:
            mask, size = read_bits(file)
        except AmodalError as error:
            return str(error).replace(str(file), file.name)
        if size != tuple(sample.size):
            return f"{file.name} is {size[1]} x {size[0]} pixels, the image {sample.size[1]} x {sample.size[0]}"
        return Found(mask, None, str(file))

    def _decode(self, number: int, entry: Mapping[str, Any], sample: Sample) -> Found | str:
        where = f"entry {number}"
        try:
            mask = read_shape(entry["segmentation"], sample.size)
            score = None if entry.get("score") is None else float(entry["score"])
            if score is not None and not math.isfinite(score):
                raise DataError(f"its score is {score}; a score is a finite number")
        except (AmodalError, *MALFORMED) as error:
            return f"{where}: {error}"
        return Found(mask, score, where)


def batch_shards(path: Path) -> list[Path]:
    """The shards of a batch folder, or the one that is named; empty for anything else. Raises DataError: the batch was stopped."""
    if path.suffix == ".jsonl":
        return [path]
    check_finished(path)
    return sorted((path / "shards").glob("*.jsonl")) if (path / "plan.json").is_file() else []


def entry_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of a batch as an entry of COCO's results."""
    told = parse_json(str(record["source"]), "a record's source", DataError) if record.get("source") else {}
    entry = {
        "segmentation": record.get("beyond_frame") or record.get("amodal"),
        "score": record.get("score"),
        "image_id": told.get("image_id", record.get("image")),
        "file_name": record.get("image"),
        "amodal_id": record.get("id"),
    }
    return entry if told.get("id") is None else {**entry, "annotation_id": told["id"]}


def match_by_visible(found: Sequence[Found], samples: Sequence[Sample]) -> tuple[dict[str, Found], list[Found]]:
    """The one-to-one matching with the largest sum of IoU with the visible masks, and the predictions left over."""
    from scipy.optimize import linear_sum_assignment

    if not found or not samples:
        return {}, list(found)
    overlaps = np.array([[item.mask.iou(sample.visible) for sample in samples] for item in found])
    rows, columns = linear_sum_assignment(-overlaps)
    pairs = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if overlaps[i, j] > 0}
    matched = {samples[j].id: found[i] for i, j in pairs.items()}
    return matched, [item for number, item in enumerate(found) if number not in pairs]


def evaluate_predictions(
    predictions: Predictions,
    data: Dataset,
    *,
    output: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Score predicted masks like a method's. Objects without a prediction and malformed ones count as empty masks.

    Args:
        predictions: the masks.
        data: the truth; photos are needed for the report's pictures alone.
        output, limit, overwrite, progress: as in `evaluate`.

    Raises:
        DataError: a prediction is malformed or names an object that the data set does not have, unless bad entries are skipped.
    """
    progress = progress_of(progress)
    check_limit(limit)
    check_truth(data)
    predictions.settle(data)
    for text in predictions.malformed:
        data.bad(predictions.path, predictions.path.name, text)
    unknown = predictions.unknown(data)
    if unknown:
        text = f"{len(unknown)} of the predictions name no object of {data.name}, the first is {unknown[0]!r}"
        data.bad(predictions.path, unknown[0], text)
    if strange := predictions.strange(data):
        data.bad(predictions.path, predictions.path.name, strange)
    settings = {
        "format": "amodal/run/1",
        "method": predictions.fingerprint(),
        "data": identity(data),
        "protocol": f"predictions from {predictions.path.name}; those without an object's id are matched by IoU with the visible truth",
        "limit": limit,
        "versions": versions(),
    }
    with RowFile(None if output is None else Path(output), settings, overwrite=overwrite) as rows:
        names = data.ids()
        total = min(len(data), limit or len(data))
        for span in data.pictures():
            asked = {*names[span.start : min(span.stop, total)]}
            for row in rows_of(predictions, data.at(span), asked, data) if asked - rows.done else ():
                if row.id not in rows.done:
                    rows.add(row)
                    progress("object", len(rows.rows), total)
    return Report.build(rows.settings, rows.rows, data)


def score(predictions: Predictions, data: Dataset, limit: int | None = None) -> Counts:
    """The pixel counts alone, from run lengths, without rows, baselines and pictures: the quick way to `metrics.METRICS`.

    What is beyond the frame is cut off on both sides. Objects without a prediction count as empty masks.

    Raises:
        DataError: predictions without an object's id (they must be matched, which `evaluate_predictions` does).
        MaskError: a malformed mask.
    """
    if predictions.loose:
        raise DataError(f"{predictions.path} has entries without an object's id; score it as predictions instead")
    columns: list[tuple[Any, Any, Any]] = []
    for item in data.encoded(limit):
        names = keys_of(item.id, item.coco and item.coco[0])
        found = next((predictions.named[name][1]["segmentation"] for name in names if name in predictions.named), None)
        if file := predictions.files.get(item.id) or predictions.files.get(flat(item.id)):
            found = read_bits(file)[0].to_rle(item.size)
        elif found is None:
            found = NOTHING.to_rle(item.size)
        elif not isinstance(found, Mapping) or "origin" in found:
            found = read_shape(found, item.size).to_rle(item.size)
        columns.append((found, item.amodal, item.visible))
    predicted, amodal, visible = zip(*columns, strict=True) if columns else ((), (), ())
    return count_rles(predicted, amodal, visible)


def rows_of(
    predictions: Predictions, scene: Sequence[Sample], asked: Collection[str], data: Dataset
) -> list[ScoredObject]:
    """The rows of the objects `asked` about of a picture, whose other objects get their predictions too; the last one carries what
    concerns the whole picture."""
    part = [sample for sample in scene if sample.id in asked]
    if not part:
        return []
    found, rest = predictions.of(scene, lambda text: data.bad(predictions.path, scene[0].image_id, text))
    rows = []
    for sample in part:
        item = found.get(sample.id, "there is no prediction for it")
        if isinstance(item, Found):
            rows.append(make_row(sample, item.mask, scene, item.score))
        else:
            if sample.id in found:
                data.bad(predictions.path, sample.id, item)
            rows.append(failed_row(sample, scene, item))
    rows[-1].order = scene_order(scene, rows)
    beside = [item.mask if scene[0].beyond_frame else item.mask.clip(scene[0].size) for item in rest]
    rows[-1].unmatched = [(item.score, overlaps_of(mask, scene)) for item, mask in zip(rest, beside, strict=True)]
    return rows
