"""The human review: answers kept at once, undo, rounds, agreement, export; and the page in a real headless Chromium."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from amodal.cli import run
from amodal.core.errors import DataError, OutputError, UsageError
from amodal.core.mask import Mask
from amodal.data import Sample, dataset
from amodal.data.folder import FolderWriter
from amodal.synthesis.review import Review, accepted, agreement, export
from amodal.synthesis.review import server as review_server
from amodal.synthesis.review.guide import guide
from amodal.synthesis.review.panels import panel
from amodal.synthesis.review.server import make_server


def make(image_id: str, object_id: str, left: int) -> Sample:
    image = np.full((60, 80, 3), 90, np.uint8)
    image[10:40, left : left + 30] = (200, 80, 40)
    amodal = Mask.from_box((left, 10, left + 30, 40))
    visible = Mask.from_box((left, 10, left + 20, 40))
    return Sample(object_id, image_id, image, (60, 80), visible, amodal, "box")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, names in (("train", ("a", "b")), ("eval", ("c",))):
        with FolderWriter(tmp_path / "set" / split, name="toy") as writer:
            for name in names:
                writer.add([make(name, f"{name}/1", 5), make(name, f"{name}/2", 40)])
    return tmp_path / "set"


ALL = ["c/1", "c/2", "a/1", "a/2", "b/1", "b/2"]


def test_answers_are_on_the_disk_at_once(root: Path) -> None:
    review = Review(root)
    assert review.ids == ALL
    review.answer("ann", "a/1", "yes")
    review.answer("ann", "a/2", "no")
    review.answer("ann", "a/1", "no")
    assert Review(root).answers("ann") == {"a/2": "no", "a/1": "no"}
    assert review.undo("ann") == "a/1" and Review(root).answers("ann") == {"a/2": "no"}
    assert review.undo("ann") == "a/2" and review.undo("ann") is None
    lines = (root / "review" / "round1" / "ann.jsonl").read_text().splitlines()
    assert len(lines) == 5 and json.loads(lines[0])["answer"] == "yes"


def test_a_line_that_was_cut_short_is_dropped(root: Path) -> None:
    Review(root).answer("ann", "a/1", "yes")
    file = root / "review" / "round1" / "ann.jsonl"
    file.write_bytes(file.read_bytes() + b'{"id": "a/2", "ans')
    review = Review(root)
    assert review.answers("ann") == {"a/1": "yes"}
    review.answer("ann", "b/1", "no")
    assert Review(root).answers("ann") == {"a/1": "yes", "b/1": "no"}
    file.write_text("nonsense\n")
    with pytest.raises(DataError, match="line 1 is not complete JSON"):
        Review(root).answers("ann")


def test_second_round_shows_what_the_first_accepted(root: Path) -> None:
    with pytest.raises(DataError, match="has accepted nothing yet"):
        Review(root, 2)
    first = Review(root)
    for reviewer, answers in {"ann": "yynn", "bob": "ynyn", "cy": "yyn"}.items():
        for name, value in zip(ALL, answers, strict=False):
            first.answer(reviewer, name, {"y": "yes", "n": "no"}[value])
    assert Review(root, 2).ids == ["c/1", "c/2"]
    assert Review(root, 2, "any").ids == ["c/1", "c/2", "a/1"]
    assert Review(root, 2, "all").ids == ["c/1"]
    second = Review(root, 2)
    with pytest.raises(DataError, match="no object 'a/2' in round 2"):
        second.answer("dee", "a/2", "yes")
    second.answer("dee", "c/1", "no")
    second.answer("dee", "c/2", "yes")
    assert export(root, root.parent / "kept") == 1
    (sample,) = dataset("folder", root.parent / "kept", "eval")
    assert sample.id == "c/2" and sample.visible.area == 600
    assert export(root, root.parent / "kept") == 1  # the same again
    second.answer("dee", "c/1", "yes")
    with pytest.raises(OutputError, match="settings.accepted"):
        export(root, root.parent / "kept")


def test_agreement_is_cohens_kappa() -> None:
    """The textbook example: 20 both yes, 15 both no, 5 and 10 apart: equal 0.7, chance 0.5, kappa 0.4."""
    first = {str(k): "yes" if k < 25 else "no" for k in range(50)}
    second = {str(k): "yes" if k < 20 or 25 <= k < 35 else "no" for k in range(50)}
    (row,) = agreement({"ann": first, "bob": second})
    assert row == {"reviewers": ["ann", "bob"], "both": 50, "equal": 0.7, "kappa": 0.4}
    assert agreement({"a": {"x": "yes"}, "b": {"x": "yes"}, "c": {}})[0]["kappa"] is None
    assert accepted({"a": {"x": "yes"}, "b": {"x": "no"}}) == set()


def test_wrong_use(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    review = Review(root)
    for name in ("", "../evil", "a b", "x" * 41, "-x"):
        with pytest.raises(UsageError, match="use up to 40 letters"):
            review.answer(name, "a/1", "yes")
    with pytest.raises(UsageError, match="must be yes or no"):
        review.answer("ann", "a/1", "maybe")
    with pytest.raises(UsageError, match="must be one of majority, any, all"):
        accepted({}, "most")
    assert run(["data", "review", str(tmp_path / "nothing"), "--report"]) == 1
    assert run(["data", "review", str(root), "--export", str(tmp_path / "x")]) == 1
    assert "has accepted nothing" in capsys.readouterr().err
    review.answer("ann", "a/1", "yes")
    assert run(["data", "review", str(root), "--report"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (
        report["objects"] == 6 and report["reviewers"] == {"ann": {"answered": 1, "yes": 1}} and report["accepted"] == 1
    )


def test_panels() -> None:
    sample = make("a", "a/1", 5)
    photo, visible, amodal = (panel(sample, kind).astype(int) for kind in ("photo", "visible", "amodal"))
    assert np.array_equal(photo, sample.image)
    assert visible[25, 10, 2] > photo[25, 10, 2] and visible[25, 30, 2] < photo[25, 30, 2]  # blue on what is visible
    assert amodal[25, 30, 0] > visible[25, 30, 0]  # orange on the hidden part too
    zoomed = panel(sample, "photo", True)
    assert max(zoomed.shape[:2]) == 520 and zoomed.shape[0] == zoomed.shape[1]


@pytest.fixture
def served(root: Path) -> Iterator[tuple[Path, str]]:
    server = make_server(Review(root), port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def post(url: str, body: bytes, kind: str = "application/json") -> tuple[int, dict]:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=100) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_server(served: tuple[Path, str]) -> None:
    root, url = served
    assert post(f"{url}/answer", b'{"reviewer": "ann", "id": "a/1", "answer": "yes"}') == (200, {"kept": True})
    assert Review(root).answers("ann") == {"a/1": "yes"}
    assert post(f"{url}/undo", b'{"reviewer": "ann"}') == (200, {"undone": "a/1"})
    for path, body, kind, status in (
        ("/answer", b'{"reviewer": "ann", "id": "a/1", "answer": "yes"}', "text/plain", 415),
        ("/answer", b'{"reviewer": "ann"}', "application/json", 400),
        ("/answer", b"{", "application/json", 400),
        ("/answer", b'{"reviewer": "../x", "id": "a/1", "answer": "yes"}', "application/json", 400),
        ("/answer", b" " * 20_000, "application/json", 413),
        ("/nothing", b'{"reviewer": "ann"}', "application/json", 404),
    ):
        code, reply = post(url + path, body, kind)
        assert code == status and reply["error"]
    with urllib.request.urlopen(f"{url}/panel?id=a/1&kind=amodal&zoom=1", timeout=100) as reply:
        assert reply.headers["Content-Type"] == "image/jpeg" and reply.read(2) == b"\xff\xd8"
    with pytest.raises(OutputError, match="choose another port"):
        make_server(Review(root), port=int(url.rsplit(":", 1)[1]))


class Page:
    """The review page in a browser."""

    def __init__(self, browser) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        self.browser, self.wait = browser, WebDriverWait(browser, 100)

    def element(self, name: str):
        return self.browser.find_element("id", name)

    def text(self, name: str) -> str:
        return self.element(name).text

    def shows(self, number: int) -> None:
        self.wait.until(lambda _: self.text("name") == f"{number}: {ALL[number - 1]}")

    def read_guide(self) -> None:
        """Wait for the guide with all its pictures, and close it."""
        self.wait.until(lambda _: self.element("guide").is_displayed())
        images = self.browser.find_elements("css selector", "#examples img")
        assert len(images) == 15
        self.wait.until(lambda _: all(each.get_property("naturalWidth") for each in images))
        self.browser.find_element("css selector", "#guide button").click()
        self.wait.until(lambda _: not self.element("guide").is_displayed())

    def press(self, key: str) -> None:
        self.browser.find_element("tag name", "body").send_keys(key)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    selenium = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for flag in (
        *flags.split(),
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "window-size=1400,1000",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield Page(browser)
    browser.quit()


@pytest.mark.slow
def test_page_keys_buttons_undo(served: tuple[Path, str], page: Page) -> None:
    root, url = served
    page.browser.get(f"{url}/?reviewer=ann")
    page.shows(1)
    page.read_guide()
    page.press("g")
    page.read_guide()
    images = page.browser.find_elements("css selector", "main img")
    assert [each.get_attribute("id") for each in images] == [
        "photo0",
        "visible0",
        "amodal0",
        "photo1",
        "visible1",
        "amodal1",
    ]
    page.wait.until(lambda _: all(each.get_property("naturalWidth") for each in images))
    page.press("y")
    page.shows(2)
    assert Review(root).answers("ann") == {"c/1": "yes"} and page.text("count") == "1 of 6"
    page.press("n")
    page.shows(3)
    assert Review(root).answers("ann") == {"c/1": "yes", "c/2": "no"}
    page.press("u")
    page.shows(2)
    assert Review(root).answers("ann") == {"c/1": "yes"}
    page.element("yes").click()
    page.shows(3)
    page.press("\ue012")  # arrow left
    page.shows(2)
    assert page.text("given") == "yes"
    page.browser.get(f"{url}/?reviewer=ann")  # coming back: goes on at the first open object
    page.shows(3)
    for number in (4, 5, 6):
        page.press("n")
        page.shows(number)
    page.press("n")
    page.wait.until(lambda _: page.text("count") == "6 of 6, all done")
    assert page.browser.get_log("browser") == []


@pytest.mark.slow
def test_page_second_reviewer(served: tuple[Path, str], page: Page) -> None:
    root, url = served
    Review(root).answer("ann", "c/1", "yes")
    page.browser.get(f"{url}/")  # no name yet: the page asks
    page.wait.until(lambda _: page.element("own").is_displayed())
    page.element("own").send_keys("bob\ue007")  # enter
    page.shows(1)
    page.read_guide()
    page.press("y")
    page.shows(2)
    assert Review(root).answers("bob") == {"c/1": "yes"}
    page.browser.get(f"{url}/?reviewer=bob")
    page.wait.until(lambda _: page.text("others") == "ann: 1, ann and bob agree on 100 % of 1")
    page.browser.get(f"{url}/?reviewer=a%20b")
    page.wait.until(lambda _: "use up to 40 letters" in page.text("error"))


def test_damaged_and_foreign_requests_are_refused(root: Path) -> None:
    """Foreign hosts and pages, bodies without or with a false size, and damaged JSON: 4xx each, and the server goes on."""
    server = make_server(Review(root), port=0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    port = server.server_address[1]

    def status(request: str) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=100) as line:
            line.sendall(request.replace("\n", "\r\n").encode("latin-1"))
            return int(line.makefile("rb").readline().split()[1])

    def post(headers: str, body: str = "{}", host: str = f"localhost:{port}") -> int:
        return status(f"POST /answer HTTP/1.1\nHost: {host}\n{headers}\n\n{body}")

    try:
        kind = "Content-Type: application/json\n"
        assert status(f"GET /state HTTP/1.1\nHost: 127.0.0.1:{port}\n\n") == 200
        assert status("GET /state HTTP/1.1\nHost: evil.example\n\n") == 403
        assert status(f"GET /state HTTP/1.1\nHost: localhost:{port}\nOrigin: http://evil.example\n\n") == 403
        assert status(f"GET /guide?example=1&kind=amodal HTTP/1.1\nHost: localhost:{port}\n\n") == 200
        for path in ("/guide?example=99", "/guide?example=%C2%B2", "/panel?id=%ff", "//[", "/panel?id=c/1&kind=x"):
            assert 400 <= status(f"GET {path} HTTP/1.1\nHost: localhost:{port}\n\n") < 500
        assert (
            post(kind) == 411 and post(kind + "Content-Length: -5") == 411 and post(kind + "Content-Length: x") == 411
        )
        assert post(kind + "Content-Length: 99999999999999") == 413
        assert post("Content-Length: 2") == 415
        for body in ("[]", '{"reviewer": 5}', "{", "[" * 5000, '{"reviewer": "ann", "id": ["a"], "answer": "yes"}'):
            assert post(kind + f"Content-Length: {len(body)}", body) == 400
        body = '{"reviewer": "ann", "id": "c/1", "answer": "yes"}'
        assert post(kind + f"Origin: null\nContent-Length: {len(body)}", body) == 403
        assert post(kind + f"Origin: http://localhost:{port}\nContent-Length: {len(body)}", body) == 200
        assert status(f"GET / HTTP/1.1\nHost: localhost:{port}\nHost: evil.example\n\n") == 400
        for verb, code in (("PUT", 405), ("CONNECT", 405), ("HEAD", 200)):
            assert status(f"{verb} / HTTP/1.1\nHost: localhost:{port}\n\n") == code
        assert status("GET /" + "a" * 70_000 + " HTTP/1.1\n\n") == 414
    finally:
        server.shutdown()
        server.server_close()


def test_callers_who_trickle_or_crowd_are_let_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_server, "REQUEST_S", 0.3)
    monkeypatch.setattr(review_server, "MAX_LINES", 2)
    server = make_server(Review(root), port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for part in (
            b"GET / HTTP/1.1\r\nHost: 127",
            b"POST /undo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
        ):
            held = [socket.create_connection(server.server_address, timeout=100) for _ in range(4)]
            with contextlib.suppress(ConnectionError):
                for line in held:
                    line.sendall(part)
            for line in held:  # two for want of a place, two when their time is over
                with contextlib.suppress(ConnectionError):
                    while line.recv(4096):
                        pass
                line.close()
    finally:
        server.shutdown()
        server.server_close()


def test_the_guide_shows_a_good_example_and_four_bad_ones() -> None:
    examples = guide()
    assert [example.good for example in examples] == [True, False, False, False, False]
    good = examples[0].sample
    assert good.amodal.contains(good.visible) and good.amodal.area > 1.2 * good.visible.area
    for bad in examples[1:]:
        changed = bad.sample.visible != good.visible, bad.sample.amodal != good.amodal
        assert sum(changed) == 1 and bad.text.startswith("Bad")


def test_export_counts_what_the_paper_counts(root: Path, tmp_path: Path) -> None:
    review = Review(root)
    for name in ("c/1", "a/1", "a/2"):
        review.answer("ann", name, "yes")
    second = Review(root, 2)
    for name in ("c/1", "a/1"):
        second.answer("eve", name, "yes")
    export(root, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert found["total"]["instances"] == 2 and found["splits"]["train"]["images"] == 1
    assert found["labels_in_all_splits"] == 1 and found["total"]["occlusion_histogram"][3] == 2
    assert {"occlusion.svg", "categories.svg", "images.svg"} <= {each.name for each in (tmp_path / "out").iterdir()}
