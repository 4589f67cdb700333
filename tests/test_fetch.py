"""Fetching against servers of our own on the loopback: resuming, mirrors, damage, the hub's own layout; no network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from amodal.cli import run
from amodal.core.errors import Cancelled, OutputError, UnknownNameError, WeightsError
from amodal.weights import catalogue, fit_state
from amodal.weights import fetch as fetching
from amodal.weights.catalogue import Weights

CONTENT = bytes(range(256)) * 20_000  # 5 MB
COMMIT = "c0ffee" * 6 + "c0de"
FILES = {
    "config.json": b'{"model_type": "sam"}',
    "model.safetensors": (2).to_bytes(8, "little") + b"{}",
    "pytorch_model.bin": b"a pickle that nobody asked for",
}


class Handler(BaseHTTPRequestHandler):
    """`/file*` are CONTENT in several moods; all else is a hub with the one repository `some/net`."""

    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Range")))
        path = self.path.split("?")[0]
        if path.startswith("/file"):
            return self.file(path)
        if self.server.gated:
            return self.send(401, b"{}", {"X-Error-Code": "GatedRepo"})
        if path.startswith("/api/models/some/net/tree/"):
            rows = [
                {"type": "file", "path": n, "size": len(c), "oid": name_of(c), **lfs(n, c)} for n, c in FILES.items()
            ]
            return self.send(200, json.dumps(rows).encode())
        if path.startswith("/api/models/some/net"):
            siblings = [{"rfilename": name} for name in FILES]
            return self.send(200, json.dumps({"id": "some/net", "sha": COMMIT, "siblings": siblings}).encode())
        if path.startswith(f"/some/net/resolve/{COMMIT}/") and (name := path.rsplit("/", 1)[1]) in FILES:
            content = FILES[name]
            tag = lfs(name, content).get("lfs", {}).get("oid") or name_of(content)
            return self.send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
        return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def file(self, path: str) -> None:
        if path == "/file404":
            return self.send(404, b"")
        content = CONTENT if path != "/file-other" else b"another file"
        if path == "/file-breaks" and not self.headers.get("Range"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"one"')
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return None
        if self.headers.get("Range") and self.headers.get("If-Range") == '"one"':
            start = int(self.headers["Range"][6:-1])
            if start >= len(content):
                return self.send(416, b"")
            first = 0 if path == "/file-elsewhere" else start
            ranged = {"ETag": '"one"', "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            return self.send(206, content[first:], ranged)
        if path == "/file-416":
            return self.send(416, b"")
        if path in ("/file-endless", "/file-no-number"):
            self.send_response(200)
            if path == "/file-no-number":
                self.send_header("Content-Length", "many")
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for _ in range(1000 if path == "/file-endless" else 1):
                    self.wfile.write(content)
            self.close_connection = True
            return None
        return self.send(200, content, {"ETag": '"one"'})

    def send(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def name_of(content: bytes) -> str:
    """git's name of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs(name: str, content: bytes) -> dict[str, Any]:
    if name.endswith(".json"):
        return {}
    return {"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}}


class Server(ThreadingHTTPServer):
    """Keeps quiet when a client hangs up, which some tests do."""

    def handle_error(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = Server(("127.0.0.1", 0), Handler)
    made.seen, made.gated = [], False
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Any) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "AMODAL_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return tmp_path


def given(monkeypatch: pytest.MonkeyPatch, **entry: Any) -> None:
    entry = {"kind": "file", "file": "net.bin", "summary": "", "license": "MIT", **entry}
    monkeypatch.setattr(catalogue, "entries", lambda: {"net": Weights(name="net", **entry)})


def test_a_file_is_fetched_once(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",), sha256=hashlib.sha256(CONTENT).hexdigest())
    ticks: list[tuple[str, int, int]] = []
    path = fetching.fetch("net", lambda *progress: ticks.append(progress))
    assert path.read_bytes() == CONTENT and path == catalogue.locate("net")
    assert ticks[-1] == ("MB", 4, 4)
    assert sorted(each.name for each in path.parent.iterdir()) == ["net.bin", "record.json"]
    count = len(server.seen)
    assert fetching.fetch("net") == path
    assert len(server.seen) == count


def test_a_file_address_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.bin").write_bytes(CONTENT)
    given(monkeypatch, sources=((tmp_path / "there.bin").as_uri(),))
    assert fetching.fetch("net").read_bytes() == CONTENT


def test_a_broken_connection_is_resumed(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    given(monkeypatch, sources=(f"{server.url}/file-breaks",))
    with pytest.raises(WeightsError, match="could not be fetched"):
        fetching.fetch("net")
    with pytest.raises(WeightsError, match="'net' are not on this machine; run: amodal fetch net"):
        catalogue.locate("net")
    assert fetching.fetch("net").read_bytes() == CONTENT
    assert server.seen[-1][1] == f"bytes={len(CONTENT) // 2}-"


def test_cancelling_keeps_what_is_there(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",))

    def stop(what: str, done: int, total: int) -> None:
        if done >= 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        fetching.fetch("net", stop)
    assert fetching.fetch("net").read_bytes() == CONTENT
    start = int(server.seen[-1][1][6:-1])
    assert 2 << 20 <= start < len(CONTENT)


def test_a_part_that_is_as_long_as_the_file_is_begun_again(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",))
    place = catalogue.place_of(catalogue.find("net"))
    place.parent.mkdir(parents=True)
    (place.parent / "net.bin.part").write_bytes(b"x" * len(CONTENT))
    (place.parent / "net.bin.part.etag").write_text('"one"')
    assert fetching.fetch("net").read_bytes() == CONTENT


def test_servers_that_answer_nonsense(monkeypatch: pytest.MonkeyPatch, server: Any, home: Path) -> None:
    """A size that is no number, another part than was asked for, a body without an end, an address that is none: told, not a
    traceback, and not a byte of it is taken for the file."""
    monkeypatch.setattr(fetching, "LOOSE", 1 << 20)
    given(monkeypatch, sources=(f"{server.url}/file-no-number",))
    assert fetching.fetch("net").read_bytes() == CONTENT
    place = home / "home" / "weights" / "net"
    for path, text in (
        ("/file-416", "HTTP 416"),
        ("/file-endless", "sends more than"),
        ("nowhere", "unknown url type"),
    ):
        shutil.rmtree(place, ignore_errors=True)
        given(monkeypatch, sources=(f"{server.url}{path}" if path.startswith("/") else path,), size=len(CONTENT))
        with pytest.raises(WeightsError, match=text):
            fetching.fetch("net")
    shutil.rmtree(place, ignore_errors=True)
    given(monkeypatch, sources=(f"{server.url}/file-elsewhere",))
    place.mkdir(parents=True)
    (place / "net.bin.part").write_bytes(CONTENT[:1000])
    (place / "net.bin.part.etag").write_text('"one"')
    with pytest.raises(WeightsError, match="another part of the file"):
        fetching.fetch("net")
    assert fetching.fetch("net").read_bytes() == CONTENT


@pytest.mark.parametrize("record", ["[1]", '{"sha256": 5}', '{"revision": "../../.."}', '{"files": [1]}', "5"])
def test_damaged_records(monkeypatch: pytest.MonkeyPatch, server: Any, home: Path, record: str) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",))
    fetching.fetch("net")
    (home / "home" / "weights" / "net" / "record.json").write_text(record)
    with pytest.raises(WeightsError, match="record .* is damaged"):
        fetching.check("net")


def test_mirrors_in_turn(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    good = hashlib.sha256(CONTENT).hexdigest()
    given(monkeypatch, sources=tuple(f"{server.url}/file{end}" for end in ("404", "-other", "")), sha256=good)
    assert fetching.fetch("net").read_bytes() == CONTENT
    assert catalogue.record_of(catalogue.find("net"))["source"] == f"{server.url}/file"


def test_all_sources_fail(monkeypatch: pytest.MonkeyPatch, server: Any, home: Path) -> None:
    dead = "http://127.0.0.1:1/file"
    given(monkeypatch, sources=(f"{server.url}/file404", f"{server.url}/file-other", dead), sha256="ab" * 32)
    with pytest.raises(WeightsError) as caught:
        fetching.fetch("net")
    text = str(caught.value)
    assert "/file404: HTTP 404 Not Found; " in text
    assert "/file-other: gave another file (sha256 " in text and "the record says abababababab...)" in text
    assert f"{dead}: [Errno" in text and f"copy the files to {home / 'home' / 'weights' / 'net' / 'net.bin'}" in text


def test_without_a_published_digest_the_first_one_holds(
    monkeypatch: pytest.MonkeyPatch, server: Any, capsys: Any
) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",))
    assert run(["fetch", "net"]) == 0
    out, err = capsys.readouterr()
    path = Path(out.strip())
    assert path.read_bytes() == CONTENT
    assert "nobody has published a sha256; recorded" in err
    given(monkeypatch, sources=(f"{server.url}/file-other",))
    path.unlink()
    with pytest.raises(WeightsError, match="gave another file"):
        fetching.fetch("net")


def test_check_replaces_a_damaged_file(monkeypatch: pytest.MonkeyPatch, server: Any, capsys: Any) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",))
    path = fetching.fetch("net")
    assert run(["fetch", "net", "--check"]) == 0
    assert "all intact" in capsys.readouterr().err
    path.write_bytes(CONTENT[:-1] + b"!")
    assert run(["fetch", "net", "--check", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["damaged"] == ["net.bin"] and "net.bin is damaged; fetching it again" in err
    assert path.read_bytes() == CONTENT
    with pytest.raises(WeightsError, match="are not on this machine"):
        path.unlink()
        fetching.check("net")


def test_weights_that_do_not_fit_say_whether_the_file_is_altered(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    torch = pytest.importorskip("torch")
    given(monkeypatch, sources=(f"{server.url}/file",))
    path = fetching.fetch("net")
    network = torch.nn.Linear(2, 2)
    with pytest.raises(
        WeightsError, match=r"2 missing \(weight, bias\)\. The file is the one on record \(sha256 \w{12}\.\.\.\)"
    ):
        fit_state(network, {}, "net")
    path.write_bytes(b"altered")
    with pytest.raises(
        WeightsError, match=r"The file has sha256 \w{12}\.\.\., the record says .*; fetch net again with a check"
    ):
        fit_state(network, {}, "net")


def test_a_small_disk(monkeypatch: pytest.MonkeyPatch, server: Any, home: Path) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 1_000_000))
    with pytest.raises(
        OutputError, match=r"\d+ MB are needed in .*, 1 MB are free; free some space, or set AMODAL_HOME"
    ):
        fetching.fetch("net")
    monkeypatch.undo()


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, server: Any, home: Path) -> None:
    (home / "home").write_text("a file, no folder")
    given(monkeypatch, sources=(f"{server.url}/file",))
    with pytest.raises(OutputError, match="cannot write .*set AMODAL_HOME"):
        fetching.fetch("net")


@pytest.mark.parametrize("switch", ["AMODAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(monkeypatch: pytest.MonkeyPatch, server: Any, switch: str) -> None:
    given(monkeypatch, sources=(f"{server.url}/file",))
    monkeypatch.setenv(switch, "1")
    with pytest.raises(WeightsError, match="are not here and AMODAL_OFFLINE or HF_HUB_OFFLINE forbids the network"):
        fetching.fetch("net")
    assert server.seen == []
    monkeypatch.delenv(switch)
    path = fetching.fetch("net")
    monkeypatch.setenv(switch, "1")
    assert fetching.fetch("net") == path


def test_unknown_names(capsys: Any) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'sd15'"):
        fetching.fetch("sd-15")
    assert run(["fetch", "sd-15"]) == 2


class TestHub:
    """The hub's own client against a small hub of ours."""

    pytest.importorskip("huggingface_hub")

    def test_only_what_is_needed(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        given(
            monkeypatch, kind="hub", sources=("gone/net", f"some/net@{COMMIT}"), files=("config.json", "*.safetensors")
        )
        folder = fetching.fetch("net")
        assert folder == catalogue.locate("net") == home / "hf" / "hub" / "models--some--net" / "snapshots" / COMMIT
        assert sorted(each.name for each in folder.iterdir()) == ["config.json", "model.safetensors"]
        record = catalogue.record_of(catalogue.find("net"))
        assert (record["source"], record["revision"]) == ("some/net", COMMIT)
        assert fetching.check("net") == []

    def test_any_repository_without_its_pickles(self) -> None:
        folder = fetching.fetch("some/net")
        assert sorted(each.name for each in folder.iterdir()) == ["config.json", "model.safetensors"]
        assert catalogue.locate("some/net") == folder

    def test_damage_is_found_and_mended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fetching.fetch("some/net")
        for name in ("config.json", "model.safetensors"):
            (folder / name).resolve().write_bytes(FILES[name][:-1] + b"!")
        assert fetching.check("some/net") == ["config.json", "model.safetensors"]
        with pytest.raises(WeightsError, match="are (here in part only|not on this machine)"):
            catalogue.locate("some/net")
        assert fetching.fetch("some/net") == folder
        assert all((folder / name).read_bytes() == FILES[name] for name in ("config.json", "model.safetensors"))
        assert catalogue.locate("some/net") == folder

    def test_an_interrupted_fetch_is_no_folder_to_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fetching.fetch("some/net")
        (folder / "model.safetensors").unlink()
        fetching.mark(catalogue.entry_of("some/net")).touch()
        with pytest.raises(WeightsError, match="are here in part only; to get the rest run: amodal fetch some/net"):
            catalogue.locate("some/net")
        assert (fetching.fetch("some/net") / "model.safetensors").exists()

    def test_terms_must_be_accepted(self, server: Any) -> None:
        server.gated = True
        with pytest.raises(
            WeightsError, match="accept the terms on https://huggingface.co/some/net, then run: hf auth login"
        ):
            fetching.fetch("some/net")

    def test_a_repository_that_is_gone(self) -> None:
        with pytest.raises(WeightsError, match="the hub has no such repository or revision"):
            fetching.fetch("gone/net")

    def test_nothing_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given(monkeypatch, kind="hub", sources=("some/net",), files=("*.onnx",))
        with pytest.raises(WeightsError, match="none of the files that are needed is there"):
            fetching.fetch("net")
