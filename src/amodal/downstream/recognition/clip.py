"""CLIP (Radford et al. 2021) through transformers: pictures against any list of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError, WeightsError, reported
from ...core.image import Image
from ...runtime.quiet import quiet
from ...weights.catalogue import locate
from ...weights.config import read_config
from ...weights.pretrained import load_pretrained
from .labels import check_labels
from .ranking import Ranking, rankings

__all__ = ["Recognizer"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class Recognizer:
    """Tells which label fits a picture best. The labels are embedded once."""

    def __init__(
        self,
        labels: Sequence[str],
        model: str | Path = "clip",
        *,
        template: str = "a photo of a {}",
        device: str = "auto",
    ) -> None:
        """Load CLIP and embed the labels.

        Args:
            labels: at least two, all different.
            model: fetched weights by name, a hub name or a folder.
            template: the sentence around each label, with one pair of braces.
            device: "auto", "cpu", "cuda", ...

        Raises:
            UsageError: a bad label list or template.
            WeightsError: the model is absent or not CLIP.
        """
        import torch
        from transformers import CLIPModel, CLIPTokenizer

        from ...runtime.devices import pick_device

        self.labels = check_labels(labels)
        if template.count("{}") != 1:
            raise UsageError(f"the template {template!r} needs one pair of braces, for instance 'a photo of a {{}}'")
        folder = locate(str(model))
        read_config(folder / "config.json", "a CLIP model")
        self.network: Any = load_pretrained(CLIPModel, folder)
        with quiet(), reported(WeightsError, f"{folder} is not a CLIP model"):
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self.network.eval().requires_grad_(False).to(pick_device(device))
        self.size = int(self.network.config.vision_config.image_size)
        sentences = [template.format(label) for label in self.labels]
        tokens = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt").to(self.network.device)
        with torch.inference_mode():
            states = self.network.text_model(**tokens).pooler_output
            self.text = unit(self.network.text_projection(states))

    def __call__(self, pictures: Sequence[Image]) -> list[Ranking]:
        """A ranking per picture (H, W, 3) uint8 RGB of any size."""
        import torch

        if not pictures:
            return []
        pixels = torch.from_numpy(np.stack([self.pixels(picture) for picture in pictures])).to(self.network.device)
        with torch.inference_mode():
            states = self.network.vision_model(pixel_values=pixels.to(self.network.dtype)).pooler_output
            seen = unit(self.network.visual_projection(states))
            logits = self.network.logit_scale.exp() * seen @ self.text.T
            values = logits.float().softmax(dim=1).cpu().numpy()
        return rankings(self.labels, values)

    def pixels(self, picture: Image) -> NDArray[np.float32]:
        """CLIP's own preprocessing: bicubic to the shorter side, centre crop, mean and deviation: (3, S, S) float32."""
        from PIL import Image as PILImage

        height, width = picture.shape[:2]
        scale = self.size / min(height, width)
        size = (max(self.size, round(width * scale)), max(self.size, round(height * scale)))
        small = np.asarray(PILImage.fromarray(picture).resize(size, PILImage.Resampling.BICUBIC))
        top, left = (small.shape[0] - self.size) // 2, (small.shape[1] - self.size) // 2
        middle = small[top : top + self.size, left : left + self.size].astype(np.float32) / 255
        values = (middle - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def unit(vectors: Any) -> Any:
    """Vectors of length one."""
    return vectors / vectors.norm(dim=-1, keepdim=True)
