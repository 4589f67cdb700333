"""What must not take the service down: odd heads and bodies, damaged pictures, huge canvases, those who trickle or flood."""

import base64
import contextlib
import select
import socket

import numpy as np
import pytest

from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.serve.config import Limits
from serve.conftest import DEMO, Browser, quarter_photo, running


def test_one_caller_does_not_push_out_the_photos_of_others(service):
    """With one session, or with a new one for each photo."""
    victim, flood = Browser(service), Browser(service)
    victim("GET", "/api/about")
    scene = victim.open(encode_png(np.zeros((8, 8, 3), np.uint8)))
    tiny = encode_png(np.ones((8, 8, 3), np.uint8))
    for _ in range(service.engine.config.limits.scenes + 3):
        flood.open(tiny)
        Browser(service).open(tiny)
    assert victim("GET", f"/api/scenes/{scene}")[0] == 200


def line_to(service, text: bytes) -> bytes:
    """The first line of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=100) as line:
        line.sendall(text)
        line.shutdown(socket.SHUT_WR)
        answer = b""
        while part := line.recv(65536):
            answer += part
    return answer.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/about HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[",
        b"GET /api/about HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: amodal_1=\xff\xfe; =;",
        b"GET /api/about HTTP/1.1\r\nHost: [::1\r\nOrigin: http://[::1",
        b"GET /samples/%00 HTTP/1.1\r\nHost: 127.0.0.1",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: 127.0.0.1",
        b"GET /%ff%fe HTTP/1.1\r\nHost: 127.0.0.1",
        b"POST /api/scenes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + b"9" * 5000,
        b"POST /api/scenes?name=%ff%00 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 100",
        b"POST /api/complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data\r\nContent-Length: 3",
    ],
)
def test_odd_heads_and_cut_uploads(service, head):
    status = line_to(service, head + b"\r\n\r\nabc")
    assert b" 5" not in status[8:11], status


@pytest.mark.parametrize("request_line", [b"POST /api/scenes", b"GET /api/health", b"POST /nowhere"])
def test_who_asks_for_a_websocket_is_answered(service, capfd, request_line):
    """There is none; the line was kept for ever without a word when the request had a body."""
    asks = b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n\r\nhello"
    with socket.create_connection(("127.0.0.1", service.port), timeout=100) as line:
        line.sendall(request_line + asks + key)
        answer = line.recv(65536)
    assert answer.startswith(b"HTTP/1.1 ") and answer[9:12] in (b"200", b"422", b"404", b"405")
    assert b"nosniff" in answer and "WebSocket" not in capfd.readouterr().err, "not past the guard"


@pytest.mark.parametrize(
    "body",
    [
        b'{"points": [[NaN, 1]]}',
        b'{"points": [[1e999, 1]]}',
        b'{"points": [[' + b"9" * 5000 + b", 1]]}",
        b'{"box": [0, 0, -0.0, 1e-320]}',
        b'{"\\ud800": 1}',
        b'{"text": "\\ud800"}',
        b'{"model": {"method": "\\ud800"}}',
        b"[" * 100_000,
        b'{"points": [[true, null]]}',
        b"\xff\xfe{",
        b'{"mask": {"size": [400, 600], "counts": "' + b"0" * 1000 + b'"}}',
        b'{"point": [5, 5], "mask": {"size": [400, 600], "counts": "", "origin": [100000, 100000]}}',
    ],
)
@pytest.mark.parametrize("what", ["visible", "completions"])
def test_odd_bodies(browser, body, what):
    scene = browser.open(quarter_photo())
    status, answer, _ = browser("POST", f"/api/scenes/{scene}/{what}", body, Content_Type="application/json")
    assert status in (400, 422), (status, answer)


def test_damaged_pictures(browser):
    """Cut, bytes changed, and formats that would start another program: a refusal or a photo, never a fault."""
    dice = np.random.default_rng(1)
    png, jpeg = quarter_photo(), (DEMO / "coffee.jpg").read_bytes()
    for content in (png, jpeg):
        for _ in range(25):
            broken = bytearray(content[: int(dice.integers(1, len(content)))])
            for place in dice.integers(0, len(broken), 8):
                broken[place] = int(dice.integers(256))
            assert browser("POST", "/api/scenes", bytes(broken))[0] in (201, 422)
    for odd in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"P6 9 9 255 ", b"BM" + b"\xff" * 60):
        status, answer, _ = browser("POST", "/api/scenes", odd)
        assert status == 422 and ("not a picture" in answer["error"] or "damaged" in answer["error"])


def test_a_small_request_for_a_huge_canvas(browser):
    """A repaint's mask may leave the photo a little: its canvas is bounded before anything is made of it."""
    scene = browser.open(quarter_photo())
    seen = Mask.from_box((10, 10, 40, 40)).to_rle((100, 150))
    for origin, size in (([90_000, 90_000], [1, 1]), ([-60, 0], [10, 100_000]), ([-151, 0], [1, 1])):
        amodal = {"size": size, "counts": "01", "origin": origin}
        status, answer, _ = browser("POST", f"/api/scenes/{scene}/repaints", {"visible": seen, "amodal": amodal})
        assert status == 422 and "leave the photo" in answer["error"], answer


def test_a_small_file_of_a_huge_picture(monkeypatch):
    """A photo and a mask alike are refused by their heads: nothing of them is unpacked."""
    import httpx

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", None)
    photo = quarter_photo()
    with running(limits=Limits(pixels=20_000)) as service:
        browser = Browser(service)
        large = encode_png(np.zeros((150, 150), np.uint8))
        assert "the photo is 150 x 150; at most" in browser("POST", "/api/scenes", large)[1]["error"]
        body = {"image": base64.b64encode(photo).decode(), "point": [5, 5]}
        assert "damaged" in browser("POST", "/api/complete", body)[1]["error"], (
            "a picture within the bounds is unpacked"
        )
        form = {"image": ("cup.png", photo), "mask": ("mask.png", large)}
        answer = httpx.post(f"{service.url}/api/complete", files=form, trust_env=False, timeout=60)
        assert answer.status_code == 422 and "the mask is 150 x 150; at most" in answer.json()["error"]


def test_mask_pictures_are_read_for_their_photo(browser):
    """As everywhere: here labels of 0 and 1. Of another size, of nothing, or for somebody else's photo they are refused."""
    scene = browser.open(quarter_photo())
    bits = np.zeros((100, 150), np.uint8)
    bits[20:50, 30:70] = 1
    status, found, _ = browser("POST", f"/api/scenes/{scene}/mask", encode_png(bits))
    assert status == 200 and Mask.from_rle(found["mask"]) == Mask.from_array(bits) and found["box"] == [30, 20, 70, 50]
    for picture, text in (
        (bits.T, "100 x 150 pixels, the photo 150 x 100"),
        (0 * bits, "marks no pixel"),
        (None, "empty"),
    ):
        content = b"" if picture is None else encode_png(np.ascontiguousarray(picture))
        status, answer, _ = browser("POST", f"/api/scenes/{scene}/mask", content)
        assert status == 422 and text in answer["error"], answer
    assert Browser(browser.service)("POST", f"/api/scenes/{scene}/mask", encode_png(bits))[0] == 404


def test_those_who_trickle_hold_nothing(browser):
    """Thirty uploads that never end, and one that is served at once."""
    head = b"POST /api/scenes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n\x89PNG"
    lines = [socket.create_connection(("127.0.0.1", browser.service.port), timeout=100) for _ in range(30)]
    try:
        for line in lines:
            line.sendall(head)
        browser.open(quarter_photo())
        assert select.select(lines, [], [], 0)[0] == [], "they have not been ended first"
    finally:
        for line in lines:
            line.close()


def test_heads_that_never_end(monkeypatch):
    monkeypatch.setattr("amodal.serve.server.HEAD_S", 0.3)
    with (
        running() as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=100) as line,
    ):
        line.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with contextlib.suppress(ConnectionResetError):
            assert line.recv(100) == b""
        assert Browser(service)("GET", "/api/health")[0] == 200
