"""`Camera`: one view. OpenCV axes (x right, y down, z forward), transforms named `cam_from_world`, metres.

Image coordinates are continuous: pixel (i, j) covers [j, j+1) x [i, i+1), so the ray of a pixel passes its centre (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import DataError
from ..core.mask import Size
from ..core.scaling import is_scaled

__all__ = ["Camera", "Floats", "look_at", "orbit"]

Floats = NDArray[np.float64]

LARGEST = 16_384
"""Pixels a side of the largest pictures."""

OPENCV_FROM_OPENGL: Floats = np.diag([1.0, -1.0, -1.0, 1.0])
"""Turns a camera that looks along -z with y up (OpenGL, glTF, Matterport's .conf) into one that looks along z with y down."""


@dataclass(frozen=True, eq=False)
class Camera:
    """One view: a pinhole camera.

    Attributes:
        name: unique in its scene.
        size: the picture's (H, W).
        matrix: (3, 3) intrinsics in pixels, for continuous image coordinates (the first pixel's centre is (0.5, 0.5)).
        cam_from_world: (4, 4) rigid transform, OpenCV axes, metres.
        image: the photograph that belongs to it, or None.
        distortion: (k1, k2, p1, p2, k3) of the photograph's lens; it is undone when the photograph is read.
    """

    name: str
    size: Size
    matrix: Floats
    cam_from_world: Floats
    image: Path | None = None
    distortion: tuple[float, ...] = ()

    @classmethod
    def make(
        cls,
        name: str,
        size: Size,
        matrix: ArrayLike,
        world_from_camera: ArrayLike,
        *,
        convention: str = "opencv",
        image: Path | None = None,
    ) -> Camera:
        """A checked camera from its pose in the world.

        Args:
            name: for messages and file names.
            size: (H, W) in pixels.
            matrix: (3, 3) or larger (the upper left is taken), continuous image coordinates, origin top-left.
            world_from_camera: (4, 4) rigid pose.
            convention: the camera's axes: "opencv" (x right, y down, z forward) or "opengl" (x right, y up, looks along -z).
            image: its photograph.

        Raises:
            DataError: zero focal length, singular or non-rigid pose, matrices of another form (transposed ones), lost tracking, empty
                picture, unknown convention.
        """
        intrinsics = np.asarray(matrix, np.float64)[:3, :3]
        pose = np.asarray(world_from_camera, np.float64)
        check_camera(name, size, intrinsics, pose)
        if convention not in ("opencv", "opengl"):
            raise DataError(f"camera {name}: convention is {convention!r}; it must be opencv or opengl")
        if convention == "opengl":
            pose = pose @ OPENCV_FROM_OPENGL
        return cls(name, (int(size[0]), int(size[1])), intrinsics, invert_rigid(pose), image)

    @classmethod
    def looking(
        cls,
        position: ArrayLike,
        target: ArrayLike,
        size: Size,
        focal: float,
        *,
        up: ArrayLike = (0.0, 0.0, 1.0),
        name: str = "",
    ) -> Camera:
        """An upright camera at `position` (3,) that looks at `target` (3,); `focal` in pixels, the axis in the picture's middle."""
        matrix = np.array([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
        return cls.make(name, size, matrix, look_at(*(np.asarray(each, np.float64) for each in (position, target, up))))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready and exact."""
        arrays = {"matrix": self.matrix.tolist(), "cam_from_world": self.cam_from_world.tolist()}
        image = None if self.image is None else str(self.image)
        rest = {"image": image, "distortion": list(self.distortion)}
        return {"name": self.name, "size": list(self.size), **arrays, **rest}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Camera:
        """The inverse of `to_dict`."""
        size, image = (int(content["size"][0]), int(content["size"][1])), content["image"]
        arrays = np.array(content["matrix"]), np.array(content["cam_from_world"])
        return cls(content["name"], size, *arrays, image and Path(image), tuple(content["distortion"]))

    @property
    def position(self) -> Floats:
        """The camera's place in the world (3,), metres."""
        return np.asarray(-self.cam_from_world[:3, :3].T @ self.cam_from_world[:3, 3])

    @property
    def world_from_cam(self) -> Floats:
        """The inverse pose (4, 4)."""
        return invert_rigid(self.cam_from_world)

    @property
    def axes(self) -> Floats:
        """(3, 3): the columns are the camera's right, up and backward directions in the world."""
        return np.asarray(self.world_from_cam[:3, :3] @ OPENCV_FROM_OPENGL[:3, :3])

    def rays(self, points: ArrayLike) -> Floats:
        """World directions (N, 3), z-depth 1 (not unit length), through image points (N, 2) of (x, y)."""
        pixels = np.asarray(points, np.float64)
        homogeneous = np.column_stack([pixels, np.ones(len(pixels))])
        return np.asarray(homogeneous @ np.linalg.inv(self.matrix).T @ self.cam_from_world[:3, :3])

    def locate(self, points: ArrayLike) -> tuple[Floats, Floats]:
        """World points (N, 3) to image points (N, 2) of (x, y) and z-depths (N,); depths below 1 mm count as 1 mm in the division."""
        places = np.asarray(points, np.float64) @ self.cam_from_world[:3, :3].T + self.cam_from_world[:3, 3]
        projected = places @ self.matrix.T
        return projected[:, :2] / np.maximum(projected[:, 2:], 1e-3), places[:, 2]

    def in_metres(self, scale: float) -> Camera:
        """The view from a place that was given in other units, each of `scale` metres."""
        pose = self.cam_from_world.copy()
        pose[:3, 3] *= scale
        return replace(self, cam_from_world=pose)

    def scaled(self, factor: float) -> Camera:
        """The same view with `factor` times as many pixels a side."""
        return self.resized((round(self.size[0] * factor), round(self.size[1] * factor)))

    def resized(self, size: Size) -> Camera:
        """The same view in a picture of another size (H, W)."""
        scale = np.diag([size[1] / self.size[1], size[0] / self.size[0], 1.0])
        return replace(self, size=size, matrix=scale @ self.matrix)

    def fitted(self, size: Size) -> Camera:
        """The camera for its photograph of `size` (H, W), which may be a smaller or larger copy of the calibrated picture.

        Raises:
            DataError: the photograph has another shape than the picture that the camera was calibrated for.
        """
        if size == self.size:
            return self
        if not is_scaled(size, self.size):
            raise DataError(
                f"camera {self.name}: it is calibrated for {self.size[1]} x {self.size[0]} pixels and its photograph has "
                f"{size[1]} x {size[0]}, which is no scaled copy (turned or cropped?); the view is left out"
            )
        return self.resized(size)


def check_camera(name: str, size: Size, matrix: Floats, pose: Floats) -> None:
    """Refuse what cannot be projected. Raises DataError with the reason."""
    if matrix.shape != (3, 3) or pose.shape != (4, 4):
        raise DataError(f"camera {name}: needs a 3x3 matrix and a 4x4 pose, got {matrix.shape} and {pose.shape}")
    if not np.isfinite(pose).all():
        raise DataError(f"camera {name}: the pose is not finite (lost tracking); the view is left out")
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise DataError(f"camera {name}: focal length ({matrix[0, 0]:g}, {matrix[1, 1]:g}) must be above 0 pixels")
    if not 1 <= min(size) <= max(size) <= LARGEST:
        raise DataError(f"camera {name}: picture of {size[1]} x {size[0]} pixels; 1 to {LARGEST:,} a side can be made")
    if np.abs(matrix[[1, 2, 2], [0, 0, 1]]).max() > 1e-9 or abs(matrix[2, 2] - 1) > 1e-9:
        raise DataError(
            f"camera {name}: the matrix has the rows {matrix[1].tolist()} and {matrix[2].tolist()}; they must be [0, fy, cy] and "
            "[0, 0, 1]; is it transposed?"
        )
    if np.abs(matrix).max() > 1e9 or np.abs(pose).max() > 1e9:
        raise DataError(f"camera {name}: the focal length, the middle or the position is beyond 10^9; wrong units?")
    rotation = pose[:3, :3]
    determinant = np.linalg.det(rotation)
    if abs(determinant) < 1e-6:
        raise DataError(f"camera {name}: the pose is singular (determinant {determinant:.2g}); a rotation has 1")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or determinant < 0:
        raise DataError(
            f"camera {name}: the pose is no rotation (determinant {determinant:.3g}); scale or mirroring in it?"
        )
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise DataError(
            f"camera {name}: the pose's last row is {pose[3].tolist()}; it must be [0, 0, 0, 1]; is the pose transposed?"
        )


def invert_rigid(pose: Floats) -> Floats:
    """The inverse of a rigid transform (4, 4)."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def look_at(position: Floats, target: Floats, up: Floats) -> Floats:
    """The pose (4, 4) world_from_camera, OpenCV axes, of an upright camera at `position` that looks at `target`."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def orbit(
    azimuth: float = 0.0,
    elevation: float = 0.0,
    *,
    distance: float = 2.6,
    fov: float = 30.0,
    size: int = 256,
) -> Camera:
    """A camera that looks at the origin of a y-up world, as meshes of single objects have it.

    Args:
        azimuth: degrees to the right of the z axis.
        elevation: degrees upwards, within (-90, 90).
        distance: from the origin, in units of the mesh.
        fov: the full angle of the square picture, degrees.
        size: its side in pixels.
    """
    turn, lift = np.radians(azimuth), np.radians(elevation)
    back = np.array([np.sin(turn) * np.cos(lift), np.sin(lift), np.cos(turn) * np.cos(lift)])
    focal = size / 2 / np.tan(np.radians(fov) / 2)
    return Camera.looking(
        distance * back, np.zeros(3), (size, size), float(focal), up=(0, 1, 0), name=f"{azimuth:g},{elevation:g}"
    )
