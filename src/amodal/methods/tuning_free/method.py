"""The tuning-free method (arXiv 2503.18947): condition image, inpainting area, leakage conditioning, extraction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.crop import Crop
from ...core.errors import UsageError
from ...core.files import write_bytes
from ...core.image import Image, encode_png
from ...core.mask import Bits, Mask, Size
from ...core.options import OnlyWith, Options
from ...core.scaling import to_bytes
from ...plugins import registry
from ...plugins.protocols import Context, Method, Prediction, Request, Sampling, Segmenter, frame_of
from .area import Area, inpainting_area
from .condition import Background, condition_picture, draw_background
from .extraction import Generated, by_grabcut, by_segmenter, by_threshold

__all__ = ["TuningFree", "TuningFreeOptions"]

SMALLEST_SIDE = 32
"""No window is smaller than this, in image pixels: an object of a few pixels would be blown up to nothing but blur."""
Weight = Annotated[float, Field(ge=0, le=1)]
EMBEDDED = ("grabcut", "pocket")
"""Segmenters that read a generated picture worse than GrabCut does, which knows the ground that was painted."""
CHANCE = 0.2
"""Share of M beyond the visible part that the embedded inpainter draws of objects of which nothing is hidden, half of the time;
chosen on every third development composite (docs/tuning-free.md)."""
BORDER = 2
"""An object within this many pixels of the frame is cut by it."""


class TuningFreeOptions(Options):
    """Options of the tuning-free method; every ablation of the paper is one of them."""

    only_with: ClassVar[OnlyWith] = {
        "bins": ("background", ("histogram",)),
        "blur": ("background", ("histogram", "blur")),
        "dilate": ("area", ("dilated-hull",)),
        "difference": ("extractor", ("auto", "grabcut", "threshold")),
        "context": ("window", ("object",)),
    }
    object_noise: float = Field(0.3, ge=0, le=1, description="s in x_obj = s eps + (1 - s) I; 0 is the clean object")
    background: Background = Field(
        "histogram",
        description="ground of the condition image: colours of the visible object (histogram, mean), or the photo (blur, photo)",
    )
    blur: float = Field(0.02, ge=0, le=0.5, description="Gaussian blur of the ground, as a share of the window's side")
    bins: int = Field(16, ge=1, le=256, description="bins per channel of the joint colour histogram")
    area: Area = Field(
        "hull", description="inpainting area M; hull is the paper's: convex, over all visible parts together"
    )
    dilate: float = Field(
        0.1, ge=0, le=1, description="by how much dilated-hull is wider, as a share of the object's side"
    )
    soft_edge: float = Field(0.0, ge=0, le=0.5, description="width of M's soft edge, as a share of the window's side")
    leak: tuple[Weight, Weight] = Field(
        (0.3, 0.0),
        description="equation 7: weights of the known picture inside and outside M; 0,1 is ordinary inpainting",
    )
    strength: float = Field(
        0.99, gt=0, le=1, description="noise level to start from; exactly 1 makes artefacts with SDXL inpainting"
    )
    steps: int = Field(
        10, ge=1, le=1000, description="sampling steps: more steps pull the picture closer to the known one"
    )
    scheduler: str = Field(
        "default", description="default: the model's own; or ddim, ddpm, dpm++, euler, euler-a, unipc, pndm"
    )
    extractor: str = Field(
        "auto",
        description="auto: the segmenter in use, or GrabCut where that is an embedded one; segmenter; grabcut; threshold; or "
        "the name of a segmenter",
    )
    points: int = Field(9, ge=1, le=64, description="points on the visible part that the segmenter is asked at")
    difference: float = Field(
        12.0,
        gt=0,
        le=200,
        description="grabcut, threshold: colour distance from the ground that makes object, CIELAB units",
    )
    context: float = Field(
        2.0, ge=1, le=10, description="side of the square window, in longer sides of the visible box"
    )
    window: Literal["object", "frame"] = Field(
        "object", description="the square that the inpainter sees: about the object (context), or the whole photo"
    )
    trace: str = Field("", description="a folder for the sampler's pictures after each step; empty: they are not kept")
    least: Weight | None = Field(
        None,
        description="an object whose drawn part fills less than this share of M beyond its visible part counts as whole; none: "
        "0, as in the paper, or 0.2 where extractor=auto takes GrabCut",
    )
    finish: bool = Field(
        True,
        description="the mask is joined with the visible part, without detached pieces and holes, of the proposal that covers the "
        "visible part best; false: what was read off, as in the paper; of a segmenter's proposals the best-scored, our reading",
    )
    beyond: Literal["touching", "always", "never"] = Field(
        "touching", description="where the object may leave the frame: at borders that its visible part touches"
    )


@dataclass(frozen=True)
class Task:
    """One sample of one object on its way to the inpainter."""

    request: Request
    crop: Crop
    photo: Image
    visible: Bits
    background: NDArray[np.float32]
    condition: NDArray[np.float32]
    area: NDArray[np.float32]
    seed: int


class TuningFree(Method):
    """Inpainting models draw objects without occlusions: the visible part goes in, the whole object comes out."""

    name: ClassVar[str] = "tuning-free"
    summary: ClassVar[str] = (
        "an inpainting diffusion model completes the object, a segmenter reads the mask; no training"
    )
    license: ClassVar[str] = "Apache-2.0"
    paper: ClassVar[str] = "Lee, Benes, Yeh: Tuning-Free Amodal Segmentation, AAAI 2026 (arXiv 2503.18947)"
    Options: ClassVar[type[Options]] = TuningFreeOptions
    memory: ClassVar[str] = "that of the inpainter and the segmenter"
    needs_inpainter: ClassVar[bool] = True

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self._lock = threading.Lock()
        self._own: Segmenter | None = None

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        if context.inpainter is None:
            raise UsageError("the tuning-free method needs an inpainter; see: amodal list inpainters")
        self.segmenter(context)  # one that cannot be had is told before the drawing
        # 1. Condition x_obj and area M of every sample of every object: (N, S, S, 3) and (N, S, S).
        size = context.inpainter.size
        tasks = [
            self.prepare(image, request, number, size) for request in requests for number in range(request.samples)
        ]
        o = self.options
        # 2. One batch of drawings.
        painted = context.inpainter.paint(
            np.stack([task.condition for task in tasks]),
            np.stack([task.area for task in tasks]),
            [task.seed for task in tasks],
            Sampling(o.steps, o.leak, o.strength, o.scheduler, keep_steps(Path(o.trace)) if o.trace else None),
            context.progress,
        )
        found = []
        for done, (task, picture) in enumerate(zip(tasks, painted, strict=True), 1):
            # 3. The object in each drawing.
            found.append(self.extract(image, task, to_bytes(picture), context))
            context.progress("mask", done, len(tasks))
        # 4. Samples back to their objects, the surest first.
        predictions, first = [], 0
        for request in requests:
            own = found[first : first + request.samples]
            predictions.append(sorted(own, key=lambda prediction: -(prediction.score or 0)))
            first += request.samples
        return predictions

    def prepare(self, image: Image, request: Request, number: int, size: int) -> Task:
        """Window, condition image and area of sample `number` of an object; depends on its seed alone.

        Args:
            image: (H, W, 3) uint8 RGB.
            request: the object.
            number: of the sample.
            size: side of the inpainter's pictures.
        """
        o = self.options
        seed = (request.seed * 1_000_003 + number) % 2**63
        rng = np.random.default_rng(seed)
        # The window at the inpainter's size S; a visible part thinner than a pixel there keeps what it covers.
        crop = frame_window(frame_of(image), size) if o.window == "frame" else window(request.visible, o.context, size)
        picture, cover = crop.image(image, "edge"), crop.mask(request.visible)
        visible = cover > 0.5 if (cover > 0.5).any() else cover > 0
        background = draw_background(picture, visible, o.background, rng, blur=o.blur, bins=o.bins)
        condition = condition_picture(picture, visible, background, o.object_noise, rng)
        area = inpainting_area(visible, o.area, dilate=o.dilate, soft_edge=o.soft_edge)
        return Task(request, crop, picture, visible, background, condition, area, seed)

    def extract(self, image: Image, task: Task, picture: Image, context: Context) -> Prediction:
        """The amodal mask in a generated picture (S, S, 3) uint8, back in the image."""
        o = self.options
        made = Generated(picture, task.photo, to_bytes(task.background), task.visible, not o.finish)
        segmenter = self.segmenter(context)
        score: float | None
        if segmenter is not None:
            bits, score = by_segmenter(made, segmenter, o.points)
        elif o.extractor == "threshold":
            bits, score = by_threshold(made, o.difference)
        else:
            bits, score = by_grabcut(made, o.difference)
        least = o.least
        if least is None:
            least = CHANCE if segmenter is None and o.extractor == "auto" else 0.0
        # Too little drawn beyond the visible part is taken for chance: the object counts as whole.
        free = ~task.visible
        whole = (bits & free).sum() < least * ((task.area > 0.5) & free).sum()
        # From (S, S) to image pixels; the visible mask joins there, to the pixel.
        found = task.crop.mask_back(bits.astype(np.float32))
        allowed = Mask.from_box(self.room(image, task))
        amodal = (found & allowed) | task.request.visible if o.finish else found & allowed
        if whole:
            amodal = task.request.visible
        return Prediction(amodal, task.crop.image_back(picture), task.crop.origin, score=score)

    def segmenter(self, context: Context) -> Segmenter | None:
        """The segmenter that reads the mask, or None for GrabCut and threshold."""
        kind = self.options.extractor
        if kind in ("grabcut", "threshold"):
            return None
        if kind == "auto":
            given = context.segmenter
            return None if given is None or given.name in EMBEDDED else given
        if kind == "segmenter":
            if context.segmenter is None:
                raise UsageError("extractor=segmenter needs a segmenter; choose one, or set extractor=grabcut")
            return context.segmenter
        with self._lock:
            if self._own is None:
                self._own = registry.create_segmenter(kind, device=self.device)
            return self._own

    def room(self, image: Image, task: Task) -> tuple[int, int, int, int]:
        """Where the object may be: the frame, and beyond it on the sides that `beyond` allows, within the window."""
        height, width = frame_of(image)
        x0, y0, x1, y1 = task.request.visible.box
        left, top, right, bottom = task.crop.box
        how = self.options.beyond
        # Left, top, right, bottom: whether the frame cuts the visible part there.
        cut = (x0 <= BORDER, y0 <= BORDER, x1 >= width - BORDER, y1 >= height - BORDER)
        free = [how == "always" or (how == "touching" and side) for side in cut]
        return (
            left if free[0] else max(0, left),
            top if free[1] else max(0, top),
            right if free[2] else min(width, right),
            bottom if free[3] else min(height, bottom),
        )


def window(visible: Mask, context: float, size: int) -> Crop:
    """The square about the visible mask's box with a side of `context` longer sides; it may pass the frame."""
    x0, y0, x1, y1 = visible.box
    side = max(SMALLEST_SIDE, round(context * max(x1 - x0, y1 - y0)))
    return Crop(((x0 + x1 - side) // 2, (y0 + y1 - side) // 2), side, size)


def frame_window(frame: Size, size: int) -> Crop:
    """The square about the whole photo (H, W)."""
    height, width = frame
    side = max(height, width)
    return Crop(((width - side) // 2, (height - side) // 2), side, size)


def keep_steps(folder: Path) -> Callable[[Sequence[int], int, NDArray[np.float32]], None]:
    """A `Sampling.watch` that writes each picture after each step: `SEED-STEP.png`, such as `0-03.png`."""

    def watch(seeds: Sequence[int], step: int, pictures: NDArray[np.float32]) -> None:
        for seed, picture in zip(seeds, pictures, strict=True):
            write_bytes(folder / f"{seed}-{step:02d}.png", encode_png(to_bytes(picture)))

    return watch
