"""The whole scene taken apart: every object complete, ordered from back to front, over the photo restored behind them."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from .completion import Completion, Picture
from .errors import PromptError
from .everything import find_objects
from .files import write_bytes
from .image import Image, encode_png
from .mask import Mask, Size, place
from .ordering import front_to_back
from .painting import paint_behind
from .prompt import Prompt
from .protocols import Tick, no_tick

if TYPE_CHECKING:
    from .pipeline import Scene

__all__ = ["Layers", "take_apart", "visible_objects"]


@dataclass(frozen=True, eq=False)
class Layers:
    """A scene in layers. Laid on each other (background, objects in order, rest) they are the photo, byte for byte.

    Attributes:
        image: the photo, (H, W, 3) uint8 RGB.
        background: the photo with all objects removed and the holes painted, (H, W, 3) uint8.
        objects: the whole objects, the farthest first.
        rest: (H, W, 4) uint8 RGBA; what lies in front of the objects and is none of them, and the photo's pixels wherever
            the layers below differ from it.
    """

    image: Image = field(repr=False)
    background: Image = field(repr=False)
    objects: tuple[Completion, ...]
    rest: Picture = field(repr=False)

    @property
    def size(self) -> Size:
        """(H, W) of the photo."""
        return (int(self.image.shape[0]), int(self.image.shape[1]))

    def flatten(self) -> Image:
        """All layers on each other: (H, W, 3) uint8; equals `image`."""
        out = stack(self.background, self.objects)
        return _over(out, self.rest)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the objects in order, the farthest first."""
        return {
            "format": "amodal/layers/1",
            "image": {"width": self.size[1], "height": self.size[0]},
            "objects": [thing.to_dict() for thing in self.objects],
        }

    def pictures(self) -> dict[str, Picture | Image]:
        """Name to picture: `background`, `object-1` (the farthest) ... and `rest`."""
        objects = {f"object-{number}": thing.rgba for number, thing in enumerate(self.objects, 1)}
        return {"background": self.background, **objects, "rest": self.rest}

    def to_openraster(self) -> bytes:
        """An OpenRaster file (.ora), which GIMP, Krita and others open: a zip of PNGs with `stack.xml`."""
        pictures = self.pictures()
        lines = []
        for name in reversed(pictures):
            number = int(name.split("-")[1]) - 1 if name.startswith("object-") else -1
            x, y = self.objects[number].amodal.origin if number >= 0 else (0, 0)
            lines.append(f'<layer name={quoteattr(name)} src="data/{name}.png" x="{x}" y="{y}" opacity="1.0"/>')
        height, width = self.size
        text = (
            f'<?xml version=\'1.0\' encoding=\'UTF-8\'?>\n<image version="0.0.3" w="{width}" h="{height}">'
            f"<stack>{''.join(lines)}</stack></image>\n"
        )
        flat = self.flatten()
        files = {
            "stack.xml": text.encode(),
            **{f"data/{name}.png": encode_png(picture) for name, picture in pictures.items()},
            "mergedimage.png": encode_png(flat),
            "Thumbnails/thumbnail.png": encode_png(_thumbnail(flat)),
        }
        return zip_files({"mimetype": b"image/openraster", **files})

    def to_zip(self) -> bytes:
        """A zip of the PNGs, each object on the photo's canvas (what leaves the frame is cut off)."""
        files = {}
        for name, picture in self.pictures().items():
            whole = picture
            if name.startswith("object-"):
                origin = self.objects[int(name.split("-")[1]) - 1].amodal.origin
                whole = _on_frame(picture, origin, self.size)
            files[f"{name}.png"] = encode_png(whole)
        return zip_files(files)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write an OpenRaster file, or a zip of PNGs if the name ends in `.zip`. Raises OutputError if it exists."""
        content = self.to_zip() if Path(path).suffix == ".zip" else self.to_openraster()
        write_bytes(path, content, overwrite=overwrite)


def take_apart(
    scene: Scene, prompts: Sequence[Prompt] | None = None, *, seed: int = 0, largest: int = 30, tick: Tick = no_tick
) -> Layers:
    """Complete every object, order them, restore the photo behind them.

    Args:
        scene: the opened image.
        prompts: one per object; None takes what `find_objects` finds.
        seed: as in `Scene.complete`.
        largest: without prompts: at most so many objects, the largest.
        tick: as in `Scene.complete`.

    Raises:
        PromptError: no object is found.
    """
    if prompts is None:
        masks = visible_objects(scene, largest, tick)
    else:
        masks = [mask for mask in separate([scene.segment(prompt=prompt)[0].mask for prompt in prompts]) if mask]
    if not masks:
        raise PromptError("no object is found in this photo; mark objects with points, boxes or masks")
    done = scene.complete_all([Prompt(mask=mask) for mask in masks], seeds=[seed] * len(masks), tick=tick)
    order = front_to_back([thing.visible for thing in done], [thing.amodal for thing in done])[::-1]
    objects = tuple(done[index] for index in order)
    background = paint_behind(scene.image, [thing.visible for thing in objects], scene.model.inpainter, seed, tick)
    below = stack(background, objects)
    differs = (below != scene.image).any(axis=-1)
    rest = np.dstack([scene.image * differs[..., None], differs * np.uint8(255)]).astype(np.uint8)
    return Layers(scene.image, background, objects, rest)


def visible_objects(scene: Scene, largest: int = 30, tick: Tick = no_tick) -> list[Mask]:
    """The visible masks of the objects that the segmenter finds by itself, at most the `largest` ones; none overlap."""
    masks = distinct([proposal.mask for proposal in find_objects(scene, tick=tick)])[:largest]
    return [mask for mask in separate(masks) if mask]


def distinct(masks: Sequence[Mask]) -> list[Mask]:
    """Without the masks that lie mostly (85 %) inside a larger one: parts of objects that are there as a whole."""
    kept: list[Mask] = []
    for mask in sorted(masks, key=lambda m: -m.area):
        if all(mask.overlap(other) < 0.85 * mask.area for other in kept):
            kept.append(mask)
    return kept


def separate(masks: Sequence[Mask]) -> list[Mask]:
    """Each pixel given to one mask, the smallest that has it: a visible pixel shows one object."""
    taken = Mask.from_array(np.zeros((1, 1), bool))
    out: dict[int, Mask] = {}
    for index in sorted(range(len(masks)), key=lambda k: masks[k].area):
        out[index] = masks[index] - taken
        taken = taken | masks[index]
    return [out[index] for index in range(len(masks))]


def stack(background: Image, objects: Sequence[Completion]) -> Image:
    """The objects, the first one lowest, on the background: (H, W, 3) uint8."""
    out: Image = background.copy()
    size = (out.shape[0], out.shape[1])
    for thing in objects:
        out = _over(out, _on_frame(thing.rgba, thing.amodal.origin, size))
    return out


def zip_files(files: dict[str, bytes]) -> bytes:
    """A zip with the same bytes every time; `mimetype` is stored first and unpacked, as OpenRaster wants it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, content, zipfile.ZIP_STORED)
    return buffer.getvalue()


def _over(below: Image, above: Picture) -> Image:
    solid = above[..., 3:] == 255
    return np.where(solid, above[..., :3], below)


def _on_frame(rgba: NDArray[np.uint8], origin: tuple[int, int], size: Size) -> Picture:
    frame = (0, 0, size[1], size[0])
    return np.dstack([place(np.ascontiguousarray(rgba[..., k]), origin, frame) for k in range(4)])


def _thumbnail(image: Image) -> Image:
    import cv2

    scale = min(1.0, 256 / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
