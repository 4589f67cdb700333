"""`fishbowl`: FishBowl videos with the annotation of Yao et al. (SaVos, NeurIPS 2022): `{split}_data/{split}_data.pkl`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ..core.errors import DataError
from ..core.options import Options
from .annotations import decode
from .plain_pickle import read_pickle
from .sample import Dataset, Entry, Sample

__all__ = ["FishBowl", "FishBowlOptions"]


class FishBowlOptions(Options):
    """How densely the videos are read."""

    stride: int = Field(1, ge=1, description="take every n-th frame; neighbouring frames are nearly the same")


class FishBowl(Dataset):
    """Synthetic fish, 128 frames a video. One sample per object and frame, `<video>/<frame>/<object>`.

    The pickle maps `"<video>_<object>"` to frames, each with the RLEs `VM` (visible) and `FM` (full). Frame t is the t-th picture
    of the video's folder, sorted by the numbers in the names.
    """

    name: ClassVar[str] = "fishbowl"
    summary: ClassVar[str] = "FishBowl: synthetic fish videos, 128 frames each"
    paper: ClassVar[str] = (
        "Tangemann et al., Unsupervised Object Learning via Common Fate, 2021; Yao et al., SaVos, NeurIPS 2022"
    )
    license: ClassVar[str] = "see the release"
    url: ClassVar[str] = "https://github.com/amazon-science/self-supervised-amodal-video-object-segmentation"
    splits: ClassVar[tuple[str, ...]] = ("test", "train", "val")
    Options: ClassVar[type[Options]] = FishBowlOptions

    def index(self) -> list[Entry]:
        folder = self.root / f"{self.split}_data"
        path = folder / f"{self.split}_data.pkl"
        content = read_pickle(path)
        if not isinstance(content, dict):
            raise DataError(f"{path} must map video_object to frames")
        pictures: dict[str, list[Path]] = {}
        keyed: list[tuple[str, int, str, Any]] = []
        for key, frames in content.items():
            video, _, thing = str(key).rpartition("_")
            if not video or not isinstance(frames, dict):
                self.bad(path, key, "the key must be video_object and its value a dictionary of frames")
                continue
            with self.one(path, key):
                numbered = [(int(t), masks) for t, masks in frames.items()]
                keyed += [(video, t, thing, masks) for t, masks in numbered if t % self.options.stride == 0]
        entries = []
        for video, t, thing, masks in sorted(keyed, key=lambda row: row[:3]):
            if video not in pictures:
                frames_of = folder / f"{self.split}_frames" / video
                files = [p for p in frames_of.iterdir() if p.is_file()] if frames_of.is_dir() else []
                pictures[video] = sorted(files, key=_numbered)
            known = pictures[video]
            picture = known[t] if 0 <= t < len(known) else folder / f"{self.split}_frames" / video / f"frame {t}"
            load = _loader(masks, (video, t, thing), picture, str(path))
            entries.append(Entry(f"{video}/{t}/{thing}", f"{video}/{t}", str(path), picture, load))
        return entries


def _loader(masks: Mapping[str, Any], key: tuple[str, int, str], picture: Path, source: str) -> Callable[[], Sample]:
    video, t, thing = key

    def load() -> Sample:
        full, seen = (_single(masks[name]) for name in ("FM", "VM"))
        size = (int(full["size"][0]), int(full["size"][1]))
        return Sample(
            id=f"{video}/{t}/{thing}",
            image_id=f"{video}/{t}",
            picture=picture,
            size=size,
            visible=decode(seen, size),
            amodal=decode(full, size),
            category="fish",
            source=source,
            extra={"video": video, "frame": t, "object": thing},
        )

    return load


def _numbered(path: Path) -> tuple[list[tuple[int, str]], str]:
    """What sorts names by the numbers in them, padded or not: 2 before 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def _single(mask: Any) -> Mapping[str, Any]:
    """The RLE itself, or the only one of a list."""
    found: Mapping[str, Any] = mask[0] if isinstance(mask, list | tuple) else mask
    return found
