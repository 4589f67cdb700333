"""Label lists for recognition: from words, a file, or built in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.errors import UsageError
from ...core.files import read_text

__all__ = ["COCO", "check_labels", "read_labels"]

COCO: tuple[str, ...] = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant"),
    *("bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard"),
    *("sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle"),
    *("wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli"),
    *("carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
"""The 80 classes of COCO, in its order."""


def check_labels(labels: Sequence[str], name: str = "the label list") -> tuple[str, ...]:
    """Labels without surrounding blanks.

    Raises:
        UsageError: none, only one, an empty one, or one that occurs twice.
    """
    clean = [" ".join(label.split()) for label in labels]
    if len(clean) < 2:
        raise UsageError(f"{name} has {len(clean)} labels; recognition chooses among at least two")
    for number, label in enumerate(clean, 1):
        if not label:
            raise UsageError(f"{name} has an empty label at place {number}")
        if label.lower() in (other.lower() for other in clean[: number - 1]):
            raise UsageError(f"{name} holds {label!r} twice; every label must occur once")
    return tuple(clean)


def read_labels(text: str) -> tuple[str, ...]:
    """Labels from "coco", from a text file with one a line (blank lines and # remarks are skipped), or from "cat,dog,cup".

    Raises:
        UsageError: see `check_labels`; or a file that is not text.
    """
    if text == "coco":
        return COCO
    path = Path(text)
    if not path.is_file():
        if path.suffix == ".txt" or "/" in text:
            raise UsageError(f"there is no label file {text}")
        return check_labels(text.split(","), f"the labels {text}")
    lines = read_text(path, UsageError).splitlines()
    return check_labels([line for line in lines if line.strip() and not line.startswith("#")], text)
