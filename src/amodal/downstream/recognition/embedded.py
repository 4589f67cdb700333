"""The classifier that ships: ImageNet's 1,000 classes, without torch and without a download."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import UsageError
from ...core.image import Image
from ...networks.image_encoder import class_names, classify
from .ranking import Ranking, rankings

__all__ = ["EmbeddedClassifier"]


class EmbeddedClassifier:
    """EfficientNet-Lite0 with ImageNet's weights (see `networks.image_encoder`).

    Args:
        labels: some of ImageNet's names, among which it chooses; None takes all. Two classes of one name are one label.

    Attributes:
        labels: the names, each once.

    Raises:
        UsageError: a name that is not ImageNet's.
    """

    def __init__(self, labels: Sequence[str] | None = None) -> None:
        names = class_names()
        known = {name.lower(): name for name in names}
        for label in labels or ():
            if label.lower() not in known:
                raise UsageError(_unknown(label, known))
        self.labels = tuple(known[label.lower()] for label in labels) if labels else tuple(dict.fromkeys(names))
        self.classes = [[k for k, name in enumerate(names) if name == label] for label in self.labels]

    def __call__(self, pictures: Sequence[Image]) -> list[Ranking]:
        """A ranking per picture (H, W, 3) uint8 RGB of any size; an object belongs on white with a margin around it."""
        if not pictures:
            return []
        every = classify(pictures).probabilities()
        chosen = np.stack([every[:, each].sum(axis=1) for each in self.classes], axis=1)
        return rankings(self.labels, chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1e-12))

    def provenance(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": "embedded", "labels": len(self.labels)}


def _unknown(label: str, known: Mapping[str, str]) -> str:
    """What to say of a label that none of the names is, with those that are near or contain it."""
    word = label.lower()
    inside = [name for name in known if word in name.split() or word in name.replace("-", " ").split()]
    near = [known[name] for name in dict.fromkeys([*inside, *difflib.get_close_matches(word, known, n=3)])][:5]
    meant = f"near it are {', '.join(near)}" if near else "none is near it"
    return (
        f"{label!r} is none of ImageNet's {len(known)} names, which are all that the embedded classifier knows; {meant}. "
        "Give no labels to choose among all of them, or take the classifier clip, which knows any label"
    )
