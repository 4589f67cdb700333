"""How predictions call objects and images: by names, or by the numbers of the COCO-like file that both come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..core.errors import DataError
from ..data import Dataset, Sample
from ..data.annotations import number_of, whole_number

__all__ = ["Key", "as_key", "check_one_photo_each", "elsewhere", "flat", "image_keys", "image_names", "keys_of"]

Key = str | int


def names_of(photo: object) -> list[Key]:
    """How a photo's file may be called: its path from any folder above it, longest first; none for what is no file."""
    parts = photo.parts if isinstance(photo, Path) else ()
    return ["/".join(parts[start:]) for start in range(len(parts))]


def image_keys(sample: Sample) -> list[Key]:
    """How predictions may call the sample's image."""
    return [*keys_of(sample.image_id, sample.coco and sample.coco[1]), *names_of(sample.picture)]


def elsewhere(number: int, entry: Mapping[str, Any], sample: Sample) -> str | None:
    """What is wrong with an entry that names an object and, by its file (`photo`) or number, another image than the object's."""
    photo, image = entry.get("photo"), as_key(entry.get("image_id"))
    if photo == sample.image_id:
        return None
    if photo is not None and isinstance(sample.picture, Path):
        there, other = sample.picture.name, PurePath(photo).name
    elif sample.coco is not None and isinstance(image, int):
        there, other = str(sample.coco[1]), str(image)
    else:
        return None
    if there == other:
        return None
    return f"entry {number} is for the object {sample.id}, which is of the image {there}, and says image {other}"


def as_key(value: Any) -> Key:
    """Numbers stay numbers: the image 1 (or 1.0) of a COCO file need not be the one that is named "1"."""
    number = None if isinstance(value, str) else number_of(value)
    return str(value) if number is None else number


def keys_of(name: str, number: int | None) -> list[Key]:
    """How predictions may call an object or image: its name, or its number in the COCO-like file (or the name read as one)."""
    if number is None:
        read = whole_number(name)
        return [name] if read is None else [name, read]
    return [number, name]


def flat(name: str) -> str:
    """An object's id as a file's stem."""
    return name.replace("/", "_")


def image_names(entries: Any, data: Dataset) -> dict[Key, str | None]:
    """Images' numbers to the names of the data set's images or photos, as records (with `id` or `image_id`, and `file_name`) have them;
    None for what the data set does not know by such a name: its number is taken for the data set's own."""
    files = data.picture_files()
    photos: dict[str, list[str]] = {}
    for photo in files.values():
        photos.setdefault(photo.name, []).append(f"/{photo.as_posix()}")
    table: dict[Key, str | None] = {}
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get("file_name") if isinstance(entry, Mapping) else None
        if isinstance(name, str):
            image = as_key(entry.get("image_id", entry.get("id")))
            own = entry.get("name") if "image_id" not in entry else None  # an image's, as in the project's own format
            table[image] = table.get(image) or (
                own if own in files else photo_name(name.replace("\\", "/"), files, photos)
            )
    return table


def photo_name(name: str, files: Collection[str], photos: Mapping[str, Sequence[str]]) -> str | None:
    """What a data set with the images `files` and the photos (paths by file name) knows by a name, also if it is in another folder
    than the data set's."""
    alike = photos.get(PurePath(name).name, [])
    if name in files or any(photo.endswith(f"/{name}") for photo in alike):
        return name
    return PurePath(name).name if len(alike) == 1 else None


def check_one_photo_each(images: Collection[Key], data: Dataset) -> None:
    """Raises DataError: predictions call two photos of a data set by one name."""
    found: dict[Key, tuple[str, Path]] = {}
    for image, photo in data.picture_files().items():
        if image in images or (name := next((name for name in names_of(photo) if name in images), None)) is None:
            continue
        first = found.setdefault(name, (image, photo))
        if first[0] != image:
            raise DataError(f"the predictions for {name!r} may be of {first[1]} or of {photo}; name the folder too")
