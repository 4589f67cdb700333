"""`sailvos`: SAIL-VOS (Hu et al., CVPR 2019), rendered by a game: one folder a scene, one folder an object."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ..core.arrays import read_npy
from ..core.errors import DataError
from ..core.image import read_soft
from ..core.mask import Mask
from ..core.options import Options
from .annotations import whole_number
from .sample import Dataset, Entry, Sample

__all__ = ["SailVos", "SailVosOptions"]

OBJECT = re.compile(r"^([0-9]{1,9})(?:_(.+))?$")


class SailVosOptions(Options):
    """How densely the videos are read, and what is left out."""

    stride: int = Field(1, ge=1, description="take every n-th frame")
    unseen: bool = Field(
        False, description="keep objects without a visible pixel; nothing can prompt a method for them"
    )


class SailVos(Dataset):
    """Scenes `SCENE/images/000000.bmp`, `SCENE/visible/000000.npy` (an object number a pixel) and `SCENE/<number>_<class>/000000.png`
    (the amodal mask). Ids are `<scene>/<frame>/<number>`. A split is a subfolder of the root.
    """

    name: ClassVar[str] = "sailvos"
    summary: ClassVar[str] = "SAIL-VOS: game videos with amodal masks of people and things"
    paper: ClassVar[str] = "Hu et al., SAIL-VOS, CVPR 2019"
    license: ClassVar[str] = "non-commercial research; click-through at the source"
    url: ClassVar[str] = "https://sailvos.web.illinois.edu"
    Options: ClassVar[type[Options]] = SailVosOptions

    def index(self) -> list[Entry]:
        root = self.root / self.split if self.split else self.root
        scenes = sorted(path for path in root.iterdir() if (path / "images").is_dir()) if root.is_dir() else []
        if not scenes:
            raise DataError(f"{root} holds no scenes; each is a folder with images/, visible/ and one folder an object")
        return [entry for scene in scenes for entry in self._scene(scene)]

    def _scene(self, scene: Path) -> list[Entry]:
        pictures = {
            path.stem: path for path in sorted((scene / "images").iterdir()) if whole_number(path.stem) is not None
        }
        found = []
        for folder in sorted(path for path in scene.iterdir() if path.is_dir()):
            name = OBJECT.match(folder.name)
            if name is None:
                continue
            for file in sorted(folder.glob("*.png")):
                number = whole_number(file.stem)
                if number is not None and number % self.options.stride == 0:
                    found.append((file.stem, int(name[1]), name[2], file))
        entries = []
        cache: dict[Path, Any] = {}
        for frame, number, category, file in sorted(found, key=lambda row: row[:2]):
            visible = scene / "visible" / f"{frame}.npy"
            picture = pictures.get(frame, scene / "images" / f"{frame}.bmp")
            image_id = f"{scene.name}/{frame}"
            load = self._loader((image_id, number, category), (file, visible, picture), cache)
            entries.append(Entry(f"{image_id}/{number}", image_id, str(file), picture, load, (visible,)))
        return entries

    def _loader(
        self, key: tuple[str, int, str | None], files: tuple[Path, Path, Path], cache: dict[Path, Any]
    ) -> Callable[[], Sample | None]:
        image_id, number, category = key
        file, visible, picture = files
        unseen = self.options.unseen

        def load() -> Sample | None:
            bits = read_soft(file) > 0.5
            size = (int(bits.shape[0]), int(bits.shape[1]))
            owners = _visible(visible, cache)
            if owners.shape != bits.shape:
                raise DataError(
                    f"{visible.name} is of {owners.shape[::-1]} pixels, the amodal mask of {bits.shape[::-1]}"
                )
            seen = Mask.from_array(owners == number)
            if not seen and not unseen:
                return None
            return Sample(
                id=f"{image_id}/{number}",
                image_id=image_id,
                picture=picture,
                size=size,
                visible=seen,
                amodal=Mask.from_array(bits),
                category=category,
                source=str(file),
                extra={"scene": image_id.split("/")[0]},
            )

        return load


def _visible(path: Path, cache: dict[Path, Any]) -> Any:
    """The object number of each pixel of a frame (H, W); the last frame is kept, since its objects follow each other."""
    if path not in cache:
        owners = read_npy(path, DataError)
        owners = owners[..., 0] if owners.ndim == 3 else owners
        if owners.ndim != 2:
            raise DataError(f"{path} must hold one object number a pixel, its shape is {owners.shape}")
        cache.clear()
        cache[path] = owners
    return cache[path]
