"""The store of cut-out objects, whole photographs and backgrounds that composites are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core import rle
from ...core.arrays import read_npz
from ...core.errors import DataError
from ...core.files import read_json
from ...core.image import SUFFIXES, is_picture, read
from ...core.mask import check_frame
from ...data.annotations import inside
from ...data.masks import read_beside
from .shapes import invent
from .sprites import Image, Photo, Sprite, cut_out, cut_plainly, from_rgba

PHOTO = {"split": str, "set": str, "name": str, "components": int, "touches_border": bool}
"""What a row of `index.json` says of a photograph."""


@dataclass
class Library:
    """Everything a composite may be made of, decoded once and kept in memory.

    Attributes:
        wholes: Whole objects by group; they can be targets and occluders.
        parts: Objects of which only a part is known (cut by their frame, or visible masks); occluders only.
        photos: Photographs with their own whole object.
        scenes: Cluttered photographs with visible masks: their objects may go on behind others.
        backgrounds: RGB pictures.
    """

    wholes: dict[str, list[Sprite]] = field(default_factory=dict)
    parts: list[Sprite] = field(default_factory=list)
    thin: list[Sprite] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    scenes: list[Photo] = field(default_factory=list)
    backgrounds: list[Image] = field(default_factory=list)


def checked(rows: Any, fields: dict[str, type], where: object) -> list[dict[str, Any]]:
    """A list of records, each with these fields of these types; `where` names it. Raises DataError: it is none."""
    for number, row in enumerate(rows if isinstance(rows, list) else [None]):
        for name, kind in fields.items():
            if not isinstance(row, dict) or not isinstance(row.get(name), kind):
                raise DataError(f"{where}: entry {number} is no record with {name} as {kind.__name__}")
    return list(rows)


def picture_file(root: Path, folder: str, stem: str) -> Path:
    """The picture of that name in a folder below `root`, whatever its suffix. Raises DataError: none, or it lies elsewhere."""
    for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES)):
        if (path := inside(root, f"{stem}{suffix}", folder)).is_file():
            return path
    raise DataError(f"there is no picture {stem} ({', '.join(SUFFIXES)}) in {root / folder}")


def add_photos(
    library: Library, root: Path, split: str, min_area: float = 0.01, cut: bool = False, plain: float = 0.0
) -> None:
    """Add the photographs with object masks listed in `root/index.json` (sets of `images/` and `masks/`).

    Args:
        cut: Photos whose object is cut by the frame or in pieces become scenes, too.
        plain: Share of the objects that are cut out plainly; see `cut_plainly`.
    """
    rng = np.random.default_rng(17)
    for row in checked(read_json(root / "index.json", DataError), PHOTO, root / "index.json"):
        if row["split"] != split:
            continue
        image = read(picture_file(root, f"{row['set']}/images", row["name"]))
        bits = read_beside(picture_file(root, f"{row['set']}/masks", row["name"]), image)
        mask = bits * np.uint8(255)
        if (mask > 0).mean() < min_area:
            continue
        group = "person" if row["set"] == "ccp" else "thing"
        name = f"{row['set']}/{row['name']}"
        how = cut_plainly if rng.random() < plain else cut_out
        sprite = how(image, mask > 0, group, name)
        if row["components"] == 1 and not row["touches_border"]:
            library.wholes.setdefault(group, []).append(sprite)
            library.photos.append(Photo(image, mask, group, name=name))
        else:
            library.parts.append(sprite)
            if cut:
                library.scenes.append(Photo(image, mask, group, whole=False, name=name))


def add_backgrounds(library: Library, folder: Path) -> None:
    """Add every picture of a folder as a background. Raises DataError if there is none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} with background pictures")
    for path in sorted(folder.iterdir()):
        if is_picture(path):
            library.backgrounds.append(read(path))
    if not library.backgrounds:
        raise DataError(f"there are no pictures ({', '.join(SUFFIXES)}) in {folder}; composites need backgrounds")


def add_visible(library: Library, root: Path, keep: Any = None, min_area: float = 0.004, plain: float = 0.0) -> None:
    """Add a COCO-format set of visible masks: occluder sprites and cluttered scenes.

    Args:
        root: Folder with `instances_visible.json` and `images/`.
        keep: Predicate on the image id, to leave pictures out of training.
        plain: Share of the objects that are cut out plainly; see `cut_plainly`.
    """
    rng = np.random.default_rng(19)
    path = root / "instances_visible.json"
    data = read_json(path, DataError)
    lists = data if isinstance(data, dict) else {}
    categories = checked(lists.get("categories"), {"id": int, "name": str}, f"{path}, categories")
    thing = {c["id"]: bool(c.get("isthing", 1)) for c in categories}
    name = {c["id"]: c["name"] for c in categories}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for a in checked(lists.get("annotations"), {"image_id": int, "category_id": int}, f"{path}, annotations"):
        if a["category_id"] not in name:
            raise DataError(f"{path}: an annotation has the category {a['category_id']}, which is not in the list")
        by_image.setdefault(a["image_id"], []).append(a)
    for row in checked(lists.get("images"), {"id": int, "file_name": str}, f"{path}, images"):
        if keep is not None and not keep(row["id"]):
            continue
        image = read(inside(root / "images", row["file_name"]))
        size = image.shape[0] * image.shape[1]
        masks = [(a, rle.decode(a.get("segmentation"))) for a in by_image.get(row["id"], ())]
        for _, m in masks:
            check_frame(m.shape, (image.shape[0], image.shape[1]), f"a mask of {row['file_name']}")
        things = [(a, m) for a, m in masks if thing[a["category_id"]] and not a.get("iscrowd")]
        crowd = [m for a, m in masks if thing[a["category_id"]] and a.get("iscrowd")]
        for a, m in things:
            if m.sum() < min_area * size:
                continue
            others = [o for b, o in things if b is not a] + crowd
            unknown = np.logical_or.reduce(others) if others else np.zeros_like(m)
            group = "person" if name[a["category_id"]] == "person" else "thing"
            label = f"coco/{row['id']}"
            library.scenes.append(
                Photo(image, m.astype(np.uint8) * 255, group, unknown.astype(np.uint8) * 255, False, label)
            )
            if m.sum() > 2.5 * min_area * size:
                how = cut_plainly if rng.random() < plain else cut_out
                library.parts.append(how(image, m, group, label))


def add_invented(library: Library, count: int, seed: int = 0) -> None:
    """Add `count` invented shapes, half as many thin things and an eighth as many hands, with textures from the backgrounds."""
    rng = np.random.default_rng([seed, 71])
    pictures = library.backgrounds
    library.wholes["shape"] = [invent(rng, pictures, "shape") for _ in range(count)]
    library.thin = [invent(rng, pictures, kind) for kind in ["thin"] * (count // 2) + ["hand"] * (count // 8)]


def add_renders(library: Library, path: Path) -> None:
    """Add rendered objects from an .npz with `rgba` (N, h, w, 4) uint8, straight alpha; `build_renders` makes it."""
    rgba = read_npz(path, ["rgba"], DataError, "make it with amodal data build renders")["rgba"]
    library.wholes["render"] = [
        from_rgba(x[..., :3], x[..., 3].astype(np.float32) / 255, "render")
        for x in rgba
        if (x[..., 3] > 127).sum() > 80
    ]
