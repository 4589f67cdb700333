"""Whether a plug-in works on this machine, and the command that would make it so. Loads no network, fetches nothing."""

from __future__ import annotations

from typing import Any

from ..core.errors import AmodalError, WeightsError
from ..core.extras import brought, requirements
from ..plugins import registry

__all__ = ["size_text", "state", "usable"]


def usable(kind: str, name: str, extras: dict[str, dict[str, str | None]]) -> dict[str, Any]:
    """Whether a plug-in can be loaded with its default options, and the command that would make it so; `extras` are those of amodal."""
    from . import catalogue

    try:
        cls = registry.find(kind, name)
    except AmodalError as error:
        return {"ready": False, "do": str(error)}
    owner = registry.package_of(kind, name)
    needed = brought(extras if owner == "amodal" else requirements(owner), cls.extra)
    if cls.extra and None in needed.values():
        return {"ready": False, "do": registry.requirement(kind, name, cls.extra)}
    if not cls.weights and any(own := [_wanted(cls, name) for name in ("weights", "model")]):
        return {"ready": False, "do": f"needs weights of your own, as the option {next(filter(None, own))}"}
    listed = [catalogue.find(each) for each in cls.needed_weights() if each in catalogue.entries()]
    broken = [text for entry in listed if (text := state(entry.name)).startswith("damaged")]
    if broken:
        return {"ready": False, "do": broken[0]}
    absent = [entry for entry in listed if catalogue.cached(entry) is None]
    if absent:
        total = size_text(sum(entry.size for entry in absent))
        return {"ready": False, "do": f"amodal fetch {' '.join(entry.name for entry in absent)}  ({total})"}
    return {"ready": True, "do": ""}


def _wanted(cls: Any, name: str) -> str:
    """The name, if the class has an option of it that is text and empty by default: nothing works before it is given."""
    option = cls.Options.model_fields.get(name)
    return name if option is not None and option.default == "" else ""


def state(name: str) -> str:
    """Whether weights are "embedded", "here" or "not here"; "damaged: ..." if embedded weights are not what they should be."""
    from . import catalogue

    entry = catalogue.find(name)
    try:
        if entry.kind == "embedded":
            catalogue.embedded(name)
            return "embedded"
        return "here" if catalogue.cached(entry) is not None else "not here"
    except WeightsError as error:
        return f"damaged: {error}"


def size_text(size: int) -> str:
    """Bytes in words: "2.1 GB", "39 MB", "size unknown"."""
    if not size:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
