"""What strangers may try: other people's scenes, traversal, bombs, floods, other sites, tokens."""

import io
import json
import logging
import socket
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from amodal.core.errors import UsageError
from amodal.core.image import encode_png
from amodal.serve.answers import safe_name
from amodal.serve.config import Config, Limits
from amodal.serve.engine import free_text
from serve.conftest import DEMO, SMALL_BOX, Browser, quarter_photo, running

TOKEN = "correct-horse-battery-staple"
BOX = {"box": [150, 70, 490, 360]}


def test_somebody_elses_scene_and_job_look_like_nothing(service, browser):
    scene = browser.open()
    _, job, _ = browser("POST", f"/api/scenes/{scene}/completions", BOX)
    browser.finish(job)
    stranger = Browser(service)
    stranger("GET", "/api/about")
    paths = [
        ("GET", f"/api/scenes/{scene}"),
        ("GET", f"/api/scenes/{scene}/photo.png"),
        ("DELETE", f"/api/scenes/{scene}"),
        ("GET", f"/api/jobs/{job['id']}"),
        ("GET", f"/api/jobs/{job['id']}/events"),
        ("GET", f"/api/jobs/{job['id']}/result"),
        ("GET", f"/api/jobs/{job['id']}/files/amodal.png"),
        ("DELETE", f"/api/jobs/{job['id']}"),
    ]
    for verb, path in paths:
        status, answer, _ = stranger(verb, path)
        missing = stranger(verb, path.replace(scene, "x" * 22).replace(job["id"], "x" * 22))
        assert status == 404 and answer == missing[1]
    assert stranger("POST", f"/api/scenes/{scene}/visible", BOX)[0] == 404
    assert browser("GET", f"/api/scenes/{scene}")[0] == 200
    assert len(scene) >= 22 and scene != browser.open()


def test_a_forged_cookie_is_nobody(service, browser):
    scene = browser.open()
    name, _, value = browser.cookie.partition("=")
    session, _, signature = value.rpartition(".")
    for forged in (f"{name}={session}.{'0' * len(signature)}", f"{name}={session}", f"{name}=.{signature}"):
        assert Browser(service, Cookie=forged)("GET", f"/api/scenes/{scene}")[0] == 404
    _, _, headers = Browser(service)("GET", "/api/about")
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/samples/../../errors.py",
        "/samples/%2e%2e/errors.py",
        "/samples//etc/passwd",
        "/api/jobs/..%2f..%2fx/files/amodal.png",
        "/api/jobs/aaaaaaaaaaaaaaaaaaaaaa/files/..%2f..%2fetc%2fpasswd",
    ],
)
def test_path_traversal(service, path):
    with socket.create_connection(("127.0.0.1", service.port), timeout=100) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := line.recv(65536):
            answer += part
    assert answer.split(b" ", 2)[1] in (b"404", b"422", b"400", b"405")
    assert b"root:" not in answer and b"AmodalError" not in answer


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\evil.png", "evil.png"),
        ("a\r\nSet-Cookie: x", "a_Set-Cookie_ x"),
        (".bashrc", "bashrc"),
        ("", "photo"),
        ("...", "photo"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("Küche 3.jpg", "Küche 3.jpg"),
    ],
)
def test_names_are_only_names(name, safe):
    assert safe_name(name) == safe


def png_of(width: int, height: int) -> bytes:
    """A small file that says it is huge, and is: rows of zeros compress a thousandfold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pack = zlib.compressobj(9)
    row = b"\0" * (width // 8 + 2)
    body = b"".join(pack.compress(row * 1000) for _ in range(height // 1000)) + pack.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_bombs(browser, service):
    bomb = png_of(60_000, 60_000)
    assert len(bomb) < 1_000_000
    status, answer, _ = browser("POST", "/api/scenes", bomb)
    assert status == 422 and "megapixels" in answer["error"]
    status, answer, _ = browser("POST", "/api/scenes", png_of(8_000, 8_000))
    assert status == 422 and "8000 x 8000; at most 24 megapixels" in answer["error"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", b"\0" * 50_000_000)
    status, answer, _ = browser("POST", "/api/scenes", archive.getvalue())
    assert status == 422 and "not a picture" in answer["error"]
    scene = browser.open()
    rle = {"size": [90_000, 90_000], "counts": "PPPPPPPPPP1"}
    for body in ({"visible": rle, "amodal": rle}, {"visible": {"size": [400, 600], "counts": "0"}, "amodal": rle}):
        status, answer, _ = browser("POST", f"/api/scenes/{scene}/repaints", body)
        assert status == 422, answer


def test_uploads_of_a_hundred_megabytes_are_cut_off(service):
    """By their declared length at once, and without one (chunked) when the limit is passed."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=100) as line:
        head = "POST /api/scenes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        line.sendall(f"{head}Content-Length: 104857600\r\n\r\n".encode())
        assert b"413" in line.recv(65536).split(b"\r\n")[0]
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=100) as line:
        line.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        block = b"100000\r\n" + b"\0" * 0x100000 + b"\r\n"
        try:
            while sent < 100:
                line.sendall(block)
                sent += 1
        except OSError:
            pass
        line.setblocking(True)
        try:
            answer = line.recv(65536)
        except OSError:
            answer = b"HTTP/1.1 413"  # reset before the answer was read: cut off all the same
    assert b"413" in answer.split(b"\r\n")[0]
    assert service.engine.photos is not None


@pytest.mark.parametrize("kind", ["text/html", "application/json", "multipart/form-data; boundary=x", "image/svg+xml"])
def test_wrong_content_types(browser, kind):
    body = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    status, answer, _ = browser("POST", "/api/scenes", body, Content_Type=kind)
    assert status == 422 and ("must be the photo" in answer["error"] or "not a picture" in answer["error"])


def test_a_form_post_is_not_json(browser):
    scene = browser.open()
    status, _, _ = browser(
        "POST", f"/api/scenes/{scene}/visible", b"box=1", Content_Type="application/x-www-form-urlencoded"
    )
    assert status == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_sites_are_refused(browser, headers):
    scene = browser.open()
    status, answer, sent = browser("POST", f"/api/scenes/{scene}/completions", BOX, **headers)
    assert status == 403 and "other sites" in answer["error"]
    assert "access-control-allow-origin" not in sent
    assert browser("GET", "/api/about", **headers)[0] == 403


def test_rebound_names_are_refused(browser):
    status, answer, _ = browser("GET", "/api/about", Host="evil.example:7860")
    assert status == 421 and "localhost" in answer["error"]
    assert browser("GET", "/", Host="evil.example")[0] == 421
    assert browser("GET", "/api/about", Host="localhost")[0] == 200


def test_headers_of_every_answer(browser):
    for path in ("/", "/api/health", "/api/jobs/xxxxxxxxxx", "/nothing"):
        _, _, headers = browser("GET", path)
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_other_machines_need_a_token():
    with pytest.raises(UsageError, match="needs a token; give one"):
        Config(host="0.0.0.0")
    with pytest.raises(UsageError, match="shorter than 16"):
        Config(host="0.0.0.0", token="secret")


def test_token(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with running(token=TOKEN) as service:
        for headers in ({}, {"Authorization": "Bearer wrong-wrong-wrong-wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            stranger = Browser(service, **headers)
            for path in ("/api/about", "/metrics", "/openapi.json", "/api/jobs/xxxxxxxxxx"):
                status, answer, sent = stranger("GET", path)
                assert status == 401 and "Bearer TOKEN" in answer["error"] and "www-authenticate" in sent
            assert stranger("POST", "/api/scenes", b"x")[0] == 401
            assert stranger("POST", "/label-studio/predict", {"tasks": []})[0] == 401
            assert stranger("GET", "/api/health")[0] == 200 and stranger("GET", "/")[0] == 200
        friend = Browser(service, Authorization=f"Bearer {TOKEN}")
        assert friend("GET", "/api/about", Host="my.server.example")[0] == 200
        scene = friend.open()
        later = Browser(service)  # the cookie alone is enough from here on
        later.cookie = friend.cookie
        assert later("GET", f"/api/scenes/{scene}")[0] == 200
        assert Browser(service, Authorization=f"Bearer {TOKEN}")("GET", f"/api/scenes/{scene}")[0] == 404
        friend("GET", f"/api/scenes/{scene}?token={TOKEN}")
        session = friend.cookie
    logged = caplog.text + "".join(capfd.readouterr())
    assert "/api/scenes" in logged
    assert TOKEN not in logged and session not in logged and session.partition("=")[2] not in logged


def test_no_option_reaches_files_or_hubs(browser):
    """Options of free text (paths, hub names) are the operator's; hub names and folders are no names of the registry."""
    from amodal.plugins import registry

    scene = browser.open()
    _, about, _ = browser("GET", "/api/about")
    for kind in ("methods", "inpainters", "segmenters"):
        for choice in about[kind]["choices"]:
            free = free_text(registry.find(kind, choice["name"]).Options)
            assert not free & set(choice["schema"]["properties"])
            part = kind[:-1]
            for option in free:
                values = {"options" if part == "method" else f"{part}_options": {option: "/etc/passwd"}}
                body = {**BOX, "model": {part: choice["name"], **values}}
                status, answer, _ = browser("POST", f"/api/scenes/{scene}/completions", body)
                assert status == 422 and "set by whoever runs the service" in answer["error"]


def test_slow_uploads_end():
    with running(limits=Limits(upload_s=0.5)) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=100) as line:
            head = "POST /api/scenes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
            line.sendall(head.encode() + b"\x89PNG")
            assert b"408" in line.recv(65536).split(b"\r\n")[0]
        assert Browser(service)("GET", "/api/health")[0] == 200


def test_broken_pictures(browser):
    photo = (DEMO / "coffee.jpg").read_bytes()
    wide = io.BytesIO()
    Image.fromarray(np.zeros((3, 5), np.uint16)).save(wide, "TIFF")
    tiny = encode_png(np.zeros((1, 1, 3), np.uint8))
    for content, status in ((b"", 422), (photo[:2000], 422), (b"GIF89a", 422), (wide.getvalue(), 201), (tiny, 201)):
        assert browser("POST", "/api/scenes", content)[0] == status


BYTES = "application/octet-stream"


@pytest.mark.parametrize("examples", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_the_api_document_finds_no_5xx(service, examples):
    """schemathesis: requests made from the OpenAPI document, sound and unsound ones; none may end in a 5xx."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from hypothesis import HealthCheck, Phase, given, settings

    browser = Browser(service)
    scene = browser.open(quarter_photo())
    _, job, _ = browser("POST", f"/api/scenes/{scene}/completions", {"box": SMALL_BOX})
    browser.finish(job)
    tried = []

    def attack(case, verb):
        path = case.path.replace("{job}", job["id"]).replace("{name}", "amodal.png")
        path = path.replace("{scene}", "x" * 22 if verb == "DELETE" else scene)
        body = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str).encode()
        kind = case.media_type if case.media_type not in (None, BYTES) else "image/png"
        status, answer, _ = browser(verb, path, body if verb == "POST" else None, Content_Type=kind)
        assert status < 500, (verb, path, body[:300], answer)
        tried.append(status)

    def attacker(verb):
        return lambda case: attack(case, verb)

    how = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    # Not every schemathesis knows how to write image/*.
    document = json.loads(json.dumps(service.guard.app.openapi()).replace("image/*", BYTES))
    for operation in schemathesis.openapi.from_dict(document).get_all_operations():
        found = operation.ok()
        verb = found.method.upper()
        how(given(case=found.as_strategy())(attacker(verb)))()
    assert len(tried) >= 20 and {200, 202, 422} & set(tried)
