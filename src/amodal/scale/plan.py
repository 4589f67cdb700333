"""What a batch consists of: a folder of photos, a list of prompts (JSONL) or a COCO file, read into rows, one per photo."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.annotations import from_polygon
from ..errors import AmodalError, DataError
from ..files import read_json
from ..image import SUFFIXES, is_picture
from ..mask import Mask, union
from ..prompt import Prompt
from .worker import Row

__all__ = ["read_plan"]


def read_plan(source: Path, images: Path | None = None, boxes: bool = False) -> tuple[Path, list[Row]]:
    """The rows of a batch, in an order that does not depend on the file system.

    Args:
        source: a folder of photos (searched with its subfolders); a `.jsonl` with one prompt a line; or a COCO `.json` with
            visible masks or boxes.
        images: the folder that image names start from; the folder of `source` by default.
        boxes: take the boxes of a COCO file even where it has masks.

    Returns:
        the folder that the rows' image paths start from, and one row per photo.

    Raises:
        DataError: nothing there, or a malformed line, with its number.
    """
    if source.is_dir():
        return source, list(_photos(source))
    if not source.is_file():
        raise DataError(
            f"there is no folder or file {source}; give a folder of photos, a PROMPTS.jsonl or a COCO .json"
        )
    root = images or source.parent
    if source.suffix == ".json":
        return root, _rows(_coco(source, boxes))
    if source.suffix in (".jsonl", ".ndjson"):
        return root, _rows(_lines(source))
    raise DataError(f"{source} is neither a folder of photos nor a .jsonl of prompts nor a COCO .json")


def _photos(folder: Path) -> Iterator[Row]:
    names = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [(Path(where) / name).relative_to(folder).as_posix() for name in files if is_picture(name)]
    if not names:
        raise DataError(f"there is no photo in {folder} ({', '.join(SUFFIXES)})")
    for name in sorted(names):
        yield Row(name, {"image": name})


def _rows(objects: Iterator[dict[str, Any]]) -> list[Row]:
    """Objects to one row per photo, photos in the order in which they first appear; ids made where none is given."""
    by_image: dict[str, list[dict[str, Any]]] = {}
    seen: set[str] = set()
    for thing in objects:
        image = thing.pop("image")
        mine = by_image.setdefault(image, [])
        thing.setdefault("id", f"{image}#{len(mine)}")
        if thing["id"] in seen:
            raise DataError(f"the id {thing['id']!r} occurs twice; ids must be unique, or leave them out")
        seen.add(thing["id"])
        mine.append(thing)
    if not by_image:
        raise DataError("the list of prompts is empty")
    return [
        Row(image, {"image": image, "objects": things}, tuple(thing["id"] for thing in things))
        for image, things in by_image.items()
    ]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield _prompt(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, AmodalError) as error:
                reason = error if isinstance(error, AmodalError) else f"not a prompt ({type(error).__name__}: {error})"
                raise DataError(f"{path}, line {number}: {reason}") from error


def _prompt(record: dict[str, Any]) -> dict[str, Any]:
    """A line `{"image": ..., "point"|"points"+"labels"|"box"|"mask"|"text": ..., "id", "occluder", "category"}`."""
    if not isinstance(record, dict):
        raise TypeError("a line is one JSON object")
    known = {"image", "point", "points", "labels", "box", "mask", "text", "id", "occluder", "category"}
    unknown = set(record) - known
    if unknown:
        raise DataError(f"no field named {sorted(unknown)[0]!r}; all: {', '.join(sorted(known))}")
    if not isinstance(record.get("image"), str):
        raise DataError('"image" must name a picture')
    mask = None if record.get("mask") is None else Mask.from_dict(record["mask"])
    parts = {name: record.get(name) for name in ("point", "points", "labels", "box", "text")}
    thing = {"image": record["image"], "prompt": Prompt.make(mask=mask, **parts).to_dict()}
    if record.get("occluder") is not None:
        thing["occluder"] = Mask.from_dict(record["occluder"]).to_dict()
    for name in ("id", "category"):
        if record.get(name) is not None:
            thing[name] = str(record[name])
    return thing


def _coco(path: Path, boxes: bool) -> Iterator[dict[str, Any]]:
    content = read_json(path, DataError)
    try:
        pictures = {entry["id"]: entry for entry in content["images"]}
        names = {entry["id"]: entry["name"] for entry in content.get("categories", [])}
        annotations = content["annotations"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a COCO file: it needs images, annotations and categories") from error
    for entry in annotations:
        try:
            picture = pictures[entry["image_id"]]
            thing = {
                "image": picture["file_name"],
                "id": str(entry["id"]),
                "prompt": _coco_prompt(entry, picture, boxes).to_dict(),
            }
        except (KeyError, TypeError, ValueError, AmodalError) as error:
            where = entry.get("id") if isinstance(entry, dict) else entry
            reason = error if isinstance(error, AmodalError) else f"{type(error).__name__}: {error}"
            raise DataError(f"{path}, annotation {where}: {reason}") from error
        if entry.get("category_id") in names:
            thing["category"] = str(names[entry["category_id"]])
        yield thing


def _coco_prompt(entry: dict[str, Any], picture: dict[str, Any], boxes: bool) -> Prompt:
    shape = entry.get("segmentation")
    if shape and not boxes:
        size = (int(picture["height"]), int(picture["width"]))
        return Prompt.make(
            mask=union(from_polygon(p, size) for p in shape) if isinstance(shape, list) else Mask.from_rle(shape)
        )
    x, y, width, height = (float(value) for value in entry["bbox"])
    return Prompt.make(box=(x, y, x + width, y + height))
