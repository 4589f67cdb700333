"""`Model` and `Scene`: prompt to visible mask to whole object. Here, and only here, the promises are sealed.

Whatever a method returns: visible is inside amodal; visible pixels come back byte for byte; alpha is the amodal mask; what the
user said of the occluder holds; the same seed gives the same answer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import registry
from .completion import Alternative, Completion, Picture
from .drawing import canvas, lay
from .errors import AmodalError, MaskError, PromptError
from .image import Image, check_image
from .mask import Mask, SoftMask, bounding_box
from .painting import paint_occluded
from .prompt import Prompt
from .protocols import Context, Guess, Inpainter, Job, Method, Proposal, Segmenter, Tick, frame_of, no_tick

__all__ = ["Model", "Scene", "load"]


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
        method: a name of `amodal list methods`.
        inpainter: a name of `amodal list inpainters`, a hub name or a folder; it drives the tuning-free method and paints the
            occluded pixels for methods that give only a mask. Default: `registry.default_inpainter`.
        segmenter: a name of `amodal list segmenters`, a hub name or a folder.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        options: options of the method, as in `amodal show METHOD`.
        inpainter_options: options of the inpainter.
        segmenter_options: options of the segmenter.

    Raises:
        UnknownNameError, OptionError, WeightsError, MissingExtraError.
    """
    method = method or registry.DEFAULTS["methods"]
    inpainter = inpainter or registry.default_inpainter(method)
    return Model(
        registry.create_method(method, options, device),
        registry.create_segmenter(segmenter or registry.DEFAULTS["segmenters"], segmenter_options, device),
        registry.create_inpainter(inpainter, inpainter_options, device),
    )


class Model:
    """A method with the segmenter that reads the prompt and the inpainter that paints. Holds no image; threads may share it."""

    def __init__(self, method: Method, segmenter: Segmenter, inpainter: Inpainter) -> None:
        self.method = method
        self.segmenter = segmenter
        self.inpainter = inpainter

    def __call__(self, image: Image, **prompt_and_settings: Any) -> Completion:
        """The whole object at the prompt: `model(image, point=(320, 210))`. Same arguments as `Scene.complete`."""
        return self.open(image).complete(**prompt_and_settings)

    def open(self, image: Image) -> Scene:
        """The image to prompt many times; what depends on it alone is computed once.

        Args:
            image: (H, W, 3) uint8 RGB; see `amodal.read`.

        Raises:
            ImageError: not such an array.
        """
        return Scene(self, check_image(image))

    def provenance(self) -> dict[str, Any]:
        """JSON-ready: names and options of the three parts, and the versions that matter."""
        return {
            "method": self.method.provenance(),
            "segmenter": self.segmenter.provenance(),
            "inpainter": self.inpainter.provenance(),
        }


class Scene:
    """One image, opened: prompts are cheap. Immutable for its users; safe to share between threads."""

    def __init__(self, model: Model, image: Image) -> None:
        self.model = model
        self.image = image
        self._locks = {"segmenter": threading.Lock(), "method": threading.Lock()}
        self._embedded: dict[str, Any] = {}

    def segment(
        self,
        *,
        point: Sequence[float] | None = None,
        points: Sequence[Sequence[float]] | None = None,
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
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
            mask: the visible mask, a `Mask` or (H, W) bool.
            text: words, for segmenters that understand them.
            prompt: all of this as one `Prompt`.

        Raises:
            PromptError: outside of the image, malformed, or nothing found there.
        """
        if prompt is None:
            prompt = Prompt.make(point=point, points=points, labels=labels, box=box, mask=mask, text=text)
        prompt.check(frame_of(self.image))
        if prompt.mask is not None:
            return [Proposal(prompt.mask.clip(frame_of(self.image)), 1.0)]
        proposals = self.model.segmenter.segment(self._embed("segmenter"), prompt)
        clipped = [Proposal(p.mask.clip(frame_of(self.image)), p.score) for p in proposals]
        found = [proposal for proposal in clipped if proposal.mask]
        if not found:
            raise PromptError(
                f"{self.model.segmenter.name} finds no object at this prompt; try another point, a box or a mask"
            )
        return found

    def complete(
        self,
        *,
        samples: int = 1,
        seed: int = 0,
        occluder: Mask | None = None,
        tick: Tick = no_tick,
        prompt: Prompt | None = None,
        **prompt_parts: Any,
    ) -> Completion:
        """The whole object at a prompt.

        Args:
            samples: how many guesses to draw; the amodal mask is their majority vote, `probability` their agreement.
            seed: same seed, same answer (on CPU byte for byte).
            occluder: pixels that hide the object: the mask grows nowhere else within the frame. An empty mask says that
                nothing hides it. None leaves it to the method.
            tick: `tick(what, done, total)`; raise `Cancelled` in it to stop within a step.
            prompt: as one `Prompt`; or its parts `point`, `points`, `labels`, `box`, `mask`, `text` as in `segment`.
        """
        if prompt is None:
            prompt = Prompt.make(**prompt_parts)
        return self.complete_all([prompt], samples=samples, seeds=[seed], occluders=[occluder], tick=tick)[0]

    def complete_all(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        occluders: Sequence[Mask | None] | None = None,
        paint: bool = True,
        tick: Tick = no_tick,
    ) -> list[Completion]:
        """Several objects of the image as one batch: one completion per prompt, equal to completing each alone.

        Args:
            prompts: one per object.
            samples: guesses per object.
            seeds: one per object; 0 for all by default.
            occluders: one per object, as in `complete`.
            paint: False leaves occluded pixels black where the method gives no picture: quicker if only masks are wanted.
            tick: as in `complete`.
        """
        if samples < 1:
            raise PromptError(f"samples must be at least 1, got {samples}")
        seeds = list(seeds) if seeds is not None else [0] * len(prompts)
        occluders = list(occluders) if occluders is not None else [None] * len(prompts)
        proposals = [self.segment(prompt=prompt)[0] for prompt in prompts]
        jobs = [
            Job(proposal.mask, seed, samples, occluder)
            for proposal, seed, occluder in zip(proposals, seeds, occluders, strict=True)
        ]
        context = Context(self.model.segmenter, self.model.inpainter, tick)
        answers = self.model.method.complete(self._embed("method"), self.image, jobs, context)
        if len(answers) != len(jobs) or not all(answers):
            raise AmodalError(
                f"method {self.model.method.name!r} returned no guess for some object; this is a bug in it"
            )
        shapes = [
            [seal_mask(guess, job, self.image) for guess in guesses] for guesses, job in zip(answers, jobs, strict=True)
        ]
        pictures = self._pictures(answers, shapes, jobs, tick if paint else None)
        results = []
        for index, job in enumerate(jobs):
            made = assemble(self.image, job, answers[index], shapes[index], pictures[index])
            provenance = self._provenance(prompts[index], job, proposals[index])
            results.append(Completion(self.image, job.visible, *made, provenance=provenance))
        return results

    def repaint(self, visible: Mask, amodal: Mask, *, seed: int = 0, tick: Tick = no_tick) -> Completion:
        """The pixels of a whole object whose masks are known, for instance corrected by hand: the method is not asked.

        Args:
            visible: the part that can be seen; what of it lies outside of the frame is cut off.
            amodal: the whole object; the visible part is added to it.
            seed: as in `complete`.
            tick: as in `complete`.

        Raises:
            PromptError: the visible mask has no pixel inside the image.
        """
        prompt = Prompt.make(mask=visible)
        (proposal,) = self.segment(prompt=prompt)
        job = Job(proposal.mask, seed)
        whole = amodal | job.visible
        (pictures,) = self._pictures([[Guess(whole)]], [[whole]], [job], tick)
        made = assemble(self.image, job, [Guess(whole)], [whole], pictures)
        provenance = {**self._provenance(prompt, job, proposal), "repainted": whole.to_dict()}
        return Completion(self.image, job.visible, *made, provenance=provenance)

    def _embed(self, part: str) -> Any:
        with self._locks[part]:
            if part not in self._embedded:
                owner = self.model.segmenter if part == "segmenter" else self.model.method
                image = self.image.copy()
                image.setflags(write=False)
                self._embedded[part] = owner.embed(image)
            return self._embedded[part]

    def _pictures(
        self, answers: list[list[Guess]], shapes: list[list[Mask]], jobs: list[Job], tick: Tick | None
    ) -> list[list[Image]]:
        """RGB on each shape's box: the method's own picture, or painted by the inpainter in one batch (black without `tick`)."""
        out: list[list[Image]] = []
        todo: list[tuple[int, int]] = []
        for index, guesses in enumerate(answers):
            row = []
            for number, (guess, shape) in enumerate(zip(guesses, shapes[index], strict=True)):
                picture = None if guess.picture is None else _reframe(guess.picture, guess.picture_origin, shape)
                if picture is None:
                    todo.append((index, number))
                    picture = np.zeros((*shape.bits.shape, 3), np.uint8)
                row.append(picture)
            out.append(row)
        if todo and tick is not None:
            pairs = [(jobs[i].visible, shapes[i][k]) for i, k in todo]
            seeds = [jobs[i].seed * 1_000_003 + k for i, k in todo]
            painted = paint_occluded(self.image, pairs, self.model.inpainter, seeds, tick=tick)
            for (i, k), picture in zip(todo, painted, strict=True):
                out[i][k] = picture
        return out

    def _provenance(self, prompt: Prompt, job: Job, proposal: Proposal) -> dict[str, Any]:
        from . import __version__

        return {
            "amodal": __version__,
            **self.model.provenance(),
            "prompt": prompt.to_dict(),
            "visible_score": proposal.score,
            "occluder": None if job.occluder is None else job.occluder.to_dict(),
            "samples": job.samples,
            "seed": job.seed,
        }


def seal_mask(guess: Guess, job: Job, image: Image) -> Mask:
    """The guess's mask with the promises: the visible mask inside; growth only where the user allows it."""
    amodal = guess.amodal
    if job.occluder is not None:
        frame = Mask.from_box((0, 0, image.shape[1], image.shape[0]))
        beyond = amodal - frame if job.occluder else Mask.from_array(np.zeros((1, 1), bool))
        amodal = (amodal & job.occluder) | beyond
    return amodal | job.visible


def assemble(
    image: Image, job: Job, guesses: list[Guess], shapes: list[Mask], pictures: list[Image]
) -> tuple[Mask, Picture, SoftMask, tuple[Alternative, ...], Mask | None, float | None]:
    """Samples to one completion: majority vote, agreement, and the cut-out whose every pixel comes from a sample that has it.

    Returns:
        amodal, rgba, probability, samples, occluder, score, in the order of `Completion`.
    """
    samples = tuple(
        Alternative(shape, seal_picture(image, job.visible, shape, picture), guess.score)
        for guess, shape, picture in zip(guesses, shapes, pictures, strict=True)
    )
    box = bounding_box(shape.box for shape in shapes)
    agreement = np.stack([shape.crop(box) for shape in shapes]).astype(np.float32).mean(axis=0)
    amodal = Mask.from_array(agreement >= 0.5, box[:2]) | job.visible
    soft = [guess.probability for guess in guesses if guess.probability is not None]
    if soft:
        wide = bounding_box([box, *(part.box for part in soft)])
        values = np.stack([part.crop(wide) for part in soft]).mean(axis=0)
        values[job.visible.crop(wide)] = 1.0
        probability = SoftMask(values, wide[:2])
    else:
        probability = SoftMask(agreement, box[:2])
    order = sorted(range(len(shapes)), key=lambda k: -shapes[k].iou(amodal))
    rgb = np.zeros((*amodal.bits.shape, 3), np.uint8)
    left = amodal.bits.copy()
    for k in order:
        take = left & shapes[k].crop(amodal.box)
        lay(_reframe_any(pictures[k], shapes[k].origin, amodal), take, rgb)
        left &= ~take
    occluder = job.occluder if job.occluder is not None else guesses[order[0]].occluder
    return (
        amodal,
        seal_picture(image, job.visible, amodal, rgb),
        probability,
        samples,
        occluder,
        guesses[order[0]].score,
    )


def seal_picture(image: Image, visible: Mask, amodal: Mask, picture: Image) -> Picture:
    """RGBA (h, w, 4) on `amodal.box`: the photo's bytes where visible, the picture where occluded, alpha the amodal mask."""
    rgb = np.array(picture, np.uint8, order="C")
    lay(canvas(image, amodal.box, 0), visible.crop(amodal.box), rgb)
    solid = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    rgba = np.zeros_like(solid)
    lay(solid, amodal.bits, rgba)
    return rgba


def _reframe(picture: Image, origin: tuple[int, int], shape: Mask) -> Image | None:
    """The method's picture on `shape.box`, or None if it does not cover it (then the inpainter paints)."""
    check = np.asarray(picture)
    if check.ndim != 3 or check.shape[2] != 3 or check.dtype != np.uint8:
        raise MaskError(f"a guess's picture must be (h, w, 3) uint8 RGB, got {check.shape} {check.dtype}")
    x0, y0, x1, y1 = shape.box
    left, top = x0 - origin[0], y0 - origin[1]
    if left < 0 or top < 0 or left + x1 - x0 > check.shape[1] or top + y1 - y0 > check.shape[0]:
        return None
    return check[top : top + y1 - y0, left : left + x1 - x0]


def _reframe_any(picture: Image, origin: tuple[int, int], shape: Mask) -> Image:
    x0, y0, x1, y1 = shape.box
    return canvas(picture, (x0 - origin[0], y0 - origin[1], x1 - origin[0], y1 - origin[1]), 0)
