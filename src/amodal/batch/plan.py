"""What a batch consists of: a folder of photos, a list of prompts (JSONL) or a COCO file, as rows, one per photo.

Sources are gone through once, to find where each photo's prompts lie. A row is made when it is asked for, and nothing is decoded
before its photo's turn, so that a million photos are planned as a hundred are. What is wrong with a prompt or annotation is kept
beside it and becomes a failed record.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from abc import abstractmethod
from array import array
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

from ..core.errors import MALFORMED, AmodalError, DataError
from ..core.files import check_text, file_sha256, open_regular, parse_json
from ..core.image import is_picture
from ..data.coco import (
    CocoFile,
    category_names,
    channel_value,
    framed,
    id_of,
    is_crowd,
    picture_names,
    visible_box,
    visible_shape,
)
from ..engine.output import is_batch
from ..engine.worker import Row

__all__ = ["Plan", "Planned", "read_plan"]

LINE = 1 << 26
"""Bytes that a line of prompts may have."""


@dataclass(frozen=True)
class Planned:
    """An object of a photo, as the source tells of it.

    Attributes:
        id: unique in the batch.
        image: the photo's path below the root; None where the source names none.
        given: the prompt, as a line of prompts has it.
        error: why there is no prompt; empty if there is one.
        category: its name.
        header: (H, W) of the photo that the source states.
        coco: the object's ids in a COCO source.
        value: what networks read from the mask channel on it, see `data.coco.channel_value`.
    """

    id: str
    image: str | None = None
    given: dict[str, Any] | None = None
    error: str = ""
    category: str | None = None
    header: tuple[int, int] | None = None
    coco: dict[str, Any] | None = None
    value: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without what is not told, and without the photo, which a row says once."""
        return {"id": self.id, **{name: value for name, value in asdict(self).items() if value and name != "image"}}


class Plan(Sequence[Row]):
    """The rows of a batch, in an order that does not depend on the file system.

    Attributes:
        root: the folder that image names start from.
        digest: SHA-256 of the source.
        passed: what was passed over, by kind.
        coco: the source, if it is a COCO file.
    """

    coco: CocoFile | None = None

    def __init__(self, root: Path, limit: int | None) -> None:
        self.root, self.limit = root, limit
        self.digest = ""
        self.passed: Counter[str] = Counter()

    def __len__(self) -> int:
        return min(self.total(), self.limit or self.total())

    @overload
    def __getitem__(self, number: int) -> Row: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Row]: ...
    def __getitem__(self, number: int | slice) -> Row | Sequence[Row]:
        if isinstance(number, slice):
            return [self.row(each) for each in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.row(number)

    @abstractmethod
    def total(self) -> int:
        """How many rows there are without the limit."""

    @abstractmethod
    def row(self, number: int) -> Row:
        """One row."""


def read_plan(source: Path, images: Path | None = None, boxes: bool = False, limit: int | None = None) -> Plan:
    """The rows of a batch.

    Args:
        source: a folder of photos (searched with its subfolders); a `.jsonl` with one prompt a line; or a COCO `.json` with
            visible masks or boxes.
        images: the folder that image names start from; the folder of `source` by default.
        boxes: take the boxes of a COCO file even where it has masks.
        limit: only the first so many photos.

    Raises:
        DataError: nothing there, or a file that is none of these.
    """
    if source.is_dir():
        return Photos(source, limit)
    suffix = source.suffix.lower()
    if not source.is_file():
        raise DataError(
            f"there is no folder or file {source}; give a folder of photos, a PROMPTS.jsonl or a COCO .json"
        )
    root = images or source.parent
    if suffix == ".json":
        return Annotations(source, root, limit, boxes)
    if suffix in (".jsonl", ".ndjson"):
        return Lines(source, root, limit)
    raise DataError(f"{source} is neither a folder of photos nor a .jsonl of prompts nor a COCO .json")


class Photos(Plan):
    """A folder: all objects of each photo."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        super().__init__(folder, limit)
        self.names: list[str] = []
        for where, folders, files in os.walk(folder, onerror=lambda _: self.passed.update(["unreadable folder"])):
            if where != str(folder) and "plan.json" in files and is_batch(Path(where)):
                self.passed["folder of a batch"] += 1
                folders.clear()
                continue
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in folders:
                if os.path.islink(os.path.join(where, name)):  # noqa: PTH114, PTH118  which is not followed
                    self.passed["link to a folder"] += 1
            for name in files:
                path = os.path.join(where, name)  # noqa: PTH118  faster than Path a million times
                if is_picture(name) and os.path.isfile(path):  # noqa: PTH113  pipes and devices are never opened
                    self.names.append(os.path.relpath(path, folder).replace(os.sep, "/"))
                elif not name.startswith("."):
                    self.passed[Path(name).suffix.lower() or "no ending"] += 1
        if not self.names:
            raise DataError(f"there is no photo in {folder}{told(self.passed)}")
        self.names.sort()
        total = hashlib.sha256()
        for name in self.names:
            total.update(os.fsencode(name) + b"\0")
        self.digest = total.hexdigest()

    def total(self) -> int:
        return len(self.names)

    def row(self, number: int) -> Row:
        return Row(self.names[number], {"image": self.names[number]})


class Grouped(Plan):
    """Records (lines or annotations) by photo, photos in the order in which they first appear."""

    def __init__(self, path: Path, root: Path, limit: int | None) -> None:
        super().__init__(root, limit)
        self.digest = file_sha256(path, DataError)
        self._rows: dict[Hashable, int] = {}
        self._owner, self._place = array("q"), array("q")
        self._ids, self._named = array("q"), array("q")

    def note(self, key: Hashable, place: int, identity: Any = None) -> None:
        """A record at a place in the file belongs to a photo; `identity` is the id it gives itself, if it gives one."""
        self._owner.append(self._rows.setdefault(key, len(self._rows)))
        self._place.append(place)
        if identity is not None:
            self._ids.append(hash(str(identity)))
            self._named.append(place)

    @cached_property
    def _again(self) -> set[int]:
        """Places of the records whose id an earlier one has."""
        ids = np.array(self._ids, np.int64)
        order = np.argsort(ids, kind="stable")
        later = order[1:][ids[order[1:]] == ids[order[:-1]]]
        return set(np.array(self._named, np.int64)[later].tolist())

    def free(self, name: str) -> str:
        """A name for a record that gives itself none: this one, or a longer one where another record has it."""
        while (at := np.searchsorted(self._given, hash(name))) < len(self._given) and self._given[at] == hash(name):
            name += "+"
        return name

    @cached_property
    def _given(self) -> Any:
        """Hashes of the ids that records give themselves, sorted."""
        return np.sort(np.array(self._ids, np.int64))

    @cached_property
    def _groups(self) -> tuple[Any, Any]:
        """The places, photo by photo, and where each photo's begin."""
        owner = np.frombuffer(self._owner, np.int64)
        order = np.argsort(owner, kind="stable")
        return np.frombuffer(self._place, np.int64)[order], np.searchsorted(owner[order], np.arange(self.total() + 1))

    def total(self) -> int:
        return len(self._rows)

    def row(self, number: int) -> Row:
        places, starts = self._groups
        things: list[Planned] = []
        for place in places[starts[number] : starts[number + 1]].tolist():
            for thing in self.things(place, len(things)):
                again = place in self._again
                things.append(
                    Planned(thing.id, thing.image, error=f"the id {thing.id!r} occurs twice") if again else thing
                )
        content = {"image": things[-1].image if things else None, "objects": [thing.to_dict() for thing in things]}
        return Row(str(number), content, tuple(thing.id for thing in things))

    @abstractmethod
    def things(self, place: int, before: int) -> Iterator[Planned]:
        """The objects of the record at a place.

        Args:
            place: as it was noted.
            before: how many objects the photo has already.
        """


class Lines(Grouped):
    """A `.jsonl`: one prompt a line."""

    def __init__(self, path: Path, root: Path, limit: int | None) -> None:
        super().__init__(path, root, limit)
        self.path = path
        self.numbers: dict[int, int] = {}
        with open_regular(path, DataError) as file:
            check_text(file.read(1024), path, DataError)
            file.seek(0)
            at = 3 if file.read(3) == b"\xef\xbb\xbf" else 0
            file.seek(at)
            number = 0
            while line := file.readline(LINE):
                number += 1
                if line.strip():
                    record, wrong = _line(line)
                    if wrong or not isinstance(record.get("image"), str):
                        self.numbers[at] = number
                        self.note(("line", number), at)
                    else:
                        self.note(record["image"], at, record.get("id"))
                at += len(line)
        if not self._rows:
            raise DataError(f"the list of prompts {path} is empty")
        with open_regular(path, DataError) as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def things(self, place: int, before: int) -> Iterator[Planned]:
        end = self._bytes.find(b"\n", place)
        record, wrong = _line(self._bytes[place : end if end >= 0 else len(self._bytes)])
        if place in self.numbers:
            wrong = wrong or 'the field "image" must name a picture'
            identity = f"{self.path.name}, line {self.numbers[place]}"
            yield Planned(identity, error=f"{identity}: {wrong}")
            return
        image = record.pop("image")
        identity = record.pop("id", None)
        name = self.free(f"{image}#{before}") if identity is None else str(identity)
        category = record.pop("category", None)
        yield Planned(name, image, record, category=None if category is None else str(category))


class Annotations(Grouped):
    """A COCO file: one object an annotation; of COCO-A's, one a region. Crowd regions are not objects."""

    def __init__(self, path: Path, root: Path, limit: int | None, boxes: bool) -> None:
        super().__init__(path, root, limit)
        self.boxes = boxes
        self.coco = CocoFile(path)
        self.categories, self.nameless = category_names(self.coco.rest)
        for place, entry in self.coco.annotations():
            if is_crowd(entry):
                self.passed["crowd region"] += 1
                continue
            image, own = (id_of(entry.get(key)) if isinstance(entry, dict) else None for key in ("image_id", "id"))
            if image is None:
                self.note(("annotation", place), place)
            else:
                self.note(image, place, own)
        if not self._rows:
            raise DataError(f"{path} has no annotations of objects{told(self.passed)}")

    def things(self, place: int, before: int) -> Iterator[Planned]:
        assert self.coco is not None
        thing = Planned(f"annotation at byte {place}")
        try:
            entry = self.coco.record(place)
            if not isinstance(entry, dict):
                raise DataError("an annotation is a record with image_id and a mask or box")
            told = {key: id_of(entry.get(key)) for key in ("id", "image_id", "category_id")}
            if told["id"] is not None:
                thing = replace(thing, id=str(told["id"]))
            picture = self.coco.image(entry.get("image_id"))
            names = picture_names(picture)
            if not names:
                raise DataError(f"its image {entry['image_id']!r} has no file_name that is text")
            there = (name for name in names if os.path.isfile(os.path.join(self.root, name)))  # noqa: PTH113, PTH118
            thing = replace(thing, image=next(there, names[-1]), header=framed(picture), coco=told)
            regions = entry.get("regions")
            if not isinstance(regions, list):
                yield self._object(thing, entry)
                return
            for number, part in enumerate(regions, 1):  # several objects share the entry's id: none has one of its own
                yield self._object(replace(thing, id=f"{thing.id}/{number}", coco={**told, "id": None}), part)
        except AmodalError as error:
            yield _wrong(thing, str(error))

    def _object(self, thing: Planned, part: Any) -> Planned:
        if not isinstance(part, dict):
            return _wrong(thing, "a region is a record with a mask")
        number = (thing.coco or {}).get("category_id")
        name = self.categories.get(number, part.get("name"))  # COCO-A's regions have names
        if number is not None and number not in self.categories and number in self.nameless:
            return _wrong(thing, f"its category {number} has a name that is not text, or two names")
        thing = replace(thing, category=name if isinstance(name, str) else None, value=channel_value(part))
        shape = visible_shape(part)
        if shape and not self.boxes:
            return replace(thing, given={"mask": shape})
        if isinstance(shape, list) and not shape and part.get("segmentation"):
            return _wrong(thing, "no pixel of it is visible, so that nothing prompts it")
        try:
            x, y, width, height = (float(value) for value in visible_box(part))
        except (AmodalError, *MALFORMED):
            return _wrong(thing, "it has neither a mask nor a box x, y, width, height")
        if width <= 0 or height <= 0:
            return _wrong(thing, f"its box is {width:g} wide and {height:g} high")
        return replace(thing, given={"box": [x, y, x + width, y + height]})


def _wrong(thing: Planned, reason: str) -> Planned:
    return replace(thing, error=f"annotation {thing.id}: {reason}")


def told(passed: Counter[str]) -> str:
    """What was passed over, in words; empty if nothing was."""
    return f"; passed over: {', '.join(f'{count} {kind}' for kind, count in passed.most_common())}" if passed else ""


def _line(line: bytes) -> tuple[dict[str, Any], str]:
    """The record of a line, or what is wrong with it."""
    try:
        record = parse_json(line, "the line", finite=False)
    except AmodalError as error:
        return {}, f"it is not JSON: {error}"
    if not isinstance(record, dict):
        return {}, "a line is one JSON object"
    for name in ("id", "category"):
        value = record.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            return {}, f'the field "{name}" is a text or a number, got {str(value)[:40]}'
    return record, ""
