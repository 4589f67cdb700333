"""The review's web server: standard library only, loopback by default, one page and four addresses."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ...core.errors import MALFORMED, AmodalError, OutputError, UsageError
from ...core.files import parse_json
from ...core.image import encode_jpeg
from .guide import guide
from .panels import panel
from .store import Review, agreement

__all__ = ["make_server"]

LARGEST_REQUEST = 10_000
REQUEST_S = 30.0
"""Seconds that a caller may take for a whole request, however it trickles; and for taking an answer."""
MAX_LINES = 200
"""Connections at a time; more are closed at once."""
OURS = {
    HTTPStatus.NOT_IMPLEMENTED: HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: HTTPStatus.BAD_REQUEST,
}
"""What the library takes for faults of the server's, and are the caller's."""


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

    Bound.review, Bound.reviewer, Bound.only_local = review, reviewer, host in ("127.0.0.1", "localhost", "::1")
    try:
        return Server((host, port), Bound)
    except OSError as error:
        raise OutputError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error


class Server(ThreadingHTTPServer):
    """A thread a caller; callers that go away are no news."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(MAX_LINES)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the caller, if there is one left."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that broke off; a fault of our own is told in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"review: {type(error).__name__}: {error}", file=sys.stderr)


class Paced(io.RawIOBase):
    """What a caller sends, until the time of its request is over."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.begin()

    def begin(self) -> None:
        """A new request: its time begins."""
        self.end = time.monotonic() + REQUEST_S

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.line.settimeout(left)
        return self.line.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """Answers the page's requests."""

    review: Review
    reviewer: str
    only_local: bool
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """The line is read at a pace."""
        super().setup()
        self.paced = Paced(self.connection)
        self.rfile = io.BufferedReader(self.paced)

    def handle_one_request(self) -> None:
        """Each request has its own time."""
        self.paced.begin()
        super().handle_one_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses (heads that are too long, verbs that nobody knows), told as everything else is."""
        status = OURS.get(HTTPStatus(code), HTTPStatus(code))
        self.refuse(status, message or status.phrase)

    def do_HEAD(self) -> None:
        """As GET, without the content."""
        self.do_GET()

    def do_GET(self) -> None:
        """`/`: the page; `/state?reviewer=`: JSON; `/panel?id=&kind=&zoom=` and `/guide?example=&kind=`: a JPEG."""
        if not self.admitted():
            return
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # the body is not read, and would be taken for the next request
        try:
            address = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(address.query, max_num_fields=20).items()}
        except ValueError:
            self.refuse(HTTPStatus.BAD_REQUEST, "the address is damaged")
            return
        if address.path == "/":
            page = resources.files(__package__).joinpath("page.html").read_bytes()
            self.reply(page, "text/html; charset=utf-8")
        elif address.path == "/state":
            self.guarded(lambda: self.reply_json(state(self.review, query.get("reviewer", ""), self.reviewer)))
        elif address.path == "/panel":
            self.guarded(lambda: self.reply(jpeg(self.review, query), "image/jpeg", "max-age=3600"))
        elif address.path == "/guide":
            self.guarded(lambda: self.reply(guide_jpeg(query), "image/jpeg", "max-age=3600"))
        else:
            self.reply_json({"error": f"no page {address.path}"}, HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """`/answer` {reviewer, id, answer}; `/undo` {reviewer}. JSON only, so that no other site's form can post here."""
        if not self.admitted():
            return
        stated = self.headers.get("Content-Length") or ""
        kind = (self.headers.get("Content-Type") or "").split(";")[0].strip()
        if not (stated.isascii() and stated.isdigit()) or self.headers.get("Transfer-Encoding"):
            self.refuse(HTTPStatus.LENGTH_REQUIRED, "state the body's size (Content-Length)")
            return
        if len(stated) > 9 or int(stated) > LARGEST_REQUEST:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {LARGEST_REQUEST} bytes")
            return
        if kind != "application/json":
            self.refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send a small application/json body")
            return
        try:
            body = parse_json(self.rfile.read(int(stated)), "the body")
            reviewer = text(body["reviewer"])
            given = (text(body["id"]), text(body["answer"])) if self.path == "/answer" else None
        except (AmodalError, *MALFORMED):
            self.refuse(HTTPStatus.BAD_REQUEST, "needs JSON with reviewer, and for /answer id and answer")
            return
        except OSError:  # the caller went away, or sends too slowly
            self.close_connection = True
            return
        if given is not None:
            self.guarded(lambda: self.keep(reviewer, *given))
        elif self.path == "/undo":
            self.guarded(lambda: self.reply_json({"undone": self.review.undo(reviewer)}))
        else:
            self.reply_json({"error": f"no page {self.path}"}, HTTPStatus.NOT_FOUND)

    def admitted(self) -> bool:
        """Whether a request is for this server and from its own page: a foreign page's name for this address is refused, so that
        no web site can read or answer through its visitor's browser."""
        if len(self.headers.get_all("Host") or ()) > 1:
            self.refuse(HTTPStatus.BAD_REQUEST, "name one host")
            return False
        host = (self.headers.get("Host") or "").rsplit("@")[-1].lower()
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if self.only_local and name not in ("localhost", "127.0.0.1", "[::1]"):
            self.refuse(HTTPStatus.FORBIDDEN, "this server is for its own machine: open it by 127.0.0.1 or localhost")
            return False
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            self.refuse(HTTPStatus.FORBIDDEN, "another site's page may not ask here")
            return False
        return True

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer with an error and close the connection, since the rest of the request is not read."""
        self.close_connection = True
        self.reply_json({"error": reason}, status)

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
        except OSError as error:  # the disk, or a caller that went away
            self.close_connection = True
            if not isinstance(error, ConnectionError | TimeoutError):
                self.reply_json({"error": f"not done: {error.strerror or error}"}, HTTPStatus.BAD_REQUEST)

    def reply_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with JSON."""
        self.reply(json.dumps(content).encode(), "application/json", status=status)

    def reply(self, content: bytes, kind: str, cache: str = "no-store", status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with bytes."""
        self.connection.settimeout(REQUEST_S)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", cache)
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src 'self' data:")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def text(value: Any) -> str:
    """The value, if it is text that can be written. Raises TypeError or ValueError."""
    if not isinstance(value, str):
        raise TypeError
    value.encode()
    return value


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
        "guide": [{"good": example.good, "text": example.text} for example in guide()],
    }


def guide_jpeg(query: dict[str, str]) -> bytes:
    """A panel of an example of the guide."""
    number = query.get("example", "0")
    examples = guide()
    if not (number.isascii() and number.isdigit()) or len(number) > 3 or int(number) >= len(examples):
        raise UsageError(f"there is no example {number[:20]!r}; there are {len(examples)}")
    return encode_jpeg(panel(examples[int(number)].sample, query.get("kind", "photo")))


def jpeg(review: Review, query: dict[str, str]) -> bytes:
    """A panel of an object of the round."""
    sample = review.sample(query.get("id", ""))
    return encode_jpeg(panel(sample, query.get("kind", "photo"), query.get("zoom") == "1"))
