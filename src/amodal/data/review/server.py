"""The review's web server: standard library only, loopback by default, one page and four addresses."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ...errors import AmodalError, OutputError
from .panels import panel
from .store import Review, agreement

__all__ = ["make_server"]

LARGEST_REQUEST = 10_000


def make_server(review: Review, host: str = "127.0.0.1", port: int = 8017, reviewer: str = "") -> ThreadingHTTPServer:
    """A server for one round; call `serve_forever()`. Port 0 takes a free one (`server_address[1]`).

    Args:
        review: the round.
        host: the address to listen on; only loopback unless the caller knows who can reach it.
        port: the port.
        reviewer: the name that the page starts with.

    Raises:
        OutputError: the port is taken.
    """

    class Bound(Handler):
        pass

    Bound.review, Bound.reviewer = review, reviewer
    try:
        return ThreadingHTTPServer((host, port), Bound)
    except OSError as error:
        raise OutputError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


class Handler(BaseHTTPRequestHandler):
    """Answers the page's requests."""

    review: Review
    reviewer: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/`: the page; `/state?reviewer=`: JSON; `/panel?id=&kind=&zoom=`: a JPEG."""
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if address.path == "/":
            page = resources.files(__package__).joinpath("page.html").read_bytes()
            self.reply(page, "text/html; charset=utf-8")
        elif address.path == "/state":
            self.guarded(lambda: self.reply_json(state(self.review, query.get("reviewer", ""), self.reviewer)))
        elif address.path == "/panel":
            self.guarded(lambda: self.reply(jpeg(self.review, query), "image/jpeg", "max-age=3600"))
        else:
            self.reply_json({"error": f"no page {address.path}"}, HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """`/answer` {reviewer, id, answer}; `/undo` {reviewer}. JSON only, so that no other site's form can post here."""
        length = int(self.headers.get("Content-Length") or 0)
        kind = (self.headers.get("Content-Type") or "").split(";")[0].strip()
        if kind != "application/json" or length > LARGEST_REQUEST:
            self.close_connection = True
            self.reply_json({"error": "send a small application/json body"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            return
        content = self.rfile.read(length)
        try:
            body = json.loads(content)
            reviewer = str(body["reviewer"])
            given = (str(body["id"]), str(body["answer"])) if self.path == "/answer" else None
        except (ValueError, KeyError, TypeError):
            self.reply_json(
                {"error": "needs JSON with reviewer, and for /answer id and answer"}, HTTPStatus.BAD_REQUEST
            )
            return
        if given is not None:
            self.guarded(lambda: self.keep(reviewer, *given))
        elif self.path == "/undo":
            self.guarded(lambda: self.reply_json({"undone": self.review.undo(reviewer)}))
        else:
            self.reply_json({"error": f"no page {self.path}"}, HTTPStatus.NOT_FOUND)

    def keep(self, reviewer: str, name: str, value: str) -> None:
        """Write an answer down, then say so."""
        self.review.answer(reviewer, name, value)
        self.reply_json({"kept": True})

    def guarded(self, work: Any) -> None:
        """Run `work`; errors that the caller can mend become a JSON answer with a 400."""
        try:
            work()
        except AmodalError as error:
            self.reply_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)

    def reply_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with JSON."""
        self.reply(json.dumps(content).encode(), "application/json", status=status)

    def reply(self, content: bytes, kind: str, cache: str = "no-store", status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with bytes."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", cache)
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src 'self' data:")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def state(review: Review, reviewer: str, default: str) -> dict[str, Any]:
    """What the page shows besides pictures: the round's objects, this reviewer's answers, everybody's progress, agreement."""
    everybody = review.everybody()
    items = []
    mine = review.answers(reviewer) if reviewer else {}
    for name in review.ids:
        items.append({"id": name, "answer": mine.get(name)})
    return {
        "round": review.round,
        "reviewer": reviewer or default,
        "items": items,
        "progress": {who: len(given) for who, given in everybody.items()},
        "agreement": agreement(everybody),
    }


def jpeg(review: Review, query: dict[str, str]) -> bytes:
    """A panel as JPEG bytes."""
    import cv2

    image = panel(review.sample(query.get("id", "")), query.get("kind", "photo"), query.get("zoom") == "1")
    return bytes(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
