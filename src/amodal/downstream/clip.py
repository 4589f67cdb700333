"""CLIP (Radford et al. 2021) through transformers: pictures against any list of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, WeightsError
from ..image import Image
from ..quiet import quiet
from ..weights import locate
from .labels import check_labels

__all__ = ["Ranking", "Recognizer"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Ranking:
    """All labels with their probabilities (their sum is 1), best first."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    def place(self, label: str) -> int:
        """The rank of a label, 1 for the best. Raises UsageError if it is not in the list."""
        if label not in self.labels:
            raise UsageError(
                f"{label!r} is not in the label list of {len(self.labels)}: {', '.join(self.labels[:5])}, ..."
            )
        return self.labels.index(label) + 1

    def top(self, count: int) -> list[tuple[str, float]]:
        """The best labels with their probabilities."""
        return list(zip(self.labels[:count], self.probabilities[:count], strict=True))


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

        from ..devices import pick_device

        self.labels = check_labels(labels)
        if template.count("{}") != 1:
            raise UsageError(f"the template {template!r} needs one pair of braces, for instance 'a photo of a {{}}'")
        folder = locate(str(model))
        try:
            with quiet():
                self.network: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise WeightsError(f"{folder} is not a CLIP model: {str(error).strip().splitlines()[0]}") from error
        self.network.eval().requires_grad_(False).to(pick_device(device))
        self.size = int(self.network.config.vision_config.image_size)
        sentences = [template.format(label) for label in self.labels]
        tokens = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt").to(self.network.device)
        with torch.inference_mode():
            hidden = self.network.text_model(**tokens).pooler_output
            self.text = unit(self.network.text_projection(hidden))

    def __call__(self, pictures: Sequence[Image]) -> list[Ranking]:
        """A ranking per picture (H, W, 3) uint8 RGB of any size."""
        import torch

        if not pictures:
            return []
        pixels = torch.from_numpy(np.stack([self.pixels(picture) for picture in pictures])).to(self.network.device)
        with torch.inference_mode():
            hidden = self.network.vision_model(pixel_values=pixels.to(self.network.dtype)).pooler_output
            seen = unit(self.network.visual_projection(hidden))
            logits = self.network.logit_scale.exp() * seen @ self.text.T
            values = logits.float().softmax(dim=1).cpu().numpy()
        return [self._ranking(row) for row in values]

    def _ranking(self, row: NDArray[np.float32]) -> Ranking:
        order = np.argsort(-row, kind="stable")
        return Ranking(tuple(self.labels[i] for i in order), tuple(float(row[i]) for i in order))

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
