"""What the sample set holds, part by part; each function writes one part below the folder that it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...core import rle
from ...core.files import read_json
from ...core.image import Image, encode_jpeg, encode_png, read
from ...core.mask import Mask
from ...core.options import build_options
from ...data.convert import to_cocoa, to_masks
from ...data.folder import Folder, FolderWriter
from ...data.sample import Sample
from ...geometry.camera import Camera
from ...geometry.project import project
from ...geometry.readers import open_source
from ...geometry.render import Light, Renderer
from ...geometry.scene import SceneGeometry
from ..composites.build import LibraryConfig, open_library
from ..composites.fixed import CompositesConfig, composite
from ..composites.place import Placer
from ..scenes.select import SelectOptions, select
from ..scenes.view import describe
from .room import FURNITURE, OBJECTS, camera_list, cameras, glb, walk

__all__ = ["composites", "development", "photographs", "room"]

BUNDLED = Path(__file__).parents[2] / "_demo"
PHOTO = "coffee.jpg"
COUNT = 24
"""Composites in the set."""
COINS = "coins.jpg"
SINGLE = {"astronaut.jpg": "person", "camera.jpg": "person", "chelsea.jpg": "cat", "hopper.jpg": "person"}
"""Photographs with the one object that stands for them in `data/photos`."""
LIGHT = Light(np.array([0.35, -0.5, 0.79]), 0.55, casts=False)
VIEW = build_options(SelectOptions, {"ratio": 0, "min_amodal": 200, "min_visible": 50, "max_open_edges": 1.0})


def put(path: Path, content: bytes) -> None:
    """Write a file of the new folder, which nobody sees before it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def as_json(content: Any) -> bytes:
    """Indented JSON."""
    return (json.dumps(content, indent=1) + "\n").encode()


def annotated() -> list[tuple[str, str, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """File name, category and visible mask (H, W) bool of every object that is marked on the bundled photographs."""
    content = read_json(BUNDLED / "instances.json")
    files = {row["id"]: row["file_name"] for row in content["images"]}
    names = {row["id"]: row["name"] for row in content["categories"]}
    return [
        (files[row["image_id"]], names[row["category_id"]], rle.decode(row["segmentation"]))
        for row in content["annotations"]
    ]


def as_jpeg(sample: Sample) -> tuple[str, bytes]:
    """A sample's picture as `to_masks` wants it."""
    return "picture.jpg", encode_jpeg(sample.image)


def photographs(root: Path) -> None:
    """`photo.jpg` with `masks/`, `visible.png` and `occluder.png`; `photos/` with `instances.json` and `prompts.jsonl`."""
    names = sorted(path.name for path in BUNDLED.glob("*.jpg"))
    for name in names:
        put(root / "photos" / name, (BUNDLED / name).read_bytes())
    put(root / "photo.jpg", (BUNDLED / PHOTO).read_bytes())
    put(root / "instances.json", (BUNDLED / "instances.json").read_bytes())
    parts = {category: mask for file, category, mask in annotated() if file == PHOTO}
    for category, mask in parts.items():
        put(root / "masks" / f"{category}.png", encode_png(mask))
    put(root / "visible.png", encode_png(parts["saucer"]))
    put(root / "occluder.png", encode_png(parts["cup"] | parts["spoon"]))
    saucer = Mask.from_array(parts["saucer"]).to_rle(parts["saucer"].shape)
    prompts: list[dict[str, Any]] = [
        {"image": "photos/coffee.jpg", "point": [350, 70], "id": "cup"},
        {"image": "photos/china.jpg", "box": [50, 22, 290, 335], "category": "pagoda", "id": "pagoda"},
        {"image": "photos/coffee.jpg", "mask": saucer, "id": "saucer"},
    ]
    put(root / "prompts.jsonl", "".join(json.dumps(row) + "\n" for row in prompts).encode())


def development(root: Path) -> None:
    """`photos/`, `backgrounds/` and `coco_visible/` in the layout that the recipes read."""
    rows = []

    def add(name: str, image: bytes, mask: np.ndarray[Any, np.dtype[np.bool_]], whole: bool, split: str) -> None:
        put(root / "photos" / "things" / "images" / f"{name}.jpg", image)
        put(root / "photos" / "things" / "masks" / f"{name}.png", encode_png(mask))
        pieces = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
        row = {"set": "things", "name": name, "split": split, "touches_border": not whole, "components": pieces}
        rows.append(row)

    coins = read(BUNDLED / COINS)
    number = 0
    for file, category, mask in annotated():
        if SINGLE.get(file) == category:  # cut by the frame
            add(Path(file).stem, (BUNDLED / file).read_bytes(), mask, False, "dev" if file == "hopper.jpg" else "train")
        elif file == COINS:  # whole
            x0, y0, x1, y1 = Mask.from_array(mask).box
            view = slice(max(y0 - 6, 0), y1 + 6), slice(max(x0 - 6, 0), x1 + 6)
            add(f"coin{number:02d}", encode_jpeg(coins[view]), mask[view], True, ("train", "train", "dev")[number % 3])
            number += 1
    put(root / "photos" / "index.json", as_json(rows))
    for split, names in {"train": ("china", "coffee", "chelsea", "rocket"), "dev": ("astronaut", "camera")}.items():
        for name in names:
            put(root / "backgrounds" / split / f"{name}.jpg", (BUNDLED / f"{name}.jpg").read_bytes())
    for path in BUNDLED.glob("*.jpg"):
        put(root / "coco_visible" / "images" / path.name, path.read_bytes())
    put(root / "coco_visible" / "instances_visible.json", (BUNDLED / "instances.json").read_bytes())


def composites(root: Path) -> None:
    """`composites_dev/`: coins and invented shapes behind things of the photographs, with exact truth; needs `development`."""
    library = LibraryConfig(photos=str(root / "photos"), backgrounds=str(root / "backgrounds" / "train"), invented=24)
    config = CompositesConfig(
        count=COUNT,
        targets={"thing": 1.0, "shape": 1.0},
        kinds={"none": 1.0, "one": 2.0, "two": 2.0, "bars": 1.0},
        library=library,
    )
    placer = Placer(open_library(library), config.targets, config.kinds)
    to_masks((composite(placer, config, number)[1] for number in range(COUNT)), root / "composites_dev", encode=as_jpeg)


def room(root: Path) -> None:
    """`room.glb` with `cameras.json` and `room.toml`; `frames/`; below `data/` its views as data sets, and single meshes."""
    put(root / "room.glb", glb(OBJECTS))
    views = cameras()
    put(root / "cameras.json", as_json(camera_list(views)))
    scene = open_source("gltf", root / "room.glb", "room").geometry(None)
    for camera in walk(8):
        put(root / "frames" / f"{camera.name}.jpg", encode_jpeg(picture(scene, camera)))
    data = root / "data"
    for row in OBJECTS:
        if row[0] in FURNITURE:
            put(data / "objects" / f"{row[0]}.glb", glb([row]))
    found = [samples(scene, camera) for camera in views]
    with FolderWriter(data / "room", name="room") as writer:
        for kept in found:
            writer.add(kept)
    to_cocoa(Folder(data / "room"), data / "COCOA")
    truth = read_json(data / "COCOA" / "COCO_amodal_val2014.json")
    put(data / "COCOA" / "COCO_amodal_train2014.json", as_json(truth))
    occluded = (sample for kept in found for sample in kept if sample.amodal.area > 1.2 * sample.visible.area)
    to_masks(occluded, data / "bookstore_dev", encode=as_jpeg)


def picture(scene: SceneGeometry, camera: Camera) -> Image:
    """The view under one light, from 2 x 2 samples a pixel."""
    fine, _ = Renderer(scene).paint(camera.scaled(2), LIGHT)
    return np.asarray(cv2.resize(fine, camera.size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def samples(scene: SceneGeometry, camera: Camera) -> list[Sample]:
    """The view's furniture with its truth, cut at the frame."""
    projection = project(scene, camera)
    kept, _ = select(scene, projection, VIEW)
    return describe(scene, projection, kept, picture(scene, camera), camera.name, VIEW.min_gap, False)
