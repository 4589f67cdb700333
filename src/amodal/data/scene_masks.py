"""The visible masks of all objects of one picture: from mask pictures, a folder of them, a label picture, or a JSON file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core import image
from ..core.errors import MALFORMED, AmodalError, ImageError, MaskError
from ..core.files import read_json
from ..core.image import is_picture, read_mask
from ..core.mask import Mask, Size
from ..core.paths import own_path
from ..core.remarks import remark
from ..engine.output import is_batch, read_records
from .annotations import decode, guarded
from .coco import VISIBLE_FIELDS, category_names, channel_value, check_stated, framed, is_crowd, picture_names

__all__ = ["SceneMasks", "read_json_masks", "read_labels", "read_scene"]

T = TypeVar("T")
MOST = 2000
"""Objects of a picture: of more, the order of all pairs takes too long."""


class SceneMasks(NamedTuple):
    """The objects of a picture, one entry each.

    Attributes:
        names: all different.
        masks: what is visible, never empty.
        categories: the number that networks read from the mask channel, in KINS' JSON; None in any other source.
    """

    names: list[str]
    masks: list[Mask]
    categories: list[int | None]


def read_scene(sources: str | Path | Sequence[str | Path], size: Size, picture: str = "") -> SceneMasks:
    """The objects of a picture.

    Args:
        sources: mask pictures (white marks the object), folders of mask pictures (by name), label pictures (palette or
            16-bit ones, whose values 1, 2, ... mark one object each), or `.json` files, see `read_json_masks`.
        size: (H, W) of the picture.
        picture: its path or file name, to find it in a JSON file or batch that has several pictures.

    Returns:
        the objects; a name is the file's stem (with the value, for a label picture), or what a JSON file calls it.

    Raises:
        MaskError: nothing there, an empty mask, or one of another size.
        ImageError: a file that is not a picture.
    """
    paths: list[Path] = []
    for source in [sources] if isinstance(sources, str | Path) else sources:
        path = own_path(source)
        if path.is_dir() and not is_batch(path):
            found = sorted(file for file in path.iterdir() if is_picture(file))
            if not found:
                raise MaskError(f"the folder {path} holds no mask pictures (PNG, one object a file)")
            paths += found
        else:
            paths.append(path)
    names: list[str] = []
    masks: list[Mask] = []
    told: dict[int, int | None] = {}
    for path in paths:
        if path.suffix.lower() in (".json", ".jsonl") or is_batch(path):
            for name, mask, category in read_json_masks(path, size, picture):
                told[len(masks)] = category
                names.append(name)
                masks.append(mask)
            continue
        labels = read_labels(path, size)
        if labels is None:
            names.append(path.stem)
            masks.append(read_mask(path, size))
            continue
        values = [int(value) for value in np.unique(labels) if value]
        if len(values) > MOST:
            raise MaskError(
                f"{path} has {len(values):,} values; a label picture has one an object, and at most {MOST:,} are read"
            )
        names += [f"{path.stem}:{value}" for value in values]
        masks += [Mask.from_array(labels == value) for value in values]
    if not masks:
        raise MaskError(
            "no object is marked; give one mask, label value above 0 or JSON record with visible pixels each"
        )
    if len(masks) > MOST:
        raise MaskError(f"{len(masks):,} objects are marked; at most {MOST:,} are read for one picture")
    return SceneMasks(unique(names), masks, [told.get(number) for number in range(len(masks))])


def unique(names: Sequence[str]) -> list[str]:
    """Names that occur twice get a number."""
    times: dict[str, int] = {}
    out = []
    for name in names:
        times[name] = times.get(name, 0) + 1
        out.append(name if times[name] == 1 else f"{name}-{times[name]}")
    return out


def read_json_masks(path: Path, size: Size, picture: str = "") -> list[tuple[str, Mask, int | None]]:
    """Name, visible mask and category (see `SceneMasks`) of each of one picture's objects in a JSON file; objects of which nothing
    can be seen are left out.

    Args:
        path: COCO's layout (also the project's own data sets, KINS, D2SA), COCO-A's (the whole file, or one annotation entry),
            what `amodal segment` and `amodal batch` write, or a list of masks or records with a mask. Masks are RLEs or polygons.
        size: (H, W) of the picture.
        picture: its path or file name, needed where the file has several; of pictures of one name the path tells which.

    Raises:
        MaskError: none of these layouts, the picture is not in it, or a malformed mask, named by its place.
        DataError: a malformed record, or a picture whose size in the file is another.
    """
    found: list[tuple[str, Mask, int | None]] = []
    with guarded(f"an entry of {path}"):
        listed = list(records(path, picture, size))
    for number, (name, shape, category) in enumerate(listed, 1):
        try:
            mask = Mask.from_dict(shape) if isinstance(shape, dict) and "origin" in shape else decode(shape, size)
        except (AmodalError, *MALFORMED) as error:
            raise MaskError(f"{path}: object {number} ({name}): {error}") from error
        if mask.clip(size):
            found.append((name, mask.clip(size), category))
    return found


def records(path: Path, picture: str, size: Size) -> Iterator[tuple[str, Any, int | None]]:
    """Name, encoded visible mask and category of each object of the picture in a JSON file."""
    batch = path.suffix.lower() == ".jsonl" or is_batch(path)
    content = batch_objects(path, picture) if batch else read_json(path, MaskError)
    names: dict[Any, str] = {}
    if isinstance(content, dict):
        if "images" in content and "annotations" in content:
            names = category_names(content)[0]
            content = of_picture(path, content, picture, size)
        else:
            content = next((content[key] for key in ("regions", "objects", "annotations") if key in content), [content])
    if not isinstance(content, list):
        raise MaskError(f"{path} is no list of masks, nor in the layout of COCO or COCO-A")
    content = of_results(path, content, picture)
    for number, row in enumerate(content, 1):
        if is_crowd(row):
            continue
        if isinstance(row, Mapping) and "counts" not in row:
            key = next((key for key in VISIBLE_FIELDS if row.get(key) is not None), None)
            if key is None:
                raise MaskError(f"{path}: object {number} has no mask; it needs one of {', '.join(VISIBLE_FIELDS)}")
            title = (
                str(row.get("name") or "").strip()
                or names.get(row.get("category_id"))
                or row.get("id")
                or f"object-{number}"
            )
            if row[key]:  # an empty list: nothing can be seen
                yield str(title), row[key], channel_value(row)
        else:
            yield f"object-{number}", row, None


def batch_objects(path: Path, picture: str) -> list[dict[str, Any]]:
    """The records of the picture in a batch, or in a shard of one, that are completed objects."""
    name = Path(picture).name
    shards = sorted((path / "shards").glob("*.jsonl")) if path.is_dir() else [path]
    alike: dict[str, list[dict[str, Any]]] = {}
    for record in (record for shard in shards for record in read_records(shard)):
        image = str(record.get("image"))
        if record.get("status") == "done" and (not name or Path(image).name == name):
            alike.setdefault(image, []).append(record)
    mine = called(((image, [image]) for image in alike), picture) if name else list(alike)
    if len(mine) > 1:
        raise unclear(path, len(alike), len(mine), name)
    return alike[mine[0]] if mine else []


def of_picture(path: Path, content: Mapping[str, Any], picture: str, size: Size) -> list[Any]:
    """The annotations of a COCO file (regions, for COCO-A's) that belong to the picture of this file name, or to the only one."""
    images = [row for row in content["images"] if isinstance(row, dict)]
    mine = called(((row, picture_names(row)) for row in images), picture)
    if len(mine) != 1 and len(images) != 1:
        raise unclear(path, len(images), len(mine), Path(picture).name)
    image = (mine or images)[0]
    if picture and not mine and (named := picture_names(image)):
        remark(f"the masks of {path} are for {named[0]}; they are taken for {Path(picture).name}", stacklevel=2)
    check_stated(framed(image), size)
    number = image.get("id")
    rows = [row for row in content["annotations"] if isinstance(row, dict) and row.get("image_id") == number]
    return [region for row in rows for region in row.get("regions", [row])]


def of_results(path: Path, entries: list[Any], picture: str) -> list[Any]:
    """Of COCO's results, entries of several images in one list, those of the picture; other lists as they are."""
    images: dict[str, list[Any]] = {}
    for entry in entries:
        image = (entry.get("file_name") or entry.get("image_id")) if isinstance(entry, Mapping) else None
        images.setdefault("" if image is None else str(image), []).append(entry)
    if len(images) < 2:
        return entries
    name = Path(picture).name
    mine = called(((image, [image]) for image in images), picture) or [
        each for each in images if each == Path(name).stem
    ]
    if len(mine) != 1:
        raise unclear(path, len(images), len(mine), name)
    return images[mine[0]]


def called(images: Iterable[tuple[T, Sequence[str]]], picture: str) -> list[T]:
    """The images that have a picture's file name as one of their names; of several, those with a name in which its path ends."""
    alike = [each for each in images if Path(picture).name in [Path(name).name for name in each[1]]]
    if len(alike) > 1:
        whole = f"/{Path(picture).absolute().as_posix()}"
        alike = [each for each in alike if any(whole.endswith(f"/{name}") for name in each[1] if "/" in name)] or alike
    return [each[0] for each in alike]


def unclear(path: Path, count: int, alike: int, name: str) -> MaskError:
    """That none, or more than one, of the pictures in a file is the one that is meant."""
    advice = "give its path, with the folders that are named there" if name and alike else "its file name must be in it"
    return MaskError(
        f"{path} has {count} pictures, {alike or 'none'} of them named {name or '(no name)'!r}; for the picture that is meant {advice}"
    )


def read_labels(path: Path, size: Size) -> NDArray[np.int64] | None:
    """The values of a label picture (H, W), or None for any other picture (also one that cannot be read).

    Raises:
        MaskError: a label picture of another size than `size`.
    """
    try:
        labels = image.read_labels(path)
    except ImageError:
        return None
    if labels is None:
        return None
    if labels.shape != tuple(size):
        raise MaskError(
            f"label picture {path} is {labels.shape[1]} x {labels.shape[0]} pixels, the image {size[1]} x {size[0]}; "
            "they must be equal"
        )
    return labels
