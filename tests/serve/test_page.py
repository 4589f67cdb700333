"""The page in a real headless Chromium, on the real service and real photographs."""

import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal import cli
from amodal.image import encode_png
from amodal.protocols import Guess
from serve.browser import chromium
from serve.conftest import DEMO, PARTS, running

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


class Page:
    """The page in one browser, with the verbs of a user."""

    def __init__(self, driver, url, folder):
        self.driver = driver
        self.folder = Path(folder)
        driver.get(url)
        self.until(lambda: self.js("return document.body.dataset.ready === 'yes'"))

    def js(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def until(self, what, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = what()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(
            f"not within {seconds} s; the page says: {self.text('message')!r} {self.text('progress')!r}"
        )

    def element(self, key):
        return self.driver.find_element(By.ID, key)

    def text(self, key):
        return self.element(key).text

    def click(self, selector):
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def open(self, name="chelsea.jpg"):
        self.click(f"#samples [data-example='{name}']")
        self.until(lambda: self.element("apart").is_enabled())

    def at(self, x, y):
        """The chain of actions at the photo's pixel (x, y), from the middle of the canvas."""
        photo = amodal.read(DEMO / "chelsea.jpg")
        canvas = self.element("canvas")
        width, height = canvas.size["width"], canvas.size["height"]
        scale = min((width - 28) / photo.shape[1], (height - 28) / photo.shape[0])
        offset = ((x - photo.shape[1] / 2) * scale, (y - photo.shape[0] / 2) * scale)
        return ActionChains(self.driver).move_to_element_with_offset(canvas, round(offset[0]), round(offset[1]))

    def keys(self, *keys):
        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def visible(self):
        self.until(lambda: "visible" in self.text("objects") or "%" in self.text("objects"))

    def visible_mask(self):
        """The active object's visible mask as the page has it, or None."""
        found = self.js("return import('/store.js').then((store) => store.active()?.visible?.encode())")
        return found and amodal.Mask.from_dict(found)

    def result(self):
        self.until(lambda: self.element("result").is_displayed() or self.text("message"))
        assert not self.text("message")

    def download(self, file):
        before = set(self.folder.iterdir())
        self.click(f"#panel a[data-file='{file}']")
        return self.until(lambda: self._arrived(before)).read_bytes()

    def _arrived(self, before):
        new = [path for path in set(self.folder.iterdir()) - before if path.suffix not in (".crdownload", ".tmp")]
        return next((path for path in new if not path.name.startswith(".")), None)

    def errors(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    with chromium(folder) as driver:
        yield driver, folder


@pytest.fixture
def page(service, browser):
    driver, folder = browser
    driver.delete_all_cookies()
    driver.get_log("browser")
    found = Page(driver, service.url, folder)
    yield found
    assert found.errors() == []


def test_from_a_click_to_a_downloaded_mask(page, tmp_path, monkeypatch):
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.click("#run")
    page.result()
    mask = amodal.read_mask(page.download("amodal.png"))
    record = json.loads(page.download("result.json"))
    (point,) = record["provenance"]["prompt"]["points"]
    assert np.hypot(point[0] - 220, point[1] - 150) < 2
    local = amodal.load(**PARTS)(amodal.read(DEMO / "chelsea.jpg"), point=point)
    assert mask == local.amodal
    cutout = amodal.image.read_soft(page.download("cutout.png"))
    assert int((cutout > 0.5).sum()) == local.amodal.area
    # "copy as command" and "copy as Python" give the same bytes
    (tmp_path / "chelsea.jpg").write_bytes((DEMO / "chelsea.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    page.click("#copy-command")
    command = page.until(lambda: page.js("return document.body.dataset.copied"))
    assert command.startswith("amodal segment chelsea.jpg --point ")
    assert cli.run([*command.split()[1:], "-o", "by-command"]) == 0
    page.click("#copy-python")
    page.until(lambda: page.js("return document.body.dataset.copied.startsWith('import')"))
    code = page.js("return document.body.dataset.copied")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    ours = page.download("cutout.png")
    assert Path("by-command/chelsea.cutout.png").read_bytes() == ours
    assert Path("amodal-out/object.cutout.png").read_bytes() == ours


def test_the_keyboard_alone(page):
    page.open()
    page.js("document.getElementById('canvas').focus()")
    page.keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ENTER)
    page.visible()
    page.keys(Keys.ENTER)
    page.result()
    page.keys("3")
    assert page.js("return document.querySelector('[data-view=certainty]').getAttribute('aria-pressed')") == "true"
    page.keys("a")
    assert page.text("objects").count("Object") == 2
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    assert page.text("objects").count("Object") == 1
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    assert not page.element("run").is_enabled(), "the point is undone"
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("y").key_up(Keys.CONTROL).perform()
    assert page.element("run").is_enabled(), "and done again"
    page.keys("?")
    assert page.element("sheet").is_displayed() and "take the scene apart" in page.text("keys")
    page.keys(Keys.ESCAPE)


def test_box_negative_point_brush_and_samples(page):
    page.open()
    page.keys("b")
    page.at(120, 60).click_and_hold().perform()
    page.at(330, 260).release().perform()
    page.visible()
    page.keys("n")
    page.at(140, 70).click().perform()
    page.keys("r")
    page.until(lambda: not page.text("message"))
    page.at(200, 100).click_and_hold().perform()
    page.at(240, 120).release().perform()
    page.click("#settings summary")
    samples = page.element("set-samples")
    samples.clear()
    samples.send_keys("3", Keys.TAB)
    page.click("#run")
    page.result()
    record = json.loads(page.download("result.json"))
    assert record["provenance"]["samples"] == 3 and "mask" in record["provenance"]["prompt"]


def test_samples_are_thumbnails_to_choose_from(page, service, monkeypatch):
    method = service.engine._default.method
    complete = method.complete
    corners = [amodal.Mask.from_box((0, 0, 20, side)) for side in (10, 20, 30)]

    def thrice(embedded, image, jobs, context):
        return [
            [Guess(found[0].amodal | corner) for corner in corners]
            for found in complete(embedded, image, jobs, context)
        ]

    monkeypatch.setattr(method, "complete", thrice)
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.click("#run")
    page.result()
    page.until(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, "#thumbs img")) == 4)
    assert "range of samples" in page.text("facts")
    masks = [amodal.read_mask(page.download("amodal.png"))]
    for number in range(3):
        page.click(f"[data-sample='{number}']")
        page.until(lambda k=number: page.driver.find_elements(By.CSS_SELECTOR, f"[data-file='sample-{k}.mask.png']"))
        masks.append(amodal.read_mask(page.download(f"sample-{number}.mask.png")))
    assert masks[0] == masks[2], "the vote is the middle one"
    assert [mask.area - masks[1].area for mask in masks[1:]] == [0, 200, 400]


def test_clicks_go_on_where_the_brush_or_a_file_began(page, tmp_path):
    """A plus click adds what it finds to the painted mask, a minus click takes it away; the rest stays."""
    page.open()
    page.click("[data-tool=brush]")
    page.at(30, 30).click_and_hold().perform()
    page.at(60, 34).release().perform()
    stroke = page.until(page.visible_mask)
    assert 200 < stroke.area < 5000 and stroke.to_array((300, 451))[32, 45]
    page.keys("p")
    page.at(220, 150).click().perform()
    both = page.until(lambda: (mask := page.visible_mask()).area > stroke.area and mask)
    assert both.contains(stroke) and both.to_array((300, 451))[150, 220]
    page.keys("n")
    page.at(220, 150).click().perform()
    less = page.until(lambda: (mask := page.visible_mask()).area < both.area and mask)
    assert not less.to_array((300, 451))[150, 220]
    page.click("#undo")
    assert page.visible_mask() == both
    page.keys("a")
    (tmp_path / "mask.png").write_bytes(encode_png(both.to_array((300, 451))))
    page.element("mask-file").send_keys(str(tmp_path / "mask.png"))
    page.until(lambda: page.visible_mask() == both)
    page.click("#run")
    page.result()
    assert json.loads(page.download("result.json"))["visible_area"] == both.area
    assert (page.folder / "chelsea.2.json").exists(), "named after the photo and the object"
    page.click("#copy-command")
    page.until(
        lambda: page.js("return document.body.dataset.copied || ''").endswith(
            "amodal segment chelsea.jpg --like chelsea.2.json"
        )
    )


def test_correct_and_repaint(page):
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.click("#run")
    page.result()
    before = amodal.read_mask(page.download("amodal.png"))
    page.keys("m")
    page.at(40, 40).click_and_hold().perform()
    page.at(90, 40).release().perform()
    page.click("#repaint")
    page.until(lambda: not page.element("correct").is_displayed() and page.element("result").is_displayed())
    after = amodal.read_mask(page.download("amodal.png"))
    assert after.contains(before) and after.to_array((300, 451))[38:42, 45:85].all()


def test_name_the_occluder(page):
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.click("#occluder button:nth-child(2)")
    page.click("#run")
    page.result()
    record = json.loads(page.download("result.json"))
    assert record["amodal_area"] == record["visible_area"], "nothing hides it: the mask does not grow"
    page.keys("o")
    page.at(60, 250).click().perform()
    page.until(
        lambda: page.js("return document.querySelector('#occluder [aria-checked=true]').textContent") == "Click it"
    )
    page.click("#run")
    page.result()
    assert json.loads(page.download("result.json"))["provenance"]["occluder"]["counts"]


def test_cancel(page, service, monkeypatch):
    method = service.engine._default.method
    complete = method.complete

    def slowly(embedded, image, jobs, context):
        for step in range(3000):
            context.tick("step", step, 3000)
            time.sleep(0.01)
        return complete(embedded, image, jobs, context)

    monkeypatch.setattr(method, "complete", slowly)
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.click("#run")
    page.until(lambda: "step" in page.text("progress-text"))
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.element("progress").is_displayed())
    assert not page.element("result").is_displayed() and page.element("run").is_enabled()


def test_take_the_scene_apart(page):
    page.open()
    for x, y in ((160, 120), (320, 130)):
        page.at(x, y).click().perform()
        page.visible()
        page.until(lambda: page.element("run").is_enabled())
        page.keys("a")
    page.until(lambda: page.text("objects").count("visible") == 2)
    page.click("#apart")
    page.until(lambda: page.element("layers").is_displayed(), 300)
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "#layer-list li")) == 2
    with zipfile.ZipFile(io.BytesIO(page.download("layers.ora"))) as archive:
        assert archive.read("mimetype") == b"image/openraster"
    before = page.driver.get_screenshot_as_png()
    page.at(160, 120).click_and_hold().perform()
    page.at(260, 200).release().perform()
    page.until(lambda: "Put back" in page.text("layer-list"))
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "#layer-list button:enabled")) == 3, "one can be put back"
    time.sleep(0.2)
    assert page.driver.get_screenshot_as_png() != before
    page.keys(Keys.ESCAPE)
    assert not page.element("layers").is_displayed()


def test_two_users_at_once(service, page, tmp_path):
    """Each has a browser of their own; both get their own answer."""
    with chromium(tmp_path, profile="other") as driver:
        other = Page(driver, service.url, tmp_path)
        for user, point in ((page, (220, 150)), (other, (100, 200))):
            user.open()
            user.at(*point).click().perform()
        for user in (page, other):
            user.visible()
            user.click("#run")
        model, image = amodal.load(**PARTS), amodal.read(DEMO / "chelsea.jpg")
        for user in (page, other):
            user.result()
            record = json.loads(user.download("result.json"))
            prompt = amodal.Prompt.from_dict(record["provenance"]["prompt"])
            assert amodal.Mask.from_rle(record["amodal"]) == model.open(image).complete(prompt=prompt).amodal
        assert other.errors() == []


def test_errors_are_shown(page):
    page.open()
    page.js("document.getElementById('mask-file').scrollIntoView()")
    page.element("mask-file").send_keys(str(DEMO / "coffee.jpg"))
    page.until(lambda: "The mask is 600 x 400 pixels, the photo 451 x 300" in page.text("message"))


@pytest.mark.parametrize("width", [1280, 390])
def test_layout_and_names(service, tmp_path, width):
    """Nothing overflows at a desktop's and a phone's width; everything that can be operated has a name."""
    with chromium(tmp_path, (width, 800)) as driver:
        page = Page(driver, service.url, tmp_path)
        page.open()
        assert page.js("return document.documentElement.scrollWidth <= window.innerWidth")
        nameless = page.js(
            "return [...document.querySelectorAll('button, input, select, a, canvas')].filter((e) => !(e.textContent.trim() "
            "|| e.ariaLabel || e.title || e.labels?.length || e.closest('label'))).map((e) => e.outerHTML)"
        )
        assert nameless == []
        assert page.element("canvas").size["height"] > 200


def test_token_from_the_address(tmp_path):
    with running(token="correct-horse-battery-staple") as service, chromium(tmp_path) as driver:
        page = Page(driver, f"{service.url}/#token=correct-horse-battery-staple", tmp_path)
        assert page.js("return location.href") == f"{service.url}/"
        page.open()
        page.at(220, 150).click().perform()
        page.visible()
        driver.delete_all_cookies()
        driver.get(f"{service.url}/")
        page.until(lambda: page.element("token").is_displayed())
        page.element("token-field").send_keys("correct-horse-battery-staple", Keys.ENTER)
        page.until(lambda: page.js("return document.body.dataset.ready === 'yes'"))
