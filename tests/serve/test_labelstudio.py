"""Label Studio's ML-backend protocol, by the requests that Label Studio makes."""

import base64

import numpy as np
import pytest

import amodal
from amodal.core.errors import PromptError
from amodal.core.mask import Mask
from amodal.serve.brush import decode_brush, encode_brush, polygons
from amodal.serve.labelstudio import read_drawing
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


SIZE = (300, 451)


def rectangle(x, y, width, height, turn=0):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": turn, "rectanglelabels": ["cat"]}
    return {"type": "rectanglelabels", "value": value}


def test_a_turned_rectangle():
    """Label Studio turns about the corner, in pixels: a quarter turn of 100 x 50 at (200, 100) lies left of and below it."""
    percent = (200 / 451 * 100, 100 / 3, 100 / 451 * 100, 50 / 3)
    assert np.allclose(read_drawing([rectangle(*percent)], SIZE).box, (200, 100, 300, 150))
    assert np.allclose(read_drawing([rectangle(*percent, 90)], SIZE).box, (150, 100, 200, 200))
    assert np.allclose(read_drawing([rectangle(*percent, 180)], SIZE).box, (100, 50, 200, 100))
    both = [rectangle(*percent), rectangle(*percent, 90)]
    assert np.allclose(read_drawing(both, SIZE).box, (150, 100, 300, 200))


def test_polygons_lie_on_the_edges_of_pixels_and_hold_every_piece():
    bits = np.zeros((40, 60), bool)
    bits[5:15, 5:15] = True
    (ring,) = polygons(bits)
    assert area(ring) == 100 and ring.min() == 5 and ring.max() == 15
    bits[20:30, 20:50] = True
    bits[22:28, 30:40] = False
    rings = polygons(bits)
    assert sorted(area(ring) for ring in rings) == [100, 240]
    dice = np.random.default_rng(3).random((30, 30)) < 0.4
    assert abs(sum(map(area, polygons(dice))) - dice.sum()) < 0.05 * dice.sum()
    for crumbs in (np.eye(2, dtype=bool), np.indices((12, 12)).sum(0) % 2 == 0, np.ones((1, 1), bool)):
        assert sum(map(area, polygons(np.pad(crumbs, 3)))) == crumbs.sum(), "what is small stays"


def outline(points):
    return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": ["cat"]}}


def test_outlines_are_read_as_they_are_written():
    """Along the edges of pixels: ten by ten pixels are a hundred, and what the backend gave is read as the same mask again."""
    percent = 100 / np.array([451, 300])
    square = (np.array([[10, 10], [20, 10], [20, 20], [10, 20]]) * percent).tolist()
    assert read_drawing([outline(square)], SIZE).brush == Mask.from_box((10, 10, 20, 20))
    bits = np.zeros(SIZE, bool)
    bits[100:160, 50:90] = bits[150:200, 80:200] = True
    (ring,) = polygons(bits)
    assert read_drawing([outline((ring * percent).tolist())], SIZE).brush == Mask.from_array(bits)


def area(ring):
    x, y = ring.T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2))


def brush(bits, label="cat"):
    return {"type": "brushlabels", "value": {"format": "rle", "rle": encode_brush(bits), "brushlabels": [label]}}


def test_all_brushes_and_clicks_of_a_request_count(backend):
    first, second = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    first[10:40, 10:40] = second[100:140, 300:340] = True
    data = {"photo": "/data/upload/chelsea.jpg"}
    _, answer, _ = predict(backend, data, [brush(first), brush(second)])
    bits = decode_brush(answer["results"][0]["result"][0]["value"]["rle"], SIZE)
    assert bits[first | second].all()
    status, answer, _ = predict(backend, data, [brush(first), click(50, 50)])
    bits = decode_brush(answer["results"][0]["result"][0]["value"]["rle"], SIZE)
    assert status == 200 and bits[first].all() and bits[150, 225]


def test_labels_and_scores_are_not_made_up(backend):
    data = {"photo": "/data/upload/chelsea.jpg"}
    _, answer, _ = predict(backend, data, [click(50, 50, label="dog")])
    (result,) = answer["results"]
    local = amodal.load(**PARTS)(amodal.read(DEMO / "chelsea.jpg"), point=(225.5, 150))
    assert result["result"][0]["value"]["brushlabels"] == [] and result["score"] == local.score
    _, answer, _ = predict(backend, data, [click(50, 50, label="dog")], CONFIG.replace('<Label value="cup"/>', ""))
    assert answer["results"][0]["result"][0]["value"]["brushlabels"] == ["cat"], "the only one"
    aliased = CONFIG.replace('<Label value="cup"/>', '<Label value="Big dog" alias="dog"/>')
    _, answer, _ = predict(backend, data, [click(50, 50, label="dog")], aliased)
    assert answer["results"][0]["result"][0]["value"]["brushlabels"] == ["dog"], "as Label Studio writes it"
    _, answer, _ = predict(backend, data, [])
    assert answer["results"][0] == {"result": [], "score": 0.0, "model_version": answer["model_version"]}


@pytest.mark.parametrize(
    ("region", "text"),
    [
        ({"type": "brushlabels", "value": {"format": "rle", "rle": 10**12}}, "list of bytes"),
        ({"type": "brushlabels", "value": {"format": "rle", "rle": [0] * 40}}, "0 pixels"),
        ({"type": "brushlabels", "value": {"format": "png"}}, "not in the format"),
        (rectangle(1, 1, 10, "wide"), "malformed"),
        (rectangle(1, 1, 10, 10, 10**300), "a place or a size of 1e+300"),
        ({"type": "keypointlabels", "value": {"x": 1e300, "y": 5}}, "a place or a size of 1e+300"),
        ({"type": "polygonlabels", "value": {"points": [[1, 1], [9, 1e300], [9, 9]]}}, "a coordinate of"),
        ({"type": "polygonlabels", "value": {"points": [[1, 1], [9, 9]]}}, "at least three points"),
        ({**rectangle(1, 1, 10, 10), "image_rotation": 90}, "turn it back"),
        ({**rectangle(1, 1, 10, 10), "original_width": 300, "original_height": 451}, "drawn on 300 x 451"),
        ({"type": "keypointlabels", "value": {"x": "left", "y": 5}}, "malformed"),
        ({**rectangle(1, 1, 10, 10), "original_width": "0", "original_height": "0"}, "malformed"),
        ({"type": "bitmasklabels", "value": {"imageDataURL": "data:"}}, "a bitmask of the drawing cannot be read"),
        ({"type": "choices", "value": {"choices": ["cat"]}}, "nothing is drawn"),
    ],
)
def test_drawings_that_cannot_be_read(backend, region, text):
    status, answer, _ = predict(backend, {"photo": "/data/upload/chelsea.jpg"}, [region])
    assert status == 422 and text in answer["error"], answer
