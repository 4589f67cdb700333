"""`Client`: a service elsewhere with the calls of the local API; answers are the same `Completion`s, byte for byte.

from amodal.serve.client import Client

model = Client("http://127.0.0.1:7860")
scene = model.open(image)
result = scene.complete(point=(320, 210))
"""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..completion import Completion
from ..errors import AmodalError, Cancelled, PromptError
from ..image import Image, check_image, encode_png
from ..mask import Mask
from ..prompt import Prompt
from ..protocols import Proposal, Tick, frame_of, no_tick
from .results import unpack

__all__ = ["Client", "RemoteScene", "ServiceError"]


class ServiceError(AmodalError):
    """The service refused, or could not be reached. `status` is HTTP's, 0 if there was no answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Client:
    """As `amodal.Model`: call it with an image, or `open` one. Keeps a session; use one client per user."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:7860",
        token: str | None = None,
        *,
        method: str | None = None,
        inpainter: str | None = None,
        segmenter: str | None = None,
        options: Mapping[str, Any] | None = None,
        inpainter_options: Mapping[str, Any] | None = None,
        segmenter_options: Mapping[str, Any] | None = None,
        timeout: float = 600.0,
    ) -> None:
        """
        Args:
            url: where `amodal serve` listens.
            token: the service's token, if it has one.
            method, inpainter, segmenter, options, inpainter_options, segmenter_options: as for `amodal.load`; what is left
                out is the service's default.
            timeout: seconds to wait for an answer.
        """
        parts = {"method": method, "inpainter": inpainter, "segmenter": segmenter, "options": options}
        parts |= {"inpainter_options": inpainter_options, "segmenter_options": segmenter_options}
        self.choice = {name: value for name, value in parts.items() if value}
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(_policy()))
        )
        self._answer("GET", "/api/about")  # opens the session

    def __call__(self, image: Image, **prompt_and_settings: Any) -> Completion:
        """As `Model.__call__`."""
        return self.open(image).complete(**prompt_and_settings)

    def open(self, image: Image) -> RemoteScene:
        """As `Model.open`: uploads the photo once. Raises ImageError, ServiceError."""
        scene = self._answer("POST", "/api/scenes", encode_png(check_image(image)), "image/png")
        return RemoteScene(self, image, scene["id"])

    def _answer(self, verb: str, path: str, body: bytes | Mapping[str, Any] | None = None, kind: str = "") -> Any:
        with self._open(verb, path, body, kind) as response:
            return json.loads(response.read() or b"null")

    def _open(
        self, verb: str, path: str, body: bytes | Mapping[str, Any] | None = None, kind: str = ""
    ) -> http.client.HTTPResponse:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": kind or "application/json"} if data is not None else self._headers
        request = urllib.request.Request(self.url + path, data, headers, method=verb)
        try:
            answer: http.client.HTTPResponse = self._opener.open(request, timeout=self.timeout)
            return answer
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read()) from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ServiceError(f"no service answers at {self.url} ({reason}); start one: amodal serve") from error

    def _events(self, job: str) -> Iterator[dict[str, Any]]:
        with self._open("GET", f"/api/jobs/{job}/events") as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


class RemoteScene:
    """As `amodal.Scene`: one image, opened on the service."""

    def __init__(self, client: Client, image: Image, key: str) -> None:
        self.client = client
        self.image = image
        self.key = key

    def segment(self, *, prompt: Prompt | None = None, **parts: Any) -> list[Proposal]:
        """As `Scene.segment`; the service tells its best proposal only."""
        body = _fields(self._prompt(prompt, parts), frame_of(self.image))
        answer = self._post("visible", body)
        return [Proposal(Mask.from_rle(answer["mask"]), answer["score"])]

    def complete(
        self,
        *,
        samples: int = 1,
        seed: int = 0,
        occluder: Mask | None = None,
        tick: Tick = no_tick,
        prompt: Prompt | None = None,
        **parts: Any,
    ) -> Completion:
        """As `Scene.complete`; raising `Cancelled` in `tick` cancels the job."""
        size = frame_of(self.image)
        body = {**_fields(self._prompt(prompt, parts), size), "samples": samples, "seed": seed}
        if occluder is not None:
            body["occluder"] = occluder.to_rle(size) if occluder else "none"
        return self._job("completions", body, tick)

    def complete_all(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        occluders: Sequence[Mask | None] | None = None,
        tick: Tick = no_tick,
    ) -> list[Completion]:
        """As `Scene.complete_all`: equal to completing each alone, which is what it does."""
        each = zip(prompts, seeds or [0] * len(prompts), occluders or [None] * len(prompts), strict=True)
        return [
            self.complete(prompt=prompt, samples=samples, seed=seed, occluder=occluder, tick=tick)
            for prompt, seed, occluder in each
        ]

    def repaint(self, visible: Mask, amodal: Mask, *, seed: int = 0, tick: Tick = no_tick) -> Completion:
        """As `Scene.repaint`."""
        seen = visible.to_rle(frame_of(self.image))
        return self._job("repaints", {"visible": seen, "amodal": amodal.to_dict(), "seed": seed}, tick)

    def close(self) -> None:
        """Let the service forget the photo."""
        with self.client._open("DELETE", f"/api/scenes/{self.key}"):
            pass

    def _prompt(self, prompt: Prompt | None, parts: Mapping[str, Any]) -> Prompt:
        made = Prompt.make(**parts) if prompt is None else prompt
        made.check(frame_of(self.image))
        return made

    def _post(self, what: str, body: Mapping[str, Any]) -> Any:
        return self.client._answer("POST", f"/api/scenes/{self.key}/{what}", {**body, "model": self.client.choice})

    def _job(self, what: str, body: Mapping[str, Any], tick: Tick) -> Completion:
        job = self._post(what, body)["id"]
        state: dict[str, Any] = {"state": "lost", "error": "the service ended"}
        try:
            for state in self.client._events(job):
                if state["state"] == "running" and state["total"]:
                    tick(state["what"], state["done"], state["total"])
        except (Cancelled, KeyboardInterrupt):
            self.client._answer("DELETE", f"/api/jobs/{job}")
            raise
        if state["state"] == "cancelled":
            raise Cancelled(state["error"] or "cancelled")
        if state["state"] != "done":
            raise ServiceError(str(state["error"]))
        with self.client._open("GET", f"/api/jobs/{job}/files/bundle.zip") as answer:
            return unpack(answer.read(), self.image)


def _fields(prompt: Prompt, size: tuple[int, int]) -> dict[str, Any]:
    """A prompt in the service's words: masks are RLE of the photo's size."""
    record = prompt.to_dict()
    if prompt.mask is not None:
        record["mask"] = prompt.mask.to_rle(size)
    return record


def _refusal(status: int, body: bytes) -> AmodalError:
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = f"the service answered {status}"
    return PromptError(text) if status == 422 else ServiceError(text, status)


def _policy() -> http.cookiejar.DefaultCookiePolicy:
    return http.cookiejar.DefaultCookiePolicy(strict_ns_domain=http.cookiejar.DefaultCookiePolicy.DomainLiberal)
