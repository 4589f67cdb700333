"""The configuration of `amodal data build scenes`: what is in the TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ...core.errors import OptionError
from ...core.files import read_toml
from ...core.options import Options, build_options
from ...core.paths import own_path
from ...geometry.cameras import CameraSampling
from ...geometry.readers import ReaderOptions
from ...geometry.render import RenderOptions
from .select import SelectOptions

__all__ = ["SPLIT", "BuildConfig", "SceneConfig", "read_config"]

SPLIT = r"^(\w[\w .-]*)?$"
"""Names of splits, which become names of folders."""


class SceneConfig(Options):
    """One `[[scene]]` of the file."""

    kind: str = Field(description="gltf, obj, ply, matterport, scannet or bop")
    path: str = Field(description="the scene's file or folder, relative to the configuration")
    name: str = Field("", description="the scene's name; default: the file's")
    split: str = Field(
        "", pattern=SPLIT, description="the part of the data set it belongs to, e.g. train; scenes are never divided"
    )
    cameras: Literal["files", "list", "sample"] = Field("files", description="where the cameras come from")
    camera_list: str = Field("", description="for cameras = 'list': a JSON file, relative to the configuration")
    limit: int | None = Field(None, ge=1, description="only the first views")
    reader: ReaderOptions = Field(
        default_factory=lambda: build_options(ReaderOptions, None), description="for the reader"
    )
    sample: CameraSampling = Field(
        default_factory=lambda: build_options(CameraSampling, None), description="for cameras = 'sample'"
    )


class BuildConfig(Options):
    """The whole file."""

    name: str = Field("scenes", description="the data set's name")
    license: str = Field("", description="of the pictures")
    pictures: Literal["auto", "photo", "render"] = Field("auto", description="auto: the photograph where there is one")
    beyond_frame: float = Field(
        0.0, ge=0, le=4, description="how far amodal masks go on outside of the frame, in frames"
    )
    depth: bool = Field(False, description="write z-depth too: depth/*.png, 16 bit, millimetres, 0 = none")
    jpeg: int = Field(92, ge=1, le=100, description="quality of rendered pictures")
    select: SelectOptions = Field(
        default_factory=lambda: build_options(SelectOptions, None), description="what becomes a sample"
    )
    render: RenderOptions = Field(
        default_factory=lambda: build_options(RenderOptions, None), description="how pictures are rendered"
    )
    scene: tuple[SceneConfig, ...] = Field((), description="the scenes")


def read_config(path: Path) -> BuildConfig:
    """Read and check a configuration; paths become absolute.

    Raises:
        OptionError: not TOML, an unknown or wrong option (named by its place), no scene, two of one name, or one in two splits.
    """
    content = read_toml(path, OptionError)
    try:
        config = BuildConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise OptionError(f"{path}: {place}: {first['msg'].lower()}") from error
    if not config.scene:
        raise OptionError(f"{path} has no [[scene]]; see docs/scenes.md for an example")
    scenes = []
    for each in config.scene:
        where = {"path": str((path.parent / own_path(each.path)).resolve())}
        where["name"] = each.name or Path(each.path).stem
        if each.camera_list:
            where["camera_list"] = str((path.parent / each.camera_list).resolve())
        if each.cameras == "list" and not each.camera_list:
            raise OptionError(f"{path}: scene {where['name']} says cameras = 'list' but has no camera_list")
        scenes.append(each.model_copy(update=where))
    names = [each.name for each in scenes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise OptionError(f"{path}: two scenes are named {twice!r}; give each a name of its own")
    split_of: dict[str, str] = {}
    for each in scenes:
        if split_of.setdefault(each.path, each.split) != each.split:
            raise OptionError(
                f"{path}: {each.path} is in the splits {split_of[each.path]!r} and {each.split!r}; splits share no scene"
            )
    return config.model_copy(update={"scene": tuple(scenes)})


def identity(config: BuildConfig) -> dict[str, Any]:
    """What the result depends on, JSON-ready: everything but where the files lie."""
    content: dict[str, Any] = config.model_dump(mode="json")
    for each in content["scene"]:
        del each["path"], each["camera_list"]
    return content
