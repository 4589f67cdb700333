"""`Client`: a service elsewhere with the calls of the local API; answers are the same `Completion`s, byte for byte.

from amodal.serve.client import Client

model = Client("http://127.0.0.1:7860")
scene = model.open(image)
result = scene.complete(point=(350, 70))
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.completion import Completion
from ..core.errors import MALFORMED, AmodalError, Cancelled, PromptError, reported
from ..core.extras import missing
from ..core.files import parse_json
from ..core.image import Image, as_image, as_mask, encode_png
from ..core.mask import Mask
from ..core.prompt import Prompt
from ..pipeline.asking import Asking, Opening
from ..pipeline.choice import ModelChoice
from ..plugins.protocols import Progress, Proposal, frame_of, no_progress
from .results import unpack

if TYPE_CHECKING:
    import httpx

__all__ = ["Client", "RemoteScene", "ServiceError"]


class ServiceError(AmodalError):
    """The service refused, or could not be reached. `status` is HTTP's, 0 if there was no answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Client(Opening):
    """As `amodal.Model`: call it with an image, or `open` one. Keeps a session; use one client per user."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:7860",
        token: str | None = None,
        *,
        model: ModelChoice | None = None,
        timeout: float = 600.0,
    ) -> None:
        """
        Args:
            url: where `amodal serve` listens.
            token: the service's token, if it has one.
            model: what is asked; what it leaves out is the service's default.
            timeout: seconds to wait for an answer.
        """
        self.choice = (model or ModelChoice()).model_dump(exclude_defaults=True)
        self.url = url.rstrip("/")
        self.timeout = timeout
        try:
            import httpx
        except ImportError as error:
            raise missing("the client", error, "serve") from error
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._line = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)
        weakref.finalize(self, self._line.close)
        self._answer("GET", "/api/about")  # opens the session

    def open(self, image: Any) -> RemoteScene:
        """As `Model.open`: uploads the photo once. Raises ImageError, ServiceError."""
        picture = as_image(image)
        scene = self._answer("POST", "/api/scenes", encode_png(picture)).json()
        return RemoteScene(self, picture, scene["id"])

    def _answer(self, verb: str, path: str, body: bytes | Mapping[str, Any] | None = None) -> httpx.Response:
        with self._asking(verb, path, body) as answer:
            answer.read()
            return answer

    @contextlib.contextmanager
    def _asking(self, verb: str, path: str, body: bytes | Mapping[str, Any] | None = None) -> Iterator[httpx.Response]:
        """An answer that is being received; every way in which that fails is a ServiceError, or what `_refusal` makes of it."""
        import httpx

        kind = (
            {"content": body, "headers": {"Content-Type": "image/png"}} if isinstance(body, bytes) else {"json": body}
        )
        try:
            with self._line.stream(verb, path, **(kind if body is not None else {})) as answer:
                if answer.is_error:
                    raise _refusal(answer.status_code, answer.read())
                yield answer
        except httpx.TimeoutException as error:
            raise ServiceError(
                f"{self.url} did not answer within {self.timeout:g} s; it may be busy, try again"
            ) from error
        except (httpx.ConnectError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ServiceError(f"no service answers at {self.url} ({error}); start one: amodal serve") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ServiceError(f"the line to {self.url} broke ({reason}); was the service stopped?") from error

    def _events(self, job: str) -> Iterator[dict[str, Any]]:
        with self._asking("GET", f"/api/jobs/{job}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    yield parse_json(line[6:], "the service's answer", ServiceError)


class RemoteScene(Asking):
    """As `amodal.Scene`: one image, opened on the service."""

    def __init__(self, client: Client, image: Image, key: str) -> None:
        self.client = client
        self.image = image
        self.key = key

    def complete_all(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        seeds: Sequence[int] | None = None,
        occluders: Sequence[Any] | None = None,
        progress: Progress = no_progress,
    ) -> list[Completion]:
        """As `Scene.complete_all`; raising `Cancelled` in `progress` cancels the job."""
        size = frame_of(self.image)
        done = []
        for prompt, seed, given in zip(
            prompts, seeds or [0] * len(prompts), occluders or [None] * len(prompts), strict=True
        ):
            body = {**self._fields(prompt), "samples": samples, "seed": seed}
            if given is not None:
                occluder = as_mask(given, size, "occluder")
                body["occluder"] = occluder.to_rle(size) if occluder else "none"
            done.append(self._job("completions", body, progress))
        return done

    def repaint(self, visible: Mask, amodal: Mask, *, seed: int = 0, progress: Progress = no_progress) -> Completion:
        """As `Scene.repaint`."""
        seen = visible.to_rle(frame_of(self.image))
        return self._job("repaints", {"visible": seen, "amodal": amodal.to_dict(), "seed": seed}, progress)

    def close(self) -> None:
        """Let the service forget the photo."""
        self.client._answer("DELETE", f"/api/scenes/{self.key}")

    def _visible(self, prompt: Prompt) -> list[Proposal]:
        """The first is what `complete` begins with; for one click the others are what it may mean instead."""
        answer = self._post("visible", self._fields(prompt))
        return [Proposal(Mask.from_rle(found["mask"]), found["score"]) for found in (answer, *answer["others"])]

    def _fields(self, prompt: Prompt) -> dict[str, Any]:
        """A prompt in the service's words: masks are RLE of the photo's size."""
        size = frame_of(self.image)
        Prompt.make(prompt=prompt).check(size)
        record = {name: value for name, value in prompt.to_dict().items() if name != "frame"}
        return record if prompt.mask is None else {**record, "mask": prompt.mask.to_rle(size)}

    def _post(self, what: str, body: Mapping[str, Any]) -> Any:
        path = f"/api/scenes/{self.key}/{what}"
        return self.client._answer("POST", path, {**body, "model": self.client.choice}).json()

    def _job(self, what: str, body: Mapping[str, Any], progress: Progress) -> Completion:
        job = self._post(what, body)["id"]
        state: dict[str, Any] = {"state": "lost"}
        try:
            for state in self.client._events(job):
                if state["state"] == "running" and state["total"]:
                    progress(state["what"], state["done"], state["total"])
        except (Cancelled, KeyboardInterrupt):
            self.client._answer("DELETE", f"/api/jobs/{job}")
            raise
        if state["state"] == "cancelled":
            raise Cancelled(state["error"] or "cancelled")
        if state["state"] != "done":
            raise ServiceError(
                str(state.get("error") or "the service ended before the job did; start it again and retry")
            )
        content = self.client._answer("GET", f"/api/jobs/{job}/files/bundle.zip").content
        with reported(ServiceError, f"{self.client.url} gave a result that cannot be read"):
            return unpack(content, self.image)


def _refusal(status: int, body: bytes) -> AmodalError:
    try:
        text = str(parse_json(body, "the answer")["error"])
    except (AmodalError, *MALFORMED):
        text = f"the service answered {status}"
    return PromptError(text) if status == 422 else ServiceError(text, status)
