"""Closed-form scenes, and writers of the official layouts of all formats that they are read from.

The camera looks along the world's +x axis from the origin, z is up. In camera axes (x right, y down, z forward) a world point
(X, Y, Z) is (-Y, -Z, X).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from amodal.geometry import Camera, Instance, Mesh, SceneGeometry, project
from amodal.geometry.readers import open_source
from amodal.geometry.scene import assemble

WORLD_FROM_CAM = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
"""OpenCV camera at the origin that looks along +x with z up."""
SIZE = (48, 64)
FOCAL = 40.0
MATRIX = np.array([[FOCAL, 0, 32.0], [0, FOCAL, 24.0], [0, 0, 1]])


def camera(name: str = "view", position=(0.0, 0.0, 0.0), image: Path | None = None) -> Camera:
    pose = WORLD_FROM_CAM.copy()
    pose[:3, 3] = position
    return Camera.make(name, SIZE, MATRIX, pose, image=image)


def square(distance: float, left: float, top: float, right: float, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle across the view axis, given by the image coordinates of its sides."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    points = [(distance, -(u - 32) / FOCAL * distance, -(v - 24) / FOCAL * distance) for u, v in corners]
    return np.array(points), np.array([[0, 1, 2], [0, 2, 3]])


def sphere(centre: tuple[float, float, float], radius: float, rings: int = 96) -> tuple[np.ndarray, np.ndarray]:
    lift, turn = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings, False), indexing="ij"
    )
    points = np.stack([np.sin(lift) * np.cos(turn), np.sin(lift) * np.sin(turn), np.cos(lift)], -1) * radius + centre
    around = 2 * rings
    faces = []
    for i in range(rings):
        for j in range(around):
            a, b, k = i * around + j, i * around + (j + 1) % around, around
            faces += [[a, a + k, b + k], [a, b + k, b]]
    return points.reshape(-1, 3), np.array(faces)


def cube(low: tuple[float, float, float], high: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    bits = np.array([[k >> 2 & 1, k >> 1 & 1, k & 1] for k in range(8)])
    points = np.array(low) + bits * (np.array(high) - np.array(low))
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return points, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


Part = tuple[str, np.ndarray, np.ndarray]
TWO_SQUARES: list[Part] = [
    ("chair_1", *square(4.0, 10, 8, 40, 32)),  # 30 x 24 pixels
    ("table_1", *square(2.0, 25, 20, 50, 44)),  # in front: hides columns 25..39, rows 20..31
]
"""Areas: chair amodal 720, hidden 15 x 12 = 180, visible 540; table 600."""


HALF_OUT: list[Part] = [("box_1", *cube((4.0, 2.22, -0.98), (6.0, 4.18, 0.98)))]
"""A cube 4 m away, whose front is 19.6 pixels wide and has its middle on the frame's left edge."""


def half_out_exact(beyond: int = 0) -> np.ndarray:
    """The pixels of HALF_OUT, from `beyond` pixels left of the frame: (48, 64 + beyond) bool.

    Its side reaches from column 9.8 (depth 4) to 32 - 88.8 / 6 (depth 6); at column x its depth is 88.8 / (32 - x) and its
    half height 39.2 / depth.
    """
    x, y = np.meshgrid(np.arange(-beyond, 64) + 0.5, np.abs(np.arange(48) + 0.5 - 24))
    front = (x > -9.8) & (x < 9.8) & (y < 9.8)
    return front | ((x > 9.8) & (x < 32 - 88.8 / 6) & (y < (32 - x) * 39.2 / 88.8))


def join(parts: list[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces, and the part that each face belongs to."""
    vertices, faces, owner, count = [], [], [], 0
    for number, (_, points, triangles) in enumerate(parts):
        vertices.append(points)
        faces.append(triangles + count)
        owner.append(np.full(len(triangles), number))
        count += len(points)
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(owner)


def write_ply(path: Path, vertices, faces, face_properties=None, binary=True, colour=(200, 120, 60)) -> None:
    properties = face_properties or {}
    header = ["ply", f"format {'binary_little_endian' if binary else 'ascii'} 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {axis}" for axis in "xyz"] + [f"property uchar {c}" for c in ("red", "green", "blue")]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    header += [f"property int {name}" for name in properties] + ["end_header", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write("\n".join(header).encode())
        for point in vertices:
            row = (*map(float, point), *colour)
            file.write(struct.pack("<3f3B", *row) if binary else (" ".join(map(repr, row)) + "\n").encode())
        for number, face in enumerate(faces):
            extra = [int(values[number]) for values in properties.values()]
            row = (3, *map(int, face), *extra)
            file.write(
                struct.pack(f"<B{3 + len(extra)}i", *row) if binary else (" ".join(map(str, row)) + "\n").encode()
            )


def write_matterport(root: Path, parts: list[Part], conf: bool = True, segments: bool = True) -> Path:
    """A Matterport3D house; cameras in the .conf file (bottom-left origin, -z) or in intrinsics and poses."""
    house = root / "17DRP5sb8fy"
    folder = house / "house_segmentations"
    vertices, faces, owner = join(parts)
    properties = {"material_id": owner * 10, "segment_id": owner, "category_id": owner + 1}
    write_ply(folder / "17DRP5sb8fy.ply", vertices, faces, properties)
    lines = ["ASCII 1.1", "H 17DRP5sb8fy x 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"]
    for number, (name, *_) in enumerate(parts):
        label = name.split("_")[0]
        lines.append(f"C {number} {number} dining#{label} {number} {label}")
        lines.append(f"O {number} 0 {number} 0 0 0 1 0 0 0 1 0 1 1 1")
    (folder / "17DRP5sb8fy.house").write_text("\n".join(lines))
    if segments:
        (folder / "17DRP5sb8fy.fsegs.json").write_text(json.dumps({"segIndices": (owner * 7).tolist()}))
        groups = [
            {"id": k, "objectId": k, "label": f"dining {p[0].split('_')[0]}", "segments": [k * 7]}
            for k, p in enumerate(parts)
        ]
        (folder / "17DRP5sb8fy.semseg.json").write_text(json.dumps({"segGroups": groups}))
    title = "0f37bd0737e349de9d536263a4bd32aa"
    # A picture of SIZE, so that the reader knows the height that the bottom-left origin counts from.
    import cv2

    if conf:
        images = house / "undistorted_color_images"
        images.mkdir(parents=True)
        cv2.imwrite(str(images / f"{title}_i1_2.jpg"), np.full((*SIZE, 3), 128, np.uint8))
        # MATRIX with an off-centre cy of 20 from the top would be 28 from the bottom; here the centre hides nothing: see tests.
        gl = WORLD_FROM_CAM @ np.diag([1.0, -1, -1, 1])
        text = ["dataset matterport", "n_images 1", "depth_directory undistorted_depth_images"]
        text += [
            "color_directory undistorted_color_images",
            f"intrinsics_matrix {FOCAL} 0 32  0 {FOCAL} {SIZE[0] - 24.0}  0 0 1",
        ]
        text += [f"scan {title}_d1_2.png {title}_i1_2.jpg " + " ".join(map(repr, gl.reshape(-1).tolist()))]
        file = house / "undistorted_camera_parameters" / "17DRP5sb8fy.conf"
        file.parent.mkdir()
        file.write_text("\n".join(text))
    else:
        for folder_name in ("matterport_camera_intrinsics", "matterport_camera_poses"):
            (house / folder_name).mkdir(parents=True)
        numbers = [SIZE[1], SIZE[0], FOCAL, FOCAL, 31.5, 23.5, 0, 0, 0, 0, 0]
        (house / "matterport_camera_intrinsics" / f"{title}_intrinsics_1.txt").write_text(" ".join(map(str, numbers)))
        pose = "\n".join(" ".join(map(repr, row)) for row in WORLD_FROM_CAM.tolist())
        (house / "matterport_camera_poses" / f"{title}_pose_1_2.txt").write_text(pose)
    return house


def write_scannet(root: Path, parts: list[Part]) -> Path:
    """A ScanNet scan with one good frame and one whose tracking was lost."""
    scan = root / "scene0000_00"
    vertices, faces, owner = join(parts)
    write_ply(scan / "scene0000_00_vh_clean_2.ply", vertices, faces)
    per_vertex = np.zeros(len(vertices), int)
    per_vertex[faces.reshape(-1)] = np.repeat(owner, 3) * 5 + 1
    (scan / "scene0000_00_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"segIndices": per_vertex.tolist()}))
    groups = [
        {"id": k, "objectId": k, "label": p[0].split("_")[0], "segments": [k * 5 + 1]} for k, p in enumerate(parts)
    ]
    (scan / "scene0000_00.aggregation.json").write_text(json.dumps({"segGroups": groups}))
    (scan / "scene0000_00.txt").write_text(
        f"axisAlignment = 1 0 0 0\ncolorHeight = {SIZE[0]}\ncolorWidth = {SIZE[1]}\n"
    )
    (scan / "pose").mkdir()
    (scan / "intrinsic").mkdir()
    matrix = np.eye(4)
    matrix[:3, :3] = MATRIX
    matrix[:2, 2] -= 0.5  # the calibration's (0, 0) is the first pixel's centre
    (scan / "intrinsic" / "intrinsic_color.txt").write_text("\n".join(" ".join(map(repr, r)) for r in matrix.tolist()))
    (scan / "pose" / "0.txt").write_text("\n".join(" ".join(map(repr, r)) for r in WORLD_FROM_CAM.tolist()))
    (scan / "pose" / "1.txt").write_text("\n".join(["-inf -inf -inf -inf"] * 4))
    return scan


def write_camera_list(path: Path, convention: str) -> Path:
    pose = WORLD_FROM_CAM if convention == "opencv" else WORLD_FROM_CAM @ np.diag([1.0, -1, -1, 1])
    row = {"name": "v", "width": SIZE[1], "height": SIZE[0], "fx": FOCAL, "fy": FOCAL, "cx": 32, "cy": 24}
    path.write_text(json.dumps([{**row, "world_from_camera": pose.tolist(), "convention": convention}]))
    return path


def write_glb(path: Path, parts: list[Part]) -> Path:
    """Named nodes below the root, each with a moved child mesh."""
    import trimesh

    scene = trimesh.Scene(base_frame="world")
    for name, points, faces in parts:
        shift = np.array([0.5, -0.25, 1.0])
        scene.graph.update(frame_to=name, frame_from="world", matrix=trimesh.transformations.translation_matrix(shift))
        mesh = trimesh.Trimesh(points - shift, faces, process=False)
        scene.add_geometry(mesh, node_name=f"{name}/part0", geom_name=name, parent_node_name=name)
    path.write_bytes(scene.export(file_type="glb"))
    return rewrite_glb(path, without_base)


def rewrite_glb(path: Path, change: Callable[[dict], None]) -> Path:
    """Change the JSON of a GLB file."""
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    content = json.loads(data[20 : 20 + length])
    change(content)
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    path.write_bytes(head + text + rest)
    return path


def without_base(content: dict) -> None:
    """trimesh before 5 writes the scene's base frame as a node above all others."""
    scene = content["scenes"][0]
    if [content["nodes"][root]["name"] for root in scene["nodes"]] == ["world"]:
        scene["nodes"] = content["nodes"][scene["nodes"][0]]["children"]


def add_glb_cameras(path: Path, nodes: list[dict], cameras: list[dict], scene_nodes: list[int]) -> Path:
    """Add nodes to a GLB file, numbered from its last one on; numbers of `children` and of `scene_nodes` count from there."""

    def add(content: dict) -> None:
        first = len(content["nodes"])
        for node in nodes:
            moved = {"children": [first + child for child in node["children"]]} if "children" in node else {}
            content["nodes"].append({**node, **moved})
        content["scenes"][content.get("scene", 0)]["nodes"] += [first + number for number in scene_nodes]
        content["cameras"] = cameras

    return rewrite_glb(path, add)


LENS = {"type": "perspective", "perspective": {"yfov": 2 * np.arctan(SIZE[0] / 2 / FOCAL), "znear": 0.01}}
"""The glTF camera of `MATRIX`, in pictures of 64 x 48 pixels."""


def write_glb_with_camera(path: Path, parts: list[Part]) -> Path:
    """The camera's node lies in a turned, moved and scaled node; both together look along +x with z up."""
    pose = WORLD_FROM_CAM @ np.diag([1.0, -1, -1, 1])
    outer = np.diag([2.0, 2, 2, 1])
    outer[:3, :3] = outer[:3, :3] @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    outer[:3, 3] = (3, -1, 0.5)
    inner = np.linalg.inv(outer) @ pose
    turn = Rotation.from_matrix(inner[:3, :3] * 2).as_quat()  # x, y, z, w, as in glTF
    nodes = [
        {"name": "rig", "matrix": outer.T.reshape(-1).tolist(), "children": [1]},
        {"name": "eye", "rotation": turn.tolist(), "translation": inner[:3, 3].tolist(), "camera": 0},
    ]
    return add_glb_cameras(write_glb(path, parts), nodes, [LENS], [0])


def write_obj(path: Path, parts: list[Part]) -> Path:
    lines, count = ["mtllib missing.mtl"], 0
    for name, points, faces in parts:
        lines.append(f"o {name}")
        lines += ["v " + " ".join(map(repr, p)) for p in points.tolist()]
        lines += ["f " + " ".join(f"{i + 1 + count}//1" for i in face) for face in faces.tolist()]
        count += len(points)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_bop(root: Path, parts: list[Part]) -> Path:
    """A BOP scene: models in their own frame (millimetres), a pose each that takes them to the camera."""
    scene = root / "test" / "000048"
    scene.mkdir(parents=True)
    turn = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)  # world to camera
    rows = []
    for number, (_, points, faces) in enumerate(parts, 1):
        own = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], float)  # the model has axes of its own
        shift = np.array([100.0, 50.0, -20.0])
        model = (points * 1000 - shift) @ own
        write_ply(root / "models" / f"obj_{number:06d}.ply", model, faces, binary=False)
        rotation, translation = turn @ own, turn @ shift
        rows.append({"cam_R_m2c": rotation.reshape(-1).tolist(), "cam_t_m2c": translation.tolist(), "obj_id": number})
    matrix = MATRIX.copy()
    matrix[:2, 2] -= 0.5
    (scene / "scene_gt.json").write_text(json.dumps({"1": rows}))
    (scene / "scene_camera.json").write_text(
        json.dumps({"1": {"cam_K": matrix.reshape(-1).tolist(), "depth_scale": 0.1}})
    )
    import cv2

    (scene / "rgb").mkdir()
    cv2.imwrite(str(scene / "rgb" / "000001.png"), np.full((*SIZE, 3), 90, np.uint8))
    return scene


def scene_of(parts, loose: int = 0) -> SceneGeometry:
    """A scene; the last `loose` parts belong to no object."""
    vertices, faces, owner = join(parts)
    count = len(parts) - loose
    ids = np.where(owner < count, owner + 1, 0).astype(np.int32)
    instances = tuple(Instance(k + 1, parts[k][0], parts[k][0]) for k in range(count))
    return assemble("s", Mesh(vertices, faces), ids, instances)


SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
OBJ = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\n"
"""The square's corners, in an OBJ."""


def gltf(path: Path, points, indices, *, mode: int = 4, node=None, component: int = 5126, **extra) -> Path:
    """A file of one mesh with its buffer in the text; `extra` goes to the top level, `accessor` to the positions."""
    kinds = {5126: "<f4", 5122: "<i2", 5120: "i1"}
    data = np.asarray(points).astype(kinds[component]).tobytes()
    data += b"\0" * (-len(data) % 4)
    split = len(data)
    data += np.asarray(indices, "<u2").tobytes() + np.asarray(extra.pop("more", ()), "<f4").tobytes()
    address = "data:application/octet-stream;base64," + __import__("base64").b64encode(data).decode()
    content = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "thing", "mesh": 0, **(node or {})}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "mode": mode}]}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": component,
                "count": len(points),
                "type": "VEC3",
                **extra.pop("accessor", {}),
            },
            {"bufferView": 1, "componentType": 5123, "count": len(indices), "type": "SCALAR"},
            *extra.pop("accessors", []),
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": split},
            {"buffer": 0, "byteOffset": split, "byteLength": 2 * len(indices)},
            *extra.pop("views", []),
        ],
        "buffers": [{"byteLength": len(data), "uri": address}],
        **extra,
    }
    path.write_text(json.dumps(content))
    return path


VIEW = Camera.looking((0, 0, 4), (0, 0, 0), (200, 200), 100.0, up=(0, 1, 0))
"""Sees the square as 50 x 50 pixels."""


def areas(kind: str, path: Path) -> dict[str, int]:
    """Object to its area in pixels."""
    scene = open_source(kind, path).geometry(None)
    found = project(scene, VIEW)
    return {each.name: found.amodal[each.id].area if each.id in found.amodal else 0 for each in scene.instances}
