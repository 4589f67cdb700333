"""Label Studio's ML-backend protocol, by the requests that Label Studio makes."""

import base64

import numpy as np
import pytest

import amodal
from amodal.errors import PromptError
from amodal.mask import Mask
from amodal.serve.labelstudio import decode_brush, encode_brush
from serve.conftest import DEMO, PARTS, Browser, running

CONFIG = """<View>
  <Image name="img" value="$photo" zoom="true"/>
  <BrushLabels name="brush" toName="img"><Label value="cup"/><Label value="cat"/></BrushLabels>
  <KeyPointLabels name="point" toName="img" smart="true"><Label value="cat" smart="true"/></KeyPointLabels>
</View>"""


@pytest.fixture(scope="module")
def backend():
    with running(media=DEMO) as service:
        yield Browser(service)


def predict(backend, data, drawn, config=CONFIG, params=True):
    context = {"result": drawn}
    body = {
        "tasks": [{"id": 1, "data": data, "annotations": [], "predictions": []}],
        "model_version": "amodal-0.1.0",
        "project": "1.1732233445",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context if params else None},
    }
    return backend("POST", "/label-studio/predict", body)


def click(x, y, label="cat", positive=True):
    return {
        **{"id": "a1", "type": "keypointlabels", "from_name": "point", "to_name": "img", "is_positive": positive},
        **{"original_width": 451, "original_height": 300},
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]},
    }


def test_health_setup_and_webhook(backend):
    assert backend("GET", "/label-studio/health")[1]["status"] == "UP"
    body = {
        "project": "1.17",
        "schema": CONFIG,
        "hostname": "http://localhost:8080",
        "access_token": "x",
        "extra_params": {},
    }
    status, answer, _ = backend("POST", "/label-studio/setup", body)
    assert status == 200 and answer["model_version"].startswith("amodal-")
    assert backend("POST", "/label-studio/webhook", {"action": "ANNOTATION_CREATED"})[0] == 201
    status, answer, _ = backend("POST", "/label-studio/setup", {"schema": "<View><Image name='i' value='$i'/></View>"})
    assert status == 422 and "has no BrushLabels" in answer["error"]


def test_a_click_becomes_a_brush(backend):
    image = amodal.read(DEMO / "chelsea.jpg")
    height, width = image.shape[:2]
    drawn = [click(50, 50), click(2, 2, positive=False)]
    status, answer, _ = predict(backend, {"photo": "/data/local-files/?d=chelsea.jpg"}, drawn)
    assert status == 200, answer
    (region,) = answer["results"][0]["result"]
    assert (region["from_name"], region["to_name"], region["type"]) == ("brush", "img", "brushlabels")
    assert (region["original_width"], region["original_height"]) == (width, height)
    assert region["value"]["brushlabels"] == ["cat"] and region["value"]["format"] == "rle"
    mask = Mask.from_array(decode_brush(region["value"]["rle"], (height, width)))
    points = [(width / 2, height / 2), (width / 50, height / 50)]
    local = amodal.load(**PARTS)(image, points=points, labels=[1, 0])
    assert mask == local.amodal.clip((height, width))


def test_boxes_brushes_and_polygons(backend):
    uri = "data:image/jpeg;base64," + base64.b64encode((DEMO / "coffee.jpg").read_bytes()).decode()
    image = amodal.read(DEMO / "coffee.jpg")
    size = (image.shape[0], image.shape[1])
    box = {
        "type": "rectanglelabels",
        "value": {"x": 25, "y": 17, "width": 56, "height": 72, "rectanglelabels": ["cup"]},
    }
    polygons = CONFIG.replace("BrushLabels", "PolygonLabels")
    status, answer, _ = predict(backend, {"photo": uri}, [box], polygons)
    (region,) = answer["results"][0]["result"]
    assert status == 200 and region["type"] == "polygonlabels" and len(region["value"]["points"]) > 5
    assert all(0 <= value <= 100 for point in region["value"]["points"] for value in point)
    visible = np.zeros(size, bool)
    visible[100:200, 150:300] = True
    visible[120:180, 200:220] = False
    brush = {"type": "brushlabels", "value": {"format": "rle", "rle": encode_brush(visible), "brushlabels": ["cup"]}}
    _, answer, _ = predict(backend, {"photo": uri}, [brush])
    bits = decode_brush(answer["results"][0]["result"][0]["value"]["rle"], size)
    assert bits[100:200, 150:300].all() and bits.sum() == 100 * 150


def test_without_a_drawing_there_is_no_prediction(backend):
    status, answer, _ = predict(backend, {"photo": "/data/upload/coffee.jpg"}, [], params=False)
    assert status == 200 and answer["results"][0]["result"] == []


@pytest.mark.parametrize(
    ("photo", "text"),
    [
        ("http://169.254.169.254/latest/meta-data", "not fetched from URLs"),
        ("file:///etc/passwd", "not fetched from URLs"),
        ("//evil.example/x.png", "not fetched from URLs"),
        ("/data/local-files/?d=../errors.py", "no such picture"),
        ("/data/local-files/?d=/etc/passwd", "no such picture"),
        ("/data/upload/../../../../etc/passwd", "no such picture"),
        ("data:image/png;base64,@@@", "not base64"),
        ("data:image/png;base64,AAAA", "not a picture"),
        (7, "names no picture"),
    ],
)
def test_pictures_from_elsewhere_are_refused(backend, photo, text):
    status, answer, _ = predict(backend, {"photo": photo}, [click(50, 50)])
    assert status == 422 and text in answer["error"]


def test_hostile_interfaces(backend):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><View>&b;</View>'
    for config, text in ((bomb, "without a DOCTYPE"), ("<View", "not XML")):
        status, answer, _ = predict(backend, {"photo": "/data/upload/coffee.jpg"}, [click(50, 50)], config)
        assert status == 422 and text in answer["error"]


@pytest.mark.parametrize("seed", range(4))
def test_brush_format_round_trip(seed):
    dice = np.random.default_rng(seed)
    size = (int(dice.integers(1, 60)), int(dice.integers(1, 300)))
    bits = dice.random(size) < (0.02, 0.5, 0.98, 0.0)[seed]
    packed = encode_brush(bits)
    assert all(0 <= value <= 255 for value in packed)
    assert np.array_equal(decode_brush(packed, size), bits)
    with pytest.raises(PromptError, match="pixels"):
        decode_brush(packed, (size[0] + 1, size[1]))
    with pytest.raises(PromptError, match="cut short"):
        decode_brush(packed[:5], size)


def test_brush_format_of_a_known_picture():
    """Two pixels, the second set: length 8, words of 8 bits, sizes 3 4 8 16, then four zeros and four 255."""
    expected = (
        f"{8:032b}" + "00111" + "0010001101111111" + "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    )
    expected += "0" * (-len(expected) % 8)
    packed = encode_brush(np.array([[False, True]]))
    assert "".join(f"{value:08b}" for value in packed) == expected
