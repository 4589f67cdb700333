"""`Engine`: models, opened photos and jobs behind the service; knows nothing of HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

import numpy as np

from .. import registry
from ..errors import OptionError, PromptError, UnknownNameError, nearest
from ..image import Image, read
from ..mask import Mask, Size
from ..options import Options, build_options
from ..pipeline import Model, Scene, load
from ..protocols import Tick
from .config import Config
from .jobs import Busy, Desk, Job
from .schema import Choice, CompleteRequest, LayersRequest, RepaintRequest, VisibleRequest
from .shelf import Shelf

__all__ = ["Engine", "OpenPhoto", "catalogue"]

PARTS = ("method", "inpainter", "segmenter")


class OpenPhoto:
    """An uploaded photo with one `Scene` per model that was asked about it (the last few), so that each embeds it once."""

    def __init__(self, image: Image, name: str, keep: int) -> None:
        self.image = image
        self.name = name
        self.sha256 = hashlib.sha256(image.tobytes()).hexdigest()
        self._scenes: OrderedDict[int, tuple[Model, Scene]] = OrderedDict()
        self._keep = keep
        self._lock = threading.Lock()

    @property
    def size(self) -> Size:
        """(H, W)."""
        return (int(self.image.shape[0]), int(self.image.shape[1]))

    def scene(self, model: Model) -> Scene:
        """The photo opened for a model."""
        with self._lock:
            if id(model) not in self._scenes:
                self._scenes[id(model)] = (model, model.open(self.image))
            self._scenes.move_to_end(id(model))
            while len(self._scenes) > self._keep:
                self._scenes.popitem(last=False)
            return self._scenes[id(model)][1]


class Engine:
    """Everything that the routes need."""

    def __init__(self, config: Config) -> None:
        """Loads the default model. Raises what `amodal.load` raises."""
        limits = config.limits
        self.config = config
        self.photos: Shelf[OpenPhoto] = Shelf("photo", limits.scenes, limits.keep_s, limits.scene_bytes)
        self.jobs: Shelf[Job] = Shelf("job", limits.results, limits.keep_s, pinned=lambda job: not job.finished)
        self.desk = Desk(limits.queue, limits.job_s)
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._default = load(**config.model)

    def close(self) -> None:
        """Cancel the jobs and stop the thread."""
        self.desk.close()

    def open(self, owner: str, content: bytes, name: str) -> tuple[str, OpenPhoto]:
        """Decode a photo and keep it. Raises ImageError."""
        check_size(content, self.config.limits.pixels)
        image = read(content)
        photo = OpenPhoto(image, name, self.config.limits.models)
        return self.photos.put(owner, photo, int(image.nbytes)), photo

    def model(self, choice: Choice) -> Model:
        """The model of a request; loads it if it is not there. Call it on the device's thread, after `check`.

        Raises:
            what `amodal.load` raises.
        """
        given = choice.model_dump(exclude_defaults=True)
        if not given:
            return self._default
        key = json.dumps(given, sort_keys=True)
        if key not in self._models:
            default = dict(self.config.model)
            for part in PARTS:  # an operator's options belong to the operator's choice
                if given.get(part) not in (None, default.get(part)):
                    default.pop(_options_of(part), None)
            for part in PARTS:
                own = {**default.get(_options_of(part), {}), **given.pop(_options_of(part), {})}
                default[_options_of(part)] = own
            self._models[key] = load(**{**default, **given})
            while len(self._models) > self.config.limits.models:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    def check(self, choice: Choice) -> None:
        """Refuse a bad choice before it costs anything. Only names of the registry, never a hub name or a folder; and no
        option that takes free text (paths, hub names): those are the operator's.

        Raises:
            UnknownNameError, OptionError.
        """
        for part in PARTS:
            kind = f"{part}s"
            name = getattr(choice, part)
            if name is not None and name not in registry.names(kind):
                raise UnknownNameError(f"no {part} named {name!r}; {nearest(name, registry.names(kind))}")
            default = default_name(self.config, part, choice.method)
            values = getattr(choice, _options_of(part))
            if not values:
                continue
            cls = registry.find(kind, name or default).Options if (name or default) in registry.names(kind) else Options
            free = free_text(cls)
            for option in values:
                if option in free:
                    raise OptionError(
                        f"option {option!r} is set by whoever runs the service (--set {part}.{option}=...)"
                    )
            build_options(cls, values)

    def visible(self, photo: OpenPhoto, request: VisibleRequest) -> Future[Any]:
        """The best proposal for a prompt, soon. Raises PromptError and what `check` raises; Busy."""
        prompt = request.prompt(photo.size)
        self.check(request.model)
        return self.desk.ask(lambda: photo.scene(self.model(request.model)).segment(prompt=prompt)[0])

    def complete(self, owner: str, photo: OpenPhoto, request: CompleteRequest) -> Job:
        """Queue a completion. Raises PromptError and what `check` raises; Busy."""
        prompt = request.prompt(photo.size)
        prompt.check(photo.size)
        if request.samples > self.config.limits.samples:
            raise PromptError(f"at most {self.config.limits.samples} samples a job here, got {request.samples}")
        hides: Mask | None = None
        if request.occluder == "none":
            hides = Mask.from_array(np.zeros((1, 1), bool))
        elif request.occluder is not None:
            hides = request.occluder.decode(photo.size, "occluder")
        self.check(request.model)

        def work(tick: Tick) -> Any:
            scene = photo.scene(self.model(request.model))
            return self._named(
                photo,
                scene.complete(prompt=prompt, samples=request.samples, seed=request.seed, occluder=hides, tick=tick),
            )

        return self._submit(owner, Job("completion", work))

    def repaint(self, owner: str, photo: OpenPhoto, request: RepaintRequest) -> Job:
        """Queue a repainting. Raises PromptError, MaskError and what `check` raises; Busy."""
        visible = request.visible.decode(photo.size, "visible")
        amodal = request.amodal.decode(photo.size, "amodal", beyond=True)
        if not visible:
            raise PromptError("the visible mask is empty; it must mark the visible object")
        self.check(request.model)

        def work(tick: Tick) -> Any:
            scene = photo.scene(self.model(request.model))
            return self._named(photo, scene.repaint(visible, amodal, seed=request.seed, tick=tick))

        return self._submit(owner, Job("repaint", work))

    def take_apart(self, owner: str, photo: OpenPhoto, request: LayersRequest) -> Job:
        """Queue the taking apart of the whole scene. Raises PromptError and what `check` raises; Busy."""
        prompts = None if request.objects is None else [thing.prompt(photo.size) for thing in request.objects]
        for prompt in prompts or []:
            prompt.check(photo.size)
        self.check(request.model)

        def work(tick: Tick) -> Any:
            from ..layers import take_apart

            return take_apart(photo.scene(self.model(request.model)), prompts, seed=request.seed, tick=tick)

        return self._submit(owner, Job("layers", work))

    def now(self, question: Callable[[Model], Any]) -> Future[Any]:
        """Something short with the default model, for instance a pre-annotation. Raises Busy."""
        return self.desk.ask(lambda: question(self._default))

    def _named(self, photo: OpenPhoto, done: Any) -> Any:
        done.provenance["image"] = {"file": photo.name, "sha256_pixels": photo.sha256}
        return done

    def _submit(self, owner: str, job: Job) -> Job:
        mine = [other for other in self.jobs.of(owner) if not other.finished]
        if len(mine) >= self.config.limits.session_jobs:
            self.desk.counts["refused"] += 1
            raise Busy(f"{len(mine)} of your jobs are under way already; wait for one, or cancel one")
        job.owner = owner
        job.id = self.jobs.put(owner, job)
        try:
            self.desk.submit(job)
        except Busy:
            job.state = "cancelled"
            self.jobs.drop(job.id, owner)
            raise
        return job


def check_size(content: bytes, pixels: int) -> None:
    """Refuse a photo by its header, before it is unpacked. Raises ImageError."""
    import io

    from PIL import Image as PILImage
    from PIL import UnidentifiedImageError

    from ..errors import ImageError

    try:
        with PILImage.open(io.BytesIO(content)) as picture:
            width, height = picture.size
    except PILImage.DecompressionBombError as error:
        raise ImageError(
            f"the photo unpacks to more than {pixels / 1e6:.0f} megapixels; scale it down first"
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError("the upload is not a picture that can be read (JPEG, PNG, WebP, TIFF, BMP, GIF)") from error
    if width * height > pixels:
        raise ImageError(
            f"the photo is {width} x {height}; at most {pixels / 1e6:.0f} megapixels here: scale it down first"
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
    """What a client may choose, JSON-ready: names with summary, licence and the JSON schema of their options."""
    from ..errors import AmodalError

    out: dict[str, Any] = {}
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
            about = {"summary": cls.summary, "licence": cls.licence, "memory": cls.memory, "extra": cls.extra}
            rows.append({"name": name, **about, "schema": schema, "weights": list(cls.weights)})
        out[kind] = {"default": default_name(config, part), "choices": rows}
    for row in out["methods"]["choices"]:
        row["inpainter"] = default_name(config, "inpainter", row["name"])
    return out


def default_name(config: Config, part: str, method: str | None = None) -> str:
    """What a part is where a choice does not name it: the operator's, or amodal's own (for the inpainter, the method's)."""
    own = cast("str | None", config.model.get(part))
    if own is None and part == "inpainter":
        return registry.default_inpainter(method or default_name(config, "method"))
    return own or registry.DEFAULTS[f"{part}s"]


def _options_of(part: str) -> str:
    return "options" if part == "method" else f"{part}_options"
