"""What every classifier answers: all its labels with their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from ...core.image import Image

__all__ = ["Classifier", "Ranking", "rankings"]


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


class Classifier(Protocol):
    """Pictures to rankings of labels: `Recognizer` (CLIP, any labels) and `EmbeddedClassifier` (ImageNet's, no download)."""

    labels: tuple[str, ...]

    def __call__(self, pictures: Sequence[Image]) -> list[Ranking]:
        """A ranking per picture (H, W, 3) uint8 RGB of any size."""


def rankings(labels: Sequence[str], probabilities: NDArray[np.float32]) -> list[Ranking]:
    """A ranking per row of probabilities (N, labels)."""
    out = []
    for row in probabilities:
        order = np.argsort(-row, kind="stable")
        out.append(Ranking(tuple(labels[i] for i in order), tuple(float(row[i]) for i in order)))
    return out
