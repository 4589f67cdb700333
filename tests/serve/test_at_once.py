"""One object of a photo in one call: `POST /api/complete`, a form or JSON."""

from urllib.parse import unquote

import numpy as np

import amodal
from amodal.core.image import encode_png, read_rgba
from amodal.core.mask import Mask
from serve.conftest import PARTS, SMALL_BOX, quarter_photo


def test_one_call(service):
    """A form, or JSON; the answer is the file that is asked for; nothing is kept."""
    import base64

    import httpx

    photo = quarter_photo()
    local = amodal.load(**PARTS)(amodal.read(photo), box=SMALL_BOX, seed=3)
    kept = len(service.engine.photos), len(service.engine.jobs)
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as line:
        form = {"box": "38,18,122,90", "seed": "3"}
        done = line.post("/api/complete", files={"image": ("cup.png", photo)}, data=form)
        assert done.status_code == 200 and Mask.from_rle(done.json()["amodal"]) == local.amodal
        assert done.json()["image"]["file"] == "cup.png"
        body = {"image": base64.b64encode(photo).decode(), "box": SMALL_BOX, "seed": 3}
        done = line.post("/api/complete?file=amodal.png", json=body)
        assert done.headers["content-type"] == "image/png" and amodal.read_mask(done.content) == local.amodal
        done = line.post("/api/complete", json=body, headers={"Accept": "image/png"})
        assert (read_rgba(done.content)[..., 3] > 0).sum() == local.amodal.area
        for wrong, text in (
            ({"box": SMALL_BOX}, "no text 'image'"),
            ({**body, "image": "@"}, "not base64"),
            ({**body, "samples": 200}, "samples: "),
            ({**body, "box": [9, 9, 1, 1]}, "box"),
        ):
            answer = line.post("/api/complete", json=wrong)
            assert answer.status_code == 422 and text in answer.json()["error"]
        assert line.post("/api/complete?file=../etc/passwd", json=body).status_code == 404
        assert line.post("/api/complete", data=form).status_code == 422
        files = {"image": ("cup.png", photo), "mask": ("visible.png", encode_png(local.visible.to_array(local.size)))}
        marked = line.post("/api/complete", files=files, data={"seed": "3"})
        assert Mask.from_rle(marked.json()["visible"]) == local.visible, "a mask may be a picture"
        for wrong, text in (
            (
                [("image", photo), ("point", (None, "9,9")), ("point", (None, "5,5"))],
                "'point' 2 times; several clicks are",
            ),
            ([("image", photo), ("masks", photo)], "has a file 'masks'; files are the photo"),
            ([("image", photo), ("image", photo)], "'image' 2 times"),
        ):
            answer = line.post("/api/complete", files=wrong)
            assert answer.status_code == 422 and text in answer.json()["error"]
    assert len(service.engine.photos) <= kept[0] and len(service.engine.jobs) <= kept[1]


def test_what_had_to_be_understood_is_told_to_the_caller(service, recwarn):
    """Warnings had gone to the service's own terminal."""
    import httpx

    photo = quarter_photo()
    size = amodal.read(photo).shape[:2]
    labels = np.zeros(size, np.uint8)
    labels[18:90, 38:122], labels[40:50, 50:70] = 1, 2
    files = {"image": ("cup.png", photo), "mask": ("visible.png", encode_png(labels))}
    told = "the given picture holds 2 labels; every one but 0 is taken for the object"
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as line:
        answer = line.post("/api/complete", files=files)
        assert answer.json()["provenance"]["image"]["notes"] == [f"mask {told}"]
        assert unquote(answer.headers["x-amodal-notes"]) == f"mask {told}"
        answer = line.post("/api/complete", files={"image": ("cup.png", photo)}, data={"box": "38,18,122,90"})
        assert "notes" not in answer.json()["provenance"]["image"] and "x-amodal-notes" not in answer.headers
    assert not recwarn.list


def test_the_document_of_the_one_call_knows_its_fields_and_limits(browser):
    _, document, _ = browser("GET", "/openapi.json")
    content = document["paths"]["/api/complete"]["post"]["requestBody"]["content"]
    form, fields = (content[kind]["schema"]["properties"] for kind in ("multipart/form-data", "application/json"))
    known = document["components"]["schemas"]["CompleteRequest"]["properties"]
    assert set(fields) == {"image", *known} and all(fields[name]["$ref"].endswith(f"/{name}") for name in known)
    for name in ("samples", "seed"):
        bounds = [(each[name]["minimum"], each[name]["maximum"]) for each in (form, known)]
        assert bounds[0] == bounds[1]
