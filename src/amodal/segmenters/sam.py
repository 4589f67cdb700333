"""`sam`, `sam2`, `sam3`: the Segment Anything models through transformers; points, boxes and (SAM 3) words to visible masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..core.errors import PromptError
from ..core.image import Image
from ..core.mask import Mask, Size
from ..core.options import Options
from ..core.prompt import Prompt
from ..plugins.protocols import Progress, Proposal, Segmenter, frame_of, no_progress
from ..runtime.devices import Dtype
from ..weights import catalogue
from .grabcut import clean

if TYPE_CHECKING:
    import torch

__all__ = ["Sam", "Sam2", "Sam3"]

ALIASES = {
    "vit-h": "sam-vit-h",
    "vit-l": "sam-vit-l",
    "vit-b": "sam-vit-b",
    "slim": "sam-slim",
    "tiny": "sam2-tiny",
    "small": "sam2-small",
    "base-plus": "sam2-base-plus",
    "large": "sam2-large",
}
"""Short names of the option `model` to entries of weights.toml."""


class SamOptions(Options):
    """Options of SAM."""

    model: str = Field(
        "vit-h", description="vit-h, vit-l, vit-b, slim; a hub name (owner/name); or a folder of any SAM model"
    )
    dtype: Dtype = Field("auto", description="number format of the image encoder; auto: 16 bits on a GPU")
    multimask: Literal["auto", "always", "never"] = Field(
        "auto",
        description="three answers (part, object, group): auto puts them first for a single click, which is ambiguous, "
        "and after the single answer for several prompts; always: only them; never: only the single answer",
    )
    speck: float = Field(0.02, ge=0, lt=1, description="drop pieces below this share of the largest; 0 keeps all")
    hole: float = Field(0.02, ge=0, lt=1, description="fill holes below this share of the mask; 0 keeps all")
    grid: int = Field(32, ge=1, le=128, description="everything: points a side")
    batch: int = Field(64, ge=1, le=4096, description="everything: points at once")
    quality: float = Field(0.88, ge=0, le=1, description="everything: least predicted IoU")
    stability: float = Field(0.95, ge=0, le=1, description="everything: least IoU between strict and loose threshold")
    overlap: float = Field(0.7, ge=0, le=1, description="everything: masks with a higher IoU are one object")


class Sam2Options(SamOptions):
    """Options of SAM 2.1."""

    model: str = Field(
        "large", description="tiny, small, base-plus, large; a hub name (owner/name); or a folder of any SAM model"
    )


class Sam3Options(SamOptions):
    """Options of SAM 3."""

    model: str = Field("sam3", description="sam3; a hub name (owner/name); or a folder of any SAM model")
    threshold: float = Field(0.5, ge=0, le=1, description="words: least score of what is found")


@dataclass(frozen=True)
class Embedded:
    """A picture, embedded: its size (H, W), and what the two halves of a model made of it."""

    size: Size
    points: Any
    text: Any


class Sam(Segmenter):
    """SAM. The image is embedded once; a prompt then costs one run of the small mask decoder."""

    name: ClassVar[str] = "sam"
    summary: ClassVar[str] = "Segment Anything: clicks and boxes; vit-h, -l, -b, or slim for CPUs"
    license: ClassVar[str] = "Apache-2.0"
    paper: ClassVar[str] = "Kirillov et al.: Segment Anything, ICCV 2023, arXiv 2304.02643"
    memory: ClassVar[str] = (
        "weights: vit-h 2.6 GB in fp32, half of it in 16 bits; vit-b 0.4, slim 0.04; pictures come on top"
    )
    extra: ClassVar[str] = "diffusion"
    weights: ClassVar[tuple[str, ...]] = ("sam-vit-h", "sam-vit-l", "sam-vit-b", "sam-slim")
    Options: ClassVar[type[Options]] = SamOptions

    def __init__(self, options: Mapping[str, Any] | SamOptions | None = None, device: str = "auto") -> None:
        super().__init__(options, device)
        from .networks import load_networks

        model = self.options.model
        folder = catalogue.locate(ALIASES.get(model, model))
        self.networks = load_networks(folder, device, self.options.dtype)

    @classmethod
    def needed_weights(cls) -> tuple[str, ...]:
        """Those of the default `model`: the others are alternatives to it."""
        model = str(cls.Options.model_fields["model"].default)
        return (ALIASES.get(model, model),)

    def embed(self, image: Image) -> Embedded:
        """One run of the image encoder on (H, W, 3) uint8 RGB."""
        return Embedded(frame_of(image), *self.networks.embed(self.networks.preprocess.pixels(image)))

    def segment(self, embedded: Embedded, prompt: Prompt) -> list[Proposal]:
        """Proposals, best first: those that agree with the clicks before those that do not, then by the predicted IoU."""
        return self.segment_many(embedded, [prompt])[0]

    def segment_many(self, embedded: Embedded, prompts: Sequence[Prompt]) -> list[list[Proposal]]:
        """`segment` for many prompts of one picture; those of the same form run as one batch."""
        found: list[list[Proposal]] = [[] for _ in prompts]
        # Prompts with as many points and a box or none share a batch: their arrays have one shape.
        forms: dict[tuple[int, bool], list[int]] = {}
        for index, prompt in enumerate(prompts):
            if prompt.text is not None:
                found[index] = self._named(embedded, prompt)
            else:
                forms.setdefault((len(prompt.points), prompt.box is not None), []).append(index)
        for (count, boxed), places in forms.items():
            self._check_points()
            for multimask in self._passes(single_click=count == 1 and not boxed):
                group = [prompts[index] for index in places]
                logits, scores = self._predict(embedded, group, multimask)
                for index, masks, values in zip(places, logits, scores, strict=True):
                    found[index] += self._proposals(masks, values, prompts[index], embedded.size)
        return found

    def segment_everything(self, image: Image, progress: Progress = no_progress) -> list[Proposal]:
        """All objects that a grid of clicks finds, best first (the paper's appendix on automatic masks, without its crops)."""
        self._check_points()
        return everything(self, self.embed(image), progress)

    def _check_points(self) -> None:
        if self.networks.points is None:
            raise PromptError(
                f"the weights {self.options.model!r} understand words only; give words, or weights with SAM 3's tracker"
            )

    def _passes(self, single_click: bool) -> list[bool]:
        """The values of multimask to run, in the order in which their answers are proposed."""
        choice = self.options.multimask
        if choice == "auto":
            return [True] if single_click else [False, True]
        return [choice == "always"]

    def _predict(
        self, embedded: Embedded, prompts: Sequence[Prompt], multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (P, M, h, w) and scores (P, M) for P prompts of the same form."""
        network = self.networks.points
        assert network is not None
        scale, size = network.preprocess, embedded.size
        points = labels = boxes = None
        if prompts[0].points:
            # points (P, K, 2) and boxes (P, 4) in the network's pixels, labels (P, K).
            points = np.stack([scale.places(prompt.points, size) for prompt in prompts])
            labels = np.array([prompt.labels for prompt in prompts], np.int64)
        if prompts[0].box is not None:
            corners = [np.reshape(prompt.box, (2, 2)) for prompt in prompts if prompt.box is not None]
            boxes = np.stack([scale.places(pair, size).reshape(4) for pair in corners])
        return network.predict(embedded.points, points, labels, boxes, multimask)

    def _proposals(self, logits: torch.Tensor, scores: torch.Tensor, prompt: Prompt, size: Size) -> list[Proposal]:
        """Logits (M, h, w) and scores (M,) of one prompt as full-size masks, best first."""
        # (M, H, W) bool in the photo's pixels.
        full = (self.networks.preprocess.full(logits[None], size)[0] > 0).cpu().numpy()
        made = [
            Proposal(self._cleaned(Mask.from_array(bits), prompt), float(score))
            for bits, score in zip(full, scores.clamp(0, 1).tolist(), strict=True)
        ]
        return sorted(made, key=lambda p: (not p.mask, disagreement(p.mask, prompt), -(p.score or 0.0)))

    def _cleaned(self, mask: Mask, prompt: Prompt) -> Mask:
        if not (self.options.speck or self.options.hole):
            return mask
        keep = [(int(x), int(y)) for (x, y), label in zip(prompt.points, prompt.labels, strict=True) if label]
        return clean(mask, keep, speck=self.options.speck, hole=self.options.hole)

    def _named(self, embedded: Embedded, prompt: Prompt) -> list[Proposal]:
        """What words name; with clicks or a box, those that agree with them first."""
        network = self.networks.text
        if network is None:
            raise PromptError(
                f"{self.name} does not understand words; give a point or a box, or use the segmenter sam3"
            )
        assert prompt.text is not None
        logits, scores = network.find(embedded.text, prompt.text)
        least = getattr(self.options, "threshold", 0.5)
        count = int((scores > least).sum())
        if count == 0:
            raise PromptError(
                f"nothing here is {prompt.text!r} to {self.name}: the best score is {float(scores[0]):.2f}, below {least:g}; "
                "try other words, a click, or a lower threshold (the segmenter's option)"
            )
        return self._proposals(logits[:count], scores[:count], prompt, embedded.size)


class Sam2(Sam):
    """SAM 2.1, its image half."""

    name: ClassVar[str] = "sam2"
    summary: ClassVar[str] = "SAM 2.1: clicks and boxes; tiny, small, base-plus, large"
    paper: ClassVar[str] = "Ravi et al.: SAM 2, arXiv 2408.00714"
    memory: ClassVar[str] = "weights: large 0.9 GB in fp32, half of it in 16 bits; tiny 0.16; pictures come on top"
    weights: ClassVar[tuple[str, ...]] = ("sam2-tiny", "sam2-small", "sam2-base-plus", "sam2-large")
    Options: ClassVar[type[Options]] = Sam2Options


class Sam3(Sam):
    """SAM 3: words through its detector, clicks and boxes through its tracker's prompts; one run of the encoder for both."""

    name: ClassVar[str] = "sam3"
    summary: ClassVar[str] = "SAM 3: words, clicks and boxes"
    paper: ClassVar[str] = "Carion et al.: SAM 3, arXiv 2511.16719"
    license: ClassVar[str] = "SAM License (its own terms; accept them on the hub)"
    memory: ClassVar[str] = "weights: 3.4 GB in fp32, half of it in 16 bits; pictures come on top"
    weights: ClassVar[tuple[str, ...]] = ("sam3",)
    Options: ClassVar[type[Options]] = Sam3Options


def disagreement(mask: Mask, prompt: Prompt) -> float:
    """How far a mask contradicts a prompt: wrong clicks, plus the share of the mask outside of the box if that is most of it."""
    wrong = 0.0
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        wrong += bool(mask.crop((int(x), int(y), int(x) + 1, int(y) + 1))[0, 0]) != bool(label)
    if prompt.box is not None and mask:
        x0, y0, x1, y1 = (int(v) for v in prompt.box)
        inside = np.count_nonzero(mask.crop((x0, y0, max(x0 + 1, x1), max(y0 + 1, y1))))
        wrong += inside < 0.5 * mask.area
    return wrong


OFFSET = 1.0
"""Distance of the strict and the loose threshold from 0, in logits (as in the original program)."""


def everything(sam: Sam, embedded: Embedded, progress: Progress) -> list[Proposal]:
    """Proposals of a grid of clicks, best first. Filters work on the low-resolution masks; only what is left is enlarged."""
    import torch

    options = sam.options
    clicks = grid_points(options.grid, embedded.size)
    kept_masks: list[torch.Tensor] = []
    kept_scores: list[torch.Tensor] = []
    for start in range(0, len(clicks), options.batch):
        progress("point", start, len(clicks))
        group = [Prompt.make(point=click) for click in clicks[start : start + options.batch]]
        logits, scores = sam._predict(embedded, group, multimask=True)
        # (P, 3, h, w) answers of P clicks as (3 P, h, w); `seen` is cut to the part of the square that shows the photo.
        logits, scores = logits.flatten(0, 1), scores.flatten()
        seen = sam.networks.preprocess.seen(logits, embedded.size)
        good = (scores >= options.quality) & (stability(seen) >= options.stability)
        kept_masks.append(logits[good].cpu())
        kept_scores.append(scores[good].cpu())
    progress("point", len(clicks), len(clicks))
    masks, scores = torch.cat(kept_masks), torch.cat(kept_scores)
    if not len(masks):
        return []
    # Of masks that are alike the best stays; only these are enlarged to the photo.
    order = unlike(sam.networks.preprocess.seen(masks, embedded.size) > 0, scores, options.overlap)
    found: list[Proposal] = []
    for index in order:
        found += sam._proposals(masks[index : index + 1], scores[index : index + 1], Prompt(), embedded.size)
    return [proposal for proposal in found if proposal.mask]


def grid_points(side: int, size: tuple[int, int]) -> list[tuple[float, float]]:
    """`side` x `side` points (x, y) in the middles of equal cells of a frame of `size` (H, W), row by row."""
    steps = (np.arange(side) + 0.5) / side
    return [(float(x * size[1]), float(y * size[0])) for y in steps for x in steps]


def stability(logits: torch.Tensor) -> Any:
    """IoU of each mask thresholded strictly and loosely: logits (N, h, w) to (N,); 0 where the loose mask is empty."""
    strict = (logits > OFFSET).flatten(1).sum(1)
    loose = (logits > -OFFSET).flatten(1).sum(1)
    return strict / loose.clamp(min=1)


def unlike(masks: torch.Tensor, scores: torch.Tensor, overlap: float) -> list[int]:
    """Indices of masks (N, h, w), best score first, none of which has an IoU above `overlap` with a better one.

    By the masks' own IoU, not that of their boxes: objects that share a box stay apart.
    """
    import torch

    order = torch.argsort(scores, descending=True, stable=True).tolist()
    # Rows of pixels: a product of rows counts common pixels.
    flat = masks.flatten(1).to(torch.float32)
    areas = flat.sum(1)
    chosen: list[int] = []
    for index in order:
        if chosen:
            both = flat[chosen] @ flat[index]
            if float((both / (areas[chosen] + areas[index] - both).clamp(min=1)).max()) > overlap:
                continue
        chosen.append(index)
    return chosen
