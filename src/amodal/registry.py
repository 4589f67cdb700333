"""Names to classes: a table of `"module:Class"` for what ships, entry points for what others add. Imports nothing heavy.

A package adds a plug-in by an entry point in the group `amodal.methods`, `amodal.inpainters`, `amodal.segmenters`,
`amodal.lifters` or `amodal.datasets`; nothing in this file has to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, cast

from .errors import AmodalError, MissingExtraError, UnknownNameError, nearest
from .options import build_options
from .protocols import Inpainter, Method, Plugin, Segmenter

__all__ = [
    "DEFAULTS",
    "KINDS",
    "check",
    "create",
    "create_inpainter",
    "create_method",
    "create_segmenter",
    "default_inpainter",
    "find",
    "names",
]

BUILTIN: dict[str, dict[str, str]] = {
    "methods": {
        "visible": "amodal.methods.baselines:Visible",
        "hull": "amodal.methods.baselines:Hull",
        "occamodal": "amodal.methods.occamodal.method:OccAmodal",
        "inpaint": "amodal.methods.comparisons:Inpaint",
        "sam": "amodal.methods.comparisons:SegmentAgain",
        "tuning-free": "amodal.methods.tuning_free.method:TuningFree",
        "pix2gestalt": "amodal.methods.pix2gestalt.method:Pix2Gestalt",
        "sdamodal": "amodal.methods.sdamodal.method:SDAmodal",
        "deocclusion": "amodal.methods.deocclusion.method:Deocclusion",
        "deocclusion-single": "amodal.methods.deocclusion.single:DeocclusionSingle",
        "asbu": "amodal.methods.deocclusion.method:Asbu",
    },
    "inpainters": {
        "classical": "amodal.inpainters.classical:Classical",
        "diffusers": "amodal.inpainters.diffusers:Diffusers",
        "flux-fill": "amodal.inpainters.diffusers:FluxFill",
        "pocket": "amodal.inpainters.pocket.inpainter:Pocket",
        "sd15": "amodal.inpainters.diffusers:SD15",
        "sd2": "amodal.inpainters.diffusers:SD2",
        "sdxl": "amodal.inpainters.diffusers:SDXL",
    },
    "segmenters": {
        "grabcut": "amodal.segmenters.grabcut:GrabCut",
        "pocket": "amodal.segmenters.pocket.segmenter:PocketSegmenter",
        "sam": "amodal.segmenters.sam:Sam",
        "sam2": "amodal.segmenters.sam:Sam2",
        "sam3": "amodal.segmenters.sam:Sam3",
    },
    "lifters": {
        "inflate": "amodal.downstream.lifters:Inflate",
        "shap-e": "amodal.downstream.shap_e:ShapE",
    },
    "datasets": {
        "bsdsa": "amodal.data.bsdsa:Bsdsa",
        "cocoa": "amodal.data.cocoa:Cocoa",
        "cocoa-cls": "amodal.data.cocoa_cls:CocoaCls",
        "d2sa": "amodal.data.d2sa:D2sa",
        "fishbowl": "amodal.data.fishbowl:FishBowl",
        "folder": "amodal.data.folder:Folder",
        "kins": "amodal.data.kins:Kins",
        "masks": "amodal.data.masks:MaskFolder",
        "mp3d-amodal": "amodal.data.mp3d:Mp3dAmodal",
        "occluded-coco": "amodal.data.occluded_coco:OccludedCoco",
        "pix2gestalt": "amodal.data.pairs.reader:Pairs",
        "sailvos": "amodal.data.sailvos:SailVos",
    },
}
KINDS = tuple(BUILTIN)
DEFAULTS = {"methods": "occamodal", "inpainters": "classical", "segmenters": "pocket"}
"""What `amodal.load()` uses: the best that ships inside the package."""
DRIVEN = "pocket"
"""The inpainter of methods that drive one themselves: it must be able to draw an object, which `classical` is not."""

FOLDERS: dict[str, str] = {"inpainters": "diffusers", "segmenters": "sam"}
"""Kind to the plug-in that takes a hub name (`owner/name`) or a folder in place of a name, through its option `model`."""


@cache
def _table(kind: str) -> dict[str, str]:
    table = dict(BUILTIN[kind])
    for point in metadata.entry_points(group=f"amodal.{kind}"):
        table.setdefault(point.name, point.value)
    return table


def names(kind: str) -> list[str]:
    """All names of a kind ("methods", "inpainters", "segmenters", "datasets"), sorted. Raises UnknownNameError for the kind."""
    if kind not in BUILTIN:
        raise UnknownNameError(f"no kind of thing named {kind!r}; {nearest(kind, BUILTIN)}")
    return sorted(_table(kind))


def find(kind: str, name: str) -> Any:
    """The class (or factory) behind a name.

    Raises:
        UnknownNameError: no such name; tells the nearest one.
        MissingExtraError: its module needs a package that is not installed.
    """
    known = names(kind)
    if name not in known:
        raise UnknownNameError(f"no {kind[:-1]} named {name!r}; {nearest(name, known)}")
    module, _, attribute = _table(kind)[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        raise MissingExtraError(f"{kind[:-1]} {name!r} cannot be imported: {error}") from error


def kinds_of(name: str) -> list[str]:
    """The kinds in which a name occurs."""
    return [kind for kind in KINDS if name in _table(kind)]


def create(kind: str, name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> Plugin:
    """A plug-in of any kind by name. Raises UnknownNameError, OptionError, WeightsError, MissingExtraError."""
    cls, settings = _resolve(kind, name, options)
    try:
        return cast(Plugin, cls(settings, device=device))
    except ImportError as error:
        if isinstance(error, AmodalError):
            raise
        extra = f'; run: pip install "amodal[{cls.extra}]"' if cls.extra else ""
        raise MissingExtraError(f"{kind[:-1]} {name!r} needs the package {error.name!r}{extra}") from error


def check(kind: str, name: str, options: Mapping[str, Any] | None = None) -> None:
    """Whether `create` knows the name and the options, before any weights are looked for.

    Raises:
        UnknownNameError, OptionError, MissingExtraError.
    """
    cls, settings = _resolve(kind, name, options)
    build_options(cls.Options, settings)


def _resolve(kind: str, name: str, options: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """The class behind a name, hub name or folder, and its options."""
    settings = dict(options or {})
    if name not in _table(kind) and kind in FOLDERS and ("/" in name or Path(name).is_dir()):
        settings["model"], name = name, FOLDERS[kind]
    return find(kind, name), settings


def create_method(name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> Method:
    """A method by name with its options (plain values or strings). Raises UnknownNameError, OptionError, WeightsError."""
    return cast(Method, create("methods", name, options, device))


def default_inpainter(method: str) -> str:
    """The inpainter that goes with a method where nobody names one. Raises UnknownNameError, MissingExtraError."""
    return DRIVEN if find("methods", method).needs_inpainter else DEFAULTS["inpainters"]


def create_inpainter(name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> Inpainter:
    """An inpainter by name, hub name or folder. Raises UnknownNameError, OptionError, WeightsError, MissingExtraError."""
    return cast(Inpainter, create("inpainters", name, options, device))


def create_segmenter(name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> Segmenter:
    """A segmenter by name, hub name or folder. Raises UnknownNameError, OptionError, WeightsError, MissingExtraError."""
    return cast(Segmenter, create("segmenters", name, options, device))
