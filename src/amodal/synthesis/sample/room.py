"""A toy scene: a furnished room of boxes, as a binary glTF file, and cameras that look into it."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...geometry.camera import Camera

__all__ = ["FURNITURE", "OBJECTS", "camera_list", "cameras", "glb", "walk"]

COLOURS = {
    "plaster": (0.86, 0.84, 0.78), "boards": (0.52, 0.38, 0.26), "oak": (0.72, 0.53, 0.33), "blue": (0.20, 0.34, 0.58),
    "green": (0.24, 0.47, 0.33), "red": (0.68, 0.20, 0.17), "white": (0.90, 0.90, 0.88), "grey": (0.42, 0.42, 0.45),
}  # fmt: skip
"""Linear RGB in [0, 1]."""

Box = tuple[float, float, float, float, float, float]
"""Centre x, centre y, lower z, and the extents in x, y, z; metres, z up."""
Object = tuple[str, str, list[Box]]
"""Name, colour, boxes."""


def table(x: float, y: float, wide: float, deep: float, high: float) -> list[Box]:
    """A top on four legs."""
    legs = [
        (x + a * (wide / 2 - 0.06), y + b * (deep / 2 - 0.06), 0.0, 0.07, 0.07, high) for a in (-1, 1) for b in (-1, 1)
    ]
    return [(x, y, high, wide, deep, 0.04), *legs]


def chair(x: float, y: float, side: int) -> list[Box]:
    """A chair whose back is at `side` (-1 or 1) along y."""
    return [*table(x, y, 0.45, 0.45, 0.44), (x, y + side * 0.2, 0.48, 0.45, 0.05, 0.5)]


OBJECTS: list[Object] = [
    ("floor", "boards", [(0, 0, -0.05, 6, 5, 0.05)]),
    ("wall_1", "plaster", [(0, 2.55, 0, 6.2, 0.1, 2.6)]),
    ("wall_2", "plaster", [(-3.05, 0, 0, 0.1, 5.2, 2.6)]),
    ("wall_3", "plaster", [(3.05, 0, 0, 0.1, 5.2, 2.6)]),
    ("ceiling", "plaster", [(0, 0, 2.6, 6.2, 5.2, 0.05)]),
    ("dining_table", "oak", table(0, 0, 1.8, 0.9, 0.72)),
    ("dining_chair_1", "blue", chair(-0.5, -0.62, -1)),
    ("dining_chair_2", "blue", chair(0.5, -0.62, -1)),
    ("dining_chair_3", "blue", chair(-0.5, 0.62, 1)),
    ("dining_chair_4", "blue", chair(0.5, 0.62, 1)),
    ("sofa", "green", [(-0.6, 2.0, 0.1, 2.0, 0.85, 0.32), (-0.6, 2.35, 0.42, 2.0, 0.2, 0.45),
                       (-1.5, 2.0, 0.42, 0.2, 0.85, 0.2), (0.3, 2.0, 0.42, 0.2, 0.85, 0.2)]),
    ("bookcase", "oak", [(2.0, 2.3, 0, 0.03, 0.35, 2.0), (2.9, 2.3, 0, 0.03, 0.35, 2.0),
                         *((2.45, 2.3, 0.05 + 0.48 * k, 0.9, 0.35, 0.03) for k in range(5))]),
    ("plant_pot", "red", [(-2.6, 2.1, 0, 0.35, 0.35, 0.4)]),
    ("cabinet", "white", [(-2.7, -0.4, 0, 0.5, 1.3, 0.85)]),
    ("box_1", "red", [(0.35, 0.1, 0.76, 0.3, 0.22, 0.18)]),
    ("box_2", "white", [(-0.45, -0.1, 0.76, 0.2, 0.3, 0.28)]),
    ("vase", "green", [(0.0, 0.15, 0.76, 0.12, 0.12, 0.32)]),
    ("stool", "grey", table(1.7, 0.3, 0.4, 0.4, 0.5)),
    ("crate", "grey", [(1.75, -1.3, 0, 0.6, 0.5, 0.45)]),
]  # fmt: skip
FURNITURE = ("box_1", "stool", "crate", "plant_pot", "box_2", "vase")
"""Objects of the room that are single meshes of their own, none longer than two thirds of a metre."""

VIEWS = [
    ((0.2, -2.3, 1.5), (0, 0.4, 0.6)), ((-2.3, -2.1, 1.4), (0.3, 0.5, 0.5)), ((2.4, -2.0, 1.6), (-0.4, 0.6, 0.6)),
    ((2.6, -0.4, 1.3), (-0.5, 0.2, 0.5)), ((-2.0, -1.6, 1.1), (0.6, 0.2, 0.6)), ((1.2, -2.2, 1.0), (-0.2, 1.2, 0.6)),
    ((-0.9, -2.2, 1.7), (0.2, 1.0, 0.4)), ((2.5, 1.2, 1.5), (-0.6, -0.1, 0.5)),
]  # fmt: skip
"""Places and what is looked at."""
SIZE, FOCAL = (240, 320), 240.0


def cameras() -> list[Camera]:
    """The room's eight views, 320 x 240 pixels."""
    return [Camera.looking(place, to, SIZE, FOCAL, name=f"view{number}") for number, (place, to) in enumerate(VIEWS)]


def walk(count: int) -> list[Camera]:
    """`count` cameras along a way past the table, as the frames of a video."""
    ways = np.linspace(0, 1, count)
    return [
        Camera.looking((1.6 - 2.6 * way, -2.2, 1.4), (0.2 - 0.3 * way, 0.8, 0.6), SIZE, FOCAL, name=f"{number:02d}")
        for number, way in enumerate(ways)
    ]


def camera_list(views: Sequence[Camera]) -> list[dict[str, Any]]:
    """The views as the rows of a camera list (see docs/scenes.md)."""
    rows = []
    for view in views:
        (fx, _, cx), (_, fy, cy) = view.matrix[:2].tolist()
        numbers = {"width": view.size[1], "height": view.size[0], "fx": fx, "fy": fy, "cx": cx, "cy": cy}
        rows.append({"name": view.name, **numbers, "world_from_camera": view.world_from_cam.round(6).tolist()})
    return rows


def glb(objects: Sequence[Object]) -> bytes:
    """The objects as a binary glTF file, z up: a named node each, six quads (twelve triangles) a box."""
    corners = np.array([[x, y, z] for z in (0, 1) for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))])
    quads = np.array([(3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])  # (12, 3)
    names = list(COLOURS)
    content: dict[str, Any] = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}
    content |= {"nodes": [], "meshes": [], "accessors": [], "bufferViews": [], "buffers": []}
    content["materials"] = [
        {"name": n, "pbrMetallicRoughness": {"baseColorFactor": [*COLOURS[n], 1.0], "metallicFactor": 0.0}}
        for n in names
    ]
    body = bytearray()

    def stored(array: Any, component: int, kind: str, **more: Any) -> int:
        data = array.tobytes()
        content["bufferViews"].append({"buffer": 0, "byteOffset": len(body), "byteLength": len(data)})
        body.extend(data + bytes(-len(data) % 4))
        view = len(content["bufferViews"]) - 1
        content["accessors"].append(
            {"bufferView": view, "componentType": component, "count": len(array), "type": kind, **more}
        )
        return view

    for number, (name, colour, boxes) in enumerate(objects):
        points = np.concatenate([corners * box[3:] + np.array(box[:3]) for box in boxes]).astype("<f4")
        faces = np.concatenate([triangles + 8 * k for k in range(len(boxes))]).astype("<u2").ravel()
        place = stored(points, 5126, "VEC3", min=points.min(0).tolist(), max=points.max(0).tolist())
        part = {"attributes": {"POSITION": place}, "indices": stored(faces, 5123, "SCALAR")}
        content["meshes"].append({"primitives": [{**part, "material": names.index(colour)}]})
        content["nodes"].append({"name": name, "mesh": number})
        content["scenes"][0]["nodes"].append(number)
    content["buffers"].append({"byteLength": len(body)})
    head = json.dumps(content, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    total = 12 + 8 + len(head) + 8 + len(body)
    return (
        struct.pack("<4sIIII", b"glTF", 2, total, len(head), 0x4E4F534A)
        + head
        + struct.pack("<II", len(body), 0x004E4942)
        + bytes(body)
    )
