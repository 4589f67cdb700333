"""Pictures of pages for the documentation, by headless Chromium: the service's page, reports, the review."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import amodal
from amodal import cli
from amodal.core.image import Image
from benchmarks.drawing import marked
from benchmarks.measure import Skip

SIZE = (1280, 800)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium of `SIZE`. Raises Skip where there is none."""
    try:
        from selenium import webdriver
    except ImportError as error:
        raise Skip("selenium is not installed") from error
    program, driver_path = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not program or not driver_path:
        raise Skip("there is no chromium with its driver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*FLAGS, f"--window-size={SIZE[0]},{SIZE[1]}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
        try:
            driver.set_window_size(*SIZE)
            yield driver
        finally:
            driver.quit()


def shot(driver: Any) -> Image:
    """What the window shows."""
    content = np.frombuffer(driver.get_screenshot_as_png(), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1])


def until(driver: Any, script: str, seconds: float = 180) -> None:
    """Wait for a JavaScript expression to be true. Raises Skip if it never is."""
    end = time.monotonic() + seconds
    while not driver.execute_script(f"return Boolean({script})"):
        if time.monotonic() > end:
            raise Skip(f"the page never came to {script}")
        time.sleep(0.2)


@contextlib.contextmanager
def serving(*words: str) -> Iterator[str]:
    """A server of the command line on a port of its own; its address."""
    port = "7931"
    process = subprocess.Popen(
        [sys.executable, "-m", "amodal", *words, "--port", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
                break
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def press(driver: Any, text: str) -> None:
    """Click the button of that text; nothing where there is none."""
    found = f"[...document.querySelectorAll('button')].find((each) => each.textContent.trim() === '{text}')"
    driver.execute_script(f"{found}?.click()")


def page(layers: bool = False) -> Image:
    """The service's page with a completed object, or a photo taken apart."""
    with serving("serve") as url, browser() as driver:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        driver.get(url)
        until(driver, "document.body?.dataset.ready === 'yes'")
        driver.execute_script("document.querySelector(\"#samples [data-example='coffee.jpg']\").click()")
        until(driver, "document.getElementById('canvas').clientWidth")
        time.sleep(3)
        canvas = driver.find_element(By.ID, "canvas")
        ActionChains(driver).move_to_element_with_offset(canvas, -212, 59).click().perform()
        until(driver, "!document.getElementById('run').disabled")
        time.sleep(4)
        press(driver, "Split into layers" if layers else "Complete")
        until(driver, f"document.getElementById('{'layers' if layers else 'result'}').offsetParent !== null")
        time.sleep(2)
        return shot(driver)


def file(name: str, at: str = "h1") -> Image:
    """An HTML file of the current folder, from the first element of a selector on."""
    with browser() as driver:
        driver.get(Path(name).resolve().as_uri())
        time.sleep(1)
        driver.execute_script(f"document.querySelector('{at}').scrollIntoView()")
        time.sleep(0.5)
        return shot(driver)


def made(command: str, name: str) -> Image:
    """The HTML file that a command writes."""
    if code := cli.run(command.split()[1:]):
        raise Skip(f"{command} ended with {code}")
    return file(name)


def review() -> Image:
    """The page that asks people whether both masks are good."""
    with serving("data", "review", "data/room", "--reviewer", "ann") as url, browser() as driver:
        driver.get(url)
        time.sleep(3)
        driver.execute_script("document.querySelector('dialog[open] button')?.click()")
        time.sleep(2)
        return shot(driver)


def label_studio() -> Image:
    """What the backend answers to a click in Label Studio, drawn on the photo: visible and whole object."""
    try:
        from fastapi.testclient import TestClient
    except ImportError as error:
        raise Skip("the extra serve is not installed") from error
    from amodal.serve.api import create_app
    from amodal.serve.brush import decode_brush
    from amodal.serve.config import Config

    interface = """<View><Image name="img" value="$photo"/><BrushLabels name="brush" toName="img"><Label value="cup"/></BrushLabels>
    <KeyPointLabels name="point" toName="img" smart="true"><Label value="cup" smart="true"/></KeyPointLabels></View>"""
    at = (350, 70)
    image = amodal.read("photo.jpg")
    height, width = image.shape[:2]
    click = {
        **{"id": "a1", "type": "keypointlabels", "from_name": "point", "to_name": "img", "is_positive": True},
        **{"original_width": width, "original_height": height},
        "value": {"x": 100 * at[0] / width, "y": 100 * at[1] / height, "width": 0.3, "keypointlabels": ["cup"]},
    }
    task = {"id": 1, "data": {"photo": "/data/local-files/?d=photo.jpg"}, "annotations": [], "predictions": []}
    body = {"tasks": [task], "label_config": interface, "params": {"context": {"result": [click]}}}
    with TestClient(create_app(Config(media=Path.cwd())), base_url="http://127.0.0.1:7860") as client:
        answer = client.post("/label-studio/predict", json=body).json()
    masks = [
        decode_brush(region["value"]["rle"], (height, width))
        for region in answer["results"][0]["result"]
        if region["type"] == "brushlabels"
    ]
    shown = marked(image, masks)
    cv2.circle(shown, at, 9, (255, 255, 255), -1)
    return shown


MAKERS: dict[str, Callable[[], Image]] = {
    "page": page,
    "page-layers": lambda: page(layers=True),
    "report": lambda: made(
        "amodal evaluate --method embedded --dataset masks --root data/composites_dev -o runs/one",
        "runs/one/report.html",
    ),
    "compare-page": lambda: file("compare.html", "img"),
    "sheet": lambda: made(
        "amodal data view cocoa --root data/COCOA --order occluded --count 12 -o sheet.html", "sheet.html"
    ),
    "review": review,
    "label-studio": label_studio,
}
