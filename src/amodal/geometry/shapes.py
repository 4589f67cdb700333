"""Comparing 3-D shapes and pictures: alignment, Chamfer distance, volumetric IoU, PSNR, SSIM, LPIPS."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import MissingExtraError
from ..core.image import Image
from .mesh import Mesh

__all__ = ["align", "chamfer", "lpips", "psnr", "ssim", "volume_iou"]

Floats = NDArray[np.float64]


SCALES = (0.7, 1.4)
"""How much closest points may change the size: without bounds a poor shape shrinks into the truth."""


def align(mesh: Mesh, truth: Mesh, points: int = 2000, rounds: int = 30) -> Mesh:
    """Bring a reconstruction into the truth's frame: same centre and longest side, then iterated closest points (trimesh).

    This is what single-view papers do before they measure: the depth and the scale of one view are not known. The orientation
    must be about right already; turns, shifts and scales that would not improve the Chamfer distance are not taken.

    Args:
        mesh: turned into the truth's axes by the known camera.
        truth: the real shape.
        points: samples of each surface.
        rounds: of closest points.
    """
    from trimesh.registration import icp

    low, high = truth.vertices.min(axis=0), truth.vertices.max(axis=0)
    side = float((high - low).max())
    start = mesh.normalised().moved(np.eye(3), side, (low + high) / 2)
    source, target = start.sample(points, seed=2), truth.sample(points, seed=1)
    best, error = start, mean_distance(source, target)
    for with_scale in (True, False):
        matrix, moved, _ = icp(source, target, max_iterations=rounds, reflection=False, scale=with_scale)
        size, now = float(np.cbrt(np.linalg.det(matrix[:3, :3]))), mean_distance(moved, target)
        if now < error and SCALES[0] <= size <= SCALES[1]:
            error, best = now, start.moved(matrix[:3, :3], shift=matrix[:3, 3])
    return best


def mean_distance(first: Floats, second: Floats) -> float:
    """Mean of the mean nearest distances in both directions."""
    from scipy.spatial import cKDTree

    forth, _ = cKDTree(second).query(first)
    back, _ = cKDTree(first).query(second)
    return float((forth.mean() + back.mean()) / 2)


def chamfer(mesh: Mesh, truth: Mesh, points: int = 10_000) -> float:
    """Chamfer distance: mean distance to the nearest point of the other surface, both ways, in the truth's longest side."""
    side = float(np.ptp(truth.vertices, axis=0).max())
    return mean_distance(mesh.sample(points, seed=3), truth.sample(points, seed=4)) / side


def volume_iou(mesh: Mesh, truth: Mesh, cells: int = 48) -> float:
    """Intersection over union of the filled volumes on a grid of `cells` along the longest side of both, in [0, 1]."""
    both = np.concatenate([mesh.vertices, truth.vertices])
    low = both.min(axis=0)
    pitch = float(np.ptp(both, axis=0).max()) / cells
    first, second = (solid(each, low, pitch, cells) for each in (mesh, truth))
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def solid(mesh: Mesh, low: Floats, pitch: float, cells: int) -> NDArray[np.bool_]:
    """The cells that a surface touches or encloses; small holes of scans (a cell wide) are closed."""
    from scipy.ndimage import binary_closing, binary_fill_holes

    grid = np.zeros((cells + 5,) * 3, bool)
    index = np.floor((mesh.sample(60 * cells**2, seed=5) - low) / pitch).astype(int).clip(0, cells) + 2
    grid[tuple(index.T)] = True
    return np.asarray(binary_fill_holes(binary_closing(grid)))


def psnr(picture: Image, truth: Image) -> float:
    """Peak signal-to-noise ratio in dB; 100 for equal pictures."""
    error = float(((picture.astype(np.float64) - truth) ** 2).mean())
    return 100.0 if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(picture: Image, truth: Image) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian windows of deviation 1.5, by scikit-image."""
    from skimage.metrics import structural_similarity

    value = structural_similarity(
        truth, picture, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=255
    )
    return float(value)


def lpips(picture: Image, truth: Image) -> float:
    """Learned perceptual distance (Zhang et al. 2018), AlexNet.

    Raises:
        MissingExtraError: the package `lpips`, or torchvision which it needs, cannot be imported.
    """
    import torch

    network = _lpips_network()
    first, second = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for x in (picture, truth))
    with torch.no_grad():
        return float(network(first, second).item())


@cache
def _lpips_network() -> Any:
    try:
        import lpips as package
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"LPIPS needs the packages lpips and torchvision ({error}); run: pip install lpips torchvision, "
            "or leave LPIPS out: PSNR and SSIM need neither"
        ) from error
    return package.LPIPS(net="alex", verbose=False).eval()
