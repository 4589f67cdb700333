"""`Scene`: one opened photograph; prompt to visible mask to whole object. What a method returns is sealed in `seal.py`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.completion import Completion
from ..core.errors import AmodalError, PromptError
from ..core.image import Image, as_mask
from ..core.mask import Mask, Size
from ..core.prompt import MAX_LISTED, MAX_SAMPLES, Prompt, each_of, one_each, prompts_of, seed_of, whole_number
from ..core.scaling import Levels
from ..plugins.protocols import Context, Prediction, Progress, Proposal, Request, frame_of, no_progress, progress_of
from .asking import Asking
from .painting import paint_occluded
from .seal import assemble, digest, frozen, provenance, reframe, seal_mask

if TYPE_CHECKING:
    from .layers import Layers
    from .model import Model
    from .order import Order

__all__ = ["Scene"]


class Scene(Asking):
    """One image, opened: prompts are cheap. Immutable; safe to share between threads.

    Attributes:
        model: what opened it.
        image: the scene's own copy of the photo, (H, W, 3) uint8 RGB, which nobody can write to.
    """

    def __init__(self, model: Model, image: Image, file: str | None = None) -> None:
        self.model = model
        self.image = frozen(image)
        self._file = file
        self._locks = {"segmenter": threading.Lock(), "method": threading.Lock()}
        self._embedded: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Scene({self.size[1]} x {self.size[0]}, {self.model!r})"

    @property
    def size(self) -> Size:
        """(H, W) of the photo."""
        return frame_of(self.image)

    def propose(
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
        """Up to three visible masks to choose from, best first: a click may mean a part, an object or a group.

        Arguments and errors as in `segment`.
        """
        made = Prompt.make(point=point, points=points, labels=labels, box=box, mask=mask, text=text, prompt=prompt)
        return self._ask(self.model.segmenter.propose, made)

    def glance(self, point: ArrayLike) -> Proposal | None:
        """What a click (x, y) would mark, roughly and at once: a preview. None where the segmenter has no shorter way than `segment`.

        Raises:
            PromptError: as in `segment`.
        """
        made = Prompt.make(point=point)
        made.check(self.size)
        found = self.model.segmenter.glance(self._embed("segmenter"), made)
        return None if found is None else Proposal(found.mask.clip(self.size), found.score)

    def complete_all(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        occluders: Sequence[Any] | None = None,
        categories: Sequence[int | None] | None = None,
        paint: bool = True,
        progress: Progress = no_progress,
    ) -> list[Completion]:
        """Several objects of the image as one batch: one completion per prompt, equal to completing each alone.

        Args:
            prompts: one per object.
            samples: predictions per object.
            seeds: one per object; 0 for all by default.
            occluders: one per object, as in `complete`.
            categories: one per object, see `Request.category`.
            paint: False leaves occluded pixels black where the method gives no picture: quicker if only masks are wanted.
            progress: as in `complete`.
        """
        prompts, progress = prompts_of(prompts), progress_of(progress)
        count = len(prompts)
        samples = whole_number(samples, "samples", 1, MAX_SAMPLES)
        seeds = [seed_of(seed) for seed in one_each([0] * count if seeds is None else seeds, count, "seeds")]
        occluded_by = one_each([None] * count if occluders is None else occluders, count, "occluders")
        hiding = [self._mask(each, "occluder") for each in occluded_by]
        classes = one_each([None] * count if categories is None else categories, count, "categories")
        proposals = [self.segment(prompt=prompt)[0] for prompt in prompts]
        requests = [
            Request(proposal.mask, seed, samples, occluder, category)
            for proposal, seed, occluder, category in zip(proposals, seeds, hiding, classes, strict=True)
        ]
        answers = self.predict(requests, progress=progress)
        shapes = [
            [seal_mask(prediction, request, self.size) for prediction in predictions]
            for predictions, request in zip(answers, requests, strict=True)
        ]
        pictures = self._pictures(answers, shapes, requests, progress if paint else None)
        results = []
        for index, request in enumerate(requests):
            record = self._provenance(prompts[index], request, proposals[index])
            results.append(assemble(self.image, request, answers[index], shapes[index], pictures[index], record))
        return results

    def predict(self, requests: Sequence[Request], *, progress: Progress = no_progress) -> list[list[Prediction]]:
        """What the method itself answers, before any promise is sealed: for measuring a method as its paper does.

        Args:
            requests: the objects.
            progress: as in `complete`.

        Returns:
            for each request its predictions, best first.
        """
        requests = each_of(requests, Request, "requests")
        context = Context(self.model.segmenter, self.model.inpainter, progress_of(progress))
        answers = self.model.method.complete(self._embed("method"), self.image, requests, context)
        if len(answers) != len(requests) or not all(answers):
            raise AmodalError(
                f"method {self.model.method.name!r} returned no prediction for some object; this is a bug in it"
            )
        return answers

    def repaint(self, visible: Any, amodal: Any, *, seed: int = 0, progress: Progress = no_progress) -> Completion:
        """The pixels of a whole object whose masks are known, for instance corrected by hand: the method is not asked.

        Args:
            visible: the part that can be seen; what of it lies outside of the frame is cut off.
            amodal: the whole object; the visible part is added to it.
            seed: as in `complete`.
            progress: as in `complete`.

        Raises:
            PromptError: the visible mask has no pixel inside the image.
        """
        progress = progress_of(progress)
        prompt = Prompt.make(mask=as_mask(visible, self.size, "visible mask"))
        (proposal,) = self.segment(prompt=prompt)
        request = Request(proposal.mask, seed_of(seed))
        mask = as_mask(amodal, self.size, "amodal mask") | request.visible
        (pictures,) = self._pictures([[Prediction(mask)]], [[mask]], [request], progress)
        record = {**self._provenance(prompt, request, proposal), "repainted": mask.to_dict()}
        return assemble(self.image, request, [Prediction(mask)], [mask], pictures, record)

    def objects(self, *, largest: int | None = None, progress: Progress = no_progress) -> list[Proposal]:
        """The visible masks of all objects that the segmenter finds by itself, largest first; see `find_objects`.

        Args:
            largest: at most so many.
            progress: as in `complete`.
        """
        from .objects import find_objects

        most = None if largest is None else whole_number(largest, "largest", 1, MAX_LISTED)
        return find_objects(self, progress=progress_of(progress))[:most]

    def order(self, objects: Sequence[Any], *, seed: int = 0, progress: Progress = no_progress) -> Order:
        """Who hides whom: the (N, N) int8 order of visible masks, by how far each one's completion reaches under the others.

        Args:
            objects: visible masks, or the `Proposal`s of `objects`.
            seed: as in `complete`.
            progress: as in `complete`.

        Returns:
            `order[i, j]` is 1 where object i lies in front of object j, -1 where it lies behind, 0 where neither hides the other.
        """
        from .order import order_from_masks

        if not isinstance(objects, Sequence):
            raise PromptError(f"objects are a list of visible masks, got {type(objects).__name__}")
        masks = [as_mask(each.mask if isinstance(each, Proposal) else each, self.size) for each in objects]
        prompts = [Prompt.make(mask=mask) for mask in masks]
        done = self.complete_all(prompts, seeds=[seed] * len(prompts), paint=False, progress=progress)
        return order_from_masks([each.visible for each in done], [each.amodal for each in done])

    def layers(
        self,
        prompts: Sequence[Prompt] | None = None,
        *,
        names: Sequence[str] | None = None,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> Layers:
        """The scene taken apart: every object complete, from back to front, over the photo restored behind them.

        Args:
            prompts: one per object; None takes what `objects` finds.
            names: one per prompt, for instance categories: the names of the layers.
            seed: as in `complete`.
            progress: as in `complete`.

        Raises:
            PromptError: no object is found, or as in `take_apart`.
        """
        from .layers import take_apart

        return take_apart(self, prompts, names=names, seed=seed, progress=progress_of(progress))

    @cached_property
    def levels(self) -> Levels:
        """The photo and its halves."""
        return Levels.of(self.image)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the photo's pixels: the same picture in another file format has the same."""
        return digest(self.image)

    def _visible(self, prompt: Prompt) -> list[Proposal]:
        return self._ask(self.model.segmenter.segment, prompt)

    def _mask(self, value: Any, what: str) -> Mask | None:
        return None if value is None else as_mask(value, self.size, what)

    def _ask(self, answers: Callable[[Any, Prompt], list[Proposal]], prompt: Prompt) -> list[Proposal]:
        """What a segmenter answers, cut to the frame, without empty masks."""
        prompt.check(self.size)
        if prompt.mask is not None:
            return [Proposal(prompt.mask.clip(self.size), 1.0)]
        clipped = [Proposal(p.mask.clip(self.size), p.score) for p in answers(self._embed("segmenter"), prompt)]
        found = [proposal for proposal in clipped if proposal.mask]
        if not found:
            raise PromptError(
                f"{self.model.segmenter.name} finds no object at this prompt; try another point, a box or a mask"
            )
        return found

    def _embed(self, part: str) -> Any:
        with self._locks[part]:
            if part not in self._embedded:
                owner = self.model.segmenter if part == "segmenter" else self.model.method
                self._embedded[part] = owner.embed(self.image)
            return self._embedded[part]

    def _pictures(
        self,
        answers: list[list[Prediction]],
        shapes: list[list[Mask]],
        requests: list[Request],
        progress: Progress | None,
    ) -> list[list[Image]]:
        """RGB on each shape's box: the method's own picture, or painted by the inpainter in one batch (black without `progress`)."""
        out: list[list[Image]] = []
        todo: list[tuple[int, int]] = []
        for index, predictions in enumerate(answers):
            row = []
            for number, (prediction, shape) in enumerate(zip(predictions, shapes[index], strict=True)):
                picture = (
                    None
                    if prediction.picture is None
                    else reframe(prediction.picture, prediction.picture_origin, shape)
                )
                if picture is None:
                    todo.append((index, number))
                    picture = np.zeros((*shape.bits.shape, 3), np.uint8)
                row.append(picture)
            out.append(row)
        if todo and progress is not None:
            pairs = [(requests[i].visible, shapes[i][k]) for i, k in todo]
            seeds = [requests[i].seed * 1_000_003 + k for i, k in todo]
            painted = paint_occluded(self.levels, pairs, self.model.painter, seeds, progress=progress)
            for (i, k), picture in zip(todo, painted, strict=True):
                out[i][k] = picture
        return out

    def _provenance(self, prompt: Prompt, request: Request, proposal: Proposal) -> dict[str, Any]:
        parts = (self.model.method, self.model.segmenter, self.model.inpainter)
        return {
            "image": {**({"file": self._file} if self._file else {}), "sha256_pixels": self.digest},
            **provenance(*parts),
            "prompt": prompt.to_dict(),
            "visible_score": proposal.score,
            "occluder": None if request.occluder is None else request.occluder.to_dict(),
            "samples": request.samples,
            "seed": request.seed,
        }
