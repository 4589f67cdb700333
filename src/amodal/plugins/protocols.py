"""The three protocols that plug-ins implement: `Segmenter`, `Method`, `Inpainter`; and the little that passes through them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core import options as option_classes
from ..core.errors import OptionError, PromptError, UsageError
from ..core.image import Image
from ..core.mask import Box, Mask, Size
from ..core.options import build_options
from ..core.prompt import Prompt
from ..core.remarks import remark
from ..core.soft_mask import SoftMask

__all__ = [
    "Context",
    "Inpainter",
    "Method",
    "Plugin",
    "Prediction",
    "Progress",
    "Proposal",
    "Request",
    "Sampling",
    "Segmenter",
    "frame_of",
    "no_progress",
    "progress_of",
]

Progress = Callable[[str, int, int], None]
"""`progress(what, done, total)`: reports progress ("step", 3, 20); raises `Cancelled` when the caller wants to stop.
Call it at least once per network evaluation."""


def no_progress(what: str, done: int, total: int) -> None:
    """Reports nothing, never cancels."""


def progress_of(value: Any) -> Progress:
    """An argument that reports progress; None reports nothing. Raises UsageError."""
    if value is None:
        return no_progress
    if not callable(value):
        raise UsageError(
            f"progress is a function of (what, done, total), got {type(value).__name__} {str(value)[:40]!r}"
        )
    found: Progress = value
    return found


@dataclass(frozen=True)
class Proposal:
    """A segmenter's answer: a visible mask and its score in [0, 1] (None if the segmenter has none)."""

    mask: Mask
    score: float | None = None


@dataclass(frozen=True)
class Prediction:
    """A method's answer for one object, before the pipeline seals it.

    Attributes:
        amodal: the whole object; may leave the frame, may forget visible pixels (the pipeline adds them).
        picture: (h, w, 3) uint8 RGB of the whole object with its top-left pixel at `picture_origin` (x, y), covering at
            least `amodal.box`; None lets the pipeline paint the occluded pixels with the inpainter.
        picture_origin: the place of the picture's first pixel in the image.
        probability: how sure the method is of each pixel; None where it cannot say.
        occluder: what hides the object, if the method finds it.
        score: the method's own quality in [0, 1]; predictions are sorted by it.
    """

    amodal: Mask
    picture: Image | None = field(default=None, repr=False)
    picture_origin: tuple[int, int] = (0, 0)
    probability: SoftMask | None = None
    occluder: Mask | None = None
    score: float | None = None


@dataclass(frozen=True)
class Request:
    """One object to complete: its visible mask, its seed, how many samples, and what the user named as occluder.

    Attributes:
        visible: non-empty, inside the frame.
        seed: sample k of this object must depend on (seed, k) and the options alone, never on the rest of the batch.
        samples: number of predictions wanted; a deterministic method may return one.
        occluder: pixels that the user says hide the object; an empty mask says that nothing does; None leaves it open.
        category: the number of the object's class, for networks that read it from the mask channel (deocclusion on KINS); None
            where there is none.
        box: where an object lies of which nothing is visible (`visible` is empty then); only evaluation gives it, to methods
            that have `takes_unseen`.
    """

    visible: Mask
    seed: int = 0
    samples: int = 1
    occluder: Mask | None = None
    category: int | None = None
    box: Box | None = None

    @property
    def place(self) -> Box:
        """The half-open box (x0, y0, x1, y1) of the visible mask, or `box` where nothing is visible."""
        return self.visible.box if self.visible or self.box is None else self.box


@dataclass(frozen=True)
class Sampling:
    """How an inpainter samples; the tuning-free method's options arrive here.

    Attributes:
        steps: network evaluations per picture.
        leak: weights (inside, outside) of the known (noised condition) latent at every step, equation 7 of the
            tuning-free paper: x = W known + (1 - W) model. None is plain inpainting as the inpainter does it: a network that is
            shown the picture in channels of its own sees it with the area blanked, and nothing leaks, as in diffusers; any other
            keeps what is known outside of the area, (0, 1).
        strength: in (0, 1]: the noise level to start from.
        scheduler: a scheduler name the inpainter knows, or "default".
        watch: `watch(seeds, step, pictures)` is shown the pictures of a batch (N, S, S, 3) float32 in [-1, 1], decoded as they are
            after each step, from 1 on, with their seeds (figure 3 of the tuning-free paper).
    """

    steps: int = 20
    leak: tuple[float, float] | None = None
    strength: float = 1.0
    scheduler: str = "default"
    watch: Callable[[Sequence[int], int, NDArray[np.float32]], None] | None = None


@dataclass(frozen=True)
class Context:
    """What the pipeline hands to a method beside the requests: the other parts it may use, and the progress callback."""

    segmenter: Segmenter | None = None
    inpainter: Inpainter | None = None
    progress: Progress = field(default=no_progress)


class Plugin(ABC):
    """What methods, inpainters and segmenters have in common: a name, a record for `amodal show`, options and a device.

    Importing the module of a plug-in must stay cheap (no torch): heavy imports belong inside its functions.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `amodal list`."""
    Options: ClassVar[type[option_classes.Options]] = option_classes.Options
    paper: ClassVar[str] = ""
    license: ClassVar[str] = "not stated"
    """Of code and weights together: the stricter one rules."""
    memory: ClassVar[str] = ""
    """What it takes, in words: "4 GB of GPU memory in fp16"."""
    extra: ClassVar[str] = ""
    """The extra of its package that it needs (of amodal, or of your own package), several with commas; empty for none."""
    weights: ClassVar[tuple[str, ...]] = ()
    """Names in weights.toml, here or in the package that adds the plug-in (entry point `amodal.weights`)."""

    def __init__(self, options: Mapping[str, Any] | option_classes.Options | None = None, device: str = "auto") -> None:
        self.options: Any = build_options(type(self).Options, options)
        for text in self.options.idle():
            remark(text)
        self.device = device

    @classmethod
    def needed_weights(cls) -> tuple[str, ...]:
        """Those of `weights` that the default options need; all, unless a plug-in says otherwise."""
        return cls.weights

    def used_weights(self) -> tuple[str, ...]:
        """Names, files or folders of the weights that these options run: `weights` and `model` where they are given."""
        own = tuple(str(value) for name in ("weights", "model") if (value := getattr(self.options, name, None)))
        return own or self.needed_weights()

    def warm_up(self) -> None:  # noqa: B027  most have nothing to prepare
        """Load what the first use would load, on a thread beside other work. Raises what that use would raise."""

    @property
    def reference(self) -> str:
        """The name that makes it again: its own, or the `file.py:Class` that it was found by."""
        return str(vars(type(self)).get("_found_by", self.name))

    def provenance(self) -> dict[str, Any]:
        """JSON-ready: what must be known to make the same object again."""
        return {"name": self.reference, "options": self.options.model_dump(mode="json")}


class Segmenter(Plugin):
    """Image and prompt to the visible mask. Stateless after construction, so that threads can share it."""

    def embed(self, image: Image) -> Any:
        """What depends on the image (H, W, 3) uint8 alone; computed once per `Scene`, opaque to everyone else."""
        return image

    @abstractmethod
    def segment(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        """Visible-mask proposals, best first, at least one. Raises PromptError for a prompt it does not understand."""

    def propose(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        """Up to three different answers to a prompt, best first: a single click may mean a part, an object or a group.

        A segmenter that has one answer gives that one. Raises PromptError like `segment`.
        """
        return sorted(self.segment(embedded, prompt), key=lambda p: -(p.score or 0.0))[:3]

    def glance(self, embedded: Any, prompt: Prompt) -> Proposal | None:
        """What a single click would give, roughly and within some milliseconds: shown before the click is made.

        None (also for other prompts) where a segmenter has no shorter way than `segment`. Raises PromptError like `segment`.
        """
        return None

    def segment_everything(self, image: Image, progress: Progress = no_progress) -> list[Proposal]:
        """The visible masks of all objects of (H, W, 3) uint8 RGB without a prompt, best first; they may overlap.

        Raises:
            PromptError: this segmenter needs a prompt.
        """
        raise PromptError(f"{self.name} finds no objects by itself; use a SAM model (sam, sam2), or give prompts")


class Method(Plugin):
    """Image and visible masks to completions. Stateless after construction, so that threads can share it."""

    needs_inpainter: ClassVar[bool] = False
    """True if `complete` itself drives `context.inpainter` (the pipeline paints for the others)."""
    takes_unseen: ClassVar[bool] = False
    """True if `complete` answers for an object of which nothing is visible, from its `Request.box` (as the papers evaluate it)."""
    draws: ClassVar[bool] = True
    """False if it has one answer: nothing is drawn by chance, and of several samples there would be one."""

    def embed(self, image: Image) -> Any:
        """What depends on the image alone; computed once per `Scene`. A method without such a part returns the image."""
        return image

    @abstractmethod
    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        """For each request its predictions, best first: one to `request.samples`. Batch equals single: requests are independent."""


class Inpainter(Plugin):
    """Condition picture and area to a picture: the (diffusion) backbone that the tuning-free method drives."""

    paints: ClassVar[bool] = True
    """False if it only draws objects for a method that reads their shape: the default inpainter then paints pixels."""
    smooth: ClassVar[bool] = False
    """True if it paints smoothly: texture is then taken from the object's visible pixels, and in a photograph from around the hole."""

    size: int = 512
    """Native side of the square pictures, in pixels."""
    default_sampling: Sampling = Sampling()
    """How it samples where nobody says: when it paints occluded pixels."""

    @abstractmethod
    def paint(
        self,
        conditions: NDArray[np.float32],
        areas: NDArray[np.float32],
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Progress = no_progress,
    ) -> NDArray[np.float32]:
        """Paint a batch.

        Args:
            conditions: (N, size, size, 3) float32 RGB, nominally [-1, 1] (partly noised pixels may pass it).
            areas: (N, size, size) float32 in [0, 1]; 1 where the picture is to be made, 0 where it is known.
            seeds: one per picture; picture i depends on conditions[i], areas[i], seeds[i] and `sampling` alone.
            sampling: steps, leak, strength, scheduler.
            progress: called once per network evaluation.

        Returns:
            (N, size, size, 3) float32 RGB in [-1, 1].

        Raises:
            OptionError: a scheduler that it does not know.
        """

    def one_schedule(self, sampling: Sampling) -> None:
        """To be asked by an inpainter that has no schedulers to choose from. Raises OptionError: one is named."""
        if sampling.scheduler != "default":
            raise OptionError(
                f"the inpainter {self.name} has no scheduler {sampling.scheduler!r}; leave scheduler=default, or take a diffusion model"
            )


def frame_of(image: Image) -> Size:
    """The (H, W) of an image."""
    return (int(image.shape[0]), int(image.shape[1]))
