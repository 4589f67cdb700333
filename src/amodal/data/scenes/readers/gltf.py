"""glTF 2.0 and GLB scenes: named nodes are objects."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from ....errors import DataError, MissingExtraError
from ..scene import Camera, Floats, Material, SceneGeometry, Surface, assemble, check_count
from . import ReaderOptions, Source, name_instances

__all__ = ["read"]

UP = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0), "-y": (0.0, -1.0, 0.0)}


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A scene file, with the perspective cameras of its nodes."""
    scene = load(path, name, options)
    cameras, failures = read_cameras(content(path), options)
    return fixed(scene, tuple(cameras), tuple(failures))


def fixed(scene: SceneGeometry, cameras: tuple[Camera, ...] = (), failures: tuple[str, ...] = ()) -> Source:
    """The source of a static scene."""
    return Source(scene.name, cameras, lambda camera: scene, failures)


def load(path: Path, name: str, options: ReaderOptions) -> SceneGeometry:
    """Read the file: one instance per node at depth `options.level` below the root, with all meshes under it."""
    check_count(f"scene {name}", face_count(content(path)), options.max_faces)
    graph = parse(path)
    parts, owners, names = [], [], list[str]()
    remarks = missing_pictures(path)
    for node, chain in walk(graph):
        transform, key = graph.graph[node]
        mesh = graph.geometry[key]
        if not hasattr(mesh, "faces") or len(mesh.faces) == 0:
            remarks.append(f"node {node} has no faces; left out")
            continue
        title = chain[min(options.level, len(chain)) - 1]
        if title not in names:
            names.append(title)
        owners.append(np.full(len(mesh.faces), names.index(title) + 1, np.int32))
        parts.append((mesh, np.asarray(transform, np.float64)))
    if not parts:
        raise DataError(f"scene {path} has no mesh with faces")
    geometry = merge(parts, options.scale)
    geometry.update(
        owner=np.concatenate(owners),
        instances=name_instances(names, options.structure),
        up=UP[options.up],
        remarks=tuple(remarks),
    )
    return assemble(name, geometry, options.max_faces)


def parse(path: Path) -> Any:
    """The file as a trimesh scene graph."""
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError('glTF needs trimesh; install it: pip install "amodal[scenes]"') from error
    logging.getLogger("trimesh").setLevel(logging.ERROR)
    try:
        form = "gltf" if path.suffix.lower() == ".gltf" else "glb"
        resolver = trimesh.resolvers.FilePathResolver(path)
        return trimesh.load_scene(BytesIO(without_cameras(path)), file_type=form, resolver=resolver, process=False)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:
        raise DataError(f"cannot read {path} ({type(error).__name__}: {error}); is it whole, and glTF 2.0?") from error


def content(path: Path) -> dict[str, Any]:
    """The file's JSON; empty if it has none that can be read."""
    data = path.read_bytes()
    try:
        found = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")] if data[:4] == b"glTF" else data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def without_cameras(path: Path) -> bytes:
    """The file with no camera at any node: trimesh stops at bad cameras, and drops what lies in or below a good one."""
    data, header = path.read_bytes(), content(path)
    nodes = [
        node for node in header.get("nodes", []) if isinstance(node, dict) and node.pop("camera", None) is not None
    ]
    if not nodes:
        return data
    text = json.dumps(header).encode()
    if data[:4] != b"glTF":
        return text
    text += b" " * (-len(text) % 4)
    rest = data[20 + int.from_bytes(data[12:16], "little") :]
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest


def face_count(content: dict[str, Any]) -> int:
    """The triangles that the nodes' meshes promise; 0 where the file does not say."""
    try:
        sizes = [
            sum(content["accessors"][part["indices"]]["count"] // 3 for part in mesh["primitives"] if "indices" in part)
            for mesh in content.get("meshes", [])
        ]
        return sum(sizes[node["mesh"]] for node in content.get("nodes", []) if "mesh" in node)
    except (KeyError, IndexError, TypeError):  # damaged; the loader says where
        return 0


def read_cameras(content: dict[str, Any], options: ReaderOptions) -> tuple[list[Camera], list[str]]:
    """The cameras that nodes of the default scene name, in the file's order, and what is wrong with others."""
    cameras, failures = list[Camera](), list[str]()
    try:
        poses = node_poses(content)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        return [], [f"the nodes of the file are malformed ({type(error).__name__} {error}); its cameras are left out"]
    for number, pose in poses.items():
        node = content["nodes"][number]
        if "camera" not in node:
            continue
        title = str(node.get("name", f"camera{number}"))
        title = title if all(title != each.name for each in cameras) else f"{title}_{number}"
        try:
            cameras.append(make_camera(title, content["cameras"][node["camera"]], pose, options))
        except DataError as error:
            failures.append(str(error))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            failures.append(f"camera {title} is malformed: {type(error).__name__} {error}")
    return cameras, failures


def make_camera(name: str, row: dict[str, Any], pose: Floats, options: ReaderOptions) -> Camera:
    """One camera: `yfov` spans the picture's height; the width follows the camera's own aspect ratio, if it has one."""
    if row.get("type", "perspective") != "perspective":
        raise DataError(f"camera {name} is {row['type']}; only perspective cameras can be projected; left out")
    width, height = options.picture
    angle, aspect = float(row["perspective"]["yfov"]), float(row["perspective"].get("aspectRatio", width / height))
    if not 0 < angle < np.pi or not 0 < aspect < 100:
        raise DataError(
            f"camera {name}: yfov is {angle:g} and aspectRatio {aspect:g}; the angle must be within 0 and pi"
        )
    width = round(height * aspect)
    tangent = np.tan(angle / 2)
    matrix = np.array(
        [[width / 2 / (aspect * tangent), 0, width / 2], [0, height / 2 / tangent, height / 2], [0, 0, 1]]
    )
    stretch = np.linalg.norm(pose[:3, :3], axis=0)
    rigid = pose.copy()  # a node's scale moves the camera but does not change what it sees
    rigid[:3, :3] /= np.maximum(stretch, 1e-12)
    rigid[:3, 3] *= options.scale
    return Camera.make(name, (height, width), matrix, rigid, convention="opengl")


def node_poses(content: dict[str, Any]) -> dict[int, Floats]:
    """The world transform (4, 4) of every node of the default scene by its number."""
    scenes, nodes = content.get("scenes", []), content.get("nodes", [])
    stack = [(root, np.eye(4)) for root in scenes[content.get("scene", 0)].get("nodes", [])] if scenes else []
    found: dict[int, Floats] = {}
    while stack:
        number, above = stack.pop()
        if number in found:
            raise ValueError(f"node {number} has two parents")
        found[number] = above @ local_pose(nodes[number])
        stack += [(child, found[number]) for child in nodes[number].get("children", [])]
    return dict(sorted(found.items()))


def local_pose(node: dict[str, Any]) -> Floats:
    """A node's own transform (4, 4): `matrix` (column by column), or translation times rotation (x, y, z, w) times scale."""
    if "matrix" in node:
        return np.asarray(np.array(node["matrix"], np.float64).reshape(4, 4).T)
    pose = np.eye(4)
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    pose[:3, :3] += 2 * (w * cross + cross @ cross)
    pose[:3, :3] *= np.array(node.get("scale", (1.0, 1.0, 1.0)), np.float64)
    pose[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return pose


def missing_pictures(path: Path) -> list[str]:
    """A remark for each picture file that the scene names and that is not there."""
    images = content(path).get("images", [])
    names = [str(image["uri"]) for image in images if not str(image.get("uri", "data:")).startswith("data:")]
    absent = [name for name in names if not (path.parent / unquote(name)).is_file()]
    return [f"texture {name} is missing; plain colour instead" for name in absent]


def walk(graph: Any) -> Iterator[tuple[str, list[str]]]:
    """Every node with a mesh, and the names on the way to it from below the root."""
    children = graph.graph.transforms.children
    meshes = set(graph.graph.nodes_geometry)
    stack = [(node, [node]) for node in reversed(children.get(graph.graph.base_frame, []))]
    while stack:
        node, chain = stack.pop()
        if node in meshes:
            yield node, chain
        stack.extend((child, [*chain, child]) for child in reversed(children.get(node, [])))


def merge(parts: list[tuple[Any, Any]], scale: float) -> dict[str, Any]:
    """Many trimesh meshes, each with its pose, as one set of arrays."""
    vertices, faces, material, uv, colours, normals = [], [], [], [], [], []
    materials: list[Material] = []
    known: dict[int, int] = {}
    count = 0
    for mesh, transform in parts:
        corners = np.asarray(mesh.faces, np.int64)
        if np.linalg.det(transform[:3, :3]) < 0:
            corners = corners[:, ::-1]  # a mirrored node: what was the front is the front
        vertices.append((np.asarray(mesh.vertices) @ transform[:3, :3].T + transform[:3, 3]) * scale)
        faces.append(corners + count)
        count += len(mesh.vertices)
        kind, coordinates, tint = look(mesh, materials, known)
        material.append(np.full(len(corners), kind, np.int32))
        uv.append(coordinates[corners].astype(np.float32))
        colours.append(tint)
        normals.append(smooth_normals(mesh, transform))
    plain = all(tint.min(initial=255) == 255 for tint in colours)
    surface = Surface(
        tuple(materials),
        np.concatenate(material),
        np.concatenate(uv),
        None if plain else np.concatenate(colours),
        np.concatenate(normals).astype(np.float32),
    )
    return {"vertices": np.concatenate(vertices), "faces": np.concatenate(faces), "surface": surface}


def look(mesh: Any, materials: list[Material], known: dict[int, int]) -> tuple[int, Any, Any]:
    """A mesh's material index (new ones are added), texture coordinates (V, 2) and vertex colours (V, 3)."""
    visual = mesh.visual
    white = np.full((len(mesh.vertices), 3), 255, np.uint8)
    none = np.zeros((len(mesh.vertices), 2))
    if visual.kind == "vertex":
        materials.append(Material((1.0, 1.0, 1.0)))
        return len(materials) - 1, none, np.asarray(visual.vertex_colors)[:, :3].astype(np.uint8)
    source = getattr(visual, "material", None)
    if source is None:
        materials.append(Material())
        return len(materials) - 1, none, white
    coordinates = getattr(visual, "uv", None)
    if coordinates is None or len(coordinates) != len(mesh.vertices):
        coordinates = none
    picture = getattr(source, "baseColorTexture", None) or getattr(source, "image", None)
    factor = getattr(source, "baseColorFactor", None)
    key = hash((id(picture), None if factor is None else tuple(np.asarray(factor).tolist())))
    if key not in known:
        texture = None if picture is None else np.asarray(picture.convert("RGB"))
        colour = (1.0, 1.0, 1.0) if texture is not None else Material().colour
        if factor is not None:
            red, green, blue = (np.asarray(factor, np.float64)[:3] / (255 if np.max(factor) > 1 else 1)).tolist()
            colour = (red, green, blue)
        known[key] = len(materials)
        materials.append(Material(colour, texture))
    return known[key], np.asarray(coordinates), white


def smooth_normals(mesh: Any, transform: Any) -> Any:
    """Unit normals (V, 3) in the world: the file's own, or zeros, which ask for flat shading."""
    if "vertex_normals" not in mesh._cache:
        return np.zeros((len(mesh.vertices), 3))
    linear = transform[:3, :3]
    if abs(np.linalg.det(linear)) < 1e-12:
        return np.zeros((len(mesh.vertices), 3))
    normals = np.asarray(mesh.vertex_normals) @ np.linalg.inv(linear)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
