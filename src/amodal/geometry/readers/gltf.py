"""glTF 2.0 and GLB scenes: named nodes are objects.

Read by own code: trimesh passes over fans and GPU instances, takes normalised integers as they are, and drops what lies in or
below a camera's node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import AmodalError, DataError, MissingExtraError
from ...core.image import Image
from ..camera import Camera, Floats
from ..mesh import Material, Mesh, Surface, join
from ..scene import SceneGeometry, assemble, check_count, distinct
from ..texture import to_srgb
from . import UP, ReaderOptions, Source, fixed, name_instances, read_texture
from .accessors import DRACO, File, Primitive, whole
from .skin import bend, bones

__all__ = ["read"]

INSTANCING = "EXT_mesh_gpu_instancing"
GEOMETRY = {
    DRACO,
    INSTANCING,
    "KHR_mesh_quantization",
    "KHR_texture_transform",
    "EXT_texture_webp",
    "KHR_node_visibility",
}
"""Extensions that are understood; of the required ones also all of `KHR_materials_*` and lights, which change no geometry."""
DAMAGED = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What malformed JSON raises where it is taken for well-formed."""


def read(path: Path, name: str, options: ReaderOptions) -> Source:
    """A scene file, with the perspective cameras of its nodes."""
    file = File.open(path)
    required = file.content.get("extensionsRequired", [])
    unknown = [
        each for each in required if each not in GEOMETRY and not str(each).startswith(("KHR_materials", "KHR_lights"))
    ]
    if unknown:
        raise DataError(
            f"{path} requires the extensions {', '.join(map(str, unknown))}, which are not read; export it without"
        )
    scene = Loader(file, options).scene(name)
    cameras, failures = read_cameras(file, options)
    return fixed(scene, tuple(cameras), tuple(failures))


@dataclass
class Loader:
    """Turns a file's nodes into objects."""

    file: File
    options: ReaderOptions
    remarks: list[str] = field(default_factory=list)
    looks: dict[Any, Material] = field(default_factory=dict)
    pictures: dict[int, Image | None] = field(default_factory=dict)
    meshes: dict[tuple[int, tuple[float, ...], int | None], list[Mesh]] = field(default_factory=dict)
    total: int = 0

    def scene(self, name: str) -> SceneGeometry:
        """One instance per node at depth `options.level` below the root, with all meshes under it."""
        parts, owners, titles = list[Mesh](), list[int](), list[str]()
        objects: dict[tuple[int, int], int] = {}
        for number, chain, pose in walk(self.file):
            node = self.file.row("nodes", number)
            title = str(node.get("name") or f"node{number}")
            if "mesh" not in node:
                continue
            try:
                copies = self.copies(node, pose)
                meshes = self.mesh(node, len(copies))
            except (*DAMAGED, AmodalError) as error:
                if isinstance(error, DataError) and "max_faces" in str(error):
                    raise
                reason = (
                    str(error) if isinstance(error, AmodalError) else f"malformed ({type(error).__name__}: {error})"
                )
                self.remarks.append(f"node {title}: {reason}; left out")
                continue
            if not meshes:
                self.remarks.append(f"node {title} has no faces; left out")
            owner = chain[min(self.options.level, len(chain)) - 1]
            apart = len(copies) > 1 and owner == number  # instances of an object's own node are objects of their own
            for copy, placed in enumerate(copies):
                key = (owner, copy if apart else 0)
                if meshes and key not in objects:
                    objects[key] = len(objects) + 1
                    base = str(self.file.row("nodes", owner).get("name") or f"node{owner}")
                    titles.append(f"{base}_{copy}" if apart else base)
                parts += [transformed(mesh, placed, self.options.scale) for mesh in meshes]
                owners += [objects.get(key, 0)] * len(meshes)
        if not parts:
            raise DataError(
                f"scene {self.file.path} has no mesh with faces" + "".join(f"; {x}" for x in self.remarks[:3])
            )
        mesh, part = join(parts)
        mesh = replace(mesh, up=UP[self.options.up])
        owner_of = np.array(owners, np.int32)[part]
        instances = name_instances(titles, self.options.structure)
        return assemble(name, mesh, owner_of, instances, remarks=self.remarks, max_faces=self.options.max_faces)

    @cached_property
    def poses(self) -> dict[int, Floats]:
        """The world transforms (4, 4) of all nodes of the default scene, hidden ones too, by number."""
        return {number: pose for number, _, pose in walk(self.file, every=True)}

    def copies(self, node: dict[str, Any], pose: Floats) -> list[Floats]:
        """The world transforms (4, 4) of a node's mesh: one, or one for each GPU instance."""
        if "skin" in node:  # its joints place it, wherever the node itself lies
            return [np.eye(4)]
        extension = node.get("extensions", {}).get(INSTANCING)
        if extension is None:
            return [pose]
        columns = {name: self.file.accessor(number) for name, number in extension["attributes"].items()}
        places, turns, sizes = (columns.get(name) for name in ("TRANSLATION", "ROTATION", "SCALE"))
        known = [each for each in (places, turns, sizes) if each is not None]
        count = len(known[0]) if known else 0
        if any(len(each) != count for each in known):
            raise DataError("its instances' attributes have several lengths")
        check_count(f"scene {self.file.path.stem}", count, self.options.max_faces)
        rows = []
        for k in range(count):
            own = {"translation": places, "rotation": turns, "scale": sizes}
            rows.append(pose @ local_pose({key: each[k].tolist() for key, each in own.items() if each is not None}))
        return rows

    def mesh(self, node: dict[str, Any], copies: int) -> list[Mesh]:
        """The node's mesh in its own axes, one part per primitive with faces. Bad primitives are told, not fatal."""
        row = self.file.row("meshes", node["mesh"])
        weights = tuple(float(each) for each in node.get("weights", row.get("weights", [])))
        skin = node.get("skin")
        key = (node["mesh"], weights, skin)
        if key not in self.meshes:
            parts = []
            joints = None if skin is None else bones(self.file, skin, self.poses)
            for number, primitive in enumerate(row["primitives"]):
                self.count(primitive, copies)
                try:
                    found = self.file.primitive(primitive, list(weights))
                    found = found if found is None or joints is None else bend(found, joints)
                    if found is not None and len(found.faces):
                        parts.append(self.dress(found, primitive))
                except (*DAMAGED, DataError, MissingExtraError) as error:
                    reason = (
                        str(error) if isinstance(error, AmodalError) else f"malformed ({type(error).__name__}: {error})"
                    )
                    title = row.get("name") or node.get("name") or node["mesh"]
                    self.remarks.append(f"mesh {title}, part {number}: {reason}; left out")
            self.meshes[key] = parts
        self.total += copies * sum(len(each.faces) for each in self.meshes[key])
        check_count(f"scene {self.file.path.stem}", self.total, self.options.max_faces)
        return self.meshes[key]

    def count(self, primitive: dict[str, Any], copies: int) -> None:
        """Refuse files that promise too many faces before they are read."""
        named = primitive.get("indices", primitive.get("attributes", {}).get("POSITION"))
        promised = whole(self.file.row("accessors", named).get("count"), "count") // 3
        check_count(f"scene {self.file.path.stem}", self.total + copies * promised, self.options.max_faces)

    def dress(self, found: Primitive, row: dict[str, Any]) -> Mesh:
        """A primitive with its look."""
        material = self.file.row("materials", row["material"]) if "material" in row else {}
        metal = material.get("pbrMetallicRoughness", {})
        gloss = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
        wanted = metal.get("baseColorTexture") or gloss.get("diffuseTexture") or {}
        factor = metal.get("baseColorFactor", gloss.get("diffuseFactor"))
        picture = self.picture(wanted["index"]) if "index" in wanted else None
        move = wanted.get("extensions", {}).get("KHR_texture_transform", {})
        channel = f"TEXCOORD_{int(move.get('texCoord', wanted.get('texCoord', 0)))}"
        uv, tint, normals = (found.attributes.get(key) for key in (channel, "COLOR_0", "NORMAL"))
        if picture is not None and uv is None:
            title = material.get("name", row["material"])
            self.tell(f"material {title} has a texture at {channel}, which its mesh lacks; plain colour instead")
        texture = picture if uv is not None else None
        plain = Material().colour if texture is None and tint is None else (1.0, 1.0, 1.0)
        red, green, blue = plain if factor is None else (float(each) for each in factor[:3])
        key = (wanted.get("index") if texture is not None else None, red, green, blue)
        look = self.looks.setdefault(key, Material((red, green, blue), texture))
        corners = np.zeros((len(found.faces), 3, 2), np.float32)
        if uv is not None:
            corners = texture_place(np.asarray(uv, np.float64), move)[found.faces].astype(np.float32)
        kinds = np.zeros(len(found.faces), np.int32)
        surface = Surface((look,), kinds, corners, colour_bytes(tint), None if normals is None else unit(normals))
        return Mesh(found.attributes["POSITION"], found.faces, surface)

    def tell(self, remark: str) -> None:
        """Remark on something, once."""
        if remark not in self.remarks:
            self.remarks.append(remark)

    def picture(self, number: Any) -> Image | None:
        """The picture of a texture; what cannot be had is told once."""
        if number not in self.pictures:
            name = f"texture {number}"
            try:
                row = self.file.row("textures", number)
                source = row.get("extensions", {}).get("EXT_texture_webp", row).get("source", row.get("source"))
                image = self.file.row("images", source)
                name = f"texture {image['uri']}" if not str(image.get("uri", "data:")).startswith("data:") else name
                found = (
                    self.file.fetch(image["uri"]) if "uri" in image else bytes(self.file.view(image["bufferView"])[0])
                )
                self.pictures[number] = read_texture(found)
            except (*DAMAGED, DataError):
                self.pictures[number] = None
            if self.pictures[number] is None:
                self.remarks.append(f"{name} is missing or damaged; plain colour instead")
        return self.pictures[number]


def transformed(mesh: Mesh, pose: Floats, scale: float) -> Mesh:
    """A part in the world: its vertices, and its normals where the pose has an inverse."""
    linear, surface = pose[:3, :3], mesh.surface
    determinant = np.linalg.det(linear)
    assert surface is not None
    if surface.normals is not None:
        turned = np.zeros_like(surface.normals)
        if abs(determinant) >= 1e-12:
            turned = unit(surface.normals.astype(np.float64) @ np.linalg.inv(linear))
        surface = replace(surface, normals=turned)
    faces = mesh.faces
    if determinant < 0:  # a mirrored node: what was the front is the front
        faces, surface = faces[:, ::-1], replace(surface, uv=surface.uv[:, ::-1])
    return Mesh((mesh.vertices @ linear.T + pose[:3, 3]) * scale, faces, surface)


def unit(normals: Any) -> Any:
    """Vectors (V, 3) of length 1 as float32."""
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def colour_bytes(tint: Any) -> Any:
    """Vertex colours (V, 3 or 4), linear in [0, 1], as (V, 3) uint8 sRGB bytes; None where all are white or there are none."""
    if tint is None:
        return None
    values = np.asarray(tint, np.float64)[:, :3] / (np.iinfo(tint.dtype).max if tint.dtype.kind in "iu" else 1)
    found = np.rint(to_srgb(np.nan_to_num(values).astype(np.float32))).astype(np.uint8)
    return None if found.min(initial=255) == 255 else found


def texture_place(uv: Floats, move: dict[str, Any]) -> Floats:
    """Texture coordinates (V, 2), v upwards, of glTF's, which count v downwards; KHR_texture_transform applied."""
    (x, y), (wide, high), turn = move.get("offset", (0, 0)), move.get("scale", (1, 1)), float(move.get("rotation", 0))
    c, s = np.cos(turn), np.sin(turn)
    moved = uv * [wide, high] @ np.array([[c, -s], [s, c]]) + [x, y] if move else uv
    return np.stack([moved[:, 0], 1 - moved[:, 1]], axis=1)


def walk(file: File, every: bool = False) -> Iterator[tuple[int, list[int], Floats]]:
    """Every node of the default scene that is not hidden, or all: its number, the numbers on the way to it from below the root, and its
    world transform (4, 4). Raises DataError for a node with two parents."""
    nodes, scenes = file.rows("nodes"), file.rows("scenes")
    try:
        if scenes:
            roots = file.row("scenes", file.content.get("scene", 0)).get("nodes", [])
        else:
            below = {child for node in nodes for child in node.get("children", [])}
            roots = [number for number in range(len(nodes)) if number not in below]
        # The last of several nodes comes first, as in data sets that were built before.
        stack = [(root, list[int](), np.eye(4)) for root in roots]
        seen = set[int]()
        while stack:
            number, above, pose = stack.pop()
            node = file.row("nodes", number)
            if number in seen:
                raise DataError(f"{file.path}: node {number} has two parents, or is its own")
            seen.add(number)
            if not every and node.get("extensions", {}).get("KHR_node_visibility", {}).get("visible", True) is False:
                continue
            here, chain = pose @ local_pose(node), [*above[:8], number]
            yield number, chain, here
            stack.extend((child, chain, here) for child in node.get("children", []))
    except DAMAGED as error:
        raise DataError(f"{file.path}: its nodes are malformed ({type(error).__name__}: {error})") from error


def read_cameras(file: File, options: ReaderOptions) -> tuple[list[Camera], list[str]]:
    """The cameras that nodes of the default scene name, in the file's order, and what is wrong with others."""
    cameras, failures = list[Camera](), list[str]()
    nodes = [(number, file.row("nodes", number), pose) for number, _, pose in walk(file)]
    found = sorted((each for each in nodes if "camera" in each[1]), key=lambda each: each[0])
    titles = distinct([str(node.get("name", f"camera{number}")) for number, node, _ in found])
    for title, (_, node, pose) in zip(titles, found, strict=True):
        try:
            cameras.append(make_camera(title, file.content["cameras"][node["camera"]], pose, options))
        except DataError as error:
            failures.append(str(error))
        except DAMAGED as error:
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


def local_pose(node: dict[str, Any]) -> Floats:
    """A node's own transform (4, 4): `matrix` (column by column), or translation times rotation (x, y, z, w) times scale."""
    if "matrix" in node:
        return np.asarray(np.array(node["matrix"], np.float64).reshape(4, 4).T)
    pose = np.eye(4)
    turn = np.array(node.get("rotation", (0.0, 0.0, 0.0, 1.0)), np.float64)
    x, y, z, w = turn / (np.linalg.norm(turn) or 1)  # short integers hold no exact unit
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    pose[:3, :3] += 2 * (w * cross + cross @ cross)
    pose[:3, :3] *= np.array(node.get("scale", (1.0, 1.0, 1.0)), np.float64)
    pose[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return pose
