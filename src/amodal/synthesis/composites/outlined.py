"""A photo library from photographs without masks: each one's salient object, outlined by a saliency network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError, WeightsError, reason_of
from ...core.files import file_sha256, read_bytes, write_json
from ...core.image import Image, encode_png, is_picture, read
from ...core.mask import Bits, Mask
from ...core.regions import connected
from ...engine.local import run_local
from ...engine.store import Store
from ...engine.worker import Result, Row, Runner, Spec, done
from ...networks.onnx_session import open_session
from ...plugins.protocols import Progress, no_progress
from ...segmenters.grabcut import clean

__all__ = ["SET", "Outline", "Saliency", "build_photos", "outline"]

SET = "outlined"
"""The library's only set: `outlined/images` and `outlined/masks`."""
SIDE = 320
MEAN, SPREAD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
CERTAIN, DOUBTFUL = 0.85, 0.15
PIECE, HOLE = 0.04, 0.01
"""A piece smaller than this share of the largest one is dropped, a hole smaller than this share of the object filled."""


class Saliency:
    """A network of U²-Net's kind as ONNX: one picture (1, 3, 320, 320) in, the first output (1, 1, 320, 320) its saliency.

    Qin et al., U²-Net: Going Deeper with Nested U-Structure for Salient Object Detection, 2020. The files `u2net.onnx` and
    `u2netp.onnx` of rembg are of this kind.
    """

    def __init__(self, path: str) -> None:
        """Raises WeightsError: the file is no such network."""
        self.session = open_session(path, threads=1)
        try:
            self.input = self.session.get_inputs()[0].name
            self(np.zeros((SIDE, SIDE, 3), np.uint8))
        except Exception as error:  # onnxruntime's own classes are not public
            raise WeightsError(
                f"{path} is no saliency network, which takes a picture (1, 3, {SIDE}, {SIDE}) and gives (1, 1, {SIDE}, {SIDE}): "
                f"{reason_of(error)}"
            ) from error

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """(H, W, 3) uint8 to (H, W) float32 in [0, 1], stretched so that the most salient pixel is 1 and the least 0."""
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        planes = ((small / max(float(small.max()), 1.0) - MEAN) / SPREAD).transpose(2, 0, 1)[None]  # (1, 3, 320, 320)
        found = self.session.run(None, {self.input: np.ascontiguousarray(planes)})[0]
        told = np.asarray(found, np.float32).reshape(SIDE, SIDE)
        told = (told - told.min()) / max(float(told.max() - told.min()), 1e-6)
        return np.asarray(cv2.resize(told, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def outline(saliency: NDArray[np.float32]) -> tuple[Bits, int, float]:
    """The object in a saliency map (H, W) in [0, 1].

    Returns:
        Its mask (H, W) bool without specks and pinholes, the number of its pieces, and the sureness: the pixels above
        0.85 as a share of those above 0.15, so that a soft or scattered answer is told from a crisp one.
    """
    sureness = float((saliency > CERTAIN).sum() / max(int((saliency > DOUBTFUL).sum()), 1))
    mask = clean(Mask.from_array(saliency > 0.5), [], speck=PIECE, hole=HOLE)
    return mask.to_array((saliency.shape[0], saliency.shape[1])), len(connected(mask)) if mask else 0, sureness


class Outline:
    """A photograph to its mask and its row of the library's index."""

    def __init__(self, network: str, digest: str) -> None:
        """
        Args:
            network: file of the saliency network.
            digest: SHA-256 of that file.
        """
        self.saliency = Saliency(network)
        self.digest = digest

    def __call__(self, row: Row, seed_of: Callable[[str], int]) -> list[Result]:
        path = Path(row.content["photo"])
        mask, pieces, sureness = outline(self.saliency(read(path)))
        edge = bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        facts = {"components": pieces, "touches_border": edge, "sureness": round(sureness, 4)}
        facts["share"] = round(float(mask.mean()), 4)
        files = {
            f"{SET}/images/{path.name}": read_bytes(path, DataError),
            f"{SET}/masks/{path.stem}.png": encode_png(mask),
        }
        return done(row, {"facts": facts}, files)


def build_photos(
    folder: Path,
    output: Path,
    network: Path,
    *,
    sure: float = 0.78,
    share: tuple[float, float] = (0.01, 0.6),
    run: Runner = run_local,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> tuple[int, int, int]:
    """Outline the object of every photograph in `folder`; those in one piece, told surely, make a library of composites.

    A build that was stopped goes on. All masks are kept; `index.json` lists those that count, so that another `sure` or `share`
    costs nothing. A photograph that cannot be read is left out, counted, and tried again by the next build.

    Args:
        sure: The least sureness; see `outline`.
        share: The least and the largest share of the picture that the object may take.

    Returns:
        The numbers of photographs listed, of those that were outlined but are unsure, in pieces, too small or too large, and
        of those that could not be read.

    Raises:
        DataError: there are no pictures, or two of the same name.
        OutputError: the output holds a library with other settings.
        WeightsError: `network` is no saliency network.
    """
    photos = sorted(path for path in folder.iterdir() if is_picture(path)) if folder.is_dir() else []
    if not photos:
        raise DataError(f"there are no pictures in {folder}; give a folder of photographs")
    stem, count = Counter(path.stem for path in photos).most_common(1)[0]
    if count > 1:
        raise DataError(f"{folder} has {count} pictures of the name {stem}; give each its own")
    settings = {"network": str(network), "digest": file_sha256(network, WeightsError)}
    plan = {"photos": str(folder), "digest": settings["digest"]}
    facts: dict[str, dict[str, Any] | None] = {}
    with Store(output, plan, owns=[SET, "index.json"], overwrite=overwrite) as store:
        facts = {entry["id"]: entry["facts"] for entry in store.entries}
        rows = [Row(path.name, {"photo": str(path)}) for path in photos if facts.get(path.name) is None]
        ready = len(photos) - len(rows)
        for number, (row, results) in enumerate(run(Spec(Outline, settings), rows) if rows else (), ready + 1):
            for name, content in results[0].files.items():
                store.write(name, content)
            facts[row.id] = results[0].record.get("facts")
            store.append({"id": row.id, "facts": facts[row.id], "error": results[0].record["error"]})
            progress("photo", number, len(photos))
        known = {path: fact for path in photos if (fact := facts[path.name]) is not None}
        listed = {
            path: fact
            for path, fact in known.items()
            if fact["components"] == 1 and fact["sureness"] >= sure and share[0] <= fact["share"] <= share[1]
        }
        write_json(
            output / "index.json",
            [{"set": SET, "name": path.stem, "split": "train", **fact} for path, fact in listed.items()],
        )
    return len(listed), len(known) - len(listed), len(photos) - len(known)
