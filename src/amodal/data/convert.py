"""Conversion of any readable data set to the project's own format (which is COCO's), COCO-A's JSON or mask pictures, exactly."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, ExistsError
from ..core.files import check_targets, read_bytes, read_json, write_bytes, write_json
from ..core.image import encode_png, is_picture
from ..core.mask import Mask
from ..core.regions import rings
from ..plugins.protocols import Progress, no_progress
from .folder import LONGEST, FolderWriter, file_stem, numbers_of, picture_file
from .identity import identity
from .sample import Dataset, Sample

__all__ = ["COCOA_FILE", "to_cocoa", "to_folder", "to_masks", "to_polygon"]

PARTS = ("images", "visible", "amodal")
COCOA_FILE = "COCO_amodal_val2014.json"
"""The name of COCO-A's annotations, as its readers look for them."""


def to_folder(
    data: Dataset,
    output: str | os.PathLike[str],
    *,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, int]:
    """Write a data set in the project's own format; photos that are files are copied byte for byte.

    Visible pixels outside of the amodal mask (polygons and RLEs of one object can differ at the rim) are cut off, and objects
    without an amodal pixel in the frame are left out.

    Returns:
        counts: `images`, `objects`, `trimmed` (visible masks that were cut), `left_out`.
    """
    beyond = any(sample.beyond_frame for sample in _first(data))
    counts = {"images": 0, "objects": 0, "trimmed": 0, "left_out": 0}
    settings = {"converted_from": identity(data, photos=True), "limit": limit}
    total = min(len(data), limit or len(data))
    with FolderWriter(
        _place(data, output),
        name=data.name,
        settings=settings,
        beyond_frame=beyond,
        license=data.license,
        overwrite=overwrite,
    ) as writer:
        for scene in _with_photo(data, limit):
            kept = [sample for sample in map(_trimmed, scene) if _inside(sample)]
            counts["left_out"] += len(scene) - len(kept)
            counts["trimmed"] += sum(
                new.visible.area < old.visible.area for old in scene for new in kept if new.id == old.id
            )
            counts["objects"] += len(kept)
            counts["images"] += bool(kept)
            if kept and not writer.done(kept[0].image_id):
                writer.add(kept)
            progress("object", counts["objects"] + counts["left_out"], total)
    return counts


def _with_photo(data: Dataset, limit: int | None) -> Iterator[list[Sample]]:
    """The samples picture by picture, without those whose photo is absent, which are bad entries."""
    missing = set(data.missing())
    for scene in data.scenes(limit):
        picture = scene[0].picture
        if isinstance(picture, Path) and picture in missing:
            data.bad(scene[0].source, scene[0].image_id, f"there is no file {picture}")
        else:
            yield scene


def _first(data: Dataset) -> Iterator[Sample]:
    for sample in data:
        yield sample
        return


def _inside(sample: Sample) -> bool:
    return bool(sample.amodal.crop((0, 0, sample.size[1], sample.size[0])).any())


def _trimmed(sample: Sample) -> Sample:
    frame = Mask.from_box((0, 0, sample.size[1], sample.size[0]))
    amodal = sample.amodal if sample.beyond_frame else sample.amodal & frame
    return dataclasses.replace(sample, visible=sample.visible & amodal & frame, amodal=amodal)


def to_cocoa(
    data: Dataset,
    output: str | os.PathLike[str],
    *,
    limit: int | None = None,
    copy: bool = True,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> dict[str, int]:
    """Write `COCO_amodal_val2014.json` and the photos (`val2014/`) in COCO-A's layout: a polygon a region, which gives the same pixels.

    What is beyond the frame is cut off, since COCO-A has no place for it. Region names are the categories. Images whose names are
    numbers keep them.

    Args:
        data: any data set.
        output: the folder.
        limit: only the first objects.
        copy: False leaves the photos where they are: for data sets in the project's own format, written into their own folder.
        overwrite: replace the file.
        progress: told of every object.

    Returns:
        counts: `images`, `objects`, `left_out`.
    """
    root = Path(output)
    file = root / COCOA_FILE
    check_targets([file], overwrite)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    counts = {"images": 0, "objects": 0, "left_out": 0}
    total = min(len(data), limit or len(data))
    numbers = numbers_of(data.picture_files())
    for scene in _with_photo(data, limit):
        number = numbers[scene[0].image_id]
        kept = [sample for sample in map(_trimmed, scene) if _inside(sample)]
        counts["left_out"] += len(scene) - len(kept)
        if not kept:
            continue
        name = _photo(kept[0], number, root / "val2014") if copy else Path(str(kept[0].picture)).name
        images.append({"id": number, "file_name": name, "height": kept[0].size[0], "width": kept[0].size[1]})
        place = {sample.id: k for k, sample in enumerate(kept, 1)}
        pairs = [f"{place[front]}-{place[s.id]}" for s in kept for front in s.occluders if front in place]
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "author": "amodal data convert",
                "url": "",
                "size": len(kept),
                "depth_constraint": ",".join(pairs),
                "regions": [_region(sample, order) for sample, order in zip(kept, _orders(kept), strict=True)],
            }
        )
        counts["images"] += 1
        counts["objects"] += len(kept)
        progress("object", counts["objects"] + counts["left_out"], total)
    write_json(file, {"images": images, "annotations": annotations}, overwrite=overwrite)
    return counts


def to_masks(
    data: Iterable[Sample],
    output: str | os.PathLike[str],
    *,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    encode: Callable[[Sample], tuple[str, bytes]] = picture_file,
) -> dict[str, int]:
    """Write `images/`, `visible/` and `amodal/` with one file an object, and `rows.json` last: the layout of the reader `masks`.

    What is beyond the frame is cut off. A photo is written once for each of its objects.

    Args:
        data: a data set, or samples.
        output: the folder.
        limit: only the first objects.
        overwrite: replace the files.
        progress: told of every object.
        encode: the name (its suffix counts) and content of a sample's picture.

    Returns:
        counts: `objects`, `left_out` (nothing in the frame).

    Raises:
        ExistsError: the folder holds such a set already.
        DataError: a bad sample, or two whose ids give one file name.
    """
    root = _place(data, output)
    check_targets([root / "rows.json"], overwrite)
    written, earlier = set[str](), _earlier(root, data, limit)
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    left_out = 0
    scenes = _with_photo(data, limit) if isinstance(data, Dataset) else [data]
    for number, sample in enumerate(chain.from_iterable(scenes), 1):
        if limit is not None and number > limit:
            break
        kept = _trimmed(sample)
        if not _inside(kept):
            left_out += 1
            continue
        name = _stem(sample.id)
        if name in taken:
            raise DataError(f"object {sample.id}: another object has the file name {name} already; rename one of them")
        taken.add(name)
        picture, content = encode(kept)
        masks = {f"{part}/{name}.png": mask for part, mask in (("visible", kept.visible), ("amodal", kept.amodal))}
        files = {file: encode_png(mask.to_array(kept.size)) for file, mask in masks.items()}
        files[f"images/{name}{Path(picture).suffix}"] = content
        for file, content in files.items():
            write_bytes(root / file, content)
        written |= files.keys()
        told = {"kind": sample.extra.get("kind"), "category": sample.category}
        rows.append({"id": name, **{key: value for key, value in told.items() if value}})
        progress("object", number, number)
    for file in earlier - written:
        (root / file).unlink()
    write_json(root / "rows.json", rows, overwrite=overwrite)
    return {"objects": len(rows), "left_out": left_out}


def _place(data: Iterable[Sample], output: str | os.PathLike[str]) -> Path:
    """The folder to write to. Raises DataError: it is the one that is read, which would be deleted or mixed with what is made of it."""
    root = Path(output)
    if isinstance(data, Dataset) and root.exists():
        for source in (data.root, data.root / (data.split or "")):
            if source.exists() and source.samefile(root):
                raise DataError(f"{root} is the data set that is read; choose another folder")
    return root


def _earlier(root: Path, data: Iterable[Sample], limit: int | None) -> set[str]:
    """The pictures of the set of masks that is in a folder, by their paths below it: those that its `rows.json` names.

    Raises:
        ExistsError: others are there, which are not written now and which a reader would take for objects of the new set.
    """
    rows = read_json(root / "rows.json", DataError) if (root / "rows.json").exists() else []
    names = {str(row.get("id")) for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
    coming = {_stem(name) for name in data.ids()[:limit]} if isinstance(data, Dataset) else set()
    found = [file for part in PARTS for file in sorted((root / part).glob("*")) if is_picture(file)]
    if other := next((file for file in found if file.stem not in names | coming), None):
        raise ExistsError(f"{root} holds other pictures ({other.relative_to(root).as_posix()}); choose an empty folder")
    return {file.relative_to(root).as_posix() for file in found if file.stem in names}


def _stem(name: str) -> str:
    """An object's id as the name of its files, shortened where file systems would not take it."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return plain if len(plain.encode()) <= LONGEST else file_stem(name)


def _photo(sample: Sample, number: int, folder: Path) -> str:
    """Write the photo, byte for byte if it is a JPEG; its file name."""
    _ = sample.image  # says clearly if the file is absent or broken
    jpeg = sample.file is not None and sample.file.suffix.lower() in (".jpg", ".jpeg")
    name = f"COCO_val2014_{number:012d}.{'jpg' if jpeg else 'png'}"
    write_bytes(folder / name, read_bytes(str(sample.picture), DataError) if jpeg else encode_png(sample.image))
    return name


def _orders(scene: Sequence[Sample]) -> list[int]:
    """The depth order of a picture's objects, 1 = front: as the data set has it; where it is unknown for one of them, a sequence
    in which what hides an object comes before it."""
    known = [sample.order for sample in scene if sample.order is not None]
    if len(known) == len(scene):
        return known
    rest = sorted(scene, key=lambda sample: (sample.order is None, sample.order or 0))
    places: dict[str, int] = {}
    while rest:
        behind = {sample.id for sample in rest}
        free = (sample for sample in rest if not behind & ({*sample.occluders} - {sample.id}))
        first = next(free, rest[0])  # a cycle is cut
        places[first.id] = len(places) + 1
        rest.remove(first)
    return [places[sample.id] for sample in scene]


def _region(sample: Sample, order: int) -> dict[str, Any]:
    frame = (0, 0, sample.size[1], sample.size[0])
    amodal = Mask.from_array(sample.amodal.crop(frame))
    occluded = amodal - sample.visible
    region: dict[str, Any] = {
        "segmentation": to_polygon(amodal),
        "name": sample.category or "object",
        "area": amodal.area,
        "isStuff": int(sample.stuff),
        "occlude_rate": occluded.area / amodal.area,
        "order": order,
    }
    if occluded:
        region["visible_mask"] = sample.visible.to_rle(sample.size)
        region["invisible_mask"] = occluded.to_rle(sample.size)
    return region


def to_polygon(mask: Mask) -> list[float]:
    """One polygon x0, y0, x1, y1, ... along the pixels' edges, from which pycocotools makes exactly the mask again.

    Parts and holes are joined by a way there and back, which even-odd filling does not see.
    """
    polygon: list[list[int]] = []
    for ring in rings(mask.bits):
        corners = (ring != (np.roll(ring, 1, axis=0) + np.roll(ring, -1, axis=0)) / 2).any(axis=1)
        closed = (ring[corners] + mask.origin).tolist()
        polygon += [*closed, closed[0], *polygon[:1]]
    return [float(value) for point in polygon for value in point]
