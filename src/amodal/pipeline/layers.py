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

from ..core.completion import Completion, Picture
from ..core.drawing import checkerboard, fitted, lay
from ..core.errors import OutputError, PromptError
from ..core.files import check_targets, write_bytes
from ..core.image import Image, encode_png
from ..core.mask import Box, Mask, Size, bounding_box, place, union
from ..core.prompt import Prompt, one_each, prompts_of, seed_of
from ..plugins.protocols import Progress, Proposal, no_progress
from .objects import find_objects
from .order import front_to_back
from .painting import hole_of, paint_behind

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["Layers", "take_apart", "visible_objects"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A picture (h, w, 4) uint8 RGBA, alpha 0 or 255, with its first pixel at `origin` (x, y) of the photo."""

    rgba: Picture
    origin: tuple[int, int]

    @property
    def box(self) -> Box:
        """The half-open box (x0, y0, x1, y1) that it covers."""
        return (*self.origin, self.origin[0] + self.rgba.shape[1], self.origin[1] + self.rgba.shape[0])


@dataclass(frozen=True, eq=False)
class Layers:
    """A scene in layers. Laid on each other (background, objects in order, rest) they are the photo, byte for byte.

    Attributes:
        image: the photo, (H, W, 3) uint8 RGB.
        background: the photo with all objects removed and the holes painted, (H, W, 3) uint8.
        objects: the whole objects, the farthest first.
        pieces: their layers in the same order: the cut-out, and with it the rim of photo pixels around the visible part that the
            object's colours bleed into, so that nothing of it stays behind when the layer is moved.
        names: of the objects: what the caller or a prompt's words called them, else `object-1` (the farthest) and so on.
        rest: (H, W, 4) uint8 RGBA; what lies in front of the objects and is none of them, and the photo's pixels wherever
            the layers below differ from it.
    """

    image: Image = field(repr=False)
    background: Image = field(repr=False)
    objects: tuple[Completion, ...]
    pieces: tuple[Piece, ...] = field(repr=False)
    names: tuple[str, ...]
    rest: Picture = field(repr=False)

    def __repr__(self) -> str:
        return f"Layers({self.size[1]} x {self.size[0]}, {len(self.objects)} objects)"

    def _repr_png_(self) -> bytes:
        """The background and the objects from back to front, side by side."""
        cells = [self.background, *(checkerboard(thing.rgba) for thing in self.objects)]
        board = np.full((192, 192 * len(cells), 3), 255, np.uint8)
        for number, cell in enumerate(fitted(cell, 192) for cell in cells):
            board[: cell.shape[0], 192 * number : 192 * number + cell.shape[1]] = cell
        return encode_png(board)

    @property
    def size(self) -> Size:
        """(H, W) of the photo."""
        return (int(self.image.shape[0]), int(self.image.shape[1]))

    def flatten(self) -> Image:
        """All layers on each other: (H, W, 3) uint8; equals `image`."""
        out = stack(self.background, self.pieces)
        return _over(out, self.rest)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the objects in order, the farthest first."""
        return {
            "format": "amodal/layers/1",
            "image": {"width": self.size[1], "height": self.size[0]},
            "objects": [
                {**thing.to_dict(), "name": name, "layer_box": list(piece.box)}
                for thing, name, piece in zip(self.objects, self.names, self.pieces, strict=True)
            ],
        }

    def pictures(self) -> dict[str, Piece]:
        """File name to picture: `background`, `object-1` (the farthest) ... and `rest`."""
        objects = {f"object-{number}": piece for number, piece in enumerate(self.pieces, 1)}
        return {"background": Piece(self.background, (0, 0)), **objects, "rest": Piece(self.rest, (0, 0))}

    def to_openraster(self) -> bytes:
        """An OpenRaster file (.ora), which GIMP, Krita and others open: a zip of PNGs with `stack.xml`."""
        pictures = self.pictures()
        called = dict(zip((f"object-{number}" for number in range(1, len(self.names) + 1)), self.names, strict=True))
        lines = []
        for file in reversed(pictures):
            (x, y), name = pictures[file].origin, called.get(file, file)
            lines.append(f'<layer name={quoteattr(name)} src="data/{file}.png" x="{x}" y="{y}" opacity="1.0"/>')
        height, width = self.size
        text = (
            f'<?xml version=\'1.0\' encoding=\'UTF-8\'?>\n<image version="0.0.3" w="{width}" h="{height}">'
            f"<stack>{''.join(lines)}</stack></image>\n"
        )
        flat = self.flatten()
        files = {
            "stack.xml": text.encode(),
            **{f"data/{name}.png": encode_png(piece.rgba) for name, piece in pictures.items()},
            "mergedimage.png": encode_png(flat),
            "Thumbnails/thumbnail.png": encode_png(fitted(flat, 256)),
        }
        return zip_files({"mimetype": b"image/openraster", **files})

    def to_zip(self) -> bytes:
        """A zip of the PNGs, each object on the photo's canvas (what leaves the frame is cut off)."""
        files = {}
        for name, piece in self.pictures().items():
            picture = _on_frame(piece, self.size) if name.startswith("object-") else piece.rgba
            files[f"{name}.png"] = encode_png(picture)
        return zip_files(files)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write an OpenRaster file (`.ora`), or a zip of PNGs (`.zip`). Raises OutputError: another ending, or it exists."""
        write = {".ora": self.to_openraster, ".zip": self.to_zip}.get(Path(path).suffix.lower())
        if write is None:
            raise OutputError(f"layers are written as .ora (OpenRaster) or .zip (PNGs), got {str(path)[:200]}")
        check_targets([path], overwrite)
        write_bytes(path, write(), overwrite=overwrite)


def take_apart(
    scene: Scene,
    prompts: Sequence[Prompt] | None = None,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    largest: int = 30,
    progress: Progress = no_progress,
) -> Layers:
    """Complete every object, order them, restore the photo behind them.

    Args:
        scene: the opened image.
        prompts: one per object; None takes what `find_objects` finds.
        names: one per prompt, for instance categories; default: the prompts' words, else numbers.
        seed: as in `Scene.complete`.
        largest: without prompts: at most so many objects, the largest.
        progress: as in `Scene.complete`.

    Raises:
        PromptError: no object is found, one has no visible pixel that is not a smaller one's, or not as many names as prompts.
    """
    seed = seed_of(seed)
    if prompts is None:
        masks, words = visible_objects(scene, largest, progress), [""] * largest
    else:
        prompts = prompts_of(prompts)
        words = [prompt.text or "" for prompt in prompts]
        words = one_each(words if names is None else names, len(prompts), "names")
        masks = separate([scene.segment(prompt=prompt)[0].mask for prompt in prompts])
        if not all(masks):
            number = next(index for index, mask in enumerate(masks) if not mask)
            raise PromptError(
                f"object {number + 1} of {len(masks)}{f' ({words[number]})' if words[number] else ''} has no visible pixel of its "
                "own: smaller objects, or one like it, have them all; leave it out, or mark it otherwise"
            )
    if not masks:
        raise PromptError("no object is found in this photo; mark objects with points, boxes or masks")
    # 1. Complete; the farthest object comes first.
    done = scene.complete_all([Prompt(mask=mask) for mask in masks], seeds=[seed] * len(masks), progress=progress)
    order = front_to_back([thing.visible for thing in done], [thing.amodal for thing in done])[::-1]
    objects = tuple(done[index] for index in order)
    called = tuple(words[index] or f"object-{number}" for number, index in enumerate(order, 1))
    # 2. The photo without its objects, and each object with the rim that shows neither it nor another.
    background = paint_behind(scene.levels, [thing.visible for thing in objects], scene.model.painter, seed, progress)
    seen = union(thing.visible for thing in objects)
    pieces = tuple(_with_rim(scene.image, thing, seen) for thing in objects)
    # 3. What the stack does not give back of the photo, as a layer (H, W, 4) of its own: then the layers make the photo, byte
    # for byte.
    differs = (stack(background, pieces) != scene.image).any(axis=-1)
    rest = np.dstack([scene.image * differs[..., None], differs * np.uint8(255)]).astype(np.uint8)
    return Layers(scene.image, background, objects, pieces, called, rest)


def _with_rim(image: Image, thing: Completion, seen: Mask) -> Piece:
    """An object's cut-out, and the photo's pixels of its rim that show no object."""
    size = (image.shape[0], image.shape[1])
    rim = hole_of(thing.visible, size) - seen - thing.amodal
    box = bounding_box((thing.amodal.box, rim.box))
    rgba = np.zeros((box[3] - box[1], box[2] - box[0], 4), np.uint8)
    for source, origin, mask in ((thing.rgba, thing.amodal.origin, thing.amodal), (image, (0, 0), rim)):
        x0, y0, x1, y1 = mask.box
        over = source[y0 - origin[1] : y1 - origin[1], x0 - origin[0] : x1 - origin[0]]
        lay(over, mask.bits, rgba[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]])
    return Piece(rgba, box[:2])


def visible_objects(scene: Scene, largest: int = 30, progress: Progress = no_progress) -> list[Mask]:
    """The visible masks of the objects that the segmenter finds by itself, at most the `largest` ones; none overlap."""
    masks = distinct(find_objects(scene, progress=progress))[:largest]
    return [mask for mask in separate(masks) if mask]


def distinct(found: Sequence[Proposal]) -> list[Mask]:
    """One of each two masks of which one lies mostly (85 %) inside the other, a part and its whole, or an object and its group: the
    one of the higher score, where they are equal the larger. The largest first."""
    kept: list[Mask] = []
    for mask in (one.mask for one in sorted(found, key=lambda p: (-(p.score or 0.0), -p.mask.area))):
        if all(mask.overlap(other) < 0.85 * min(mask.area, other.area) for other in kept):
            kept.append(mask)
    return sorted(kept, key=lambda mask: (-mask.area, mask.box))


def separate(masks: Sequence[Mask]) -> list[Mask]:
    """Each pixel given to one mask, the smallest that has it: a visible pixel shows one object."""
    taken = Mask.from_array(np.zeros((1, 1), bool))
    out: dict[int, Mask] = {}
    for index in sorted(range(len(masks)), key=lambda k: masks[k].area):
        out[index] = masks[index] - taken
        taken = taken | masks[index]
    return [out[index] for index in range(len(masks))]


def stack(background: Image, pieces: Sequence[Piece]) -> Image:
    """The layers, the first one lowest, on the background: (H, W, 3) uint8."""
    out: Image = background.copy()
    for piece in pieces:
        # Alpha is 0 or 255, so that laying needs no mixing.
        solid = Mask.from_array(piece.rgba[..., 3], piece.origin).clip((out.shape[0], out.shape[1]))
        (x0, y0, x1, y1), (x, y) = solid.box, piece.origin
        over = np.ascontiguousarray(piece.rgba[y0 - y : y1 - y, x0 - x : x1 - x, :3])
        lay(over, solid.bits, out[y0:y1, x0:x1])
    return out


def zip_files(files: dict[str, bytes]) -> bytes:
    """A zip with the same bytes every time; `mimetype` is stored first and unpacked, as OpenRaster asks."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, content, zipfile.ZIP_STORED)
    return buffer.getvalue()


def _over(below: Image, above: Picture) -> Image:
    solid = above[..., 3:] == 255
    return np.where(solid, above[..., :3], below)


def _on_frame(piece: Piece, size: Size) -> Picture:
    frame = (0, 0, size[1], size[0])
    return np.dstack([place(np.ascontiguousarray(piece.rgba[..., k]), piece.origin, frame) for k in range(4)])
