"""The page in a headless Chromium, as its user waits for it: photo, first and next click, Complete, brush; 0.3 and 12 megapixels.

`choices` is what a single click that stands (for a quarter of a second) may mean instead, from the click on.

Times are the page's own (`performance.now`), from the input to the state that holds the answer and is drawn at the next frame.
"""

from __future__ import annotations

import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import amodal
from benchmarks.measure import Skip

PHOTO = Path(amodal.__file__).parent / "_demo" / "coffee.jpg"
SIZES = {"640x480": (640, 480), "12MP": (4000, 3000)}
ROUNDS, MOVES = 5, 60
SCRIPT = """
const done = arguments[arguments.length - 1], [bytes, rounds, moves, name] = arguments;
(async () => {
  const [store, select, stage, work] = await Promise.all(["store", "select", "stage", "work"].map((file) => import(`/${file}.js`)));
  const frame = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  const until = (what) => new Promise((next) => {
    const look = () => { const found = what(store.now()); if (found) next(found); };
    store.onChange(look); work.onMedia(look); look();
  });
  const timed = async (action, what) => {
    const begin = performance.now();
    action();
    await until(what);
    await frame();
    return performance.now() - begin;
  };
  const raw = Uint8Array.from(atob(bytes), (sign) => sign.charCodeAt(0));
  const out = { photo: [], first_click: [], next_click: [], choices: [], complete: [], brush_move: [] };
  for (let round = 0; round < rounds; round++) {
    const file = new File([raw], `${name}-${round}.jpg`, { type: "image/jpeg" });
    const photo = (state) => select.photoOf(state);
    const opened = () => work.openFiles([file]);
    out.photo.push(await timed(opened, (state) => photo(state).name === file.name && work.bitmapOf(photo(state))));
    await until((state) => photo(state).scene);
    const { width, height } = photo(store.now());
    const click = (x, y) => timed(() => store.dispatch({ type: "mark", x: x * width, y: y * height, label: 1 }),
      (state) => select.visibleOf(select.active(state), photo(state)) || state.notice);
    out.first_click.push(await click(0.52, 0.4));
    out.next_click.push(await click(0.45 + 0.01 * round, 0.5));
    out.complete.push(await timed(() => store.dispatch({ type: "begin", kind: "completion" }), (state) => select.active(state).result));
    store.dispatch({ type: "tool", tool: "brush" });
    await frame();
    const box = stage.canvas.getBoundingClientRect();
    const event = (kind, step) => new PointerEvent(kind, { pointerId: 1, bubbles: true,
      clientX: box.left + box.width * (0.3 + 0.005 * step), clientY: box.top + box.height * 0.5 });
    stage.canvas.setPointerCapture = () => {};
    stage.canvas.dispatchEvent(event("pointerdown", 0));
    for (let step = 1; step <= moves; step++) {
      const begin = performance.now();
      stage.canvas.dispatchEvent(event("pointermove", step));
      out.brush_move.push(performance.now() - begin);
      await frame();
    }
    stage.canvas.dispatchEvent(event("pointerup", moves));
    store.dispatch({ type: "add" });
    out.choices.push(await timed(() => store.dispatch({ type: "mark", x: 0.3 * width, y: 0.4 * height, label: 1 }),
      (state) => select.active(state).visible?.asked || state.notice));
  }
  return out;
})().then(done, (error) => done({ error: String(error.stack ?? error) }));
"""


def run() -> dict[str, object]:
    """Start `amodal serve` as users do and the browser of the tests; measure; end both."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    try:
        from serve.browser import chromium
    except BaseException as error:  # pytest's skip is no Exception
        raise Skip(f"no browser to drive: {error}") from error

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "amodal", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    out: dict[str, object] = {}
    try:
        address = process.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as driver:
            driver.set_script_timeout(500)
            driver.get(address)
            while not driver.execute_script("return document.body.dataset.ready === 'yes'"):
                time.sleep(0.05)
            for name, size in SIZES.items():
                found = driver.execute_async_script(SCRIPT, photo_of(size), ROUNDS, MOVES, name)
                if "error" in found:
                    raise RuntimeError(found["error"])
                out[name] = {what: milliseconds(values) for what, values in found.items()}
    finally:
        process.terminate()
        process.wait(30)
    return {**out, "load_average": os.getloadavg()[0]}


def photo_of(size: tuple[int, int]) -> str:
    """The example photo scaled to `size` (width, height), as a JPEG in base64."""
    import cv2

    scaled = cv2.resize(amodal.read(PHOTO), size, interpolation=cv2.INTER_CUBIC)
    done, buffer = cv2.imencode(".jpg", np.ascontiguousarray(scaled[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done
    return base64.b64encode(buffer.tobytes()).decode()


def milliseconds(values: list[float]) -> dict[str, Any]:
    """Median and spread."""
    return {
        "median_ms": round(statistics.median(values), 1),
        "lowest_ms": round(min(values), 1),
        "highest_ms": round(max(values), 1),
        "runs": len(values),
    }
