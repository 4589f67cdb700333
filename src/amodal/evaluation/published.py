"""Published numbers with their protocols: printed beside ours where the protocol is the same, never mixed into our columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["PUBLISHED", "Published", "published_for"]

Given = Literal["mask", "recovered", "predicted"]
"""What a method was given: the true visible mask; the true visible masks of all objects, from which it recovers the order; or
visible masks or boxes that another network predicted."""


@dataclass(frozen=True)
class Published:
    """One published result, in per cent.

    Attributes:
        data: the data set.
        method: by which method.
        given: what the method was given.
        metric: our metric that it compares with, see `metrics.METRICS`; "best_of." stands before that of each object's best sample
            (`best_of` of a report); "ap" is COCO's average precision.
        value: the number.
        occluded: of the occluded region, by the same kind of averaging; None if not stated.
        source: where it is printed.
        split: the part of the data set that it is of, one of `OFFICIAL`; "" if the source does not tell it.
        note: what else must be known to compare.
        samples: of how many samples of an object the best was taken, by its IoU with the truth; 1: none was chosen so.
    """

    data: str
    method: str
    given: Given
    metric: Literal["iou", "iou_pooled", "best_of.iou", "best_of.iou_pooled", "ap"]
    value: float
    occluded: float | None
    source: str
    split: str
    note: str = ""
    samples: int = 1

    @property
    def protocol(self) -> str:
        """The protocol in words."""
        given = {
            "mask": "GT-V",
            "recovered": "GT-V of all objects, order recovered by the network",
            "predicted": "predicted visible masks or boxes",
        }[self.given]
        averaged = {"iou": "mean over objects", "iou_pooled": "pooled over all regions", "ap": "average precision"}
        best = f"best of {self.samples} samples" if self.samples > 1 else ""
        part = f"part {self.split}" if self.split else "of which part of the data set is not stated"
        return "; ".join(
            each for each in (given, averaged[self.metric.removeprefix("best_of.")], best, part, self.note) if each
        )


P2G = "Ozguroglu et al., pix2gestalt, CVPR 2024, table 1"
TUNING_FREE = "Tuning-free amodal segmentation, AAAI 2026 (second-hand)"
C2F = "Gao et al., C2F-Seg, ICCV 2023"
VITA = "ViTA-Seg, arXiv 2512.09510"
ZHAN_7 = "Zhan et al., CVPR 2024, table 7, rows A to E"
SYNERGY = "SynergyAmodal, ACM MM 2025"
SAMEO = "SAMEO, CVPR 2025"
SAMBA = "SAMBA, CVPR 2025"
VAS = "Diffusion-VAS, CVPR 2025"
NO_CODE = "stated as mIoU; no evaluation code, pooled is likelier"
NO_PART = "nor the part of COCO-A, val is likelier"
MIXED = "trained with MP3D-Amodal too"
RAW = "practically the visible mask as it is"
COPIED = "copied by Zhan et al. from the method's paper; how it is averaged is not stated there, a mean over objects is likelier"
C2F_COPIED = (
    "copied by Zhan et al.; the digits are those of C2F-Seg's own 87.15 / 36.69 with true visible masks, though the table is "
    "said to be of predicted ones (80.28 / 27.71)"
)

ZHAN_SPLITS = {"cocoa": "test", "mp3d-amodal": "eval", "cocoa-cls": "val"}
"""Zhan et al.: the released evaluation of COCO-A reads test2014."""
P2G_SPLITS = {"cocoa": "val", "bsdsa": "test"}
"""pix2gestalt, and the tuning-free paper, which takes its protocol over: neither names the part of COCO-A. Its PCNet row is
deocclusion's own figure on `val`; the 200 images that it counts of BSDS-A are `test`."""
MEAN_SPLITS = {"cocoa": "", "cocoa-cls": "val", "kins": "test", "d2sa": "validation", "sailvos": ""}
"""The others: the part that has truth for evaluation, where there is one alone."""


def _zhan(
    data: str, table: str, method: str, value: float, occluded: float | None, given: Given = "mask", note: str = ""
) -> Published:
    source = f"Zhan et al., CVPR 2024, table {table}"
    return Published(data, method, given, "iou_pooled", value, occluded, source, ZHAN_SPLITS[data], note)


def _stated(
    data: str, method: str, value: float, source: str = P2G, note: str = "", given: Given = "mask", samples: int = 1
) -> Published:
    told = "; ".join(part for part in (NO_CODE, NO_PART if data == "cocoa" else "", note) if part)
    metric: Literal["iou_pooled", "best_of.iou_pooled"] = "iou_pooled" if samples == 1 else "best_of.iou_pooled"
    return Published(data, method, given, metric, value, None, source, P2G_SPLITS[data], told, samples)


def _mean(
    data: str, method: str, value: float, occluded: float | None, source: str, given: Given = "mask", note: str = ""
) -> Published:
    return Published(data, method, given, "iou", value, occluded, source, MEAN_SPLITS[data], note)


def _synergy(method: str, value: float, note: str, samples: int = 8) -> Published:
    metric: Literal["iou", "best_of.iou"] = "iou" if samples == 1 else "best_of.iou"
    return Published("cocoa", method, "mask", metric, value, None, SYNERGY, MEAN_SPLITS["cocoa"], note, samples)


def _ap(data: str, method: str, value: float) -> Published:
    return Published(data, method, "predicted", "ap", value, None, SAMEO, MEAN_SPLITS[data])


PUBLISHED: tuple[Published, ...] = (
    _zhan("cocoa", "5", "deocclusion two-stage", 88.2, 65.3, "recovered"),
    _zhan("cocoa", "5", "ASBU", 88.9, 65.3, "recovered", "their reproduction; published 89.8"),
    _zhan("cocoa", "5", "deocclusion two-stage or ASBU, no occluder", 69.9, 0.006, note=RAW),
    _zhan("cocoa", "5", "deocclusion single-stage", 88.0, 63.8),
    _zhan("cocoa", "5", "OccAmodal", 89.4, 66.2),
    _zhan("cocoa", "6", "OccAmodal", 89.4, 66.4, note=MIXED),
    _zhan("cocoa", "5", "SDAmodal", 90.7, 71.6),
    _zhan("cocoa", "6", "SDAmodal", 90.7, 71.6, note=MIXED),
    _stated("cocoa", "tuning-free (SDXL)", 82.7, TUNING_FREE),
    _stated("cocoa", "pix2gestalt", 82.87, note="vote of 16"),
    _stated("cocoa", "pix2gestalt", 87.10, samples=3),
    _stated("cocoa", "PCNet", 81.35, given="recovered"),
    _stated("cocoa", "PCNet, supervised", 82.53),
    _stated("cocoa", "SDXL inpainting", 76.52),
    _stated("cocoa", "SAM", 67.21),
    _synergy("SynergyAmodal", 90.3, "mask and text"),
    _synergy("SDAmodal", 87.3, "as run by SynergyAmodal", samples=1),
    _synergy("pix2gestalt", 85.8, "as run by SynergyAmodal"),
    _synergy("SSSD", 81.3, "as run by SynergyAmodal"),
    _synergy("SD2 inpainting and matting", 58.5, "as run by SynergyAmodal"),
    _stated("bsdsa", "tuning-free (SDXL)", 75.6, TUNING_FREE),
    _stated("bsdsa", "pix2gestalt", 80.76, note="vote of 16"),
    _stated("bsdsa", "pix2gestalt", 85.68, samples=3),
    _stated("bsdsa", "SDXL inpainting", 74.19),
    _stated("bsdsa", "SAM", 65.25),
    _zhan("mp3d-amodal", "5", "deocclusion two-stage or ASBU, no occluder", 64.4, 0.004, note=RAW),
    _zhan("mp3d-amodal", "5", "deocclusion single-stage", 72.4, 28.0),
    _zhan("mp3d-amodal", "5", "OccAmodal", 72.9, 27.5),
    _zhan("mp3d-amodal", "6", "OccAmodal", 73.8, 29.6, note=MIXED),
    _zhan("mp3d-amodal", "5", "SDAmodal", 76.4, 38.5),
    _zhan("mp3d-amodal", "6", "SDAmodal", 81.8, 53.7, note=MIXED),
    _zhan("cocoa-cls", "7", "SDAmodal", 93.5, 59.6),
    _zhan("cocoa-cls", "7", "OccAmodal", 92.0, 47.8),
    _mean("cocoa-cls", "C2F-Seg", 87.1, 36.6, ZHAN_7, note=C2F_COPIED),
    _mean("cocoa-cls", "VRSP", 79.0, 22.9, ZHAN_7, "predicted", COPIED),
    _mean("cocoa-cls", "AISFormer", 72.7, 13.8, ZHAN_7, "predicted", COPIED),
    _mean("cocoa-cls", "GIN", 72.4, None, ZHAN_7, "predicted", COPIED),
    _mean("cocoa-cls", "A3D", 67.4, None, ZHAN_7, "predicted", COPIED),
    _mean("cocoa-cls", "C2F-Seg", 87.15, 36.69, C2F),
    _mean("cocoa-cls", "C2F-Seg", 80.28, 27.71, C2F, "predicted"),
    _mean("cocoa-cls", "ViTA-Seg", 93.70, 49.88, VITA),
    _mean("cocoa-cls", "SAMBA", 81.82, None, SAMBA, "predicted", "zero-shot"),
    _ap("cocoa-cls", "SAMEO on RTMDet's boxes", 55.3),
    _ap("cocoa-cls", "SAMEO on AISFormer's boxes", 54.3),
    _ap("cocoa-cls", "AISFormer", 40.6),
    _mean("kins", "C2F-Seg", 87.89, 57.30, C2F),
    _mean("kins", "C2F-Seg", 82.22, 53.60, C2F, "predicted"),
    _mean("kins", "ViTA-Seg", 91.12, 63.48, VITA),
    _mean("kins", "SAMBA", 88.47, None, SAMBA, "predicted", "zero-shot"),
    _mean("d2sa", "SAMBA", 90.87, None, SAMBA, "predicted", "zero-shot"),
    _ap("d2sa", "SAMEO on RTMDet's boxes", 80.8),
    _ap("d2sa", "SAMEO on AISFormer's boxes", 79.8),
    _ap("d2sa", "AISFormer", 66.3),
    _mean("sailvos", "Diffusion-VAS", 77.07, 55.12, VAS, note="video, top 1"),
    _mean("sailvos", "Diffusion-VAS", 79.23, 59.69, VAS, note="video, top 3"),
    _mean("sailvos", "PCNet-M", 74.2, 42.52, VAS, note="video"),
    _mean("sailvos", "pix2gestalt", 60.79, 33.76, VAS, note="video"),
)
"""Gathered from the papers; the protocols differ, so compare within one protocol alone."""


OFFICIAL: dict[str, dict[str, int]] = {
    "bsdsa": {"test": 200, "val": 100},
    "cocoa": {"val": 1323, "test": 1250},
    "cocoa-cls": {"val": 1223},
    "d2sa": {"validation": 3600},
    "kins": {"test": 7517},
    "mp3d-amodal": {"eval": 9783},
}
"""Images of the parts that papers report on; see docs/datasets. A folder in a data set's layout may hold anything."""
MISSING = 0.01
"""Share of a part's images that may be missing, since a bad entry is passed over: the report lists them."""


def published_for(data: str, settings: Mapping[str, Any], images: int) -> list[dict[str, Any]]:
    """The published results on a data set that have the protocol of a run, JSON-ready; none if the run was on something else.

    All of them score a method's masks as it made them, so a sealed run has none beside it; a run with the true occluder given
    has none either, and a best of several samples stands beside a run of as many alone. Somebody's predictions come with a
    protocol that only they know: all of the part are listed.

    Args:
        data: the data set's name.
        settings: of the run, as `run.json` holds them.
        images: how many the run has objects of.
    """
    if another_set(data, settings, images):
        return []
    fitting: set[str] = set()
    if "prompt" not in settings:
        fitting = {"mask", "recovered", "predicted"}
    elif settings.get("raw") and settings["prompt"] == "mask":
        fitting = {"none": {"mask"}, "recovered": {"recovered"}}.get(settings.get("occluders", "none"), set())
    parts = ("", settings.get("data", {}).get("split"))
    drawn = {1, settings.get("samples")} if "prompt" in settings else {entry.samples for entry in PUBLISHED}
    rows = [
        entry
        for entry in PUBLISHED
        if entry.data == data and entry.given in fitting and entry.split in parts and entry.samples in drawn
    ]
    return [{**asdict(entry), "protocol": entry.protocol} for entry in rows]


def another_set(data: str, settings: Mapping[str, Any], images: int) -> str:
    """Why the published numbers on a data set are not those of a run's objects; "" if they are, or if there are none.

    Args: as in `published_for`.
    """
    if not any(entry.data == data for entry in PUBLISHED):
        return ""
    split = str(settings.get("data", {}).get("split"))
    parts = OFFICIAL.get(data, {})
    if split not in parts:
        known = (
            f"papers report on {' or '.join(parts)}" if parts else "how many images the papers' part has is not known"
        )
        return f"not compared with published numbers: this is {data} {split}, {known}"
    if not (1 - MISSING) * parts[split] <= images <= parts[split]:
        return f"not compared with published numbers: {data} {split} has {parts[split]:,} images, this run {images:,}"
    return ""
