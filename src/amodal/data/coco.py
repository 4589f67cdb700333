"""COCO's format: one tolerant reader of files of any size, one rule for which mask is meant. `core.completion.coco_object` writes."""

from __future__ import annotations

import json
import mmap
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.files import check_text, open_regular
from ..core.mask import Mask, Size
from .annotations import number_of

__all__ = [
    "CocoFile",
    "category_names",
    "category_of",
    "channel_value",
    "check_stated",
    "framed",
    "id_of",
    "is_crowd",
    "marked",
    "picture_names",
    "visible_box",
    "visible_shape",
]

VISIBLE_FIELDS = ("visible_mask", "visible", "inmodal_seg", "i_segm", "segmentation")
"""Where annotations keep the visible mask, best first; those with `segmentation` alone are not occluded, or plain COCO."""
KINS_FIELDS = ("inmodal_seg", "i_segm")
VISIBLE_BOXES = ("visible_bbox", "inmodal_bbox", "i_bbox")
BLANK = re.compile(rb"[\s,]*")
WINDOW = 1 << 12
PLAIN = json.JSONDecoder()
CAREFUL = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))
"""Python refuses integers of thousands of digits; one in a record must not hide where the record ends."""


def visible_shape(annotation: Mapping[str, Any]) -> Any:
    """The encoded visible mask of an annotation; None where it has none. `segmentation` is the amodal mask where another
    field holds the visible one."""
    return next((annotation[name] for name in VISIBLE_FIELDS if annotation.get(name) is not None), None)


def channel_value(annotation: Mapping[str, Any]) -> int | None:
    """The category number that networks trained on KINS read from the mask channel: `category_id` of an annotation in KINS' layout
    (old or of 2020). None in any other layout, since networks for those read a constant 1, and where it is not 1 to 32767."""
    number = number_of(annotation.get("category_id")) if any(name in annotation for name in KINS_FIELDS) else None
    return number if number is not None and 1 <= number <= 32767 else None


def visible_box(annotation: Mapping[str, Any]) -> Any:
    """x, y, width, height around what is seen of an annotation's object, as the file has it; None where it has none.

    A field of its own (KINS); else around the visible mask where a field beside `segmentation` holds one, since `bbox` is then
    around the whole object; else `bbox`.

    Raises:
        MaskError: a malformed visible mask; a `MALFORMED` error for one that is no mask at all.
    """
    named = next((annotation[name] for name in VISIBLE_BOXES if annotation.get(name) is not None), None)
    shape = next((annotation[name] for name in VISIBLE_FIELDS[:-1] if annotation.get(name)), None)
    if named is not None or shape is None:
        return annotation.get("bbox") if named is None else named
    if isinstance(shape, Mapping):
        x0, y0, x1, y1 = Mask.from_dict(shape).box
    else:
        rings = shape if isinstance(shape[0], list) else [shape]
        corners = np.concatenate([np.reshape(ring, (-1, 2)) for ring in rings]).astype(float)
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def id_of(value: Any) -> int | str | None:
    """An id as a record holds it, a whole number (1.0 is one) or a text; None for anything else."""
    return value if isinstance(value, str) else number_of(value)


def category_names(content: Mapping[str, Any]) -> tuple[dict[Any, str], list[Any]]:
    """Category ids to names, and the ids (or what is in their place) of the categories whose name or id cannot be used: there is
    none, or two categories of different names have the id."""
    entries = content.get("categories")
    table: dict[Any, str] = {}
    nameless: list[Any] = []
    twice: list[Any] = []
    for entry in entries if isinstance(entries, list) else ():
        raw, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (entry, None)
        number = id_of(raw)
        if not isinstance(name, str) or number is None:
            nameless.append(raw)
        elif table.setdefault(number, name) != name:
            twice.append(number)
    return {number: name for number, name in table.items() if number not in twice}, [*nameless, *dict.fromkeys(twice)]


def category_of(annotation: Mapping[str, Any], names: Mapping[Any, str]) -> str | None:
    """The name of an annotation's category, whose id may be written as text ("4" is 4); None where there is none of that id."""
    value = id_of(annotation.get("category_id"))
    return names.get(value, names.get(number_of(value)))


def picture_names(image: Mapping[str, Any]) -> list[str]:
    """Where an image's record says that its file lies, best first: `file_name`; for LVIS, which has none, the end of `coco_url`
    with and without its folder ("train2017/000000391895.jpg"). Empty where it says nothing."""
    if isinstance(image.get("file_name"), str):
        return [image["file_name"]]
    *_, folder, name = ["", "", *str(image.get("coco_url") or "").split("/")]
    return [f"{folder}/{name}", name] if folder and name else []


def is_crowd(annotation: Any) -> bool:
    """Whether an annotation is a crowd region: a place where objects are not told apart, and no object."""
    return isinstance(annotation, Mapping) and marked(annotation.get("iscrowd"))


def marked(value: Any) -> bool:
    """Whether a field that says yes or no says yes, as 1, true or "1"."""
    return value in (1, True, "1")


class CocoFile:
    """A COCO-like file whose records are found once and read when they are asked for, so that its size does not matter.

    Attributes:
        path: the file.
        rest: what it holds beside images and annotations (`info`, `licenses`, `categories`, ...).
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            DataError: not readable, not JSON, or without the lists `images` and `annotations`.
        """
        self.path = path
        self.rest: dict[str, Any] = {}
        self._lists = {"images": array("q"), "annotations": array("q")}
        self._places: dict[Any, int] = {}
        try:
            with open_regular(path, DataError) as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is empty'}") from error
        check_text(self._bytes[:1024], path, DataError)
        missing = {"images", "annotations"} - self._scan()
        if missing:
            raise DataError(f"{path} is not a COCO file: it needs images, annotations and categories")

    def annotations(self) -> Iterator[tuple[int, Any]]:
        """Place and content of each annotation, in order; text is as `record` gives it where it is plain ASCII."""
        for place in self._lists["annotations"]:
            yield place, self._value(place)[0]

    def images(self) -> Iterator[Any]:
        """Each image's record, in order."""
        for place in self._lists["images"]:
            yield self.record(place)

    def image(self, number: Any) -> Any:
        """The record of an image by its id.

        Raises:
            DataError: none has it, or two that differ do.
        """
        try:
            place = self._places[number]
        except (KeyError, TypeError):
            raise DataError(f"its image {str(number)[:60]} is not in the list of images") from None
        if place < 0:
            raise DataError(f"two images have the id {number}")
        return self.record(place)

    def record(self, place: int) -> Any:
        """What lies at a place.

        Raises:
            DataError: its text is not UTF-8.
        """
        value, end = self._value(place)
        try:
            return value if self._bytes[place:end].isascii() else self._decoded(self._bytes[place:end])
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path} holds text that is not UTF-8; save it as UTF-8") from error

    def _decoded(self, content: bytes) -> Any:
        return CAREFUL.decode(content.decode("utf-8"))

    def _scan(self) -> set[str]:
        """Find all records; the keys of the whole."""
        at = self._skip(3 if self._bytes[:3] == b"\xef\xbb\xbf" else 0)
        if self._bytes[at : at + 1] != b"{":
            raise DataError(f"{self.path} is not a COCO file: it is not a JSON object with images and annotations")
        keys: set[str] = set()
        at = self._skip(at + 1)
        while self._bytes[at : at + 1] != b"}":
            key, at = self._value(at)
            at = self._skip(at)
            if self._bytes[at : at + 1] != b":" or not isinstance(key, str):
                raise self._broken(at)
            at = self._skip(at + 1)
            if key in self._lists and self._bytes[at : at + 1] == b"[":
                keys.add(key)
                at = self._list(key, self._skip(at + 1))
            else:
                start = at
                _, at = self._value(at)
                if key not in self._lists:
                    self.rest[key] = self.record(start)
            at = self._skip(at)
        return keys

    def _list(self, key: str, at: int) -> int:
        """Note where each element lies; the place after the list."""
        places = self._lists[key]
        while self._bytes[at : at + 1] != b"]":
            places.append(at)
            value, end = self._value(at)
            number = id_of(value.get("id")) if key == "images" and isinstance(value, dict) else None
            if number is not None:
                first = self._places.setdefault(number, at)
                if first != at and (first < 0 or self._value(first)[0] != value):
                    self._places[number] = -1
            at = self._skip(end)
        return at + 1

    def _skip(self, at: int) -> int:
        found = BLANK.match(self._bytes, at)
        assert found is not None
        return found.end()

    def _value(self, at: int) -> tuple[Any, int]:
        """The value at a place and where it ends. Bytes are taken for Latin-1, so that places are those of the file."""
        size = WINDOW
        while True:
            text = self._bytes[at : at + size].decode("latin-1")
            whole = at + size >= len(self._bytes)
            try:
                value, end = _first(text)
            except json.JSONDecodeError as error:
                if whole:
                    raise self._broken(at + error.pos) from error
            except RecursionError as error:
                raise DataError(f"{self.path} is nested too deeply at byte {at}") from error
            else:
                if whole or end < len(text):  # a number may go on behind the window
                    return value, at + end
            size *= 8

    def _broken(self, at: int) -> DataError:
        text = "; was it cut short?" if at >= len(self._bytes) else ""
        return DataError(f"{self.path} is not complete JSON: it breaks off at byte {at}{text}")


def _first(text: str) -> tuple[Any, int]:
    try:
        return PLAIN.raw_decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return CAREFUL.raw_decode(text)


def check_stated(stated: Sequence[int] | None, size: Size) -> None:
    """A photo of `size` (H, W) is the one of which a file states its size (`framed`), unless it states none.

    Raises:
        DataError: it has another size; tells both.
    """
    if stated is None or tuple(stated) == tuple(size):
        return
    turned = " (turned by its EXIF orientation?)" if tuple(stated) == tuple(size[::-1]) else ""
    raise DataError(
        f"its file says that the photo is {stated[1]} x {stated[0]}, but it is {size[1]} x {size[0]}{turned}; give the "
        "photo that was annotated"
    )


def framed(size: Any) -> Size | None:
    """(H, W) from an image's record, or None where it does not say it.

    Raises:
        DataError: it says half of it, or what is no whole number of pixels (80.0 and "80" are).
    """
    stated = size.get("height"), size.get("width")
    if stated == (None, None):
        return None
    pixels = [number_of(value) for value in stated]
    if pixels[0] is None or pixels[1] is None:
        raise DataError(
            f"its image's height and width are {str(stated[0])[:20]!r} and {str(stated[1])[:20]!r}; give both in pixels, or neither"
        )
    return pixels[0], pixels[1]
