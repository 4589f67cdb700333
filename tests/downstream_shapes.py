"""Coloured shapes with known geometry, pictures of them, and their overlap, for tests of what is downstream."""

import numpy as np
import trimesh

from amodal.geometry.camera import Camera
from amodal.geometry.mesh import Mesh
from amodal.geometry.render import Renderer


def painted(body: trimesh.Trimesh) -> Mesh:
    """Red to the right (x > 0), blue to the left."""
    right = body.vertices[:, :1] > 0
    colours = np.where(right, np.array([[220, 30, 30]]), np.array([[30, 30, 220]])).astype(np.uint8)
    return Mesh.coloured(body.vertices, body.faces, colours)


def ball(radius: float = 0.4, middle: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    """A ball."""
    body = trimesh.creation.icosphere(3, radius)
    body.apply_translation(middle)
    return painted(body)


def cube(side: float = 0.7) -> Mesh:
    """A cube, its faces cut so that colours may change within them."""
    return painted(trimesh.creation.box((side,) * 3).subdivide().subdivide())


def shown(mesh: Mesh, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask from a camera."""
    return Renderer(mesh).paint(camera)


def fibonacci(count: int, size: int) -> list[Camera]:
    """Cameras spread evenly over the sphere."""
    from amodal.downstream.views.protocol import RelativeCamera, studio

    lift = np.degrees(np.arcsin(1 - 2 * (np.arange(count) + 0.5) / count))
    return [studio(RelativeCamera(float(np.clip(e, -85, 85)), 137.508 * k), 0, size) for k, e in enumerate(lift)]


def volume_iou(mesh: Mesh, truth: Mesh) -> float:
    """Of the filled volumes."""
    from amodal.geometry.shapes import volume_iou

    return volume_iou(mesh, truth, 32)
