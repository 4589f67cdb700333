"""The requests and answers of the service, as pydantic models: the OpenAPI document is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..errors import PromptError
from ..mask import Mask, Size
from ..prompt import Prompt

__all__ = [
    "Choice",
    "CompleteRequest",
    "ErrorAnswer",
    "JobAnswer",
    "LayersRequest",
    "MaskField",
    "PromptFields",
    "RepaintRequest",
    "SceneAnswer",
    "VisibleAnswer",
    "VisibleRequest",
]

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="same seed, same answer")]
Side = Annotated[int, Field(ge=0, le=100_000)]
Scalar = bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=100)] | None
Values = dict[Annotated[str, Field(max_length=64)], Scalar | Annotated[list[Scalar], Field(max_length=16)]]


class Body(BaseModel):
    """Closed: an unknown field is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class MaskField(Body):
    """A mask as COCO RLE, compressed; `origin` is the place of its first pixel (for masks that leave the photo)."""

    size: tuple[Side, Side] = Field(description="[height, width]")
    counts: str = Field(max_length=4_000_000)
    origin: tuple[Annotated[int, Field(ge=-100_000, le=100_000)], Annotated[int, Field(ge=-100_000, le=100_000)]] = (
        0,
        0,
    )

    def decode(self, size: Size, what: str, beyond: bool = False) -> Mask:
        """The mask, checked against a photo of `size` (H, W) before a byte is unpacked.

        Raises:
            PromptError: of another size; `beyond` admits three times the photo's sides.
            MaskError: malformed.
        """
        height, width = self.size
        if beyond and height <= 3 * size[0] and width <= 3 * size[1]:
            return Mask.from_dict(self.model_dump())
        if (height, width) != size or self.origin != (0, 0):
            raise PromptError(
                f"the {what} mask is {width} x {height} pixels, the photo {size[1]} x {size[0]}; they must be equal"
            )
        return Mask.from_dict(self.model_dump())


class PromptFields(Body):
    """What marks the object: as in `amodal.Prompt`."""

    points: list[tuple[Number, Number]] | None = Field(default=None, max_length=256, description="clicks [x, y]")
    labels: list[Literal[0, 1]] | None = Field(
        default=None, max_length=256, description="one per point: 1 on the object, 0 not"
    )
    box: tuple[Number, Number, Number, Number] | None = Field(default=None, description="[x0, y0, x1, y1], half-open")
    mask: MaskField | None = Field(default=None, description="the visible mask itself")
    text: str | None = Field(default=None, max_length=500, description="words, for segmenters that understand them")

    def prompt(self, size: Size) -> Prompt:
        """Raises PromptError or MaskError."""
        mask = None if self.mask is None else self.mask.decode(size, "visible")
        return Prompt.make(points=self.points, labels=self.labels, box=self.box, mask=mask, text=self.text)


class Choice(Body):
    """Which method, inpainter and segmenter, with their options; what is left out is the service's default."""

    method: str | None = Field(default=None, max_length=64)
    inpainter: str | None = Field(default=None, max_length=64)
    segmenter: str | None = Field(default=None, max_length=64)
    options: Values = Field(default_factory=dict, max_length=64)
    inpainter_options: Values = Field(default_factory=dict, max_length=64)
    segmenter_options: Values = Field(default_factory=dict, max_length=64)


class VisibleRequest(PromptFields):
    """A prompt; the answer is the visible mask."""

    model: Choice = Choice()


class CompleteRequest(PromptFields):
    """A prompt; the job's result is the whole object."""

    samples: int = Field(default=1, ge=1, le=256)
    seed: Seed = 0
    occluder: Literal["none"] | MaskField | None = Field(
        default=None, description='what hides the object; "none" says that nothing does; null leaves it to the method'
    )
    model: Choice = Choice()


class RepaintRequest(Body):
    """Masks as they should be; the job's result has their pixels painted."""

    visible: MaskField
    amodal: MaskField = Field(description="may leave the photo")
    seed: Seed = 0
    model: Choice = Choice()


class LayersRequest(Body):
    """The objects to take apart; null finds them."""

    objects: list[PromptFields] | None = Field(default=None, min_length=1, max_length=50)
    seed: Seed = 0
    model: Choice = Choice()


class SceneAnswer(BaseModel):
    """An opened photo."""

    id: str
    width: int
    height: int
    sha256_pixels: str


class VisibleAnswer(BaseModel):
    """The visible mask of a prompt."""

    mask: dict[str, Any] = Field(description="COCO RLE of the photo's size")
    score: float | None
    area: int
    box: list[int]


class JobAnswer(BaseModel):
    """Where a job is."""

    id: str
    kind: Literal["completion", "repaint", "layers"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    place: int = Field(description="place in the queue; 0 when it runs")
    what: str = Field(description="what is being counted")
    done: int
    total: int
    seconds: float
    error: str | None


class ErrorAnswer(BaseModel):
    """What is wrong and what to do."""

    error: str
