"""`Sample`, one object of a data set, and `Dataset`, the base of all readers: lazy, joined by id, honest about what is bad."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..core import options as option_classes
from ..core.errors import AmodalError, DataError, UsageError, nearest
from ..core.image import Image, as_image, read
from ..core.mask import Mask, Size
from ..core.options import build_options
from ..core.paths import own_path
from ..core.scaling import fit, is_scaled
from ..plugins import registry
from .annotations import guarded
from .photos import Photos
from .problems import Problem

__all__ = ["Dataset", "Entry", "Sample", "dataset"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One object with its truth.

    Attributes:
        id: unique in the data set; stable between runs and machines.
        image_id: the picture it is in; samples of one picture come one after the other.
        picture: where the photo is: a path, the array itself, or a function that returns it.
        size: (H, W) of the frame that the masks refer to.
        visible: the part that can be seen; may be empty (fully occluded).
        amodal: the whole object; contains `visible`; may leave the frame if `beyond_frame`.
        category: the class name, if the data set has classes.
        category_id: the class's number in the annotation file, where published networks read it from the mask channel (KINS);
            None where they are fed a constant 1 (COCO-A and everything trained on it).
        stuff: a region without a shape of its own (sky, grass), where the data set marks them.
        occluders: ids of the samples of the same picture that hide parts of this one.
        occluder: visible pixels of everything that hides it, where the data set knows more of that than its samples tell.
        order: depth order in the picture, 1 = front; None if unknown.
        scaled: the photo's file is a scaled copy of the frame, and is scaled to it when read (see `Photos`).
        beyond_frame: the truth is known outside of the frame too; otherwise predictions are cut at the frame before scoring.
        source: the file and entry that it comes from, for error texts.
        coco: (annotation id, image id) in the COCO-like file it comes from, so that predictions can name it by them.
        extra: whatever else the data set tells ("kind", "author", "video", ...), JSON-ready.
    """

    id: str
    image_id: str
    picture: Path | Image | Callable[[], Image]
    size: Size
    visible: Mask
    amodal: Mask
    category: str | None = None
    category_id: int | None = None
    stuff: bool = False
    occluders: tuple[str, ...] = ()
    occluder: Mask | None = None
    order: int | None = None
    scaled: bool = False
    beyond_frame: bool = False
    source: str = ""
    coco: tuple[int, int] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.category, str | None):
            raise DataError(f"object {self.id}: a category is text, not {str(self.category)[:40]!r}")
        if not isinstance(self.extra, Mapping):
            raise DataError(f"object {self.id}: extra is a dictionary, not {str(self.extra)[:40]!r}")

    def __repr__(self) -> str:
        kind = f", {self.category}" if self.category else ""
        return f"Sample({self.id}{kind}, {self.size[1]} x {self.size[0]}, amodal={self.amodal}, {self.occlusion_rate:.0%} occluded)"

    @property
    def image(self) -> Image:
        """The photo at the frame's size, (H, W, 3) uint8 RGB, read at each access.

        Raises:
            DataError: the file is absent, broken or of another size than the masks.
        """
        try:
            if isinstance(self.picture, Path):
                image = read(self.picture)
            else:
                image = as_image(self.picture() if callable(self.picture) else self.picture)
        except AmodalError as error:
            raise DataError(f"object {self.id}: {error}") from error
        size = (image.shape[0], image.shape[1])
        if self.scaled and size != tuple(self.size) and is_scaled(size, self.size):
            return fit(image, self.size)
        self.check_size(size)
        return image

    @property
    def file(self) -> Path | None:
        """The file whose own bytes are the photo at the frame's size; None where it is made, or scaled when read."""
        return self.picture if isinstance(self.picture, Path) and not self.scaled else None

    def check_size(self, size: Size) -> None:
        """Whether the photo, upright, has the size (H, W) that the annotation states. Raises DataError with both sizes."""
        if size == tuple(self.size):
            return
        name = self.picture if isinstance(self.picture, Path) else self.image_id
        told = f"object {self.id}: the image {name} is {size[1]} x {size[0]}, the annotation {self.size[1]} x {self.size[0]}"
        if size[::-1] == tuple(self.size):
            raise DataError(
                f"{told}: the masks were drawn on the photo as it is stored, its EXIF orientation turns it; remove that "
                "orientation from the file, or turn the masks"
            )
        raise DataError(f"{told}; use the original images")

    @property
    def occluded(self) -> Mask:
        """The part that cannot be seen."""
        return self.amodal - self.visible

    @property
    def occlusion_rate(self) -> float:
        """Share of the whole object that cannot be seen, in [0, 1]."""
        return max(0.0, 1.0 - self.visible.area / self.amodal.area) if self.amodal else 0.0


@dataclass(frozen=True)
class Entry:
    """An object that is known but not decoded yet.

    Attributes:
        id: of the sample.
        image_id: of its picture.
        source: the file that it is written in.
        picture: the photo's file.
        load: makes the `Sample`; None if, decoded, the reader's options leave it out.
        more: further files of its truth.
    """

    id: str
    image_id: str
    source: str
    picture: Path
    load: Callable[[], Sample | None]
    more: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Encoded:
    """An object whose masks stay COCO RLEs of the frame `size` (H, W); `coco` as in `Sample`."""

    id: str
    image_id: str
    size: Size
    amodal: Any
    visible: Any
    coco: tuple[int, int] | None = None


class BadEntry(DataError):
    """The first bad entry of a data set whose bad entries are not skipped."""


class Dataset(ABC):
    """The objects of a data set in their official layout; masks are decoded and photos read only when asked for.

    Iterate over it for `Sample`s, or over `scenes()` for all samples of one picture together.

    Attributes:
        root: the folder that was given.
        split: the part that was asked for; None takes the reader's default.
        skip_bad: go on past bad annotations and list them in `problems`; otherwise the first one raises DataError.
        problems: what was skipped so far.
        photos: of data sets whose photos may be scaled to their annotations, what is known of their sizes.
        label: what it is called beside its name and split, where the same reader reads several folders.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `amodal list datasets`."""
    paper: ClassVar[str] = ""
    license: ClassVar[str] = ""
    url: ClassVar[str] = ""
    splits: ClassVar[tuple[str, ...]] = ()
    """The official parts, default first; empty if there are none."""
    amodal_known: ClassVar[bool] = True
    """False for sets without amodal truth (recognition): there `amodal` repeats `visible`, and masks cannot be scored."""
    Options: ClassVar[type[option_classes.Options]] = option_classes.Options

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        skip_bad: bool = False,
    ) -> None:
        if not isinstance(root, str | os.PathLike) or not isinstance(split, str | None):
            raise DataError(f"a data set is a folder and the name of its part, got {str(root)[:40]}, {str(split)[:40]}")
        self.root = own_path(root, DataError)
        self.split = split or (self.splits[0] if self.splits else None)
        self.options: Any = build_options(type(self).Options, options)
        self.skip_bad = skip_bad
        self.problems: list[Problem] = []
        self.photos = Photos()
        self._noted: list[str] = []
        self.label = ""
        if not os.path.isdir(self.root):  # noqa: PTH112  never raises
            raise DataError(f"there is no folder {self.root}; give the {self.name} data set's root folder")
        if self.splits and self.split not in self.splits:
            raise UsageError(f"{self.name} has no split {self.split!r}; {nearest(str(self.split), self.splits)}")
        with guarded("the list of its annotations"):
            self._entries = self._unique(self.index())

    @abstractmethod
    def index(self) -> list[Entry]:
        """All objects of the split, not decoded. Reports what is malformed through `self.bad`.

        Raises:
            DataError: an annotation file is absent or not readable.
        """

    @contextmanager
    def one(self, source: str | os.PathLike[str], id: object) -> Iterator[None]:
        """One entry of a list: what is malformed in it ends it alone, and is told through `bad`."""
        try:
            with guarded():
                yield
        except BadEntry:
            raise
        except AmodalError as error:
            self.bad(source, id, str(error))

    def bad(self, source: str | os.PathLike[str], id: object, text: str) -> None:
        """Something malformed: raise DataError, or note it in `problems` when bad entries are skipped."""
        problem = Problem(str(source), str(id), text)
        if not self.skip_bad:
            raise BadEntry(f"{problem}; bad entries can be skipped")
        if problem not in self.problems:  # an entry may be decoded more than once
            self.problems.append(problem)

    def note(self, text: str) -> None:
        """Something to know although nothing is left out for it."""
        self._noted.append(text)

    @property
    def notes(self) -> list[str]:
        """What should be known of the data as far as they were read, one line each: oddities that are dealt with, counted."""
        scaled = self.photos.note()
        return [*self._noted, scaled] if scaled else list(self._noted)

    def __repr__(self) -> str:
        split = f", split={self.split}" if self.split else ""
        return f"{type(self).__name__}({self.name}, {len(self)} objects{split})"

    def __len__(self) -> int:
        """The number of annotated objects, bad ones included."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Sample]:
        for entry in self._entries:
            sample = self._load(entry)
            if sample is not None:
                yield sample

    def __getitem__(self, index: int) -> Sample:
        """The object at a position; raises DataError for a bad one even if bad ones are skipped."""
        entry = self._entries[index]
        try:
            with guarded():
                sample = entry.load()
        except AmodalError as error:
            raise DataError(f"{entry.source}: {entry.id}: {error}") from error
        if sample is None:
            raise DataError(f"{entry.source}: {entry.id} is left out by the options of {self.name}")
        return sample

    def encoded(self, limit: int | None = None) -> Iterator[Encoded]:
        """The objects with their masks as COCO RLEs of the frame, for scoring without decoding; what is beyond the frame is cut off."""
        for sample in (sample for scene in self.scenes(limit) for sample in scene):
            masks = sample.amodal.to_rle(sample.size), sample.visible.to_rle(sample.size)
            yield Encoded(sample.id, sample.image_id, sample.size, *masks, sample.coco)

    def by_ids(self, ids: Iterable[str]) -> dict[str, Sample]:
        """Some objects by their ids, decoded, without the bad ones."""
        entries = {entry.id: entry for entry in self._entries}
        found = {name: self._load(entries[name]) for name in ids if name in entries}
        return {name: sample for name, sample in found.items() if sample is not None}

    def ids(self) -> list[str]:
        """The ids of all objects, in order, without decoding anything."""
        return [entry.id for entry in self._entries]

    def scenes(self, limit: int | None = None, without: Collection[str] = ()) -> Iterator[list[Sample]]:
        """The samples picture by picture.

        Args:
            limit: only the first `limit` objects.
            without: ids that need not come; a picture of which all objects are named here is not decoded at all.
        """
        for span in self.pictures(limit):
            if not all(entry.id in without for entry in self._entries[span.start : span.stop]) and (
                found := self.at(span)
            ):
                yield found

    def pictures(self, limit: int | None = None) -> Iterator[range]:
        """The positions of each picture's objects, nothing decoded; `limit` as in `scenes`."""
        entries = self._entries[:limit]
        start = 0
        for end in range(1, len(entries) + 1):
            if end == len(entries) or entries[end].image_id != entries[start].image_id:
                yield range(start, end)
                start = end

    def at(self, positions: range) -> list[Sample]:
        """The objects at some positions, decoded, without the bad ones."""
        found = (self._load(self._entries[position]) for position in positions)
        return [sample for sample in found if sample is not None]

    def picture_files(self) -> dict[str, Path]:
        """The photo's file of each picture by its `image_id`, in order."""
        return {entry.image_id: entry.picture for entry in self._entries}

    def truth_files(self) -> list[Path]:
        """The files that hold the truth, in order."""
        return list(dict.fromkeys(file for entry in self._entries for file in (Path(entry.source), *entry.more)))

    def missing(self) -> list[Path]:
        """The image files that are absent, in order."""
        return [path for path in dict.fromkeys(entry.picture for entry in self._entries) if not os.path.isfile(path)]  # noqa: PTH113  never raises

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: what identifies the data in a report."""
        return {
            "name": self.name,
            "split": self.split,
            "options": self.options.model_dump(mode="json"),
            "objects": len(self),
            **({"label": self.label} if self.label else {}),
        }

    def _load(self, entry: Entry) -> Sample | None:
        try:
            with guarded():
                return entry.load()
        except AmodalError as error:
            self.bad(entry.source, entry.id, str(error))
            return None

    def _unique(self, entries: list[Entry]) -> list[Entry]:
        """Entries grouped by picture in the order of first appearance; a second entry with the same id is reported."""
        groups: dict[str, list[Entry]] = {}
        seen: set[str] = set()
        for entry in entries:
            if entry.id in seen:
                self.bad(entry.source, entry.id, "this id occurs twice")
                continue
            seen.add(entry.id)
            groups.setdefault(entry.image_id, []).append(entry)
        return [entry for group in groups.values() for entry in group]


def dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
) -> Dataset:
    """A data set by name, as `amodal list datasets` shows them.

    Args:
        name: "folder", "masks", "cocoa", "kins", ...
        root: its folder in the official layout.
        split: "train", "val", ...; None takes the reader's default.
        options: options of the reader, as in `amodal show NAME`.
        skip_bad: go on past bad annotations and list them in `problems`.

    Raises:
        UnknownNameError, UsageError: no such data set or split.
        DataError: a file is absent or malformed.
    """
    found: Dataset = registry.find("datasets", name)(root, split, options, skip_bad=skip_bad)
    return found
