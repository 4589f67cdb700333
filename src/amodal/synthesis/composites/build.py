"""Opening a library from folders, as a recipe or a build configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from ...core.config import Natural, Share, config
from ..rooms.room_store import RoomStore
from . import library as lib

NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})
"""Targets that leave nothing out."""


@config
class LibraryConfig:
    """Folders of pictures; an empty one is left out, and so are `renders` and `rooms` where targets "render" and "room" weigh 0.

    Attributes:
        photos: Folder with `index.json` and sets of `images/`, `masks/`, or several of them; `amodal data build photos` makes one.
        backgrounds: Folder of pictures.
        visible: Folder with `instances_visible.json` and `images/`.
        renders: .npz of rendered single objects, made by `amodal data build renders`.
        rooms: Folder of rendered rooms, made by `amodal data build rooms`.
        split: "train" or "dev", which part of `photos`, and of `visible` by picture id.
        plain: Share of the objects that are cut out as the mask says: hard edge, rim of the old background and all.
        cut_photos: Photos whose object is cut by the frame or in pieces are targets too (for visible masks).
        invented: Number of invented shapes.
        seed: Of the invented shapes.
    """

    photos: str | tuple[str, ...] = ""
    backgrounds: str = ""
    visible: str = ""
    renders: str = ""
    rooms: str = ""
    split: Literal["train", "dev"] = "train"
    plain: Share = 0.0
    cut_photos: bool = False
    invented: Annotated[int, Field(ge=0, le=1_000_000)] = 800
    seed: Natural = 0


def held_out(image_id: int) -> bool:
    """Whether a picture of the visible-mask set is kept out of training."""
    return image_id % 5 == 0


def open_library(config: LibraryConfig, targets: Mapping[str, float] = NO_WEIGHTS) -> lib.Library:
    """Decode everything that the configuration names, and `targets` (weights by kind) do not leave out, into memory."""
    library = lib.Library()
    for folder in (config.photos,) if isinstance(config.photos, str) else config.photos:
        if folder:
            lib.add_photos(library, Path(folder), config.split, cut=config.cut_photos, plain=config.plain)
    if config.backgrounds:
        lib.add_backgrounds(library, Path(config.backgrounds))
    if config.visible:
        lib.add_visible(
            library, Path(config.visible), lambda i: held_out(i) == (config.split == "dev"), plain=config.plain
        )
    if config.invented and library.backgrounds:
        lib.add_invented(library, config.invented, config.seed)
    if config.renders and targets.get("render") != 0:
        lib.add_renders(library, Path(config.renders))
    return library


def open_rooms(config: LibraryConfig, targets: Mapping[str, float]) -> RoomStore | None:
    """The rendered rooms, if the configuration names any and `targets` do not leave them out."""
    return RoomStore(Path(config.rooms)) if config.rooms and targets.get("room") != 0 else None
