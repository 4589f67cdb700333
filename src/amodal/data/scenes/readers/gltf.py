"""glTF 2.0 and GLB scenes: named nodes are objects."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from ....errors import DataError, MissingExtraError
from ..scene import Camera, Material, SceneGeometry, Surface, assemble
from . import ReaderOptions, Source, name_instances

__all__ = ["read"]

UP = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0), "-y": (0.0, -1.0, 0.0)}


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A scene file; cameras are listed or sampled."""
    return fixed(load(path, name, options))


def fixed(scene: SceneGeometry, cameras: tuple[Camera, ...] = (), failures: tuple[str, ...] = ()) -> Source:
    """The source of a static scene."""
    return Source(scene.name, cameras, lambda camera: scene, failures)


def load(path: Path, name: str, options: ReaderOptions) -> SceneGeometry:
    """Read the file: one instance per node at depth `options.level` below the root, with all meshes under it."""
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
        return trimesh.load_scene(path, process=False)
    except Exception as error:
        raise DataError(f"cannot read {path}: {type(error).__name__}: {error}") from error


def missing_pictures(path: Path) -> list[str]:
    """A remark for each picture file that the scene names and that is not there."""
    content = path.read_bytes()
    if content[:4] == b"glTF":
        content = content[20 : 20 + int.from_bytes(content[12:16], "little")]
    try:
        images = json.loads(content).get("images", [])
    except ValueError:
        return []
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
