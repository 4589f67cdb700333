"""Published numbers with their protocols: printed beside ours, never mixed into our columns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["PUBLISHED", "Published", "published_for"]

GT = "GT-V"
POOLED = "GT-V, pooled over all regions"
STATED = "GT-V, stated as mIoU; no evaluation code, pooled is likelier"


@dataclass(frozen=True)
class Published:
    """One published result: on which data set, by which method, under which protocol, where."""

    data: str
    method: str
    protocol: str
    iou: float
    iou_occluded: float | None
    source: str


def _zhan(data: str, method: str, iou: float, occluded: float | None, note: str = "") -> Published:
    return Published(data, method, POOLED + note, iou, occluded, "Zhan et al., CVPR 2024, tables 3-7")


P2G = "Ozguroglu et al., pix2gestalt, CVPR 2024"
TUNING_FREE = "Tuning-free amodal segmentation, AAAI 2026 (second-hand)"
C2F = "Gao et al., C2F-Seg, ICCV 2023"
VITA = "ViTA-Seg, arXiv 2512.09510"
SYNERGY = "SynergyAmodal, ACM MM 2025"
MEAN = "GT-V, mean over objects; occluded over occluded objects"
PREDICTED = "predicted visible masks, mean over objects; occluded over occluded objects"

PUBLISHED: tuple[Published, ...] = (
    _zhan("cocoa", "raw visible mask", 69.9, 0.006),
    _zhan("cocoa", "deocclusion two-stage", 88.2, 65.3, "; occluder given"),
    _zhan("cocoa", "ASBU", 88.9, 65.3, "; occluder given"),
    _zhan("cocoa", "deocclusion one-stage", 88.0, 63.8),
    _zhan("cocoa", "OccAmodal", 89.4, 66.2),
    _zhan("cocoa", "SDAmodal", 90.7, 71.6),
    Published("cocoa", "tuning-free (SDXL)", STATED, 82.7, None, TUNING_FREE),
    Published("cocoa", "pix2gestalt", STATED + "; vote of 16", 82.87, None, P2G),
    Published("cocoa", "pix2gestalt, best of 3", STATED, 87.10, None, P2G),
    Published("cocoa", "PCNet", STATED, 81.35, None, P2G),
    Published("cocoa", "PCNet, supervised", STATED, 82.53, None, P2G),
    Published("cocoa", "SDXL inpainting", STATED, 76.52, None, P2G),
    Published("cocoa", "SAM", STATED, 67.21, None, P2G),
    Published("cocoa", "SynergyAmodal", GT + ", best of 8", 90.3, None, SYNERGY),
    Published("cocoa", "SDAmodal", GT + ", as run by SynergyAmodal", 87.3, None, SYNERGY),
    Published("cocoa", "pix2gestalt", GT + ", as run by SynergyAmodal", 85.8, None, SYNERGY),
    Published("bsdsa", "tuning-free (SDXL)", STATED, 75.6, None, TUNING_FREE),
    Published("bsdsa", "pix2gestalt", STATED + "; vote of 16", 80.76, None, P2G),
    Published("bsdsa", "pix2gestalt, best of 3", STATED, 85.68, None, P2G),
    Published("bsdsa", "SDXL inpainting", STATED, 74.19, None, P2G),
    Published("bsdsa", "SAM", STATED, 65.25, None, P2G),
    _zhan("mp3d-amodal", "raw visible mask", 64.4, 0.004),
    _zhan("mp3d-amodal", "deocclusion one-stage", 72.4, 28.0),
    _zhan("mp3d-amodal", "OccAmodal", 72.9, 27.5),
    _zhan("mp3d-amodal", "OccAmodal, MP3D training data", 73.8, 29.6),
    _zhan("mp3d-amodal", "SDAmodal", 76.4, 38.5),
    _zhan("mp3d-amodal", "SDAmodal, MP3D training data", 81.8, 53.7),
    _zhan("cocoa-cls", "SDAmodal", 93.5, 59.6),
    _zhan("cocoa-cls", "OccAmodal", 92.0, 47.8),
    Published("cocoa-cls", "C2F-Seg", MEAN, 87.15, 36.69, C2F),
    Published("cocoa-cls", "C2F-Seg", PREDICTED, 80.28, 27.71, C2F),
    Published("cocoa-cls", "ViTA-Seg", MEAN, 93.70, 49.88, VITA),
    Published("cocoa-cls", "SAMBA", "predicted boxes, mean over objects", 81.82, None, "SAMBA, CVPR 2025"),
    Published("kins", "C2F-Seg", MEAN, 87.89, 57.30, C2F),
    Published("kins", "C2F-Seg", PREDICTED, 82.22, 53.60, C2F),
    Published("kins", "ViTA-Seg", MEAN, 91.12, 63.48, VITA),
    Published("kins", "SAMBA", "predicted boxes, mean over objects", 88.47, None, "SAMBA, CVPR 2025"),
    Published("d2sa", "SAMBA", "predicted boxes, mean over objects", 90.87, None, "SAMBA, CVPR 2025"),
    Published("sailvos", "Diffusion-VAS, top 1", "GT-V video", 77.07, 55.12, "Diffusion-VAS, CVPR 2025"),
    Published("sailvos", "PCNet-M", "GT-V video", 74.2, 42.52, "Diffusion-VAS, CVPR 2025"),
    Published("sailvos", "pix2gestalt", "GT-V video", 60.79, 33.76, "Diffusion-VAS, CVPR 2025"),
)
"""In per cent. From facts gathered out of the papers; the protocols differ, so compare within one protocol alone."""


def published_for(data: str) -> list[dict[str, Any]]:
    """The published results on a data set, JSON-ready."""
    return [asdict(entry) for entry in PUBLISHED if entry.data == data]
