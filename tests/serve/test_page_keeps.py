"""What the page must never get wrong or lose: other photos, other prompts, reloads, errors, tokens."""

import dataclasses
import json
import re
import shutil
import time

import numpy as np
import pytest

import amodal
from amodal.core.image import encode_png
from serve.browser import Keys, Page, forget
from serve.conftest import DEMO, PARTS, Browser, running


def slowly(monkeypatch, service, steps=3000):
    method = service.engine._default.method
    complete = method.complete

    def slow(embedded, image, requests, context):
        for step in range(steps):
            context.progress("step", step, steps)
            time.sleep(0.01)
        return complete(embedded, image, requests, context)

    monkeypatch.setattr(method, "complete", slow)


def test_a_result_is_never_of_another_photo_or_prompt(page, service, monkeypatch):
    """Another photo, a click and Reset while a job runs: the job is cancelled, nothing of it is shown."""
    slowly(monkeypatch, service)
    cancelled = service.engine.desk.counts["cancelled"]
    page.open()
    for number, disturb in enumerate(
        (lambda: page.open("coffee.jpg"), lambda: page.at(200, 160).click().perform(), lambda: page.click("#reset")), 1
    ):
        page.at(220, 150).click().perform()
        page.visible()
        page.keys(Keys.ENTER)
        page.until(lambda: "step" in page.text("progress-text"))
        disturb()
        page.until(lambda n=number: service.engine.desk.counts["cancelled"] == cancelled + n)
        assert not page.element("progress").is_displayed() and not page.element("result").is_displayed()
    assert page.state("state.photos.map(({ name }) => name)") == ["chelsea.jpg", "coffee.jpg"], "nothing is lost"
    page.keys(Keys.PAGE_UP)
    assert page.state("[photo.name, object.prompt.points.length]") == ["chelsea.jpg", 1]


def test_out_of_date_results_say_so(page):
    page.open()
    page.complete()
    page.click("#occluder button:nth-child(2)")
    page.until(lambda: "Out of date" in page.text("old"))
    page.download("result.json")
    assert (page.folder / "chelsea.out-of-date.json").exists() and "changed" in page.text("toast")
    page.keys(Keys.ENTER)
    page.until(lambda: page.element("old").is_displayed() is False)
    assert page.text("words-rate") == "Nothing of it is occluded."


def reload(page) -> None:
    """Load the page anew, once all is kept."""
    page.until(lambda: page.js("return dispatchEvent(new Event('beforeunload', { cancelable: true }))"))
    page.driver.refresh()
    page.ready()


def test_the_work_is_there_after_a_reload(page):
    page.open()
    page.complete()
    before = page.state("[object.key, object.result.amodal.area, state.next]")
    reload(page)
    page.until(lambda: page.state("Boolean(photo?.width)"))
    after = page.state("[object.key, object.result.amodal.area, state.next]")
    assert after[:2] == before[:2] and after[2] >= before[2], "keys are not used again"
    assert amodal.read_mask(page.download("amodal.png")).area == before[1]
    page.keys("a")
    page.at(100, 100).click().perform()
    page.visible()


def test_several_files_wait_in_a_row(page, tmp_path):
    shutil.copy(DEMO / "coffee.jpg", tmp_path / "one.jpg")
    shutil.copy(DEMO / "chelsea.jpg", tmp_path / "two.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    page.element("file").send_keys("\n".join(str(tmp_path / name) for name in ("one.jpg", "notes.txt", "two.jpg")))
    page.until(lambda: page.state("photo?.width"))
    assert page.state("state.photos.map(({ name }) => name)") == ["one.jpg", "two.jpg"] and "1 of 3 files" in page.text(
        "toast"
    )
    assert "1 of 2, 0 done" in page.text("row")
    page.click("[data-photo='two.jpg']")
    page.until(lambda: page.state("[photo.name, photo.width]") == ["two.jpg", 451])


KEPT = """
return new Promise((done) => { const base = indexedDB.open('amodal'); base.onsuccess = () => {
  const count = base.result.transaction('photos').objectStore('photos').count();
  count.onsuccess = () => { base.result.close(); done(count.result); }; }; });
"""


def test_a_folder_is_a_queue(page, tmp_path):
    """Its photos by name, one read when it is shown; those that wait are there after a reload; pictures are let go of."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    for number in (10, 9, *range(1, 9)):
        shutil.copy(DEMO / "chelsea.jpg", folder / f"{number}.jpg")
    page.element("folder").send_keys(str(folder))
    page.until(lambda: page.state("photo?.scene"))
    names = [f"{number}.jpg" for number in range(1, 11)]
    assert page.state("state.photos.map(({ name }) => name)") == names
    assert page.state("state.photos.map(({ width }) => width)") == [451] + 9 * [0]
    page.until(lambda: page.js(KEPT) == 10)
    page.driver.refresh()
    page.ready()
    page.until(lambda: page.state("photo?.width"))
    assert page.state("state.photos.map(({ name }) => name)") == names
    for name in names[1:]:
        page.keys(Keys.PAGE_DOWN)
        page.until(lambda n=name: page.state("photo.scene && photo.name") == n)
    decoded = "import('/work.js').then(({ bitmapOf }) => state.photos.filter((each) => bitmapOf(each)).length)"
    assert page.state(decoded) <= 6
    page.click("[data-photo='1.jpg']")
    page.until(lambda: page.state("import('/work.js').then(({ bitmapOf }) => Boolean(bitmapOf(photo)))"))


def test_cancel(page, service, monkeypatch):
    slowly(monkeypatch, service)
    page.open()
    for x, y in ((160, 120), (320, 130)):
        page.at(x, y).click().perform()
        page.visible()
        page.keys("a")
    page.click("#run-all")
    page.until(lambda: re.search("Object 1 of 2: step", page.text("progress-text")))
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.element("progress").is_displayed())
    time.sleep(0.3)
    assert page.state("state.job") is None and page.state("photo.objects.every(({ result }) => !result)"), (
        "all of it stops"
    )


def test_two_users_at_once(service, page):
    """One at the page, one with a program; both get their own answer."""
    page.open()
    page.at(220, 150).click().perform()
    other = Browser(service)
    scene = other.open((DEMO / "chelsea.jpg").read_bytes())
    _, job, _ = other("POST", f"/api/scenes/{scene}/completions", {"points": [[100, 200]]})
    page.visible()
    page.click("#run")
    page.result()
    other.finish(job)
    model, image = amodal.load(**PARTS), amodal.read(DEMO / "chelsea.jpg")
    for record in (json.loads(page.download("result.json")), other("GET", f"/api/jobs/{job['id']}/result")[1]):
        prompt = amodal.Prompt.from_dict(record["provenance"]["prompt"])
        assert amodal.Mask.from_rle(record["amodal"]) == model.open(image).complete(prompt=prompt).amodal


def test_errors_are_shown(page, tmp_path):
    page.open()
    page.element("mask-file").send_keys(str(DEMO / "coffee.jpg"))
    page.until(lambda: "The mask is 600 x 400 pixels, the photo 451 x 300" in page.text("toast"))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    page.element("file").send_keys(str(tmp_path / "broken.jpg"))
    page.until(lambda: "broken.jpg" in page.text("toast") and "not a picture" in page.text("toast"))
    assert page.state("photo.name") == "chelsea.jpg"


def shown(page, x: int, y: int) -> list[int] | None:
    """The colour (R, G, B, A) of the photo's pixel as the page has it; None while it has no picture."""
    return page.js(
        "return Promise.all(['work', 'select', 'store'].map((name) => import(`/${name}.js`))).then(([work, select, store]) => {"
        " const bitmap = work.bitmapOf(select.photoOf(store.now())), pen = new OffscreenCanvas(1, 1).getContext('2d');"
        f" if (!bitmap) return null; pen.drawImage(bitmap, {-x}, {-y}); return [...pen.getImageData(0, 0, 1, 1).data]; }})"
    )


def test_what_is_transparent_lies_on_white(page, service, tmp_path):
    """Page and service see the same photo, also where it is scaled down on its way."""
    rgba = np.zeros((300, 400, 4), np.uint8)
    rgba[100:200, 150:250] = (220, 80, 40, 255)
    (tmp_path / "glass.png").write_bytes(encode_png(rgba))
    page.element("file").send_keys(str(tmp_path / "glass.png"))
    page.until(lambda: page.state("photo?.width && photo.scene"))
    (photo,) = service.engine.photos.of(next(reversed(service.engine.photos._entries.values())).owner)
    assert shown(page, 5, 5) == [255] * 4 and photo.image[5, 5].tolist() == [255] * 3


@pytest.mark.parametrize("ending", ["webp", "png", "jpg"])
def test_a_turned_photo_is_shown_as_the_service_sees_it(page, service, tmp_path, ending):
    """Upside down by its EXIF: not every browser turns WebP, and the size does not tell. It is kept upright, too."""
    from PIL import Image

    pixels = np.full((60, 90, 3), 40, np.uint8)
    pixels[:20, :30] = (220, 40, 40)  # comes to lie at the lower right
    exif = Image.Exif()
    exif[0x112] = 3
    Image.fromarray(pixels).save(tmp_path / f"turned.{ending}", quality=100, exif=exif)
    page.element("file").send_keys(str(tmp_path / f"turned.{ending}"))
    page.until(lambda: page.state("photo?.width && photo.scene"))
    page.until(lambda: page.state("photo.blob.type") == "image/png")
    assert max(shown(page, 5, 5)[:3]) < 50 and shown(page, 85, 55)[0] > 200
    page.at(75, 50).click().perform()  # a photo with some work is kept before the page is left
    page.visible()
    reload(page)
    page.until(lambda: shown(page, 5, 5))
    assert max(shown(page, 5, 5)[:3]) < 50 and shown(page, 85, 55)[0] > 200


@pytest.mark.filterwarnings("ignore:mask the given picture")  # a guess; the page shows what it is
def test_a_mask_file_is_read_as_everywhere(page, tmp_path):
    """A dark cut-out, whose opaque pixels are the object; labels of 0 and 1; a green mask: all were misread, or held to be empty."""
    bits = np.zeros((300, 451), bool)
    bits[60:200, 100:300] = True
    cutout = np.zeros((300, 451, 4), np.uint8)
    cutout[bits] = (20, 30, 40, 255)
    cutout[60:100, 100:140, :3] = 250
    files = {
        "cutout": cutout,
        "labels": bits.astype(np.uint8),
        "green": bits[..., None] * np.array([0, 255, 0], np.uint8),
    }
    page.open()
    for name, picture in files.items():
        (tmp_path / f"{name}.png").write_bytes(encode_png(picture))
        page.element("mask-file").send_keys(str(tmp_path / f"{name}.png"))
        assert page.until(page.visible_mask) == amodal.Mask.from_array(bits), name
        page.click("#reset")
    two = bits.astype(np.uint8)
    two[60:80] *= 2
    (tmp_path / "two.png").write_bytes(encode_png(two))
    page.element("mask-file").send_keys(str(tmp_path / "two.png"))
    page.until(lambda: "holds 2 labels; every one but 0 is taken for the object" in page.text("toast"))
    (tmp_path / "empty.png").write_bytes(encode_png(np.zeros((300, 451), np.uint8)))
    page.element("mask-file").send_keys(str(tmp_path / "empty.png"))
    page.until(lambda: "The mask marks no pixel" in page.text("toast"))


def test_a_mask_file_lands_on_no_other_photo(page, tmp_path):
    """It is read on the service, and another photo of the same size is opened meanwhile."""
    (tmp_path / "mask.png").write_bytes(encode_png(np.eye(300, 451, dtype=np.uint8) * 255))
    page.open()
    page.js(
        "const ask = fetch; window.fetch = async (path, more) => {"
        " if (path.endsWith('/mask')) await new Promise((go) => { window.go = go; }); return ask(path, more); }"
    )
    page.element("mask-file").send_keys(str(tmp_path / "mask.png"))
    page.until(lambda: page.js("return Boolean(window.go)"))
    first = page.state("photo.key")
    page.open()
    page.until(lambda: page.state("photo.key") != first)
    page.js("window.go()")
    page.until(lambda: "it was for chelsea.jpg" in page.text("toast"))
    assert page.visible_mask() is None


def test_what_repeats_a_result_tells_that_the_photo_was_scaled(page):
    """As a command, by a record, and as Python: the places are not those in the file."""
    page.open()
    page.complete()
    told = page.js(
        "const names = ['recipe', 'select', 'store'];"
        "return Promise.all(names.map((name) => import(`/${name}.js`))).then(([{ command, code }, select, store]) => {"
        " const state = store.now(), { record } = select.active(state).result, { provenance } = record;"
        " const photo = { ...select.photoOf(state), scaled: [902, 600] }, repainted = { ...provenance, repainted: record.amodal };"
        " return [...[provenance, repainted].map((found) => command({ provenance: found }, photo, state.about, 'x')),"
        " code(record, photo, state.about)]; })"
    )
    for text in told:
        assert text.startswith("# scale the photo from 902 x 600 to 451 x 300 first: "), text


def test_a_large_photo_is_shown_before_it_is_made_small(page, tmp_path):
    """What is made for the screen is made beside, of halves: scaling a bitmap at once holds the page for half a second."""
    (tmp_path / "large.png").write_bytes(encode_png(np.full((2600, 3000, 3), (200, 120, 40), np.uint8)))
    page.js(
        "const make = createImageBitmap; window.scaled = 0;"
        "window.createImageBitmap = (source, ...more) => { scaled += source instanceof ImageBitmap; return make(source, ...more); }"
    )
    page.js(
        "const make = OffscreenCanvas.prototype.transferToImageBitmap; window.halves = [];"
        "OffscreenCanvas.prototype.transferToImageBitmap = function () { halves.push(this.width); return make.call(this); }"
    )
    page.element("file").send_keys(str(tmp_path / "large.png"))
    page.until(lambda: page.js("return window.halves.includes(1500)"))
    page.until(lambda: page.state("photo.scene"))
    middle = "document.getElementById('base').getContext('2d').getImageData(400, 300, 1, 1).data"
    page.until(lambda: page.js(f"return [...{middle}]") == [200, 120, 40, 255])
    assert page.js("return window.scaled") == 0


def test_what_the_cross_began_ends_with_its_photo_and_its_tool(page):
    """A stroke that the keyboard began is not painted on another photo, nor by another tool; no box is left on the stage."""
    page.open()
    page.js("document.getElementById('canvas').focus()")
    page.keys("b", Keys.ARROW_LEFT, Keys.ENTER, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.state("stage.draft.box")
    page.keys("r")
    assert page.state("[stage.draft.box, Object.keys(stage.draft.cross)]") == [None, ["x", "y"]]
    page.keys(Keys.ENTER, Keys.ARROW_RIGHT)
    page.open("coffee.jpg")
    page.js("document.getElementById('canvas').focus()")
    page.keys(Keys.ENTER)
    assert page.state("[stage.draft.cross, object.prompt.steps.length]") == [None, 0]


def test_answers_do_not_disturb_who_types(page, service, monkeypatch):
    slowly(monkeypatch, service, 100)
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.keys(Keys.ENTER)
    page.until(lambda: "step" in page.text("progress-text"))
    page.js("const field = document.querySelector('.names input'); field.focus(); field.select()")
    page.keys("my c")
    page.result()
    page.keys("at", Keys.ENTER)
    page.until(lambda: page.state("object.name") == "my cat")
    assert page.js("return document.querySelector('.names input').value") == "my cat"


def test_another_token_than_before(window):
    """A service that was started anew asks for its token, and then answers what it was asked."""
    driver, folder = window
    with running(token="a-token-of-24-characters") as service:
        forget(driver, service.url)
        page = Page(driver, f"{service.url}/#token=a-token-of-24-characters", folder)
        page.open()
        guard = service.guard
        guard._key, guard.config = b"another", dataclasses.replace(guard.config, token="some-other-24-characters")
        page.at(220, 150).click().perform()
        page.until(lambda: page.js("return document.getElementById('token').open"))
        page.element("token-field").send_keys("some-other-24-characters", Keys.ENTER)
        page.visible()


def test_token_from_the_address(window):
    driver, folder = window
    with running(token="correct-horse-battery-staple") as service:
        page = Page(driver, f"{service.url}/#token=correct-horse-battery-staple", folder)
        assert page.js("return location.href") == f"{service.url}/"
        page.open()
        page.at(220, 150).click().perform()
        page.visible()
        forget(driver, service.url)
        driver.get(f"{service.url}/")
        page.until(lambda: page.element("token").is_displayed())
        page.element("token-field").send_keys("wrong", Keys.ENTER)
        page.until(lambda: "wrong" in page.text("token-why"))
        page.element("token-field").clear()
        page.element("token-field").send_keys("correct-horse-battery-staple", Keys.ENTER)
        page.ready()
