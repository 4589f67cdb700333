"""Objects that fall and come to rest, by the rigid-body engine MuJoCo (package mujoco, extra `physics`).

Objects collide as their convex hulls, which their own surfaces lie within: hulls that keep apart keep the surfaces apart. The engine
only finds poses; pictures and masks are made from the true meshes. The same objects in the same poses come to rest in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...geometry.mesh import Floats, Mesh

__all__ = ["available", "settle"]

COARSER = 4
"""Cells of the height map a side to one of the engine's height field."""
AIR = 0.001
"""Contacts push from this distance on, metres, so that surfaces do not touch."""
STEP = 0.002
"""Seconds of a step of the engine."""
APART = 0.6
"""Seconds between one object and the next."""
STILL = 0.02
"""Metres a second; slower objects are at rest."""
LONGEST = 6.0
"""Seconds after the last object; what still moves then is taken as it is."""
PARKED = 1000.0
"""Metres above the ground where objects wait for their turn."""


def available() -> bool:
    """Whether the engine is installed."""
    try:
        import mujoco  # noqa: F401
    except ImportError:
        return False
    return True


def settle(
    bodies: Sequence[Mesh], ground: Floats, cell: float, spread: float, rng: np.random.Generator
) -> list[tuple[Floats, Floats] | None]:
    """Drop objects one after the other and wait until they rest.

    Args:
        bodies: turned as they begin to fall, each with its middle at the origin, z up, metres.
        ground: heights (N, N) [row of y, column of x] about the origin, metres.
        cell: the side of a cell of `ground`, metres.
        spread: how far from the middle objects come down, metres.
        rng: where each comes down.

    Returns:
        Per object the rotation (3, 3) and shift (3,) from where it began, or None if it rolled off the ground or was pressed into
        something.

    Raises:
        DataError: an object is so flat or so large that it has no convex hull.
    """
    import mujoco

    side = cell * len(ground) / 2
    # Every cell of the coarser height field is as high as the highest of its own: nothing sinks in.
    wide = len(ground) // COARSER
    coarse = ground[: wide * COARSER, : wide * COARSER].reshape(wide, COARSER, wide, COARSER).max(axis=(1, 3))
    low, rise = float(coarse.min()), float(np.ptp(coarse))
    model = mujoco.MjModel.from_xml_string(scene_xml(bodies, side, low, rise, wide))
    if rise > 0:
        model.hfield_data[:] = ((coarse - low) / rise).ravel()
    state = mujoco.MjData(model)
    # Seven numbers an object: place (3) and quaternion (4). All wait high above; each gets its turn.
    poses = state.qpos.reshape(-1, 7)
    poses[:, 2] += PARKED + 10.0 * np.arange(len(bodies))
    for number, body in enumerate(bodies):
        reach = float(np.linalg.norm(body.vertices, axis=1).max())
        resting = [
            poses[k, 2] + np.ptp(bodies[k].bounds[:, 2]) / 2 for k in range(number) if abs(poses[k, :2]).max() < side
        ]
        top = max([float(np.median(ground)), *resting])
        poses[number] = [*rng.uniform(-spread, spread, 2), top + reach + 0.02, 1, 0, 0, 0]
        state.qvel.reshape(-1, 6)[number] = 0
        for _ in range(round(APART / STEP)):
            mujoco.mj_step(model, state)
    for _ in range(round(LONGEST / STEP)):
        if np.abs(state.qvel).max() < STILL:
            break
        mujoco.mj_step(model, state)
    # Of two objects that overlap after all the later one is lost (geom 0 is the ground).
    lost = {int(max(pair.geom)) - 1 for pair in state.contact if pair.dist < -AIR}
    return [None if k in lost or gone(place, side, low) else pose(place) for k, place in enumerate(poses)]


def gone(place: Floats, side: float, low: float) -> bool:
    """Whether an object (place and quaternion, 7 numbers) is off the ground."""
    return bool(not np.isfinite(place).all() or np.abs(place[:2]).max() > side or place[2] < low - 0.01)


def pose(place: Floats) -> tuple[Floats, Floats]:
    """Rotation (3, 3) and shift (3,) of a place and quaternion (7,)."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(place[[4, 5, 6, 3]]).as_matrix()), place[:3].copy()


def scene_xml(bodies: Sequence[Mesh], side: float, low: float, rise: float, cells: int) -> str:
    """The engine's description: ground as a plane or a height field, objects as convex hulls with friction that also stops rolling."""
    # Equal masses and stiff contacts: a light thing under heavy ones would be pressed into the ground.
    contact = (
        f'condim="6" friction="0.8 0.01 0.002" margin="{AIR}" mass="0.3" solref="0.005 1" solimp="0.95 0.99 0.001"'
    )
    assets, moving = list[str](), list[str]()
    for number, body in enumerate(bodies):
        points = hull(body)
        if points is None:  # a sheet: a thin box
            low, high = body.bounds
            half = np.maximum((high - low) / 2, 0.0015)
            shape = f'type="box" size="{text(half)}" pos="{text((low + high) / 2)}"'
        else:
            assets.append(f'<mesh name="m{number}" vertex="{text(points)}"/>')
            shape = f'type="mesh" mesh="m{number}"'
        moving.append(f"<body><freejoint/><geom {shape} {contact}/></body>")
    floor = f'<geom type="plane" size="0 0 1" pos="0 0 {low}" {contact}/>'
    if rise > 0:
        assets.append(f'<hfield name="ground" nrow="{cells}" ncol="{cells}" size="{side} {side} {rise} 1"/>')
        floor = f'<geom type="hfield" hfield="ground" pos="0 0 {low}" {contact}/>'
    return f"""<mujoco>
      <option timestep="{STEP}" integrator="implicitfast" cone="elliptic"/>
      <asset>{"".join(assets)}</asset>
      <worldbody>{floor}{"".join(moving)}</worldbody>
    </mujoco>"""


def hull(body: Mesh) -> Floats | None:
    """The corners of the convex hull; None if the body is flat."""
    from scipy.spatial import ConvexHull, QhullError

    used = body.vertices[np.unique(body.faces)]
    if np.ptp(used, axis=0).max() > 100:
        raise DataError("an object of more than 100 m cannot fall; scale it (metres?)")
    try:
        found = ConvexHull(used)
    except QhullError:
        return None
    thin = found.volume < 1e-9 or found.volume < 0.0015 * found.area / 2
    return None if thin else np.asarray(used[found.vertices])


def text(values: Any) -> str:
    """Numbers as the engine reads them, exact to 32 bits."""
    return " ".join(f"{value:.9g}" for value in np.asarray(values).ravel())
