"""`pocket`: the embedded segmenter. Clicks or a box to the visible mask; the picture is read once per scene."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ...core.errors import PromptError
from ...core.image import Image
from ...core.options import Options
from ...core.prompt import Prompt
from ...networks import image_encoder
from ...networks.image_encoder import LEVELS
from ...networks.onnx_session import open_session
from ...plugins.protocols import Progress, Proposal, Segmenter, no_progress
from ...weights.catalogue import embedded
from .everything import everything
from .scene import Scene, answers, seek
from .views import Decode, Encode, Floats, Found, decide

__all__ = ["PocketSegmenter", "runners"]

ENCODER, HEAD = "pocket-segmenter-encoder", "pocket-segmenter-head"


class PocketSegmenterOptions(Options):
    """Options of the pocket segmenter."""

    threshold: float = Field(0.5, gt=0, lt=1, description="probability above which a pixel belongs to the object")
    threads: int = Field(0, ge=0, le=64, description="threads of ONNX Runtime; 0 takes one per core")
    weights: str | None = Field(
        None, description="a folder of your own with the exported encoder and head, in place of the embedded ones"
    )


class PocketSegmenter(Segmenter):
    """A compact interactive network, trained here: an encoder per picture, a light head per prompt. Knows no words."""

    name: ClassVar[str] = "pocket"
    summary: ClassVar[str] = "embedded network for clicks and boxes; no GPU, no download"
    license: ClassVar[str] = "Apache-2.0"
    memory: ClassVar[str] = "200 MB of main memory"
    weights: ClassVar[tuple[str, ...]] = (image_encoder.ENCODER, ENCODER, HEAD)
    Options: ClassVar[type[Options]] = PocketSegmenterOptions

    def warm_up(self) -> None:
        image_encoder.warm_up(self.options.threads)
        runners(self.options.threads, self.options.weights)

    def embed(self, image: Image) -> Any:
        """The picture's features, its whole frame at two sizes; closer views are added as prompts ask for them."""
        return Scene(runners(self.options.threads, self.options.weights)[0], image)

    def segment(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        _refuse_words(prompt)
        return [self._shown(embedded, seek(self._decode, embedded, prompt), prompt)]

    def propose(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        """For one click up to three answers, each seen from near; the first is that of `segment`."""
        _refuse_words(prompt)
        return [self._shown(embedded, found, prompt) for found in answers(self._decode, embedded, prompt)]

    def glance(self, embedded: Any, prompt: Prompt) -> Proposal | None:
        """What `segment` begins with, before it looks from near; remembered, so that the click itself costs less."""
        if not prompt.single_click:
            return None
        return self._shown(embedded, embedded.far(self._decode, prompt), prompt)

    def segment_everything(self, image: Image, progress: Progress = no_progress) -> list[Proposal]:
        """All objects, best first; see `everything`."""
        scene = self.embed(image)
        found = [self._shown(scene, one, prompt) for one, prompt in everything(self._decode, scene, progress)]
        return sorted(found, key=lambda each: -(each.score or 0.0))

    @property
    def _decode(self) -> Decode:
        return runners(self.options.threads, self.options.weights)[1]

    def _shown(self, scene: Scene, found: Found, prompt: Prompt) -> Proposal:
        on = [(int(x), int(y)) for (x, y), label in zip(prompt.points, prompt.labels, strict=True) if label]
        frame = (scene.image.shape[0], scene.image.shape[1])
        return Proposal(decide(found.logits, found.view, frame, on, self.options.threshold), found.score)


def _refuse_words(prompt: Prompt) -> None:
    if prompt.text is not None:
        raise PromptError("pocket does not understand words; give a point or a box, or use the segmenter sam3")


@cache
def runners(threads: int = 0, weights: str | None = None) -> tuple[Encode, Decode]:
    """Encoder and head as NumPy functions, the embedded ones or those of a folder; one session each a process.

    Raises:
        WeightsError: the files are missing or altered.
    """
    paths = [Path(weights) / f"{name}.onnx" if weights else embedded(name) for name in (ENCODER, HEAD)]
    encoder, head = (open_session(str(path), threads) for path in paths)

    def encode(x: Floats) -> Floats:
        seen = dict(zip(LEVELS, image_encoder.encode(x[:, :3], threads), strict=True))
        return np.asarray(encoder.run(None, {"picture": x, **seen})[0], np.float32)

    def decode(features: Floats, prompts: Floats) -> tuple[Floats, Floats]:
        logits, scores = head.run(["logits", "scores"], {"features": features, "prompts": prompts})
        return np.asarray(logits, np.float32), np.asarray(1 / (1 + np.exp(-scores)), np.float32)

    return encode, decode
