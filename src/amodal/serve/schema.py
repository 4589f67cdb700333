"""The requests and answers of the service, as pydantic models: the OpenAPI document is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..core.errors import PromptError
from ..core.mask import Mask, Size
from ..core.prompt import Prompt
from ..pipeline.choice import ModelChoice
from .config import Limits

__all__ = [
    "CompleteRequest",
    "ErrorAnswer",
    "JobAnswer",
    "LayersRequest",
    "MaskField",
    "PromptFields",
    "RepaintRequest",
    "SceneAnswer",
    "Visible",
    "VisibleAnswer",
    "VisibleRequest",
]

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="same seed, same answer")]
Side = Annotated[int, Field(ge=0, le=100_000)]


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
            PromptError: of another size; `beyond` admits what leaves the photo by at most its width and height.
            MaskError: malformed.
        """
        height, width = self.size
        if beyond:
            x, y = self.origin
            inside = -size[1] <= x and x + width <= 2 * size[1] and -size[0] <= y and y + height <= 2 * size[0]
            if not inside or height * width > max(size[0] * size[1], Limits.canvas):
                raise PromptError(
                    f"the {what} mask is {width} x {height} pixels at {self.origin}, the photo {size[1]} x {size[0]}; it may "
                    f"leave the photo by its width and height, and have {Limits.canvas / 1e6:.0f} megapixels"
                )
        elif (height, width) != size or self.origin != (0, 0):
            raise PromptError(
                f"the {what} mask is {width} x {height} pixels, the photo {size[1]} x {size[0]}; they must be equal"
            )
        return Mask.from_dict(self.model_dump())


class PromptFields(Body):
    """What marks the object: as in `amodal.Prompt`."""

    point: tuple[Number, Number] | None = Field(default=None, description="one click [x, y] on the object")
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
        prompt = Prompt.make(
            point=self.point, points=self.points, labels=self.labels, box=self.box, mask=mask, text=self.text
        )
        prompt.check(size)
        return prompt


class VisibleRequest(PromptFields):
    """A prompt; the answer is the visible mask."""

    glance: bool = Field(
        default=False, description="only a rough answer to one click, as a preview; for segmenters that say `glance`"
    )
    others: bool = Field(
        default=True,
        description="with what a single click may mean instead; without it the answer comes in half the time",
    )
    model: ModelChoice = ModelChoice()


class CompleteRequest(PromptFields):
    """A prompt; the job's result is the whole object."""

    samples: int = Field(default=1, ge=1, le=Limits.samples)
    seed: Seed = 0
    occluder: Literal["none"] | MaskField | None = Field(
        default=None, description='what hides the object; "none" says that nothing does; null leaves it to the method'
    )
    model: ModelChoice = ModelChoice()


class RepaintRequest(Body):
    """Masks as they should be; the job's result has their pixels painted."""

    visible: MaskField
    amodal: MaskField = Field(description="may leave the photo")
    seed: Seed = 0
    model: ModelChoice = ModelChoice()


class LayersRequest(Body):
    """The objects to take apart; null finds them."""

    objects: list[PromptFields] | None = Field(default=None, min_length=1, max_length=50)
    names: list[Annotated[str, Field(max_length=100)]] | None = Field(
        default=None, max_length=50, description="of the layers, one per object"
    )
    seed: Seed = 0
    model: ModelChoice = ModelChoice()


class SceneAnswer(BaseModel):
    """An opened photo."""

    id: str
    width: int
    height: int
    sha256_pixels: str
    orientation: int = Field(
        description="EXIF's, which is applied: a page that does not turn the file itself shows photo.png"
    )
    notes: list[str] = Field(description="what had to be understood of the file, such as which frame of an animation")


class Visible(BaseModel):
    """A visible mask."""

    mask: dict[str, Any] = Field(description="COCO RLE of the photo's size")
    score: float | None
    area: int
    box: list[int]
    notes: list[str] = Field(default=[], description="what had to be understood of a mask picture")


class VisibleAnswer(Visible):
    """The visible mask of a prompt: what a completion at this prompt begins with."""

    others: list[Visible] = Field(description="what one click may mean instead (a part, a group); send one as `mask`")


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
