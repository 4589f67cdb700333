"""`Asking` and `Opening`: how a user asks a photo for its objects, here or on a service elsewhere: the same calls, spelled out once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from ..core.completion import Completion
from ..core.prompt import Prompt
from ..plugins.protocols import Progress, Proposal, no_progress

__all__ = ["Asking", "Opening"]


class Asking(ABC):
    """One opened photo: prompts in, visible masks and completions out."""

    def segment(
        self,
        *,
        point: ArrayLike | None = None,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: Any = None,
        text: str | None = None,
        prompt: Prompt | None = None,
    ) -> list[Proposal]:
        """Visible-mask proposals for a prompt, best first; a mask prompt is its own answer.

        Args:
            point: one click (x, y) on the object.
            points: clicks (x, y).
            labels: one per point: 1 on the object, 0 not on it.
            box: (x0, y0, x1, y1) around the visible object.
            mask: the visible mask: a `Mask`, an array, tensor or list (H, W), a PIL image or the path of a mask picture.
            text: words, for segmenters that understand them.
            prompt: all of this as one `Prompt`.

        Raises:
            PromptError: outside of the image, malformed, nothing found there, or a mask with clicks or a box beside it.
        """
        made = Prompt.make(point=point, points=points, labels=labels, box=box, mask=mask, text=text, prompt=prompt)
        return self._visible(made)

    def complete(
        self,
        *,
        point: ArrayLike | None = None,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: Any = None,
        text: str | None = None,
        prompt: Prompt | None = None,
        occluder: Any = None,
        samples: int = 1,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> Completion:
        """The whole object at a prompt.

        Args:
            point: the prompt, as in `segment`, like `points`, `labels`, `box`, `mask`, `text` and `prompt`.
            occluder: pixels that hide the object, given as `mask` is: the mask grows nowhere else within the frame. An
                empty mask says that nothing hides it. None leaves it to the method.
            samples: how many predictions to draw; the amodal mask is their majority vote, `probability` their agreement.
            seed: same seed, same answer (on CPU byte for byte).
            progress: `progress(what, done, total)`; raise `Cancelled` in it to stop within a step.

        Raises:
            PromptError, MaskError, and what the method raises.
        """
        made = Prompt.make(point=point, points=points, labels=labels, box=box, mask=mask, text=text, prompt=prompt)
        return self.complete_all([made], samples=samples, seeds=[seed], occluders=[occluder], progress=progress)[0]

    @abstractmethod
    def complete_all(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        occluders: Sequence[Any] | None = None,
        progress: Progress = no_progress,
    ) -> list[Completion]:
        """Several objects of the photo: one completion per prompt, equal to completing each alone.

        Args:
            prompts: one per object.
            samples: predictions per object.
            seeds: one per object; 0 for all by default.
            occluders: one per object, as in `complete`.
            progress: as in `complete`.
        """

    @abstractmethod
    def _visible(self, prompt: Prompt) -> list[Proposal]: ...


class Opening(ABC):
    """What opens photos."""

    def __call__(
        self,
        image: Any,
        *,
        point: ArrayLike | None = None,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: Any = None,
        text: str | None = None,
        prompt: Prompt | None = None,
        occluder: Any = None,
        samples: int = 1,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> Completion:
        """The whole object at the prompt: `model("photo.jpg", point=(350, 70))`.

        Args:
            image: as in `open`.
            point: the prompt, and the rest: as in `Scene.complete`.
        """
        made = Prompt.make(point=point, points=points, labels=labels, box=box, mask=mask, text=text, prompt=prompt)
        scene = self.open(image)
        return scene.complete(prompt=made, occluder=occluder, samples=samples, seed=seed, progress=progress)

    @abstractmethod
    def open(self, image: Any) -> Asking:
        """The photo, to prompt many times.

        Args:
            image: a path, a file's bytes, an open binary file, a PIL image, an array (H, W, 3) uint8 RGB or a torch tensor of
                that kind.

        Raises:
            ImageError: none of these, or a file that cannot be read.
        """
