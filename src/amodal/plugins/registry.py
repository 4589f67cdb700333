"""Names to classes: a table of `"module:Class"` for what ships, entry points for what others add. Imports nothing heavy.

A package adds a plug-in by an entry point in the group `amodal.methods`, `amodal.inpainters`, `amodal.segmenters`,
`amodal.lifters`, `amodal.novel-views` or `amodal.datasets`; nothing in this file has to change. Without a package: the name
`file.py:Class`.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any, cast

from ..core.errors import (
    AmodalError,
    MissingExtraError,
    OptionError,
    PluginError,
    UnknownNameError,
    UsageError,
    nearest,
)
from ..core.extras import brought, entry_points, install, load, provider, requirements
from ..core.options import build_options
from ..core.paths import own_path
from .protocols import Inpainter, Method, Plugin, Segmenter

__all__ = [
    "DEFAULTS",
    "KINDS",
    "check",
    "create",
    "create_inpainter",
    "create_method",
    "create_segmenter",
    "current",
    "default_inpainter",
    "find",
    "names",
    "package_of",
    "requirement",
]

BUILTIN: dict[str, dict[str, str]] = {
    "methods": {
        "visible": "amodal.methods.baselines:Visible",
        "hull": "amodal.methods.baselines:Hull",
        "embedded": "amodal.methods.embedded.method:Embedded",
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
        "painter": "amodal.inpainters.painter.inpainter:Painter",
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
        "inflate": "amodal.downstream.reconstruction.lifters:Inflate",
        "shap-e": "amodal.downstream.reconstruction.shap_e:ShapE",
        "multiview": "amodal.downstream.reconstruction.multiview:Multiview",
        "sds": "amodal.downstream.reconstruction.sds:ScoreDistillation",
    },
    "novel-views": {
        "lifted": "amodal.downstream.views.lifted:Lifted",
        "zero123": "amodal.downstream.views.zero123:Zero123",
        "syncdreamer": "amodal.downstream.views.syncdreamer:SyncDreamer",
    },
    "datasets": {
        "batch": "amodal.data.batch_folder:BatchFolder",
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
        "pix2gestalt": "amodal.data.pairs:Pairs",
        "sailvos": "amodal.data.sailvos:SailVos",
    },
}
KINDS = tuple(BUILTIN)
RENAMED = {"methods": {"occamodal-paper": "occamodal"}}
"""Kind to the names that plug-ins had once, and have now. Old names work and are not listed."""
DEFAULTS = {"methods": "embedded", "inpainters": "painter", "segmenters": "pocket"}
"""What `amodal.load()` uses: the best that ships inside the package."""
DRIVEN = "pocket"
"""The inpainter of methods that drive one themselves: it must be able to draw an object, which `painter` is not."""

FOLDERS: dict[str, str] = {"inpainters": "diffusers", "segmenters": "sam"}
"""Kind to the plug-in that takes a hub name (`owner/name`) or a folder in place of a name, through its option `model`."""


BASES: dict[str, type[Plugin]] = {"methods": Method, "inpainters": Inpainter, "segmenters": Segmenter}
"""What a class of one's own must be, by kind; the other kinds have bases in rooms above."""


@cache
def _added(kind: str) -> dict[str, list[metadata.EntryPoint]]:
    """What other packages add: a name to those who offer it, of whom there should be one. Names that ship are not given away."""
    added: dict[str, list[metadata.EntryPoint]] = {}
    for point in entry_points(f"amodal.{kind}"):
        if point.name not in BUILTIN[kind]:
            added.setdefault(point.name, []).append(point)
        else:
            text = f"the {kind[:-1]} {point.name!r} of the package {provider(point)} is left aside: amodal has one of that name"
            warnings.warn(text, stacklevel=4)
    return added


@cache
def _table(kind: str) -> frozenset[str]:
    return frozenset({*BUILTIN[kind], *_added(kind)})


def names(kind: str) -> list[str]:
    """All names of a kind ("methods", "inpainters", "segmenters", "datasets"), sorted. Raises UnknownNameError for the kind."""
    if kind not in BUILTIN:
        raise UnknownNameError(f"no kind of thing named {kind!r}; {nearest(kind, BUILTIN)}")
    return sorted(_table(kind))


def current(kind: str, name: str) -> str:
    """The name that a plug-in has now, for an old one as for its own; an old one is told once, as a warning."""
    return _renamed(kind, name) if name in RENAMED.get(kind, {}) and name not in _table(kind) else name


@cache
def _renamed(kind: str, name: str) -> str:
    new = RENAMED[kind][name]
    warnings.warn(f"the {kind[:-1]} {name!r} is called {new!r} now", stacklevel=4)
    return new


def find(kind: str, name: str) -> Any:
    """The class (or factory) behind a name.

    Raises:
        UnknownNameError: no such name; tells the nearest one.
        MissingExtraError: its module needs a package that is not installed.
        PluginError: what another package offers cannot be imported or does not fit, or two packages offer the name.
    """
    known = names(kind)
    if not isinstance(name, str):
        raise UnknownNameError(f"the name of a {kind[:-1]} is text, got {type(name).__name__}; {nearest('', known)}")
    name = current(kind, name)
    if _is_file(name):
        return _from_file(kind, name)
    if name not in known:
        raise UnknownNameError(f"no {kind[:-1]} named {name!r}; {nearest(name, known)}")
    if name in _added(kind):
        return _offered(kind, name)
    module, _, attribute = BUILTIN[kind][name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        raise MissingExtraError(f"{kind[:-1]} {name!r} cannot be imported: {error}") from error


@cache
def _offered(kind: str, name: str) -> Any:
    """The class of another package."""
    point, *more = _added(kind)[name]
    what = f"{kind[:-1]} {name!r}"
    if more:
        packages = " and ".join(map(provider, [point, *more]))
        raise PluginError(f"{what} is offered by the packages {packages}; uninstall all but one")
    found = load(point, what)
    absent = [field for field in ("name", "summary") if not isinstance(getattr(found, field, None), str)]
    if misfit := _misfit(kind, found) or (f"has no {' and no '.join(absent)}" if absent else ""):
        raise PluginError(f"{what} of the package {provider(point)} cannot be used: {point.value} {misfit}")
    found._found_by = name
    return found


def _misfit(kind: str, found: Any) -> str:
    """What a class of somebody else lacks of what its kind asks for; empty if nothing."""
    base = BASES.get(kind, object)
    if not isinstance(found, type) or not issubclass(found, base):
        return f"is no class{f' derived from {base.__name__}' if kind in BASES else ''}"
    if inspect.isabstract(found):
        return f"lacks {', '.join(sorted(getattr(found, '__abstractmethods__', ())))}"
    for verb in sorted(getattr(base, "__abstractmethods__", ())):
        asked = list(inspect.signature(getattr(base, verb)).parameters)
        try:
            inspect.signature(getattr(found, verb)).bind(*asked)
        except TypeError:
            return f"does not take what {verb} is given: {verb}({', '.join(asked)})"
    if kind in BASES:
        try:
            inspect.signature(found).bind({}, device="auto")
        except TypeError:
            return "does not take what it is made with: __init__(self, options, device)"
    return ""


def requirement(kind: str, name: str, extra: str) -> str:
    """The command that installs what a plug-in needs beside its package; empty if it needs nothing or is a file of one's own."""
    if not extra or _is_file(name):
        return ""
    return install(extra, package_of(kind, name))


def package_of(kind: str, name: str) -> str:
    """The package that a plug-in belongs to, and its extra with it."""
    points = _added(kind).get(name)
    return provider(points[0]) if points else "amodal"


def _is_file(name: str) -> bool:
    return re.fullmatch(r".+\.py:\w+", name) is not None


def _from_file(kind: str, name: str) -> Any:
    """The class behind `file.py:Class`. The file is run: it is the user's own code."""
    path, _, wanted = name.rpartition(":")
    file = own_path(path)
    if not file.is_file():
        raise UnknownNameError(f"there is no file {file}; give FILE.py:CLASS, or a name of: {', '.join(names(kind))}")
    module = _module_of(file.resolve(), file.stat().st_mtime_ns)
    base = BASES.get(kind)
    classes = [
        key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    fitting = [key for key in classes if base is None or issubclass(getattr(module, key), base)]
    if wanted not in fitting:
        what = f"no {base.__name__} named {wanted!r}" if base is not None else f"no class named {wanted!r}"
        raise UnknownNameError(f"{file} has {what}; {nearest(wanted, fitting)}")
    found = getattr(module, wanted)
    if misfit := _misfit(kind, found):
        raise UsageError(f"{file}:{wanted} {misfit}")
    found._found_by = name
    return found


@cache
def _module_of(file: Path, changed: int) -> Any:
    name = f"amodal_file_{file.stem}_{abs(hash(file)):x}"
    spec = util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{file} needs the package {error.name!r}, which is not installed") from error
    except Exception as error:
        raise UsageError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    return module


def kinds_of(name: str) -> list[str]:
    """The kinds in which a name, or an old name, occurs."""
    return [kind for kind in KINDS if name in _table(kind) or name in RENAMED.get(kind, {})]


def create(kind: str, name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> Plugin:
    """A plug-in of any kind by name. Raises UnknownNameError, OptionError, WeightsError, MissingExtraError."""
    cls, settings = _resolve(kind, name, options)
    needed = brought(requirements(package_of(kind, name)), cls.extra) if cls.extra and name in _added(kind) else {}
    if None in needed.values():
        raise MissingExtraError(
            f"{kind[:-1]} {name!r} needs packages that are not installed; run: {requirement(kind, name, cls.extra)}"
        )
    try:
        return cast(Plugin, cls(settings, device=device))
    except ImportError as error:
        if isinstance(error, AmodalError):
            raise
        command = requirement(kind, name, cls.extra) or f"pip install {error.name}"
        raise MissingExtraError(f"{kind[:-1]} {name!r} needs the package {error.name!r}; run: {command}") from error


def check(kind: str, name: str, options: Mapping[str, Any] | None = None) -> None:
    """Whether `create` knows the name and the options, before any weights are looked for.

    Raises:
        UnknownNameError, OptionError, MissingExtraError.
    """
    cls, settings = _resolve(kind, name, options)
    build_options(cls.Options, settings)


def _resolve(kind: str, name: str, options: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """The class behind a name, hub name or folder, and its options."""
    if not isinstance(options, Mapping | None):
        raise OptionError(f"options are a dictionary of names and values, got {type(options).__name__}")
    settings = dict(options or {})
    if isinstance(name, str) and name not in _table(kind) and kind in FOLDERS and ("/" in name or os.path.isdir(name)):  # noqa: PTH112  never raises
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
