"""The page makes the soft edge of a cut-out itself; it is that of `amodal segment --edge soft`."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import amodal
import amodal.serve
from amodal.core.drawing import softened
from amodal.core.image import read_rgba
from serve.conftest import DEMO, PARTS

PAGE = Path(amodal.serve.__file__).parent / "page"


def blobs(seed, height, width):
    """A cut-out (h, w, 4) of random blobs, thin parts and holes; RGB too."""
    import cv2

    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.random((height, width)).astype(np.float32), (0, 0), 3)
    solid = noise > np.quantile(noise, 0.3)
    rgba = random.integers(0, 256, (height, width, 4)).astype(np.uint8)
    rgba[..., 3] = 255
    rgba[~solid] = 0
    return rgba


@pytest.mark.parametrize(
    ("seed", "shape", "width"), [(1, (60, 80), 1.5), (2, (61, 37), 3.4), (3, (9, 200), 2.2), (4, (1, 30), 1.5)]
)
def test_one_formula(seed, shape, width):
    if shutil.which("node") is None:
        pytest.skip("no node here (Debian: apt-get install nodejs)")
    rgba, closed = blobs(seed, *shape), (seed % 2 == 0, seed > 2, False, True)
    body = {"width": shape[1], "height": shape[0], "data": rgba.ravel().tolist(), "edge": width, "closed": closed}
    command = ["node", str(Path(__file__).parent / "soft.mjs"), str(PAGE)]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=True, timeout=60)
    ours = np.array(json.loads(done.stdout)).reshape(rgba.shape)
    assert np.abs(ours - softened(rgba, width, closed)).max() <= 1


def test_the_download(page):
    """What the page saves, trimmed and in the photo's frame, is `cutout("soft")` of the same completion."""
    page.open()
    page.at(220, 150).click().perform()
    page.visible()
    page.click("#run")
    page.result()
    page.js("document.getElementById('soft').click()")
    ours = read_rgba(page.download("cutout.png")).astype(int)
    (point,) = json.loads(page.download("result.json"))["provenance"]["prompt"]["points"]
    local = amodal.load(**PARTS)(amodal.read(DEMO / "chelsea.jpg"), point=point)
    theirs = local.cutout("soft").astype(int)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1
    assert len(np.unique(theirs[..., 3])) > 2
    page.js(
        "const frame = document.querySelector('#look select[aria-label^=Frame]'); frame.value = 'yes'; frame.onchange()"
    )
    whole = read_rgba(page.download("cutout.png")).astype(int)
    x0, y0, x1, y1 = local.amodal.box
    assert whole.shape[:2] == local.size and (whole[y0:y1, x0:x1] == ours).all()
    assert whole[..., 3].sum() == ours[..., 3].sum()
