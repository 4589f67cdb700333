"""`Model`: a method with the segmenter that reads the prompt and the inpainter that paints; `load` makes one by names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from threading import Thread
from typing import Any

from ..core.errors import AmodalError, UsageError
from ..core.image import as_image
from ..plugins import registry
from ..plugins.protocols import Inpainter, Method, Segmenter
from ..runtime.devices import check_device
from .asking import Opening
from .scene import Scene
from .seal import provenance

__all__ = ["Model", "load"]


def load(
    method: str | None = None,
    *,
    inpainter: str | None = None,
    segmenter: str | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    inpainter_options: Mapping[str, Any] | None = None,
    segmenter_options: Mapping[str, Any] | None = None,
) -> Model:
    """A model ready to use. Without arguments: the embedded default, which needs no GPU and no download.

    Args:
        method: a name of `amodal list methods`, or `file.py:Class` for a class of your own.
        inpainter: a name of `amodal list inpainters`, a hub name or a folder; it drives the tuning-free method and paints the
            occluded pixels for methods that give only a mask. Default: `registry.default_inpainter`.
        segmenter: a name of `amodal list segmenters`, a hub name or a folder.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        options: options of the method, as in `amodal show METHOD`.
        inpainter_options: options of the inpainter.
        segmenter_options: options of the segmenter.

    Raises:
        UnknownNameError, OptionError, WeightsError, MissingExtraError.
        UsageError: the inpainter does not paint, and the method drives none.
    """
    check_device(device)
    method = registry.DEFAULTS["methods"] if method is None else method
    segmenter = registry.DEFAULTS["segmenters"] if segmenter is None else segmenter
    inpainter = registry.default_inpainter(method) if inpainter is None else inpainter
    made = Model(
        registry.create_method(method, options, device),
        registry.create_segmenter(segmenter, segmenter_options, device),
        registry.create_inpainter(inpainter, inpainter_options, device),
    )
    if not (made.inpainter.paints or made.method.needs_inpainter):
        raise UsageError(
            f"the inpainter {made.inpainter.name!r} draws objects for methods that read their shape, such as tuning-free, and "
            f"paints no pixels; with {method!r} use {registry.DEFAULTS['inpainters']!r} or a diffusion model"
        )
    return made


class Model(Opening):
    """A method with the segmenter that reads the prompt and the inpainter that paints. Holds no image; threads may share it."""

    def __init__(self, method: Method, segmenter: Segmenter, inpainter: Inpainter) -> None:
        self.method = method
        self.segmenter = segmenter
        self.inpainter = inpainter
        self.painter = inpainter if inpainter.paints else registry.create_inpainter(registry.DEFAULTS["inpainters"])

    def __repr__(self) -> str:
        return f"Model({self.method.name}, segmenter={self.segmenter.name}, inpainter={self.inpainter.name})"

    def open(self, image: Any) -> Scene:
        return Scene(self, as_image(image), str(image) if isinstance(image, str | os.PathLike) else None)

    def warm_up(self, *, ask: bool = True) -> Thread:
        """Begin to load what the first object needs, on a thread beside the caller's work; returns it at once.

        What fails there fails again, and is told, where it is used.

        Args:
            ask: False leaves out the segmenter: masks are given.
        """

        def load() -> None:
            with suppress(AmodalError, ImportError):
                for part in (*([self.segmenter] if ask else ()), self.method, self.painter):
                    part.warm_up()
                self.provenance()

        thread = Thread(target=load, name="amodal-warm-up")
        thread.start()
        return thread

    def provenance(self) -> dict[str, Any]:
        """JSON-ready: names, options and digests of the weights of the three parts, and the versions that matter."""
        return provenance(self.method, self.segmenter, self.inpainter)
