"""The page in a real headless Chromium, on the real service and real photographs."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np

import amodal
from amodal import cli
from amodal.core.image import encode_png, read_rgba
from amodal.plugins.protocols import Prediction, Proposal
from serve.browser import ActionChains, By, Keys
from serve.conftest import DEMO, PARTS


def test_from_a_click_to_a_downloaded_mask(page, service, tmp_path, monkeypatch):
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.click("#run")
    page.result()
    service.engine.jobs._entries.clear()  # the service has forgotten it: downloads are made from what the page holds
    mask = amodal.read_mask(page.download("amodal.png"))
    record = json.loads(page.download("result.json"))
    (point,) = record["provenance"]["prompt"]["points"]
    assert np.hypot(point[0] - 220, point[1] - 150) < 2
    local = amodal.load(**PARTS)(amodal.read(DEMO / "chelsea.jpg"), point=point)
    assert mask == local.amodal
    coco = json.loads(page.download("coco.json"))
    assert amodal.Mask.from_rle(coco["annotations"][0]["segmentation"]) == local.amodal
    known = {
        name: coco["annotations"][0].get(name) for name in ("visible_area", "occlude_rate", "bbox", "visible_mask")
    }
    assert known == {name: local.to_coco()[name] for name in known}
    assert coco["annotations"][0]["area"] == local.amodal.area and coco["categories"][0]["name"] == "object"
    assert amodal.read(page.download("overlay.png")).shape == (300, 451, 3)
    assert int((read_rgba(page.download("cutout.png"))[..., 3] > 0).sum()) == local.amodal.area
    assert page.text("words-rate").partition(" ")[0] in ("Nothing", f"{100 * local.occlusion_rate:.0f}")
    # "copy as command" and "copy as Python" give the same bytes
    (tmp_path / "chelsea.jpg").write_bytes((DEMO / "chelsea.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    page.js("document.getElementById('copy-command').click()")
    command = page.until(lambda: page.js("return document.body.dataset.copied"))
    assert command.startswith("amodal segment chelsea.jpg --point ")
    assert cli.run([*command.split()[1:], "-o", "by-command"]) == 0
    page.js("document.getElementById('copy-python').click()")
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
    page.keys("1", "a")
    assert page.state("photo.objects.length") == 2
    page.keys("b", Keys.ARROW_LEFT, Keys.ENTER, *[Keys.ARROW_DOWN] * 4, *[Keys.ARROW_RIGHT] * 4, Keys.ENTER)
    page.until(lambda: page.state("object.prompt.box"))
    page.keys("r", Keys.ARROW_LEFT, Keys.ENTER, Keys.ARROW_LEFT, Keys.ENTER)
    assert page.state("object.prompt.steps.at(-1)?.kind") == "stroke"
    control = lambda key: ActionChains(page.driver).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()  # noqa: E731
    for _ in range(3):
        control("z")
    assert page.state("photo.objects.length") == 1
    control("z")
    assert not page.element("run").is_enabled(), "the point is undone"
    control("y")
    assert page.element("run").is_enabled(), "and done again"
    page.keys("?")
    assert page.element("sheet").is_displayed() and "split the scene into layers" in page.text("keys")
    page.keys(Keys.ESCAPE)


def test_the_focus_is_seen_where_it_is(page):
    """The fields for files are hidden; the button that stands for each is ringed."""
    for key, other in (("file", "folder"), ("folder", "file")):
        page.js("document.getElementById(arguments[0]).focus({ focusVisible: true })", key)
        ring = "return getComputedStyle(document.querySelector(`label[for=${arguments[0]}]`)).outlineStyle"
        assert [page.js(ring, name) for name in (key, other)] == ["solid", "none"]


def test_hotkeys_work_after_buttons_and_sliders(page):
    page.open()
    page.click("[data-tool=brush]")
    page.element("brush-size").send_keys(Keys.ARROW_RIGHT)
    page.keys("b")
    assert page.state("state.tool") == "box"
    page.click("[data-view=photo]")
    page.keys("1", "n")
    assert page.state("[state.view, state.tool]") == ["overlay", "minus"]
    page.at(220, 150).click().perform()
    assert "First click the object" in page.text("toast") and page.state("state.tool") == "plus"


def test_samples_are_thumbnails_to_choose_from(page, service, monkeypatch):
    method = service.engine._default.method
    complete = method.complete
    corners = [amodal.Mask.from_box((0, 0, 20, side)) for side in (10, 20, 30)]

    def thrice(embedded, image, requests, context):
        return [
            [Prediction(found[0].amodal | corner) for corner in corners]
            for found in complete(embedded, image, requests, context)
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
        page.js("document.querySelector(arguments[0]).click()", f"[data-sample='{number}']")
        masks.append(amodal.read_mask(page.download(f"sample-{number}.mask.png")))
        record = json.loads(page.download("result.json"))
        assert amodal.Mask.from_rle(record["amodal"]) == masks[-1], "the chosen sample is what the JSON holds"
    assert masks[0] == masks[2], "the vote is the middle one"
    assert [mask.area - masks[1].area for mask in masks[1:]] == [0, 200, 400]


def test_samples_are_for_methods_that_draw(page, service):
    """The convex hull has one answer: the number of samples is greyed, with the reason, and one is asked for."""
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.js(
        "return import('/store.js').then(({ dispatch }) => { dispatch({ type: 'settings', patch: { samples: 3 } }); })"
    )
    page.keys(Keys.ENTER)
    page.result()
    assert page.state("object.result.record.provenance.samples") == 1
    samples = "document.getElementById('set-samples')"
    assert page.js(f"return {samples}.disabled") and "has one answer" in page.js(
        f"return {samples}.parentNode.textContent"
    )
    page.js("const list = document.getElementById('choice-method'); list.value = 'tuning-free'; list.onchange()")
    assert page.js(f"return {samples}.disabled") is False


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
    both = page.until(lambda: (mask := page.visible_mask()) and mask.area > stroke.area and mask)
    assert both.contains(stroke) and both.to_array((300, 451))[150, 220]
    page.keys("n")
    page.at(220, 150).click().perform()
    less = page.until(lambda: (mask := page.visible_mask()) and mask.area < both.area and mask)
    assert not less.to_array((300, 451))[150, 220]
    page.click("#undo")
    page.until(lambda: page.visible_mask() == both)
    page.keys("a")
    (tmp_path / "mask.png").write_bytes(encode_png(both.to_array((300, 451))))
    page.element("mask-file").send_keys(str(tmp_path / "mask.png"))
    page.until(lambda: page.visible_mask() == both)
    page.keys(Keys.ENTER)
    page.result()
    assert json.loads(page.download("result.json"))["visible_area"] == both.area
    assert (page.folder / "chelsea.2.json").exists(), "named after the photo and the object"
    page.js("document.getElementById('copy-command').click()")
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
    corrected = amodal.read_mask(page.download("amodal.png"))
    assert corrected.contains(before) and corrected.area > before.area, "a corrected mask needs no repainting"
    told = page.js("return document.querySelector('#objects .rate').textContent")
    assert page.text("words-rate").startswith(told) and told != "0 %", "list and result tell the same share"
    page.js("document.getElementById('repaint').click()")
    page.until(lambda: page.state("object.correction === null && state.job === null"))
    after = amodal.read_mask(page.download("amodal.png"))
    assert after == corrected and after.to_array((300, 451))[38:42, 45:85].all()


def test_a_preview_before_the_click(page, service, monkeypatch):
    """While the mouse rests the page shows what a click would mark; it is no part of the work, and touch has none."""
    rough = Proposal(amodal.Mask.from_box((200, 130, 240, 170)), 0.5)
    monkeypatch.setattr(type(service.engine._default.segmenter), "glance", lambda *_: rough)
    page.driver.refresh()  # what the segmenter can is told when the page begins
    page.ready()
    page.open()
    before = page.state("state.next")
    page.at(220, 150).perform()
    page.until(lambda: page.state("stage.draft.preview?.mask.area") == rough.mask.area)
    page.at(30, 30).perform()
    assert page.state("[state.next, select.worked(photo)]") == [before, False]
    page.at(220, 150).click().perform()
    page.visible()
    assert page.state("stage.draft.preview") is None and page.visible_mask() != rough.mask
    page.at(180, 150).perform()
    assert page.state("stage.draft.preview") is None, "not once the object is marked"


def test_what_else_a_click_may_mean_comes_after_its_mask(undisturbed, monkeypatch):
    page, service = undisturbed
    segmenter = service.engine._default.segmenter
    whole, part = amodal.Mask.from_box((20, 20, 220, 190)), amodal.Mask.from_box((200, 130, 240, 170))
    monkeypatch.setattr(segmenter, "segment", lambda embedded, prompt: [Proposal(whole, 0.5)])
    proposed, shown = [], threading.Event()

    def propose(embedded, prompt):
        proposed.append(prompt)
        assert shown.wait(60)
        return [Proposal(whole, 0.5), Proposal(part, 0.4)]

    monkeypatch.setattr(segmenter, "propose", propose)
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    shown.set()  # the mask was there before
    page.until(lambda: page.state("object.proposals?.list.length") == 2)
    page.keys("s")
    assert page.state("object.prompt.steps[0].mask.width") == 40
    assert len(proposed) == 1, "it is asked once"


def test_name_the_occluder(page):
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.keys("o")
    page.at(60, 250).click().perform()
    page.until(lambda: page.state("object.occluder.mask !== null"))
    assert page.js("return document.querySelector('#occluder [aria-checked=true]').textContent") == "I'll click it"
    assert page.state("state.tool") == "plus", "the occluder's tool does not stay on"
    page.click("#run")
    page.result()
    assert json.loads(page.download("result.json"))["provenance"]["occluder"]["counts"]


def test_take_the_scene_apart(page):
    page.open()
    for x, y in ((160, 120), (320, 130)):
        page.at(x, y).click().perform()
        page.visible()
        page.keys("a")
    page.click("#apart")
    page.until(lambda: page.element("layers").is_displayed(), 300)
    assert page.state("photo.layers.objects.map(({ name }) => name).sort()") == ["Object 1", "Object 2"]
    before = page.state("photo.layers.items")
    page.at(160, 120).click_and_hold().perform()
    page.at(260, 200).release().perform()
    assert page.state("photo.layers.items.map(({ index }) => index)") == [item["index"] for item in before], (
        "order is kept"
    )
    assert page.state("photo.layers.items.filter(({ dx }) => dx > 50).length") == 1
    picture = amodal.read(page.download("layers.png"))
    with zipfile.ZipFile(io.BytesIO(page.download("layers.ora"))) as archive:
        assert archive.read("mimetype") == b"image/openraster" and archive.testzip() is None
        assert b'name="rest"' in archive.read("stack.xml")
        assert np.array_equal(amodal.read(archive.read("mergedimage.png")), picture)
    assert (picture != amodal.read(DEMO / "chelsea.jpg")).any(axis=2).mean() > 0.02
    page.click("#undo")
    assert page.state("photo.layers.items") == before
    page.keys(Keys.ESCAPE)
    assert not page.element("layers").is_displayed()


def test_layers_by_the_keyboard(page):
    """Space ticks a layer's box, Delete takes the chosen layer away; to close their photo is a question."""
    page.open()
    page.keys("l")
    page.until(lambda: page.state("state.layersOpen"))
    shown = "photo.layers.items.map(({ shown }) => shown)"
    count = len(page.state(shown))
    page.js("document.querySelector('#layer-list input').focus()")
    page.keys(" ")
    page.until(lambda: page.state(shown) == [True] * (count - 1) + [False])
    page.keys(" ")
    page.until(lambda: page.state(shown) == [True] * count)
    page.keys(Keys.DELETE)
    page.until(lambda: page.state(shown) == [True] * (count - 1) + [False])
    assert (
        not page.element("run").is_displayed()
        and page.js("return document.querySelectorAll('[data-view]:enabled').length") == 0
    )
    page.open("coffee.jpg")
    page.js("document.querySelector(`[aria-label='Close chelsea.jpg']`).click()")
    page.until(lambda: page.js("return document.getElementById('question').open"))
    page.keys(Keys.ESCAPE)
    assert len(page.state("state.photos")) == 2


def test_layout_names_and_touch(page):
    """Nothing overflows at a desktop's and a phone's width; everything has a name; two fingers zoom, a tap marks."""
    page.open()
    device = {"deviceScaleFactor": 1, "height": 844}
    for width in (1280, 390):
        page.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**device, "width": width, "mobile": width < 600}
        )
        page.until(lambda w=width: page.js("return innerWidth") == w)
        assert page.js("return document.documentElement.scrollWidth <= window.innerWidth")
        nameless = page.js(
            "return [...document.querySelectorAll('button, input, select, a, canvas:not([aria-hidden])')].filter((e) => "
            "!(e.textContent.trim() || e.ariaLabel || e.title || e.labels?.length || e.closest('label'))).map((e) => e.outerHTML)"
        )
        assert nameless == []
        assert page.element("canvas").size["height"] > 200
    run = page.js("const box = document.getElementById('run').getBoundingClientRect(); return [box.top, box.bottom]")
    assert 0 < run[0] < run[1] < 844, "Complete is in reach"
    frame = page.js(
        "const box = document.getElementById('canvas').getBoundingClientRect(); return [box.left, box.top, box.width, box.height]"
    )
    x, y = frame[0] + frame[2] / 2, frame[1] + frame[3] / 2

    def touch(kind, *points):
        places = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(points)]
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    before = page.state("stage.view.scale")
    touch("touchStart", (x - 30, y))
    touch("touchStart", (x - 30, y), (x + 30, y))
    for step in range(1, 7):
        touch("touchMove", (x - 30 - 10 * step, y), (x + 30 + 10 * step, y))
    touch("touchEnd")
    assert page.state("stage.view.scale") > 1.5 * before and page.state("object.prompt.points.length") == 0
    touch("touchStart", (x, y))
    touch("touchEnd")
    assert page.until(lambda: page.state("object.prompt.points.length")) == 1
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {**device, "width": 1280, "height": 800, "mobile": False}
    )


def test_a_phone_shows_all_of_a_part_at_a_time(page):
    """The brush's size is beside the views, the sheet of keys begins at its top, and the whole cut-out can be scrolled into sight."""
    page.open()
    page.complete()
    phone = {"deviceScaleFactor": 1, "width": 390, "height": 844, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        page.until(lambda: page.js("return innerWidth") == 390)
        page.js("document.querySelector('[data-tool=brush]').click()")
        right = "Math.max(...[...document.querySelectorAll('#views button, #views input')].map((e) => e.getBoundingClientRect().right))"
        assert page.js(f"return {right}") <= 390
        page.js("document.getElementById('preview').scrollIntoView({ block: 'center' })")
        seen = "[0.02, 0.5, 0.98].map((share) => document.elementFromPoint(box.left + box.width / 2, box.top + share * box.height)?.id)"
        assert (
            page.js(f"const box = document.getElementById('preview').getBoundingClientRect(); return {seen}")
            == ["preview"] * 3
        )
        page.js("document.getElementById('help').click()")
        assert page.js("return document.getElementById('sheet').scrollTop") == 0
    finally:
        desktop = {"deviceScaleFactor": 1, "width": 1280, "height": 800, "mobile": False}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desktop)
