"""Reconstruction of occluded objects against their scans, as in pix2gestalt's section 4.3: two occluded views an object."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.pairs.compose import Pair, superimpose
from ..errors import AmodalError, DataError
from ..image import Image
from ..mask import Mask
from ..protocols import Tick, no_tick
from .lifters import Lifter
from .mesh import TexturedMesh, View, render
from .shapes import align, chamfer, lpips, psnr, ssim, volume_iou

if TYPE_CHECKING:
    from ..pipeline import Model

__all__ = ["INPUTS", "OccludedView", "Report3D", "evaluate_reconstruction", "occluded_views"]

INPUTS = {
    "visible": "the visible part alone, as without completion",
    "completed": "the completed object",
    "whole": "the object without an occluder: the best that this lifter can do",
}
"""What is lifted; the rows of tables 3 and 4."""


@dataclass(frozen=True)
class OccludedView:
    """A scan seen from one camera with an occluder in front.

    Attributes:
        id: object and number of the view.
        truth: the scan, normalised (see `TexturedMesh.normalised`).
        view: the camera.
        pair: input picture, whole picture and masks.
    """

    id: str
    truth: TexturedMesh
    view: View
    pair: Pair


def occluded_views(
    files: Sequence[Path], views: int = 2, size: int = 256, seed: int = 0, hidden: tuple[float, float] = (0.1, 0.6)
) -> list[OccludedView]:
    """Render each object from random cameras and lay renders of other objects over it.

    Args:
        files: meshes (.glb, .obj, .ply), at least two.
        views: per object.
        size: side of the pictures.
        seed: of cameras and occluders.
        hidden: share of the object that the occluder hides.

    Raises:
        DataError: fewer than two meshes, or one that is empty or damaged.
    """
    if len(files) < 2:
        raise DataError(
            f"{len(files)} meshes (.glb, .obj, .ply) were found; at least two are needed, since each is occluded by another"
        )
    meshes = [TexturedMesh.load(file).normalised() for file in files]
    out = []
    for index, (file, mesh) in enumerate(zip(files, meshes, strict=True)):
        for number in range(views):
            digest = hashlib.sha256(f"{seed}/{file.stem}/{number}".encode()).digest()
            random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            view = View(float(random.uniform(0, 360)), float(random.uniform(0, 35)))
            picture, seen = render(mesh, view, size)
            pair = None
            for _ in range(20):
                other = meshes[(index + int(random.integers(1, len(meshes)))) % len(meshes)]
                rgb, alpha = render(other, View(float(random.uniform(0, 360)), 10.0), size)
                cut = np.dstack([rgb, alpha.astype(np.uint8) * 255])
                pair = superimpose(picture, Mask.from_array(seen), cut, random, hidden) if seen.any() else None
                if pair is not None:
                    break
            if pair is None:
                raise DataError(f"{file}: no occluder fits; is the mesh flat or empty?")
            out.append(OccludedView(f"{file.stem}/{number}", mesh, view, pair))
    return out


@dataclass
class Report3D:
    """One row per view and input (see `INPUTS`).

    Attributes:
        rows: id, input, chamfer, iou, psnr, ssim and, if asked for, lpips.
        failures: "id: reason".
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def table(self) -> dict[str, dict[str, float]]:
        """The mean of each measure per input, over the views that all inputs could be lifted from."""
        groups: dict[str, dict[str, dict[str, Any]]] = {}
        for row in self.rows:
            groups.setdefault(row["id"], {})[row["input"]] = row
        inputs = [name for name in INPUTS if any(row["input"] == name for row in self.rows)]
        whole = [group for group in groups.values() if set(group) == set(inputs)]
        measures = [name for name in ("chamfer", "iou", "psnr", "ssim", "lpips") if self.rows and name in self.rows[0]]
        return {
            name: {m: round(float(np.mean([group[name][m] for group in whole])), 4) for m in measures}
            for name in inputs
            if whole
        }


def evaluate_reconstruction(
    views: Sequence[OccludedView],
    lifter: Lifter,
    model: Model | None,
    *,
    inputs: Sequence[str] = tuple(INPUTS),
    novel: int = 4,
    samples: int = 1,
    seed: int = 0,
    perceptual: bool = False,
    tick: Tick = no_tick,
) -> Report3D:
    """Lift each input of each view and compare with the scan.

    Args:
        views: as from `occluded_views`.
        lifter: makes the meshes.
        model: completes, from the true visible mask; None leaves "completed" out.
        inputs: names of `INPUTS`.
        novel: views around the object for PSNR, SSIM and LPIPS.
        samples: guesses of the completion.
        seed: of completion and lifter.
        perceptual: LPIPS too; its package must be there.
        tick: called once per view.
    """
    report = Report3D()
    for done, item in enumerate(views, 1):
        size = item.pair.whole.shape[0]
        truths = [render(item.truth, view, size)[0] for view in cameras_around(item.view, novel)]
        for name in inputs:
            if name == "completed" and model is None:
                continue
            try:
                rgba = cut(item, name, model, samples, seed)
                mesh = lifter.lift(rgba, seed).moved(item.view.axes())
                row = measure(align(mesh, item.truth), item, truths, perceptual)
                report.rows.append({"id": item.id, "input": name, **row})
            except DataError as error:
                report.failures.append(f"{item.id} ({name}): {error}")
        tick("view", done, len(views))
    if views and not report.rows:
        raise AmodalError(
            f"no view could be lifted: {report.failures[0] if report.failures else 'no input was asked for'}"
        )
    return report


def cut(item: OccludedView, name: str, model: Model | None, samples: int, seed: int) -> NDArray[np.uint8]:
    """The cut-out of an input."""
    pair = item.pair
    if name == "completed":
        assert model is not None
        return model(pair.occlusion, mask=pair.visible, samples=samples, seed=seed).rgba
    picture, mask = (pair.whole, pair.amodal) if name == "whole" else (pair.occlusion, pair.visible)
    x0, y0, x1, y1 = Mask.from_array(mask).box
    return np.dstack([picture, mask.astype(np.uint8) * 255])[y0:y1, x0:x1]


def cameras_around(view: View, count: int) -> list[View]:
    """`count` cameras around the object at the height of `view`, which is the first."""
    return [View(view.azimuth + 360 * number / count, view.elevation) for number in range(count)]


def measure(mesh: TexturedMesh, item: OccludedView, truths: Sequence[Image], perceptual: bool) -> dict[str, float]:
    """All measures of one reconstruction in the truth's frame; `truths` are the truth's pictures from `cameras_around`."""
    row = {"chamfer": chamfer(mesh, item.truth), "iou": volume_iou(mesh, item.truth)}
    cameras = cameras_around(item.view, len(truths))
    pictures = [(render(mesh, view, truth.shape[0])[0], truth) for view, truth in zip(cameras, truths, strict=True)]
    row["psnr"] = float(np.mean([psnr(*pair) for pair in pictures]))
    row["ssim"] = float(np.mean([ssim(*pair) for pair in pictures]))
    if perceptual:
        row["lpips"] = float(np.mean([lpips(*pair) for pair in pictures]))
    return {name: round(value, 5) for name, value in row.items()}
