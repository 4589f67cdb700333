"""Monocular depth through transformers: Depth Anything V2, MiDaS/DPT and whatever else its auto class loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import WeightsError, reported
from ...core.image import Image
from ...weights.catalogue import locate
from ...weights.config import read_config
from ...weights.pretrained import load_pretrained

__all__ = ["DepthEstimator"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FARNESS = ("zoedepth", "glpn", "depth_pro", "prompt_depth_anything")
"""Model types whose output grows with the distance; the others' grows with nearness (inverse depth)."""
UNUSED = "neck.fusion_stage.layers.0.residual_layer1.*"
"""What DPT's class has and MiDaS' files lack: the first stage of the fusion has nothing to add."""


class DepthEstimator:
    """Image to nearness: relative inverse depth, larger is nearer to the camera. Threads may share it."""

    def __init__(self, model: str | Path, device: str = "auto") -> None:
        """Load a depth model.

        Args:
            model: a folder, a fetched hub name (`depth-anything/Depth-Anything-V2-Small-hf`, `Intel/dpt-hybrid-midas`) or a
                name of `amodal list weights`.
            device: "auto", "cpu", "cuda", ...

        Raises:
            WeightsError: absent or not a depth model.
        """
        from transformers import AutoModelForDepthEstimation

        from ...runtime.devices import pick_device

        folder = locate(str(model))
        read_config(Path(folder) / "config.json", "a depth model that transformers loads")
        network = load_pretrained(AutoModelForDepthEstimation, Path(folder), unused=UNUSED)
        self.network = network.eval().requires_grad_(False).to(pick_device(device))
        self.farness = (
            network.config.model_type in FARNESS or getattr(network.config, "depth_estimation_type", "") == "metric"
        )
        with reported(WeightsError, f"{folder} tells no picture that the network takes"):
            self.canvas = canvas_of(folder, network.config)

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """Nearness (H, W) float32 of (H, W, 3) uint8; comparable within the picture only."""
        import cv2
        import torch

        height, width = image.shape[:2]
        scales = [self.canvas.side / height, self.canvas.side / width]
        if self.canvas.keep_aspect:  # the change of size that is the smaller one, as transformers' DPT processor
            scales = [min(scales, key=lambda scale: abs(1 - scale))] * 2
        sizes = zip((height, width), scales, strict=True)
        rows, columns = (max(1, round(n * scale / self.canvas.multiple)) * self.canvas.multiple for n, scale in sizes)
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
        values = (small - np.array(self.canvas.mean, np.float32)) / np.array(self.canvas.deviation, np.float32)
        pixels = torch.from_numpy(values.transpose(2, 0, 1)[None]).to(self.network.device, self.network.dtype)
        with torch.inference_mode():
            depth = self.network(pixel_values=pixels).predicted_depth.float().cpu().numpy()
        depth = depth.reshape(depth.shape[-2:])
        full = cv2.resize(depth, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(-full if self.farness else full, np.float32)


@dataclass(frozen=True)
class Canvas:
    """What a network wants of a picture: its side, of what its sides are multiples, and its values' mean and deviation a channel."""

    side: int
    multiple: int
    keep_aspect: bool
    mean: Sequence[float]
    deviation: Sequence[float]


def canvas_of(folder: Path, config: Any) -> Canvas:
    """From the preprocessor's file, else from the configuration."""
    file = folder / "preprocessor_config.json"
    told = read_config(file) if file.is_file() else {}
    backbone = getattr(config, "backbone_config", None)
    patch = int(getattr(backbone, "patch_size", None) or getattr(config, "patch_size", None) or 16)
    size = told.get("size", getattr(backbone, "image_size", None) or getattr(config, "image_size", None) or 384)
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge") or 384
    if isinstance(size, list | tuple):
        size = size[0]
    multiple = int(told.get("ensure_multiple_of") or patch)
    side = max(multiple, int(size) // multiple * multiple)
    mean, deviation = told.get("image_mean", IMAGENET[0]), told.get("image_std", IMAGENET[1])
    return Canvas(side, multiple, bool(told.get("keep_aspect_ratio", False)), mean, deviation)
