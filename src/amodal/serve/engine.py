"""`Engine`: models, opened photos and jobs behind the service; knows nothing of HTTP."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import AmodalError, ImageError, MaskError, OptionError, PromptError, UnknownNameError, nearest
from ..core.extras import requirements
from ..core.image import Image, as_image, framed_mask, picture_size
from ..core.mask import Mask, Size
from ..core.options import Options, build_options
from ..core.picture import open_picture, orientation
from ..core.prompt import Prompt
from ..core.remarks import remarks
from ..pipeline import Model, Scene
from ..pipeline.choice import PARTS, ModelChoice, Part
from ..pipeline.seal import digest
from ..plugins import registry
from ..plugins.protocols import Progress, Proposal, Segmenter, frame_of
from ..weights.ready import usable
from .config import Config
from .jobs import Busy, Desk, Job
from .results import weight
from .schema import CompleteRequest, LayersRequest, RepaintRequest, VisibleRequest
from .shelf import Shelf

__all__ = ["Engine", "OpenPhoto", "catalogue", "decode", "decode_mask"]

COPIES = 3
"""How often a photo is in memory: the photo, and what segmenter and method keep of it."""


class OpenPhoto:
    """An uploaded photo with one `Scene` per model that was asked about it (the last few), so that each embeds it once."""

    def __init__(self, image: Image, name: str, keep: int, orientation: int = 1, notes: Sequence[str] = ()) -> None:
        self.image = image
        self.name = name
        self.orientation = orientation
        self.notes = list(notes)
        self.sha256 = digest(image)
        self._scenes: OrderedDict[int, tuple[Model, Scene]] = OrderedDict()
        self._keep = keep
        self._lock = threading.Lock()

    @property
    def size(self) -> Size:
        """(H, W)."""
        return frame_of(self.image)

    def scene(self, model: Model) -> Scene:
        """The photo opened for a model."""
        with self._lock:
            if id(model) not in self._scenes:
                self._scenes[id(model)] = (model, model.open(self.image))
            self._scenes.move_to_end(id(model))
            while len(self._scenes) > self._keep:
                self._scenes.popitem(last=False)
            return self._scenes[id(model)][1]


@dataclass(frozen=True)
class Seen:
    """What a prompt marks, and the opened photo and prompt that it was asked of."""

    proposal: Proposal
    scene: Scene
    prompt: Prompt


class Engine:
    """Everything that the routes need."""

    def __init__(self, config: Config) -> None:
        """Loads the default model. Raises what `amodal.load` raises."""
        limits = config.limits
        self.config = config
        self.photos: Shelf[OpenPhoto] = Shelf("photo", limits.scenes, limits.keep_s, limits.scene_bytes)
        self.jobs: Shelf[Job] = Shelf(
            "job", limits.results, limits.keep_s, limits.result_bytes, pinned=lambda job: not job.finished
        )
        self.decoders = ThreadPoolExecutor(limits.decoders, "amodal-decoder")
        """Pictures are unpacked here: few at a time, because a small file can unpack to a large picture."""
        self.choosers = ThreadPoolExecutor(1, "amodal-chooser")
        """What else a click may mean is found here: it takes longer than a click's own mask, and the next click is not to wait."""
        self.desk = Desk(limits.queue, limits.job_s)
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._default = config.model.load(config.device)
        self._default.warm_up()

    def close(self) -> None:
        """Cancel the jobs and stop the threads."""
        self.desk.close()
        for threads in (self.decoders, self.choosers):
            threads.shutdown(wait=False, cancel_futures=True)

    def open(self, owner: str, content: bytes, name: str, caller: str = "") -> tuple[str, OpenPhoto]:
        """Decode a photo and keep it; `caller` as for `Shelf.put`. Call it on `decoders`. Raises ImageError."""
        with remarks() as notes:
            image, turn = decode(content, self.config.limits.pixels)
        photo = OpenPhoto(image, name, self.config.limits.models, turn, notes)
        return self.photos.put(owner, photo, COPIES * int(image.nbytes), caller), photo

    def mask(self, photo: OpenPhoto, content: bytes) -> tuple[Mask, list[str]]:
        """The mask of a mask picture of a photo, and what was understood of the picture. Call it on `decoders`.

        Raises:
            ImageError, MaskError: no such picture, of another size, or empty.
        """
        mask, _, notes = decode_mask(content, self.config.limits.pixels, photo.size)
        if not mask:
            raise MaskError("The mask marks no pixel; white (or opaque) pixels must mark the visible object.")
        return mask, notes

    def model(self, choice: ModelChoice) -> Model:
        """The model of a request; loads it if it is not there. Call it on the device's thread, after `check`.

        Raises:
            what `amodal.load` raises.
        """
        if choice == ModelChoice():
            return self._default
        key = choice.model_dump_json()
        if key not in self._models:
            self._models[key] = choice.over(self.config.model).load(self.config.device)
            while len(self._models) > self.config.limits.models:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    def check(self, choice: ModelChoice) -> None:
        """Refuse a bad choice before it costs anything. Only names of the registry, never a hub name or a folder; and no
        option that takes free text (paths, hub names): those are the operator's.

        Raises:
            UnknownNameError, OptionError.
        """
        for part in PARTS:
            kind = f"{part}s"
            name = choice.name_of(part)
            if name is not None and registry.current(kind, name) not in registry.names(kind):
                raise UnknownNameError(f"no {part} named {name!r}; {nearest(name, registry.names(kind))}")
            default = default_name(self.config, part, choice.method)
            values = choice.options_of(part)
            if not values:
                continue
            cls = registry.find(kind, name or default).Options if (name or default) in registry.names(kind) else Options
            free = free_text(cls)
            for option in values:
                if option in free:
                    raise OptionError(f"option {option!r} is set by whoever runs the service ({part}.{option})")
            build_options(cls, values)

    def visible(self, photo: OpenPhoto, request: VisibleRequest) -> Future[Seen]:
        """The visible mask of a prompt, soon: what a completion begins with.

        Raises:
            PromptError and what `check` raises; Busy.
        """
        prompt = request.prompt(photo.size)
        self.check(request.model)
        if request.glance and not prompt.single_click:
            raise PromptError("a glance is for one click; leave `glance` out for other prompts")

        def question() -> Seen:
            scene = photo.scene(self.model(request.model))
            if not request.glance:
                return Seen(scene.segment(prompt=prompt)[0], scene, prompt)
            seen = scene.glance(prompt.points[0])
            if seen is None:
                raise PromptError("this segmenter has no quick look at a click; ask again without `glance`")
            return Seen(seen, scene, prompt)

        return self.desk.ask(question)

    def others(self, seen: Seen) -> Future[list[Proposal]]:
        """What a single click may mean instead; beside the device's thread, so that no prompt waits for it."""

        def choose() -> list[Proposal]:
            found = [seen.proposal]
            for other in seen.scene.propose(prompt=seen.prompt):
                if all(other.mask.iou(known.mask) < 0.95 for known in found):
                    found.append(other)
            return found[1:]

        return self.choosers.submit(choose)

    def complete(self, owner: str, photo: OpenPhoto, request: CompleteRequest) -> Job:
        """Queue a completion. Raises PromptError and what `check` raises; Busy."""
        prompt = request.prompt(photo.size)
        most = max(1, self.config.limits.sample_pixels // (photo.size[0] * photo.size[1]))
        if request.samples > most:
            raise PromptError(
                f"at most {most} samples for a photo of {photo.size[1]} x {photo.size[0]}, got {request.samples}; "
                "ask for fewer, or send a smaller photo"
            )
        hides: Mask | None = None
        if request.occluder == "none":
            hides = Mask.from_array(np.zeros((1, 1), bool))
        elif request.occluder is not None:
            hides = request.occluder.decode(photo.size, "occluder")
        self.check(request.model)

        def work(progress: Progress) -> Any:
            scene = photo.scene(self.model(request.model))
            return self._named(
                photo,
                scene.complete(
                    prompt=prompt, samples=request.samples, seed=request.seed, occluder=hides, progress=progress
                ),
            )

        return self._submit(owner, Job("completion", work))

    def repaint(self, owner: str, photo: OpenPhoto, request: RepaintRequest) -> Job:
        """Queue a repainting. Raises PromptError, MaskError and what `check` raises; Busy."""
        visible = request.visible.decode(photo.size, "visible")
        amodal = request.amodal.decode(photo.size, "amodal", beyond=True)
        if not visible:
            raise PromptError("the visible mask is empty; it must mark the visible object")
        self.check(request.model)

        def work(progress: Progress) -> Any:
            scene = photo.scene(self.model(request.model))
            return self._named(photo, scene.repaint(visible, amodal, seed=request.seed, progress=progress))

        return self._submit(owner, Job("repaint", work))

    def take_apart(self, owner: str, photo: OpenPhoto, request: LayersRequest) -> Job:
        """Queue the taking apart of the whole scene. Raises PromptError and what `check` raises; Busy."""
        prompts = None if request.objects is None else [thing.prompt(photo.size) for thing in request.objects]
        if request.names is not None and len(request.names) != len(prompts or []):
            raise PromptError(f"one name per object: got {len(request.names)} names and {len(prompts or [])} objects")
        boxes = [prompt.mask.bits.size for prompt in prompts or [] if prompt.mask is not None]
        if sum(boxes) > self.config.limits.sample_pixels:
            raise PromptError(f"the {len(boxes)} masks cover {sum(boxes) / 1e6:.0f} megapixels together; send fewer")
        self.check(request.model)

        def work(progress: Progress) -> Any:
            scene = photo.scene(self.model(request.model))
            return scene.layers(prompts, names=request.names, seed=request.seed, progress=progress)

        return self._submit(owner, Job("layers", work))

    def now(self, question: Callable[[Model], Any]) -> Future[Any]:
        """Something short with the default model, for instance a pre-annotation. Raises Busy."""
        return self.desk.ask(lambda: question(self._default))

    def _named(self, photo: OpenPhoto, done: Any) -> Any:
        notes = {"notes": photo.notes} if photo.notes else {}
        done.provenance["image"] = {"file": photo.name, "sha256_pixels": photo.sha256, **notes}
        return done

    def _submit(self, owner: str, job: Job) -> Job:
        mine = [other for other in self.jobs.of(owner) if not other.finished]
        if len(mine) >= self.config.limits.session_jobs:
            self.desk.counts["refused"] += 1
            raise Busy(f"{len(mine)} of your jobs are under way already; wait for one, or cancel one")
        job.owner = owner
        job.on_end = lambda ended: self.jobs.weigh(ended.id, weight(ended.result))
        job.id = self.jobs.put(owner, job)
        try:
            self.desk.submit(job)
        except Busy:
            job.state = "cancelled"
            self.jobs.drop(job.id, owner)
            raise
        return job


def decode(content: bytes, pixels: int) -> tuple[Image, int]:
    """A picture (H, W, 3) of at most `pixels`, and EXIF's orientation, which is applied; refused by its header, before it is
    unpacked.

    Raises:
        ImageError: too large, damaged, or not a picture.
    """
    with open_picture(content) as picture:
        refuse_large(picture.size, pixels, "photo")
        return as_image(picture), orientation(picture, "the photo")


def decode_mask(content: bytes, pixels: int, frame: Size | None = None) -> tuple[Mask, Size, list[str]]:
    """The mask of a mask picture of at most `pixels`, the picture's size (H, W), which must be `frame`, and what was understood of it;
    refused as by `decode`.

    Raises:
        ImageError: too large, damaged, or not a picture.
        MaskError: of another size.
    """
    with open_picture(content) as picture:
        refuse_large(picture.size, pixels, "mask")
    if frame is not None and (found := picture_size(content)) != frame:
        (h, w), (height, width) = found, frame
        raise MaskError(f"The mask is {w} x {h} pixels, the photo {width} x {height}; they must be equal.")
    with remarks() as notes:
        mask, size = framed_mask(content)
    assert size is not None
    return mask, size, notes


def refuse_large(size: tuple[int, int], pixels: int, what: str) -> None:
    """Raises ImageError: a picture of `size` (width, height) has more pixels."""
    width, height = size
    if width * height > pixels:
        raise ImageError(
            f"the {what} is {width} x {height}; at most {pixels / 1e6:.0f} megapixels here: scale it down first"
        )


def free_text(cls: type[Options]) -> set[str]:
    """The options that take any text: not numbers, switches or choices."""
    schema = cls.model_json_schema().get("properties", {}) if cls.model_fields else {}

    def free(part: dict[str, Any]) -> bool:
        if any(free(option) for option in part.get("anyOf", [])):
            return True
        return part.get("type") == "string" and "enum" not in part and "const" not in part

    return {name for name, part in schema.items() if free(part)}


def catalogue(config: Config) -> dict[str, Any]:
    """What a client may choose, JSON-ready: names with summary, license, whether they work here (or `do`, the command
    that would make it so), and the JSON schema of their options."""
    out: dict[str, Any] = {}
    extras = requirements()
    for part in PARTS:
        kind = f"{part}s"
        rows = []
        for name in registry.names(kind):
            try:
                cls = registry.find(kind, name)
            except AmodalError:
                continue
            schema = cls.Options.model_json_schema()
            free = free_text(cls.Options)
            schema["properties"] = {k: v for k, v in schema.get("properties", {}).items() if k not in free}
            about: dict[str, Any] = {"summary": cls.summary, "license": cls.license, "memory": cls.memory}
            if issubclass(cls, Segmenter):
                about["glance"] = cls.glance is not Segmenter.glance
            own = name == config.model.name_of(part)  # the operator's choice is loaded already, whatever it was made of
            about |= {"extra": cls.extra, **({"ready": True, "do": ""} if own else usable(kind, name, extras))}
            rows.append({"name": name, **about, "schema": schema, "weights": list(cls.weights)})
        out[kind] = {"default": default_name(config, part), "choices": rows}
    for row in out["methods"]["choices"]:
        row["inpainter"] = default_name(config, "inpainter", row["name"])
        row["draws"] = registry.find("methods", row["name"]).draws
    return out


def default_name(config: Config, part: Part, method: str | None = None) -> str:
    """What a part is where a choice does not name it: the operator's, or amodal's own (for the inpainter, the method's)."""
    own = config.model.name_of(part)
    if own is None and part == "inpainter":
        return registry.default_inpainter(method or default_name(config, "method"))
    return own or registry.DEFAULTS[f"{part}s"]
