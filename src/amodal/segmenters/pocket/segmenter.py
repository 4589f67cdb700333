"""`pocket`: the embedded segmenter. Clicks or a box to the visible mask; the picture is read once per scene."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ...errors import PromptError
from ...image import Image
from ...mask import Mask
from ...networks.onnx_session import open_session
from ...options import Options
from ...prompt import Prompt
from ...protocols import Proposal, Segmenter
from ...weights import embedded
from ..grabcut import clean
from .views import Decode, Encode, Floats, Scene, answer

__all__ = ["PocketSegmenter", "runners"]

ENCODER, HEAD = "pocket-segmenter-encoder", "pocket-segmenter-head"


class PocketSegmenterOptions(Options):
    """Options of the pocket segmenter."""

    threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a pixel belongs to the object")
    threads: int = Field(0, ge=0, le=64, description="threads of ONNX Runtime; 0 takes one per core")


class PocketSegmenter(Segmenter):
    """A compact interactive network, trained here: an encoder per picture, a light head per prompt. Knows no words."""

    name: ClassVar[str] = "pocket"
    summary: ClassVar[str] = "embedded network for clicks and boxes; no GPU, no download"
    memory: ClassVar[str] = "200 MB of main memory"
    weights: ClassVar[tuple[str, ...]] = (ENCODER, HEAD)
    Options: ClassVar[type[Options]] = PocketSegmenterOptions

    def embed(self, image: Image) -> Any:
        """The picture's features, its whole frame at two sizes; closer views are added as prompts ask for them."""
        return Scene(runners(self.options.threads)[0], image)

    def segment(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        if prompt.text is not None:
            raise PromptError("pocket does not understand words; give a point or a box, or use --segmenter sam3")
        decode = runners(self.options.threads)[1]
        probability = answer(decode, embedded, prompt)
        on = [(int(x), int(y)) for (x, y), label in zip(prompt.points, prompt.labels, strict=True) if label]
        bits = probability > self.options.threshold
        for x, y in on:
            bits[y, x] = True
        if not bits.any():
            bits = probability >= probability.max()
        mask = clean(Mask.from_array(bits), on)
        inside = probability[mask.to_array((bits.shape[0], bits.shape[1]))]
        return [Proposal(mask, float(inside.mean()))]


@cache
def runners(threads: int = 0) -> tuple[Encode, Decode]:
    """Encoder and head as NumPy functions; one session each a process, shared by threads.

    Raises:
        WeightsError: the files are missing from the installation or altered.
    """
    encoder, head = (open_session(str(embedded(name)), threads) for name in (ENCODER, HEAD))

    def encode(x: Floats) -> Floats:
        return np.asarray(encoder.run(None, {"picture": x})[0], np.float32)

    def decode(features: Floats, prompts: Floats) -> Floats:
        return np.asarray(head.run(None, {"features": features, "prompts": prompts})[0], np.float32)

    return encode, decode
