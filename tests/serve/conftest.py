"""A real service on a free port, in a thread of the test process."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import amodal
from amodal.core.image import encode_png
from amodal.pipeline.choice import ModelChoice

pytest.importorskip("fastapi", reason='the service is not installed (pip install "amodal[serve]")')
pytest.importorskip("uvicorn", reason='the service is not installed (pip install "amodal[serve]")')

from amodal.serve.api import create_app
from amodal.serve.config import Config
from amodal.serve.server import Server

DEMO = Path(amodal.__file__).parent / "_demo"
PARTS = {"method": "hull", "segmenter": "grabcut", "inpainter": "classical"}
"""The service is tested, not the networks: the parts that start at once."""


def quarter_photo() -> bytes:
    """The coffee cup at a quarter of its size, 150 x 100 pixels: for tests of the service that need no detail."""
    return encode_png(np.ascontiguousarray(amodal.read(DEMO / "coffee.jpg")[::4, ::4]))


SMALL_BOX = [38, 18, 122, 90]
"""The cup in it."""


@dataclass
class Service:
    """Where it listens, and what is inside."""

    port: int
    guard: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def engine(self) -> Any:
        return self.guard.app.state.engine


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[Service]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        guard = create_app(Config(**{"port": port, "model": ModelChoice(**PARTS), **settings}))
        server = Server(guard)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Service(port, guard)
        finally:
            server.should_exit = True
            thread.join(100)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running() as found:
        yield found


class Browser:
    """Plain requests with the cookie of one session."""

    def __init__(self, service: Service, **headers: str) -> None:
        self.service = service
        self.headers = headers
        self.cookie = ""

    def __call__(self, verb: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=180)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookie:
            sent.setdefault("Cookie", self.cookie)
        if data is not None:
            sent.setdefault("Content-Type", "image/jpeg" if isinstance(body, bytes) else "application/json")
        with contextlib.closing(connection):
            connection.request(verb, path, data, sent)
            answer = connection.getresponse()
            content = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
        if "set-cookie" in found:
            self.cookie = found["set-cookie"].partition(";")[0]
        is_json = found.get("content-type", "").startswith("application/json")
        return answer.status, json.loads(content) if is_json else content, found

    def open(self, content: bytes | None = None) -> str:
        status, scene, _ = self("POST", "/api/scenes", content or (DEMO / "coffee.jpg").read_bytes())
        assert status == 201, scene
        return str(scene["id"])

    def finish(self, job: dict[str, Any]) -> dict[str, Any]:
        for _ in range(6000):
            _, state, _ = self("GET", f"/api/jobs/{job['id']}")
            if state["state"] in ("done", "failed", "cancelled"):
                return dict(state)
            time.sleep(0.02)
        raise AssertionError("the job does not end")


@pytest.fixture
def browser(service: Service) -> Browser:
    return Browser(service)


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium for all tests of the page, and the folder of its downloads."""
    from serve.browser import chromium

    folder = tmp_path_factory.mktemp("downloads")
    with chromium(folder) as driver:
        yield driver, folder


@pytest.fixture
def page(service: Service, window: Any) -> Iterator[Any]:
    """The page as a new user sees it; nothing may be told on the console."""
    with page_of(service, window) as found:
        yield found


@pytest.fixture
def undisturbed(window: Any) -> Iterator[tuple[Any, Service]]:
    """A page and a service that no test has asked before: on the shared one an earlier page's last question may wait still."""
    with running() as service, page_of(service, window) as found:
        yield found, service


@contextlib.contextmanager
def page_of(service: Service, window: Any) -> Iterator[Any]:
    from serve.browser import Page, forget

    driver, folder = window
    forget(driver, service.url)
    found = Page(driver, service.url, folder)
    yield found
    assert found.errors() == []
