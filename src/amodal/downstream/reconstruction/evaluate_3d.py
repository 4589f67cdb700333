"""Tables 3 and 4 of pix2gestalt (section 4.3): reconstruction and novel views of occluded scans against the scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import AmodalError, DataError, UsageError
from ...core.image import Image
from ...core.mask import Mask
from ...core.options import build_options
from ...core.regions import spread_points
from ...data.identity import checksum
from ...engine.store import Store
from ...geometry.camera import orbit
from ...geometry.mesh import Mesh
from ...geometry.render import Renderer
from ...geometry.shapes import align, chamfer, lpips, psnr, ssim, volume_iou
from ...plugins.protocols import Progress, no_progress
from ..perceptual import perceptual_distance
from ..views.protocol import NovelView, RelativeCamera, orbit_cameras, studio
from .lifters import Lifter
from .multiview import MultiviewOptions, fit_views
from .occluded import OccludedView, choose_objects, find_meshes, names_of, occluded_view

if TYPE_CHECKING:
    from ...pipeline import Model

__all__ = ["INPUTS", "PUBLISHED", "Evaluation", "evaluate_reconstruction", "summary"]

INPUTS = {
    "foreground": "all foreground, object and occluder (SyncDreamer)",
    "segmented": "the object as the segmenter finds it from a click (SAM + SyncDreamer)",
    "segmented-completed": "completed from that mask (ours, SAM mask)",
    "visible": "the true visible mask (GT mask + SyncDreamer)",
    "completed": "completed from the true visible mask (ours, GT mask)",
    "whole": "the object without an occluder: the best that the lifter can do",
    "true-views": "a field fitted to sixteen true views: the best that multiview can do (table 4: its renders)",
}
"""What is lifted; the first five are the rows of tables 3 and 4, in their order."""
PUBLISHED: dict[str, dict[str, float]] = {
    "foreground": {"chamfer": 0.0884, "iou": 0.2741, "lpips": 0.3221, "psnr": 11.914, "ssim": 0.6808},
    "segmented": {"chamfer": 0.1182, "iou": 0.0926, "lpips": 0.3060, "psnr": 12.432, "ssim": 0.7248},
    "segmented-completed": {"chamfer": 0.0784, "iou": 0.3312, "lpips": 0.2848, "psnr": 13.868, "ssim": 0.7211},
    "visible": {"chamfer": 0.1084, "iou": 0.1027, "lpips": 0.2905, "psnr": 12.561, "ssim": 0.7322},
    "completed": {"chamfer": 0.0681, "iou": 0.3639, "lpips": 0.2631, "psnr": 14.657, "ssim": 0.7328},
}
"""Tables 3 and 4 as printed: SyncDreamer on Google Scanned Objects, 30 objects, 60 pictures."""
MEASURES = ("chamfer", "iou", "psnr", "ssim", "perceptual", "lpips")
VIEWS = 16


@dataclass(frozen=True)
class Evaluation:
    """What is compared, and how.

    Attributes:
        lifter: makes the meshes.
        model: segments and completes.
        novel_views: draws the pictures of table 4 from the input's cut-out; None renders the lifted mesh instead.
        inputs: names of `INPUTS`.
        size: side of the pictures.
        novel: cameras around the object for table 4 where pictures are renders of the mesh.
        samples: of the completion.
        seed: of all chance.
        with_lpips: LPIPS too; its package must be there.
    """

    lifter: Lifter
    model: Model
    novel_views: NovelView | None = None
    inputs: tuple[str, ...] = tuple(INPUTS)
    size: int = 256
    novel: int = 4
    samples: int = 1
    seed: int = 0
    with_lpips: bool = False

    def __post_init__(self) -> None:
        if self.size % 32:
            raise UsageError(f"pictures of {self.size} pixels cannot be compared: the side must be a multiple of 32")

    def plan(self) -> dict[str, Any]:
        """JSON-ready: all that the numbers depend on beside the objects."""
        return {
            "lifter": self.lifter.provenance(),
            "model": self.model.provenance(),
            "novel_views": self.novel_views.provenance() if self.novel_views else "renders of the lifted mesh",
            "inputs": list(self.inputs),
            **{"size": self.size, "novel": self.novel, "samples": self.samples, "seed": self.seed},
        }

    def measure(self, item: OccludedView) -> dict[str, Any]:
        """All inputs of one view: `measures` by input, and `errors` of those that could not be lifted."""
        maker, height = self.novel_views, item.elevation
        cameras = maker.cameras(VIEWS, height) if maker else orbit_cameras(self.novel)
        renderer = Renderer(item.truth)
        truths = [renderer.paint(studio(camera, height, self.size))[0] for camera in cameras]
        measures: dict[str, dict[str, float]] = {}
        errors: dict[str, str] = {}
        for name in self.inputs:
            try:
                rgba = None
                if name == "true-views":
                    mesh = from_true_views(renderer, self.size, self.seed)
                else:
                    rgba = self.input_of(item, name)
                    mesh = self.lifter.lift(rgba, self.seed).moved(orbit(0, height).axes)  # upright
                if maker and rgba is not None:
                    drawn = maker.draw(rgba, cameras, elevation=height, seed=self.seed)
                    pictures = [fitted(picture, self.size) for picture in drawn]
                else:
                    pictures = renders(mesh, cameras, height, self.size)
                measures[name] = compare(mesh, item.truth, pictures, truths, self.with_lpips)
            except DataError as error:
                errors[name] = str(error)
        return {"measures": measures, "errors": errors}

    def input_of(self, item: OccludedView, name: str) -> NDArray[np.uint8]:
        """The cut-out (h, w, 4) uint8 of an input. Raises DataError if there is nothing to see."""
        pair, samples, seed = item.pair, self.samples, self.seed
        if name == "completed":
            return self.model(pair.occlusion, mask=pair.visible, samples=samples, seed=seed).rgba
        if name in ("segmented", "segmented-completed"):
            scene, click = self.model.open(pair.occlusion), spread_points(pair.visible, 1)[0]
            if name == "segmented-completed":
                return scene.complete(point=click, samples=samples, seed=seed).rgba
            mask = scene.segment(point=click)[0].mask.to_array(pair.visible.shape)
        else:
            mask = {
                "foreground": pair.amodal | (pair.occlusion != pair.whole).any(axis=2),
                "visible": pair.visible,
                "whole": pair.amodal,
            }[name]
        if not mask.any():
            raise DataError(f"{item.id}: nothing of the object is left in the input {name}")
        picture = pair.whole if name == "whole" else pair.occlusion
        x0, y0, x1, y1 = Mask.from_array(mask).box
        return np.dstack([picture, mask.astype(np.uint8) * 255])[y0:y1, x0:x1]


def evaluate_reconstruction(
    objects: Path,
    evaluation: Evaluation,
    folder: Path,
    *,
    count: int = 30,
    views: int = 2,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Lift each input of random occluded views and compare with the scans; goes on where it was stopped.

    Args:
        objects: folder of meshes; objects are drawn from it, occluders from all of it.
        evaluation: what is compared, and how.
        folder: keeps the rows (see `engine.Store`).
        count: objects.
        views: occluded views of each.
        overwrite: begin anew: delete the evaluation that is in the folder.
        progress: called once per view.

    Returns:
        JSON-ready: table, published numbers, rows and failures.

    Raises:
        DataError: fewer than two meshes.
        OutputError: the folder holds another evaluation.
        AmodalError: no view could be measured.
    """
    files = find_meshes(objects)
    chosen = choose_objects(files, count, evaluation.seed)
    names = names_of(files)
    tasks = [(f"{names[file]}/{number}", file, number) for file in chosen for number in range(views)]
    plan = {**evaluation.plan(), "occluders": len(files), "lpips": evaluation.with_lpips}
    plan |= {
        "objects": [names[file] for file in chosen],
        "views_each": views,
        "meshes_sha256": checksum(files, objects),
    }
    with Store(folder, plan, owns=["reconstruction.json"], overwrite=overwrite) as store:
        rows = {entry["id"]: entry for entry in store.entries}
        for done, (name, file, number) in enumerate(tasks, 1):
            if name not in rows:
                try:
                    item = occluded_view(file, number, files, evaluation.size, evaluation.seed)
                    facts = {"occluder": item.occluder, "occluded": round(item.pair.occluded, 4)}
                    rows[name] = {"id": name, "error": None, **facts, **evaluation.measure(item)}
                except DataError as error:
                    rows[name] = {"id": name, "error": str(error)}
                store.append(rows[name])
            progress("view", done, len(tasks))
    table = summary([rows[name] for name, _, _ in tasks])
    return {**plan, "views": len(tasks), **table, "published": PUBLISHED, "rows": list(rows.values())}


def from_true_views(renderer: Renderer, size: int, seed: int) -> Mesh:
    """A field fitted to sixteen true views, eight at 30 degrees and eight from all heights, as an upright mesh."""
    heights = [30.0] * 8 + [-60.0, 60.0, -30.0, 80.0, -80.0, 0.0, 45.0, -45.0]
    cameras = [studio(RelativeCamera(height, 45.0 * k), 0, size // 2) for k, height in enumerate(heights)]
    pictures, masks = zip(*(renderer.paint(camera) for camera in cameras), strict=True)
    options = build_options(MultiviewOptions, {"cells": 48, "steps": 60, "rays": 2048, "agree": 1.0})
    return fit_views(np.stack(pictures), np.stack(masks), cameras, options, seed=seed).mesh()


def renders(mesh: Mesh, cameras: Sequence[RelativeCamera], elevation: float, size: int) -> list[Image]:
    """A mesh from cameras around it."""
    renderer = Renderer(mesh)
    return [renderer.paint(studio(camera, elevation, size))[0] for camera in cameras]


def fitted(picture: Image, size: int) -> Image:
    """A square picture at another size."""
    import cv2

    if picture.shape[0] == size:
        return picture
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA))


def compare(
    mesh: Mesh, truth: Mesh, pictures: Sequence[Image], truths: Sequence[Image], with_lpips: bool
) -> dict[str, float]:
    """Shape after alignment (see `align`), pictures as they are."""
    aligned = align(mesh, truth)
    row = {"chamfer": chamfer(aligned, truth), "iou": volume_iou(aligned, truth)}
    kinds = {"psnr": psnr, "ssim": ssim, "perceptual": perceptual_distance, **({"lpips": lpips} if with_lpips else {})}
    for name, measure in kinds.items():
        row[name] = float(np.mean([measure(*pair) for pair in zip(pictures, truths, strict=True)]))
    return {name: round(value, 5) for name, value in row.items()}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`table`: means of each measure per input over the views that all inputs could be lifted from; `compared` of them;
    `failures`: "id (input): reason". Raises AmodalError if no view could be measured."""
    failures = [f"{row['id']}: {row['error']}" for row in rows if row["error"]]
    done = [row for row in rows if not row["error"]]
    failures += [f"{row['id']} ({name}): {text}" for row in done for name, text in row["errors"].items()]
    inputs = [name for name in INPUTS if any(name in row["measures"] for row in done)]
    whole = [row["measures"] for row in done if set(row["measures"]) == set(inputs)]
    if not whole:
        raise AmodalError(
            f"no view could be measured for all inputs: {failures[0] if failures else 'none was asked for'}"
        )
    kinds = [name for name in MEASURES if name in whole[0][inputs[0]]]
    table = {
        name: {kind: round(float(np.mean([row[name][kind] for row in whole])), 4) for kind in kinds} for name in inputs
    }
    return {"table": table, "compared": len(whole), "failures": failures}
