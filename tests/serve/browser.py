"""A headless Chromium for the page's tests; skips with a reason where there is none."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import amodal

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

__all__ = ["ActionChains", "By", "Keys", "Page", "chromium", "forget"]

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--mute-audio"),
    "--force-color-profile=srgb",
)


@contextlib.contextmanager
def chromium(
    folder: Path, size: tuple[int, int] = (1280, 800), profile: str = "profile", dark: bool = False
) -> Iterator[Any]:
    """A browser window; downloads go to `folder`."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver_path = shutil.which("chromedriver")
    if not program or not driver_path:
        pytest.skip("no Chromium here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={folder / profile}"):
        options.add_argument(flag)
    if dark:
        options.add_argument("--force-dark-mode")
    options.add_experimental_option(
        "prefs",
        {
            "download.default_directory": str(folder),
            "download.prompt_for_download": False,
            "profile.default_content_setting_values.automatic_downloads": 1,
        },
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    driver.set_page_load_timeout(180)
    driver.set_script_timeout(180)
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600},
        )
        yield driver
    finally:
        driver.quit()


class Page:
    """The page in one browser, with the verbs of a user."""

    def __init__(self, driver: Any, url: str, folder: Path) -> None:
        self.driver = driver
        self.folder = Path(folder)
        driver.get(url)
        self.ready()

    def ready(self) -> None:
        self.until(lambda: self.js("return document.body?.dataset.ready === 'yes'"))

    def js(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def state(self, expression: str) -> Any:
        """A value made of the page's `state`, the chosen `object` and its `photo`; `select` and `stage` are its modules."""
        modules = "Promise.all(['/store.js', '/select.js', '/stage.js'].map((name) => import(name)))"
        names = "const state = store.now(), photo = select.photoOf(state), object = select.active(state);"
        return self.js(f"return {modules}.then(([store, select, stage]) => {{ {names} return {expression}; }})")

    def until(self, what: Callable[[], Any], seconds: float = 300) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = what()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s; the page says: {self.text('toast')!r} {self.text('progress')!r}")

    def element(self, key: str) -> Any:
        return self.driver.find_element(By.ID, key)

    def text(self, key: str) -> str:
        return str(self.js("return document.getElementById(arguments[0]).textContent", key))

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def open(self, name: str = "chelsea.jpg") -> None:
        self.js("document.querySelector(arguments[0]).click()", f"#samples [data-example='{name}']")
        self.until(lambda: self.state("photo?.width && photo.scene && photo.name") == name)

    def at(self, x: float, y: float) -> Any:
        """The chain of actions at the photo's pixel (x, y), from the middle of the canvas."""
        drawn = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
        place = self.state(
            f"{drawn}.then(() => [stage.view.scale, stage.view.x, stage.view.y, stage.canvas.clientWidth, "
            "stage.canvas.clientHeight])"
        )
        scale, left, top, width, height = place
        offset = (left + x * scale - width / 2, top + y * scale - height / 2)
        return ActionChains(self.driver).move_to_element_with_offset(self.element("canvas"), *map(round, offset))

    def keys(self, *keys: str) -> None:
        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def visible(self) -> None:
        self.until(lambda: self.state("Boolean(object && select.visibleOf(object, photo)?.area)"))

    def visible_mask(self) -> Any:
        """The active object's visible mask as the page has it, or None."""
        found = self.state("object && select.visibleOf(object, photo)?.encode()")
        return found and amodal.Mask.from_dict(found)

    def result(self) -> None:
        self.until(
            lambda: (
                self.element("result").is_displayed()
                or self.js("return document.querySelector('#toast.error:not([hidden])')")
            )
        )
        assert not self.js("return document.querySelector('#toast.error:not([hidden])')"), self.text("toast")

    def complete(self, x: float = 220, y: float = 150) -> None:
        """A click at a place of the photo, its mask, Enter and the result."""
        self.at(x, y).click().perform()
        self.visible()
        self.keys(Keys.ENTER)
        self.result()

    def download(self, file: str) -> bytes:
        before = set(self.folder.iterdir())
        self.js("document.querySelector(arguments[0]).click()", f"#panel [data-file='{file}']")
        path: Path = self.until(lambda: self._arrived(before))
        return path.read_bytes()

    def _arrived(self, before: set[Path]) -> Path | None:
        """The new file, once it is complete: Chromium holds its name by an empty file while the content comes beside it."""
        new = [path for path in set(self.folder.iterdir()) - before if not path.name.startswith(".")]
        if any(path.suffix in (".crdownload", ".tmp") for path in new):
            return None
        return next((path for path in new if path.stat().st_size), None)

    def errors(self) -> list[str]:
        """What the console tells of faults; refusals of the service are told by the page."""
        found = [str(entry["message"]) for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [text for text in found if "the server responded with a status of 4" not in text]


def forget(driver: Any, url: str) -> None:
    """A browser that has never been here."""
    driver.get(f"{url}/icon.svg")
    driver.delete_all_cookies()
    driver.execute_async_script(
        "const r = indexedDB.deleteDatabase('amodal'); r.onsuccess = r.onerror = r.onblocked = arguments[0]"
    )
    driver.get_log("browser")
