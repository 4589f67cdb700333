"""The three protocols that plug-ins implement: `Segmenter`, `Method`, `Inpainter`; and the little that passes through them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import options as option_classes
from .errors import PromptError
from .image import Image
from .mask import Mask, Size, SoftMask
from .options import build_options
from .prompt import Prompt

__all__ = [
    "Context",
    "Guess",
    "Inpainter",
    "Job",
    "Method",
    "Plugin",
    "Proposal",
    "Sampling",
    "Segmenter",
    "Tick",
    "frame_of",
    "no_tick",
]

Tick = Callable[[str, int, int], None]
"""`tick(what, done, total)`: reports progress ("step", 3, 20); raises `Cancelled` when the caller wants to stop.
Call it at least once per network evaluation."""


def no_tick(what: str, done: int, total: int) -> None:
    """Reports nothing, never cancels."""


@dataclass(frozen=True)
class Proposal:
    """A segmenter's answer: a visible mask and its score in [0, 1] (None if the segmenter has none)."""

    mask: Mask
    score: float | None = None


@dataclass(frozen=True)
class Guess:
    """A method's answer for one object, before the pipeline seals it.

    Attributes:
        amodal: the whole object; may leave the frame, may forget visible pixels (the pipeline adds them).
        picture: (h, w, 3) uint8 RGB of the whole object with its top-left pixel at `picture_origin` (x, y), covering at
            least `amodal.box`; None lets the pipeline paint the occluded pixels with the inpainter.
        picture_origin: the place of the picture's first pixel in the image.
        probability: how sure the method is of each pixel; None where it cannot say.
        occluder: what hides the object, if the method finds it.
        score: the method's own quality in [0, 1]; guesses are sorted by it.
    """

    amodal: Mask
    picture: Image | None = None
    picture_origin: tuple[int, int] = (0, 0)
    probability: SoftMask | None = None
    occluder: Mask | None = None
    score: float | None = None


@dataclass(frozen=True)
class Job:
    """One object to complete: its visible mask, its seed, how many samples, and what the user named as occluder.

    Attributes:
        visible: non-empty, inside the frame.
        seed: sample k of this object must depend on (seed, k) and the options alone, never on the rest of the batch.
        samples: number of guesses wanted; a deterministic method may return one.
        occluder: pixels that the user says hide the object; an empty mask says that nothing does; None leaves it open.
    """

    visible: Mask
    seed: int = 0
    samples: int = 1
    occluder: Mask | None = None


@dataclass(frozen=True)
class Sampling:
    """How an inpainter samples; the tuning-free method's options arrive here.

    Attributes:
        steps: network evaluations per picture.
        leak: weights (inside, outside) of the known (noised condition) latent at every step, equation 7 of the
            tuning-free paper: x = W known + (1 - W) model. (0, 1) is ordinary inpainting, where the area is the model's.
        strength: in (0, 1]: the noise level to start from.
        scheduler: a scheduler name the inpainter knows, or "default".
    """

    steps: int = 20
    leak: tuple[float, float] = (0.0, 1.0)
    strength: float = 1.0
    scheduler: str = "default"


@dataclass(frozen=True)
class Context:
    """What the pipeline hands to a method beside the jobs: the other parts it may use, and the progress callback."""

    segmenter: Segmenter | None = None
    inpainter: Inpainter | None = None
    tick: Tick = field(default=no_tick)


class Plugin(ABC):
    """What methods, inpainters and segmenters have in common: a name, a record for `amodal show`, options and a device.

    Importing the module of a plug-in must stay cheap (no torch): heavy imports belong inside its functions.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `amodal list`."""
    Options: ClassVar[type[option_classes.Options]] = option_classes.Options
    paper: ClassVar[str] = ""
    licence: ClassVar[str] = "Apache-2.0"
    """Of code and weights together: the stricter one rules."""
    memory: ClassVar[str] = ""
    """What it takes, in words: "4 GB of GPU memory in fp16"."""
    extra: ClassVar[str] = ""
    """The extra of the package that it needs (`pip install "amodal[extra]"`); empty for the core."""
    weights: ClassVar[tuple[str, ...]] = ()
    """Names in weights.toml."""

    def __init__(self, options: Mapping[str, Any] | option_classes.Options | None = None, device: str = "auto") -> None:
        self.options: Any = build_options(type(self).Options, options)
        self.device = device

    @classmethod
    def needed_weights(cls) -> tuple[str, ...]:
        """Those of `weights` that the default options need; all, unless a plug-in says otherwise."""
        return cls.weights

    def provenance(self) -> dict[str, Any]:
        """JSON-ready: what must be known to make the same object again."""
        return {"name": self.name, "options": self.options.model_dump(mode="json")}


class Segmenter(Plugin):
    """Image and prompt to the visible mask. Stateless after construction, so that threads can share it."""

    def embed(self, image: Image) -> Any:
        """What depends on the image (H, W, 3) uint8 alone; computed once per `Scene`, opaque to everyone else."""
        return image

    @abstractmethod
    def segment(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        """Visible-mask proposals, best first, at least one. Raises PromptError for a prompt it does not understand."""

    def segment_everything(self, image: Image, tick: Tick = no_tick) -> list[Proposal]:
        """The visible masks of all objects of (H, W, 3) uint8 RGB without a prompt, best first; they may overlap.

        Raises:
            PromptError: this segmenter needs a prompt.
        """
        raise PromptError(f"{self.name} finds no objects by itself; use a SAM model (sam, sam2), or give prompts")


class Method(Plugin):
    """Image and visible masks to completions. Stateless after construction, so that threads can share it."""

    needs_inpainter: ClassVar[bool] = False
    """True if `complete` itself drives `context.inpainter` (the pipeline paints for the others)."""

    def embed(self, image: Image) -> Any:
        """What depends on the image alone; computed once per `Scene`. A method without such a part returns the image."""
        return image

    @abstractmethod
    def complete(self, embedded: Any, image: Image, jobs: Sequence[Job], context: Context) -> list[list[Guess]]:
        """For each job its guesses, best first: one to `job.samples`. Batch equals single: jobs do not influence each other."""


class Inpainter(Plugin):
    """Condition picture and area to a picture: the (diffusion) backbone that the tuning-free method drives."""

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
        tick: Tick = no_tick,
    ) -> NDArray[np.float32]:
        """Paint a batch.

        Args:
            conditions: (N, size, size, 3) float32 RGB, nominally [-1, 1] (partly noised pixels may pass it).
            areas: (N, size, size) float32 in [0, 1]; 1 where the picture is to be made, 0 where it is known.
            seeds: one per picture; picture i depends on conditions[i], areas[i], seeds[i] and `sampling` alone.
            sampling: steps, leak, strength, scheduler.
            tick: called once per network evaluation.

        Returns:
            (N, size, size, 3) float32 RGB in [-1, 1].
        """


def frame_of(image: Image) -> Size:
    """The (H, W) of an image."""
    return (int(image.shape[0]), int(image.shape[1]))
