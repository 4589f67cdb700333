"""`folder`, the project's own format: `images/` and one COCO-compatible `annotations.json` with RLE masks; reader and writer."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from ..errors import AmodalError, DataError, OutputError
from ..files import read_json, write_bytes, write_json
from ..image import encode_png
from ..mask import Mask, Size
from .sample import Dataset, Encoded, Entry, Sample

__all__ = ["FORMAT", "Folder", "FolderWriter", "scene_of"]

FORMAT = "amodal/dataset/1"


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
        content = read_json(file, DataError)
        if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
            raise DataError(f"{file} needs the keys images and annotations, as in COCO")
        try:
            beyond = bool(content.get("info", {}).get("beyond_frame", False))
            categories = {entry["id"]: entry["name"] for entry in content.get("categories", ())}
            images = {entry["id"]: entry for entry in content["images"]}
            names = {row["id"]: str(row.get("name", row["id"])) for row in content["annotations"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{file} is not laid out as COCO: every image, annotation and category needs an id"
            ) from error
        entries = []
        self._rows: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for row in content["annotations"]:
            name = names[row["id"]]
            if row.get("image_id") not in images:
                self.bad(file, name, f"its image {row.get('image_id')!r} is not in the list of images")
                continue
            image = images[row["image_id"]]
            self._rows.append((row, image))
            load = loader(row, image, root, str(file), names, categories, beyond)
            picture = root / "images" / str(image.get("file_name"))
            entries.append(Entry(name, image_name(image), str(file), picture, load))
        return entries

    def encoded(self, limit: int | None = None) -> Iterator[Encoded]:
        """As `Dataset.encoded`, straight from the file."""
        for row, image in self._rows[:limit]:
            size = (int(image["height"]), int(image["width"]))
            numbers = (row["id"], image["id"])
            name = str(row.get("name", row["id"]))
            yield Encoded(name, image_name(image), size, row["segmentation"], row["visible_mask"], numbers)


def image_name(image: Mapping[str, Any]) -> str:
    """The image's own name if it has one, else its number."""
    return str(image.get("name", image["id"]))


def loader(
    row: Mapping[str, Any],
    image: Mapping[str, Any],
    root: Path,
    source: str,
    names: Mapping[int, str],
    categories: Mapping[int, str],
    beyond: bool,
) -> Callable[[], Sample]:
    """The function that decodes one annotation."""

    def load() -> Sample:
        try:
            size = (int(image["height"]), int(image["width"]))
            whole, hides = row.get("beyond_frame"), row.get("occluder")
            amodal = Mask.from_dict(whole) if whole else framed(row["segmentation"], size)
            return Sample(
                id=names[row["id"]],
                image_id=image_name(image),
                picture=root / "images" / image["file_name"],
                size=size,
                visible=framed(row["visible_mask"], size),
                amodal=amodal,
                category=categories.get(row.get("category_id", -1)),
                stuff=bool(row.get("isStuff", 0)),
                occluders=tuple(names[number] for number in row.get("occluders", ()) if number in names),
                occluder=framed(hides, size) if hides else None,
                order=row.get("order"),
                beyond_frame=beyond,
                source=source,
                coco=(row["id"], image["id"]),
                extra=row.get("extra", {}),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, AmodalError):
                raise
            raise DataError(f"a field is absent or malformed: {error}") from error

    return load


def framed(rle: Any, size: Size) -> Mask:
    """A mask from a COCO RLE that must have the frame's size. Raises MaskError, DataError."""
    mask = Mask.from_rle(rle)
    if tuple(rle["size"]) != tuple(size):
        raise DataError(f"the RLE is of {rle['size'][1]} x {rle['size'][0]} pixels, the image {size[1]} x {size[0]}")
    return mask


class FolderWriter:
    """Builds a data set in the project's own format, picture by picture.

    Every picture that `add` has returned from is on disk (its file first, then one line of a journal); a killed build goes on
    with `resume=True` where `done(image_id)` says. `annotations.json` appears, whole, when the block ends without an error.
    The result does not depend on the order of the `add`s: pictures are sorted by id.

        with FolderWriter("set", name="composites", settings={"seed": 0}, resume=True) as writer:
            for image_id in ids:
                if not writer.done(image_id):
                    writer.add(samples_of(image_id))

    Args:
        root: the folder to make.
        name: of the data set, for its `info`.
        settings: JSON-ready; what the content depends on. Resuming with other settings is refused.
        beyond_frame: the amodal masks are true outside of the frame too.
        licence: of the pictures, for `info`.
        resume: go on with a build that was stopped (a finished one is opened and may grow).
        overwrite: replace an existing data set.

    Raises:
        OutputError: the folder holds a data set already, or one with other settings.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        name: str,
        settings: Mapping[str, Any] | None = None,
        beyond_frame: bool = False,
        licence: str = "",
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.root = Path(root).expanduser()
        self._file = self.root / "annotations.json"
        self._journal = self.root / ".annotations.journal"
        info: dict[str, Any] = {"format": FORMAT, "name": name, "beyond_frame": beyond_frame}
        self._info = json.loads(json.dumps({**info, "licence": licence, "settings": dict(settings or {})}))
        self._scenes: dict[str, dict[str, Any]] = {}
        if resume:
            self._restore()
        elif self._file.exists() and not overwrite:
            raise OutputError(
                f"{self._file} exists already; add --resume to go on with it, --force to replace it, or choose another folder"
            )
        else:
            self._journal.unlink(missing_ok=True)
        self._names = {row["name"] for scene in self._scenes.values() for row in scene["objects"]}
        self._lines: Any = None

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
            if taken in self._names or taken in names[:number]:
                raise DataError(f"picture {name}: the object id {taken} is taken; ids are unique in a data set")
        for file, content in files.items():
            write_bytes(self.root / file, content)
        if self._lines is None:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lines = self._journal.open("a", encoding="utf-8")
            if self._journal.stat().st_size == 0:
                self._write_line(self._info)
        self._write_line(scene)
        self._scenes[name] = scene
        self._names.update(names)

    def close(self) -> None:
        """Write `annotations.json` and remove the journal."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        write_json(self._file, self._content())
        self._journal.unlink(missing_ok=True)

    def __enter__(self) -> FolderWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._lines is not None:
            self._lines.close()

    def _write_line(self, content: Any) -> None:
        self._lines.write(json.dumps(content, allow_nan=False) + "\n")
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def _restore(self) -> None:
        """Take over what a stopped or finished build has written; a line that was cut short is dropped."""
        if self._file.exists():
            self._take_over(read_json(self._file, DataError))
        if not self._journal.exists():
            return
        lines = self._journal.read_bytes().split(b"\n")
        whole = lines[:-1]  # what follows the last newline was not finished
        if whole:
            self._same_settings(json.loads(whole[0]))
        for line in whole[1:]:
            scene = json.loads(line)
            self._scenes.setdefault(scene["image"]["name"], scene)
        with open(self._journal, "r+b") as file:
            file.truncate(sum(len(line) + 1 for line in whole))

    def _take_over(self, content: dict[str, Any]) -> None:
        self._same_settings(content.get("info", {}))
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
        self._scenes = {scene["image"]["name"]: scene for scene in scenes.values()}

    def _same_settings(self, info: dict[str, Any]) -> None:
        if info != self._info:
            raise OutputError(
                f"{self.root} was built with other settings: {json.dumps(info.get('settings'))}, now "
                f"{json.dumps(self._info['settings'])}; use the same ones or choose another folder"
            )

    def _content(self) -> dict[str, Any]:
        rows = [row for scene in self._scenes.values() for row in scene["objects"]]
        classes = sorted({row["category"] or "object" for row in rows})
        numbers = {name: number for number, name in enumerate(classes, 1)}
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_number, name in enumerate(sorted(self._scenes), 1):
            scene = self._scenes[name]
            images.append({"id": image_number, **scene["image"]})
            start = len(annotations) + 1
            local = {row["name"]: start + k for k, row in enumerate(scene["objects"])}
            for row in scene["objects"]:
                plain = {key: value for key, value in row.items() if key != "category"}
                plain["occluders"] = [local[other] for other in row["occluders"] if other in local]
                ids = {"id": local[row["name"]], "image_id": image_number}
                annotations.append({**ids, "category_id": numbers[row["category"] or "object"], **plain})
        return {
            "info": self._info,
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        }


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
    x0, y0, x1, y1 = inside.box
    row: dict[str, Any] = {
        "name": sample.id,
        "category": sample.category,
        "iscrowd": 0,
        "isStuff": int(sample.stuff),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": inside.area,
        "segmentation": inside.to_rle(sample.size),
        "visible_mask": sample.visible.to_rle(sample.size),
        "visible_area": sample.visible.area,
        "occlude_rate": round(sample.occlusion_rate, 6),
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
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in sample.image_id)
    if stem != sample.image_id:  # "a/b" and "a_b" must not meet
        stem += "-" + hashlib.sha256(sample.image_id.encode()).hexdigest()[:8]
    if not isinstance(sample.picture, Path):
        return f"{stem}.png", encode_png(sample.image)
    if not sample.picture.is_file():
        raise DataError(f"object {sample.id}: there is no file {sample.picture}")
    return stem + sample.picture.suffix.lower(), sample.picture.read_bytes()
