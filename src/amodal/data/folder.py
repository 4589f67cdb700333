"""`folder`, the project's own format: `images/` and one COCO-compatible `annotations.json` with RLE masks; reader and writer."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..core.completion import coco_object
from ..core.errors import DataError
from ..core.files import read_bytes, read_json, write_json
from ..core.image import encode_png
from ..core.mask import Mask, Size
from ..engine.store import Store
from .annotations import by_id, frame_of, guarded, number_of, read_lists, whole_number
from .annotations import inside as inside_root
from .coco import category_of, id_of, marked
from .coco_like import objects_of
from .sample import Dataset, Encoded, Entry, Sample

__all__ = ["FORMAT", "Folder", "FolderWriter", "file_stem", "numbers_of", "scene_of"]

FORMAT = "amodal/dataset/1"
LONGEST = 200
"""Bytes of the name of a picture's files, its ending and a checksum apart: file systems take 255."""


class Folder(Dataset):
    """The project's own format; pycocotools opens its JSON.

    `segmentation` is the amodal mask within the frame (so COCO tools see whole objects), `visible_mask` the visible one, both
    COCO RLE. `name` is the sample's id, `occluders` are annotation ids, `occluder` (RLE or absent) is all that hides it, seen or
    annotated or not, `order` is 1 for the front, `beyond_frame` holds the
    whole amodal mask (RLE of its crop with `origin` [x, y]) where it leaves the frame, `extra` whatever else is known.
    A split is a subfolder of the same layout.
    """

    name: ClassVar[str] = "folder"
    summary: ClassVar[str] = "the project's own format: images/ and one COCO-compatible annotations.json with RLE masks"

    def index(self) -> list[Entry]:
        root = self.root / self.split if self.split else self.root
        file = root / "annotations.json"
        splits = sorted(path.parent.name for path in root.glob("*/annotations.json"))
        if splits and not file.is_file():
            raise DataError(f"{root} holds the splits {', '.join(splits)}, and no set of its own; name one as split")
        content = read_lists(file, self.bad)
        info = content.get("info")
        beyond = isinstance(info, dict) and marked(info.get("beyond_frame"))
        images = by_id(content["images"], file, "images")
        called = Counter(image_name(image) for image in images.values())
        if twice := next((name for name, count in called.items() if count > 1), None):
            raise DataError(f"{file}: two images have the name {twice[:100]!r}")
        rows, categories = objects_of(self, file, content)
        names: dict[Any, str] = {}
        entries = []
        self._rows: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        for row in rows:
            with self.one(file, row.get("name", row.get("id"))):
                if id_of(row.get("id")) is None or row["id"] in names:
                    raise DataError("an annotation needs an id that is a number or text, which no other one has")
                name = names[row["id"]] = str(row.get("name", row["id"]))
                if row.get("image_id") not in images:
                    raise DataError(f"its image {str(row.get('image_id'))[:60]} is not in the list of images")
                image = images[row["image_id"]]
                picture = inside_root(root, str(image.get("file_name")), "images")
                load = loader(row, image, picture, str(file), names, categories, beyond)
                entries.append(Entry(name, image_name(image), str(file), picture, load))
                self._rows.setdefault(name, (row, image))
        return entries

    def encoded(self, limit: int | None = None) -> Iterator[Encoded]:
        """As `Dataset.encoded`, straight from the file."""
        for name in self.ids()[:limit]:
            row, image = self._rows[name]
            with guarded(f"the annotation {row['id']}"):
                size = frame_of(image)
                numbers = (row["id"], image["id"])
                found = Encoded(name, image_name(image), size, row["segmentation"], row["visible_mask"], numbers)
            yield found


def image_name(image: Mapping[str, Any]) -> str:
    """The image's own name if it has one, else its number."""
    return str(image.get("name", image["id"]))


def loader(
    row: Mapping[str, Any],
    image: Mapping[str, Any],
    picture: Path,
    source: str,
    names: Mapping[Any, str],
    categories: Mapping[Any, str],
    beyond: bool,
) -> Callable[[], Sample]:
    """The function that decodes one annotation."""

    def load() -> Sample:
        size = frame_of(image)
        whole, hides = row.get("beyond_frame"), row.get("occluder")
        amodal = Mask.from_dict(whole) if whole and beyond else framed(row["segmentation"], size)
        order = row.get("order")
        if order is not None and number_of(order) is None:
            raise DataError(f"its order is {str(order)[:40]!r}; it must be a whole number, 1 for the front")
        return Sample(
            id=names[row["id"]],
            image_id=image_name(image),
            picture=picture,
            size=size,
            visible=framed(row["visible_mask"], size),
            amodal=amodal,
            category=category_of(row, categories),
            stuff=marked(row.get("isStuff")),
            occluders=tuple(names[number] for number in row.get("occluders") or () if number in names),
            occluder=framed(hides, size) if hides else None,
            order=number_of(order),
            beyond_frame=beyond,
            source=source,
            coco=(row["id"], image["id"]),
            extra=row.get("extra") or {},
        )

    return load


def framed(rle: Any, size: Size) -> Mask:
    """A mask from a COCO RLE that must have the frame's size. Raises MaskError, DataError."""
    mask = Mask.from_rle(rle)
    if tuple(rle["size"]) != tuple(size):
        raise DataError(f"the RLE is of {rle['size'][1]} x {rle['size'][0]} pixels, the image {size[1]} x {size[0]}")
    return mask


class FolderWriter(Store):
    """Builds a data set in the project's own format, picture by picture; a `Store`.

    Every picture that `add` has returned from is on disk (its file first, then one line of a journal); a killed build with the
    same settings goes on where `done(image_id)` says, and a finished one may grow. `annotations.json` appears, whole, when the
    block ends without an error. The result does not depend on the order of the `add`s: pictures are sorted by id.

        with FolderWriter("set", name="composites", settings={"seed": 0}) as writer:
            for image_id in ids:
                if not writer.done(image_id):
                    writer.add(samples_of(image_id))

    Args:
        root: the folder to make.
        name: of the data set, for its `info`.
        settings: JSON-ready; what the content depends on. Going on with other settings is refused.
        beyond_frame: the amodal masks are true outside of the frame too.
        license: of the pictures, for `info`.
        owns: what else lies in the folder and is replaced with the set.
        overwrite: replace an existing data set.

    Raises:
        OutputError: the folder holds a data set with other settings, or other files.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        name: str,
        settings: Mapping[str, Any] | None = None,
        beyond_frame: bool = False,
        license: str = "",
        owns: Sequence[str] = (),
        overwrite: bool = False,
    ) -> None:
        info: dict[str, Any] = {"format": FORMAT, "name": name, "beyond_frame": beyond_frame}
        super().__init__(
            root,
            {**info, "license": license, "settings": dict(settings or {})},
            head=".build.json",
            journal=".build.jsonl",
            owns=("annotations.json", "images", *owns),
            overwrite=overwrite,
        )
        self._made = self.folder / "annotations.json"
        self._scenes: dict[str, dict[str, Any]] = {}
        self._taken: set[str] = set()

    def recorded(self) -> Mapping[str, Any] | None:
        """As `Store.recorded`; of a finished set its `info`."""
        if not self._made.exists():
            return super().recorded()
        content = read_json(self._made, DataError)
        info = content.get("info") if isinstance(content, dict) else None
        return info if isinstance(info, dict) and info.get("format") == FORMAT else None

    def opened(self) -> None:
        """Take over what a stopped or finished build has written, but for pictures whose file was lost since."""
        scenes = self._finished() if self._made.exists() else []
        for scene in (*scenes, *self.entries):
            if (self.folder / "images" / scene["image"]["file_name"]).is_file():
                self._scenes.setdefault(scene["image"]["name"], scene)
        self.entries = []
        self._taken = {row["name"] for scene in self._scenes.values() for row in scene["objects"]}

    def done(self, image_id: str) -> bool:
        """Whether this picture is in the data set already."""
        return image_id in self._scenes

    def __len__(self) -> int:
        """The number of pictures so far."""
        return len(self._scenes)

    def add(self, samples: Sequence[Sample]) -> None:
        """Write one picture with its objects: all `samples` share `image_id`, `picture` and `size`.

        A picture given as a path is copied byte for byte, an array becomes a PNG. `occluders` name other samples of the picture.

        Raises:
            DataError: no sample, samples of several pictures, a picture that is in the data set already, equal ids, an empty
                amodal mask, or a visible mask that is not inside the amodal one and the frame.
        """
        self.put(*scene_of(samples))

    def put(self, scene: dict[str, Any], files: Mapping[str, bytes]) -> None:
        """Write a picture that `scene_of` has described, perhaps in another process; `files` may hold more, by name below `root`.

        Raises:
            DataError: a picture that is in the data set already, or an object's id that is taken.
        """
        name = scene["image"]["name"]
        if name in self._scenes:
            raise DataError(f"picture {name} is in the data set already")
        names = [row["name"] for row in scene["objects"]]
        for number, taken in enumerate(names):
            if taken in self._taken or taken in names[:number]:
                raise DataError(f"picture {name}: the object id {taken} is taken; ids are unique in a data set")
        for file, content in files.items():
            self.write(file, content)
        self.append(scene)
        self._scenes[name] = scene
        self._taken.update(names)

    def close(self) -> None:
        """Write `annotations.json` and remove the journal."""
        write_json(self._made, self._content())
        self.forget_journal()
        self.head.unlink(missing_ok=True)

    def __exit__(self, kind: object = None, *more: object) -> None:
        try:
            if kind is None and self._opened:
                self.close()
        finally:
            super().__exit__(kind, *more)

    def _finished(self) -> list[dict[str, Any]]:
        """The pictures of `annotations.json` as the journal has them."""
        content = read_json(self._made, DataError)
        categories = {entry["id"]: entry["name"] for entry in content["categories"]}
        names = {row["id"]: row["name"] for row in content["annotations"]}
        scenes: dict[int, dict[str, Any]] = {}
        for image in content["images"]:
            plain = {key: value for key, value in image.items() if key != "id"}
            scenes[image["id"]] = {"image": plain, "objects": []}
        for row in content["annotations"]:
            plain = {key: value for key, value in row.items() if key not in ("id", "image_id", "category_id")}
            plain["category"] = categories.get(row["category_id"])
            plain["occluders"] = [names[number] for number in row["occluders"]]
            scenes[row["image_id"]]["objects"].append(plain)
        return list(scenes.values())

    def _content(self) -> dict[str, Any]:
        scenes = [self._scenes[name] for name in sorted(self._scenes)]
        rows = [row for scene in scenes for row in scene["objects"]]
        classes = sorted({row["category"] or "object" for row in rows})
        numbers = {name: number for number, name in enumerate(classes, 1)}
        pictures = numbers_of(scene["image"]["name"] for scene in scenes)
        objects = numbers_of(row["name"] for row in rows)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for scene in scenes:
            image = pictures[scene["image"]["name"]]
            images.append({"id": image, **scene["image"]})
            local = {row["name"] for row in scene["objects"]}
            for row in scene["objects"]:
                plain = {key: value for key, value in row.items() if key != "category"}
                plain["occluders"] = [objects[other] for other in row["occluders"] if other in local]
                ids = {"id": objects[row["name"]], "image_id": image}
                annotations.append({**ids, "category_id": numbers[row["category"] or "object"], **plain})
        return {
            "info": self.settings,
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        }


def numbers_of(names: Iterable[str]) -> dict[str, int]:
    """The numbers of images or objects in a COCO-like file: their names where all of these are whole numbers, as those from such a
    file are, so that whatever names them by number still fits; else running ones from 1."""
    every = list(names)
    known = {name: number for name in every if (number := whole_number(name)) is not None and str(number) == name}
    return known if len(known) == len(every) else {name: number for number, name in enumerate(every, 1)}


def scene_of(samples: Sequence[Sample]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A picture with its objects as `FolderWriter.put` takes them: JSON-ready, and its file by name below the set's folder.

    Raises:
        DataError: no sample, samples of several pictures, an empty amodal mask, or a visible mask that is not inside the amodal
            one and the frame.
    """
    if not samples:
        raise DataError("a picture needs at least one object")
    first = samples[0]
    rows = [object_row(sample, first) for sample in samples]
    file, content = picture_file(first)
    image = {"name": first.image_id, "file_name": file, "width": first.size[1], "height": first.size[0]}
    return {"image": image, "objects": rows}, {f"images/{file}": content}


def object_row(sample: Sample, first: Sample) -> dict[str, Any]:
    """One object of the picture of `first`."""
    if sample.image_id != first.image_id or tuple(sample.size) != tuple(first.size):
        raise DataError(f"object {sample.id} is of picture {sample.image_id}, not of {first.image_id}")
    frame = (0, 0, sample.size[1], sample.size[0])
    inside = Mask.from_array(sample.amodal.crop(frame))
    if not inside:
        raise DataError(f"object {sample.id}: the amodal mask has no pixel inside the frame")
    if not inside.contains(sample.visible):
        raise DataError(f"object {sample.id}: the visible mask is not inside the amodal mask and the frame")
    leaves = inside.area < sample.amodal.area
    row: dict[str, Any] = {
        "name": sample.id,
        "category": sample.category,
        "isStuff": int(sample.stuff),
        **coco_object(inside, sample.visible, sample.size, sample.occlusion_rate),
        "occluders": list(sample.occluders),
        "order": sample.order,
        "beyond_frame": sample.amodal.to_dict() if leaves else None,
        "extra": dict(sample.extra),
    }
    if sample.occluder is not None:
        row["occluder"] = sample.occluder.to_rle(sample.size)
    return row


def picture_file(sample: Sample) -> tuple[str, bytes]:
    """The name and content of the picture's file: a photograph's own bytes, or a PNG."""
    stem = file_stem(sample.image_id)
    if sample.file is None:
        return f"{stem}.png", encode_png(sample.image)
    _ = sample.image  # says clearly if the file is absent or no picture: nothing else is copied
    return stem + sample.file.suffix.lower(), read_bytes(sample.file, DataError)


def file_stem(image_id: str) -> str:
    """The name, without its ending, of a picture's files: short, and of letters, digits, dots, dashes and underscores alone."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in image_id)
    stem = plain.encode()[:LONGEST].decode(errors="ignore")
    if stem != image_id:  # "a/b" and "a_b" must not meet
        stem += "-" + hashlib.sha256(image_id.encode(errors="surrogatepass")).hexdigest()[:8]
    return stem
