"""One view: project, select, take or render the picture, and describe every kept object as a `Sample`."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DataError
from ...core.files import write_bytes
from ...core.image import Image, encode_jpeg
from ...core.image import read as read_image
from ...core.mask import Mask
from ...data.folder import file_stem
from ...data.sample import Sample
from ...geometry.camera import Camera
from ...geometry.cameras import read_list, sample_cameras
from ...geometry.project import Projection, project
from ...geometry.rays import Caster
from ...geometry.readers import Seen, Source, open_source
from ...geometry.render import Renderer
from ...geometry.scene import SceneGeometry
from .config import BuildConfig, SceneConfig
from .select import depth_order, order_graph, select

__all__ = ["Stage", "ViewResult", "camera_record", "describe"]


@dataclass(frozen=True)
class ViewResult:
    """What a view gave: its samples, and one JSON-ready record for the build's journal."""

    samples: list[Sample]
    record: dict[str, Any]


class Stage:
    """One scene of a build, opened: knows its cameras and makes views. Meshes, textures and ray caster are kept."""

    def __init__(self, config: BuildConfig, scene: SceneConfig) -> None:
        self.config = config
        self.scene = scene
        self.source: Source = open_source(scene.kind, Path(scene.path), scene.name, scene.reader)

    @cached_property
    def geometry(self) -> SceneGeometry:
        """The static scene. Raises DataError for sources whose objects move."""
        return self.source.geometry(None)

    def cameras(self) -> tuple[list[Camera], list[str]]:
        """The views to make, and those that had to be left out, one line each."""
        failures = list(self.source.failures)
        if self.scene.cameras == "files":
            cameras = list(self.source.cameras)
            if not cameras and not failures:
                failures.append(f"scene {self.scene.name} brings no cameras; set cameras = 'sample' or 'list'")
        elif self.scene.cameras == "list":
            cameras, more = read_list(Path(self.scene.camera_list))
            failures += more
        else:
            cameras, more = sample_cameras(self.geometry, self.scene.sample, self.renderer.caster)
            failures += more
        return cameras[: self.scene.limit], failures

    def checksum(self, camera: Camera) -> dict[str, Any]:
        """What was read, JSON-ready, to be compared with another reading: objects, faces, a checksum of all corners and owners.

        Of a source whose objects move: of the first view.
        """
        geometry = self.geometry if self.source.static else self.source.geometry(camera)
        code = zlib.crc32(geometry.owner.tobytes())
        for first in range(0, len(geometry.faces), 1 << 20):
            corners = geometry.vertices[geometry.faces[first : first + (1 << 20)]].astype(np.float32)
            code = zlib.crc32(corners.tobytes(), code)
        return {"instances": len(geometry.instances), "faces": len(geometry.faces), "checksum": f"{code:08x}"}

    @cached_property
    def renderer(self) -> Renderer:
        """Renders the static scene."""
        geometry = self.geometry
        return Renderer(geometry, self.config.render, Caster(geometry.vertices, geometry.faces))

    def view(self, camera: Camera, folder: Path) -> ViewResult:
        """Make one view; its picture and depth are written into `folder` unless it is an unchanged photograph."""
        geometry = self.source.geometry(camera)
        projection = project(geometry, camera, self.config.beyond_frame)
        check_inside(geometry, projection, camera)
        # A rendered picture shows the surfaces alone, so that masks of the photograph are not its own.
        seen = self.source.seen(camera) if self.photograph(camera) is not None else Seen()
        remarks = [*geometry.remarks, *misplaced(geometry, projection, seen, camera)]
        projection = projection.with_seen(seen.masks)
        kept, reasons = select(geometry, projection, self.config.select)
        record: dict[str, Any] = {
            "image_id": f"{self.scene.name}-{camera.name}",
            "scene": self.scene.name,
            "split": self.scene.split,
            "objects": len(projection.amodal),
            "kept": len(kept),
            "left_out": {reason: list(reasons.values()).count(reason) for reason in sorted(set(reasons.values()))},
            "remarks": remarks,
            "notes": list(seen.notes),
            "camera": camera_record(camera),
        }
        if not kept:
            return ViewResult([], record)
        picture = self.picture(geometry, camera, folder)
        if self.config.depth:
            write_bytes(folder / "depth" / f"{file_stem(record['image_id'])}.png", encode_depth(projection.depth))
        min_gap, beyond = self.config.select.min_gap, self.config.beyond_frame > 0
        return ViewResult(describe(geometry, projection, kept, picture, record["image_id"], min_gap, beyond), record)

    def photograph(self, camera: Camera) -> Path | None:
        """The file of the view's photograph, None where the picture is rendered."""
        return camera.image if self.config.pictures != "render" else None

    def picture(self, geometry: SceneGeometry, camera: Camera, folder: Path) -> Path:
        """The file of the view's picture: the photograph, or one that is rendered into `folder`."""
        photo = self.photograph(camera)
        if self.config.pictures == "photo" and (photo is None or not photo.is_file()):
            raise DataError(f"view {camera.name}: no photograph; set pictures = 'auto' to render where there is none")
        if photo is not None and not any(camera.distortion):
            return photo
        if photo is not None:
            return self.store(undistorted(read_image(photo), camera), folder)
        renderer = self.renderer if self.source.static else Renderer(geometry, self.config.render)
        seed = int.from_bytes(camera.name.encode()[-6:], "little")
        return self.store(renderer.render(camera, seed), folder)

    def store(self, image: Image, folder: Path) -> Path:
        """Write a picture as JPEG."""
        path = folder / "picture.jpg"
        write_bytes(path, encode_jpeg(image, self.config.jpeg))
        return path


def camera_record(camera: Camera) -> dict[str, Any]:
    """What a view's record tells of its camera, JSON-ready."""
    arrays = {"matrix": camera.matrix.tolist(), "cam_from_world": camera.cam_from_world.tolist()}
    return {"size": list(camera.size), **arrays}


def describe(
    geometry: SceneGeometry,
    projection: Projection,
    kept: Sequence[int],
    picture: Path | Image,
    image_id: str,
    min_gap: float,
    beyond_frame: bool,
) -> list[Sample]:
    """The kept objects as samples; occluders are named by object, with the number of pixels that they hide.

    `occluder` is everything that is seen of the named ones, and every pixel where anything hides the object.
    """
    graph = order_graph(projection)
    order = depth_order(graph)
    names = {each.id: each.name for each in geometry.instances} | {0: "(no object)"}
    height, width = projection.labels.shape
    found = []
    for identity in kept:
        instance, amodal = geometry.instance(identity), projection.amodal[identity]
        whole = amodal.clip((height, width))
        hiding = {other: count for other, count in graph[identity].items() if count > min_gap * whole.area}
        ranked = sorted(hiding.items(), key=lambda item: -item[1])
        visible = projection.visible[identity]
        hides = Mask.from_array(np.isin(projection.labels, list(hiding)) & (projection.faces >= 0))
        seen = projection.depth[visible.to_array((height, width))]
        sample = Sample(
            id=f"{image_id}-{instance.name}",
            image_id=image_id,
            picture=picture,
            size=(height, width),
            visible=visible,
            amodal=amodal,
            category=instance.category or instance.label,
            occluders=tuple(f"{image_id}-{names[other]}" for other, _ in ranked if other in kept),
            occluder=hides | (whole - visible),
            order=order[identity],
            beyond_frame=beyond_frame,
            source=geometry.name,
            extra={
                "scene": geometry.name,
                "label": instance.label,
                "occluders": [{"name": names[other], "pixels": count} for other, count in ranked],
                "depth": round(float(np.median(seen)), 3) if seen.size else None,
                "open_edges": instance.open_edges,
            },
        )
        found.append(sample)
    return found


def misplaced(geometry: SceneGeometry, projection: Projection, seen: Seen, camera: Camera) -> list[str]:
    """One sentence if more than a tenth of an object's own visible mask lies beside its projection, which is then wrong or not its."""
    bad = []
    for instance in geometry.instances:
        mask = seen.masks.get(instance.id)
        whole = projection.amodal.get(instance.id)
        if mask and mask.area - (mask.overlap(whole) if whole else 0) > 0.1 * mask.area:
            bad.append(instance.name)
    if not bad:
        return []
    return [
        f"view {camera.name}: of {len(bad)} objects (first: {bad[0]}) more than a tenth of the visible mask lies outside of the "
        "projected model; that part is left out; the pose or the mask may be of something else"
    ]


def check_inside(geometry: SceneGeometry, projection: Projection, camera: Camera) -> None:
    """Refuse views from inside an object: one surface nearer than 5 cm, or the back sides of one object, fill the picture."""
    if not (projection.faces >= 0).any():
        raise DataError(f"view {camera.name}: the camera sees nothing of the scene; wrong axes or units?")
    near = (projection.depth > 0) & (projection.depth < 0.05)
    if near.mean() > 0.9:
        raise DataError(f"view {camera.name}: the camera is inside an object or against a wall; left out")
    identity = int(np.bincount(projection.labels.ravel()).argmax())
    mine = projection.labels == identity
    if not identity or mine.mean() <= 0.9 or geometry.instance(identity).structure:
        return
    faces, counts = np.unique(projection.faces[mine], return_counts=True)
    corners = geometry.vertices[geometry.faces[faces]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    behind = np.einsum("ni,ni->n", normals, corners[:, 0] - camera.position) > 0
    if counts[behind].sum() > 0.9 * counts.sum():
        name = geometry.instance(identity).name
        raise DataError(f"view {camera.name}: the camera is inside the object {name}; left out")


def undistorted(image: Image, camera: Camera) -> Image:
    """The photograph as a pinhole camera would have taken it (OpenCV's lens model, integer pixel centres)."""
    import cv2

    matrix = camera.matrix.copy()
    matrix[:2, 2] -= 0.5
    return np.asarray(cv2.undistort(image, matrix, np.array(camera.distortion)), np.uint8)


def encode_depth(depth: NDArray[np.float32]) -> bytes:
    """Metres (H, W) as a 16-bit PNG of millimetres; 0 for what is farther than its largest number, 65.535 m, can tell."""
    import cv2

    millimetres = np.rint(depth * 1000)
    millimetres = np.where(millimetres <= 65535, millimetres, 0).astype(np.uint16)
    return bytes(cv2.imencode(".png", millimetres)[1].tobytes())
