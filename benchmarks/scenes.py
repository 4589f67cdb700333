"""Ground truth from 3-D: all visible and amodal masks of a view of the bookstore (101 k faces, 125 objects) at 1280 x 1024.

Four ways to project are compared; the package uses the first. Times are processor seconds of one thread, so that other work on
the machine does not count; `wall_s` is there too.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Skip

SCENE = Path(__file__).parent.parent.parent / "shared" / "data" / "scenes" / "bookstore.glb"
VIEWS = 4


def run() -> dict[str, Any]:
    """Median seconds a view for each way, how cost grows with pixels and with objects, and the memory."""
    if not SCENE.is_file():
        raise Skip(f"needs {SCENE}")
    from amodal.core.options import build_options
    from amodal.geometry import project
    from amodal.geometry.cameras import CameraSampling, sample_cameras
    from amodal.geometry.rays import Caster
    from amodal.geometry.readers import ReaderOptions, open_source

    scene = open_source("gltf", SCENE, options=build_options(ReaderOptions, {})).geometry(None)
    cameras, _ = sample_cameras(scene, build_options(CameraSampling, {"count": VIEWS, "seed": 7}))
    caster = Caster(scene.vertices, scene.faces)
    result: dict[str, Any] = {"faces": len(scene.faces), "objects": len(scene.instances), "pixels": "1280 x 1024"}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["spans (used)"] = timed(lambda camera: [project(scene, camera).visible], cameras)
    result["spans, objects beyond the frame (half a frame)"] = timed(lambda c: project(scene, c, 0.5).visible, cameras)
    result["memory_mb"] = {
        "whole process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "before the first view": round(before / 1024),
    }
    result["embree, nearest hits only (no amodal masks)"] = timed(lambda c: nearest(caster, c), cameras)
    result["embree, layer after layer"] = timed(lambda c: peel(scene, caster, c), cameras[:1])
    result["embree, one cast per object in its box"] = timed(lambda c: one_by_one(scene, c), cameras[:1])
    result["pixels_s"] = {
        f"{c[0].size[1]} x {c[0].size[0]}": timed(lambda v: project(scene, v).visible, c)["median_cpu_s"]
        for c in ([each.scaled(f) for each in cameras] for f in (0.25, 0.5, 1.0, 2.0))
    }
    result["objects_s"] = objects(scene, cameras)
    result["processes_wall_s"] = processes()
    return result


def timed(work: Callable[[Any], Any], cameras: list[Any]) -> dict[str, Any]:
    """Median, lowest and highest processor seconds over the views, and the median of wall seconds."""
    work(cameras[0])
    rows = []
    for camera in cameras:
        wall, cpu = time.perf_counter(), time.process_time()
        work(camera)
        rows.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_seconds = sorted(row[0] for row in rows)
    return {
        "median_cpu_s": round(float(np.median(cpu_seconds)), 3),
        "lowest_cpu_s": round(cpu_seconds[0], 3),
        "highest_cpu_s": round(cpu_seconds[-1], 3),
        "median_wall_s": round(float(np.median([row[1] for row in rows])), 3),
        "views": len(rows),
    }


def rays(camera: Any) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions of all pixels."""
    height, width = camera.size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    directions = camera.rays(np.stack([x.ravel(), y.ravel()], axis=1))
    return np.tile(camera.position, (len(directions), 1)), directions


def nearest(caster: Any, camera: Any) -> np.ndarray:
    """The nearest face of each pixel."""
    return caster.first(*rays(camera))[1]


def peel(scene: Any, caster: Any, camera: Any) -> dict[int, int]:
    """All hits along each ray: cast again from just behind each hit until nothing is met. Areas of the amodal masks."""
    origins, directions = rays(camera)
    alive = np.arange(len(origins))
    travelled = np.zeros(len(origins))
    seen = np.zeros((len(scene.instances) + 1, len(origins)), bool)
    for _ in range(200):
        distance, face = caster.first(origins[alive] + travelled[alive, None] * directions[alive], directions[alive])
        hit = face >= 0
        alive, distance, face = alive[hit], distance[hit], face[hit]
        if len(alive) == 0:
            break
        seen[scene.owner[face], alive] = True
        travelled[alive] += distance + 1e-4
    return {k: int(seen[k].sum()) for k in range(1, len(seen))}


def one_by_one(scene: Any, camera: Any) -> dict[int, int]:
    """One cast per object, only through the box of its projected corners. Areas of the amodal masks."""
    from amodal.geometry.rays import Caster

    height, width = camera.size
    areas = {}
    for instance in scene.instances:
        faces = scene.faces[scene.owner == instance.id]
        points = scene.vertices[np.unique(faces)] @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
        box = (0, 0, width, height)
        if (points[:, 2] > 0.01).all():
            image = points @ camera.matrix.T
            u, v = image[:, 0] / image[:, 2], image[:, 1] / image[:, 2]
            box = (
                max(0, int(u.min())),
                max(0, int(v.min())),
                min(width, int(u.max()) + 1),
                min(height, int(v.max()) + 1),
            )
        if not (points[:, 2] > 0.01).any() or box[0] >= box[2] or box[1] >= box[3]:
            continue
        x, y = np.meshgrid(np.arange(box[0], box[2]) + 0.5, np.arange(box[1], box[3]) + 0.5)
        directions = camera.rays(np.stack([x.ravel(), y.ravel()], axis=1))
        hits = Caster(scene.vertices, faces).blocked(np.tile(camera.position, (len(directions), 1)), directions, 1e6)
        areas[instance.id] = int(hits.sum())
    return areas


def objects(scene: Any, cameras: list[Any]) -> dict[str, float]:
    """The same faces cut into more and more objects."""
    from dataclasses import replace

    from amodal.geometry import Instance, project

    found = {}
    for count in (1, 10, 125, 1000):
        if count == 125:
            changed = scene
        else:
            owner = (np.arange(len(scene.faces)) * count // len(scene.faces) + 1).astype(np.int32)
            names = tuple(Instance(k + 1, str(k), str(k)) for k in range(count))
            changed = replace(scene, owner=owner, instances=names)
        found[str(count)] = timed(lambda c, s=changed: project(s, c).visible, cameras)["median_cpu_s"]
    return found


def processes(views: int = 12) -> dict[str, float]:
    """Wall seconds of a whole build (masks and rendered pictures of 640 x 480) by one and by two processes."""
    from functools import partial
    from tempfile import TemporaryDirectory

    from amodal.engine.local import run_local
    from amodal.synthesis.scenes.build import build
    from amodal.synthesis.scenes.config import BuildConfig

    sample = {"count": views, "width": 640, "height": 480}
    scene = {"kind": "gltf", "path": str(SCENE), "name": "bookstore", "cameras": "sample", "sample": sample}
    config = BuildConfig.model_validate({"scene": [scene]})
    found = {}
    for workers in (1, 2):
        with TemporaryDirectory() as folder:
            start = time.perf_counter()
            build(config, Path(folder) / "set", run=partial(run_local, workers=workers))
            found[f"{workers} for {views} views"] = round(time.perf_counter() - start, 2)
    return found
