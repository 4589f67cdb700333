"""The service's routes, used over real HTTP."""

import io
import json
import socket
import threading
import time
import zipfile

import numpy as np
import pytest

import amodal
import amodal.plugins.protocols
from amodal.core.errors import Cancelled, PromptError
from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.pipeline.choice import ModelChoice
from amodal.serve.client import Client, ServiceError
from amodal.serve.config import Config, Limits
from amodal.serve.engine import catalogue
from amodal.serve.server import PromptHeads
from amodal.serve.shelf import Gone, Shelf
from serve.conftest import DEMO, PARTS, SMALL_BOX, Browser, quarter_photo, running

BOX = [150, 70, 490, 360]


def test_from_a_photo_to_a_mask(browser):
    status, about, _ = browser("GET", "/api/about")
    assert status == 200 and "coffee.jpg" in about["samples"]
    assert about["methods"]["default"] == "hull" and about["methods"]["choices"][0]["schema"]["type"] == "object"
    scene = browser.open()
    status, visible, _ = browser("POST", f"/api/scenes/{scene}/visible", {"box": BOX})
    assert status == 200 and visible["area"] == Mask.from_rle(visible["mask"]).area > 10_000
    status, job, _ = browser("POST", f"/api/scenes/{scene}/completions", {"box": BOX, "seed": 3})
    assert status == 202 and job["state"] in ("queued", "running", "done")
    assert browser.finish(job)["state"] == "done"
    _, result, _ = browser("GET", f"/api/jobs/{job['id']}/result")
    local = amodal.load(**PARTS)(amodal.read(DEMO / "coffee.jpg"), box=BOX, seed=3)
    assert Mask.from_rle(result["amodal"]) == local.amodal and result["provenance"]["seed"] == 3
    status, png, headers = browser("GET", f"/api/jobs/{job['id']}/files/amodal.png")
    assert amodal.read_mask(png) == local.amodal and headers["content-type"] == "image/png"
    for name in (
        "visible.png",
        "occluded.png",
        "cutout.png",
        "cutout-soft.png",
        "overlay.png",
        "probability.png",
        "sample-0.png",
    ):
        status, png, _ = browser("GET", f"/api/jobs/{job['id']}/files/{name}")
        assert status == 200 and png.startswith(b"\x89PNG"), name
    status, coco, _ = browser("GET", f"/api/jobs/{job['id']}/files/coco.json")
    assert Mask.from_rle(coco["annotations"][0]["segmentation"]) == local.amodal


def test_events_tell_the_steps_and_the_end(browser):
    scene = browser.open()
    _, job, _ = browser("POST", f"/api/scenes/{scene}/completions", {"box": BOX})
    _, stream, headers = browser("GET", f"/api/jobs/{job['id']}/events")
    states = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: ")]
    assert headers["content-type"].startswith("text/event-stream")
    assert states[-1]["state"] == "done" and states[-1]["total"] >= 1


def test_layers_and_their_files(browser):
    scene = browser.open(quarter_photo())
    things = [{"box": SMALL_BOX}, {"points": [[140, 30]]}]
    assert browser("POST", f"/api/scenes/{scene}/layers", {"objects": things, "names": ["cup"]})[0] == 422
    _, job, _ = browser("POST", f"/api/scenes/{scene}/layers", {"objects": things, "names": ["cup", "table"]})
    assert browser.finish(job)["state"] == "done"
    _, result, _ = browser("GET", f"/api/jobs/{job['id']}/result")
    assert {thing["name"] for thing in result["objects"]} == {"cup", "table"}
    for name in ("background.png", "rest.png", "object-1.png", "object-2.png"):
        assert browser("GET", f"/api/jobs/{job['id']}/files/{name}")[0] == 200
    for name in ("object-0.png", "object-3.png", "cutout.png"):
        assert browser("GET", f"/api/jobs/{job['id']}/files/{name}")[0] == 404
    _, ora, _ = browser("GET", f"/api/jobs/{job['id']}/files/layers.ora")
    assert zipfile.ZipFile(io.BytesIO(ora)).read("mimetype") == b"image/openraster"


def test_the_client_gives_what_the_local_model_gives(service, photo, disc_visible):
    model, remote = amodal.load(**PARTS), Client(service.url)
    scene, far = model.open(photo), remote.open(photo)
    assert far.segment(point=(50, 48))[0].mask == scene.segment(point=(50, 48))[0].mask
    empty = Mask.from_array(np.zeros((1, 1), bool))
    ticks = []
    for settings in (
        {"point": (50, 48)},
        {"mask": disc_visible, "samples": 3, "seed": 5},
        {"mask": disc_visible, "occluder": empty},
        {"mask": disc_visible, "occluder": Mask.from_box((66, 0, 82, 96))},
    ):
        ours = far.complete(**settings, progress=lambda *step: ticks.append(step))
        theirs = scene.complete(**settings)
        assert ours.amodal == theirs.amodal and ours.visible == theirs.visible and ours.occluder == theirs.occluder
        assert np.array_equal(ours.rgba, theirs.rgba)
        assert np.array_equal(ours.probability.values, theirs.probability.values)
        assert len(ours.samples) == len(theirs.samples)
    whole = Mask.from_box((-8, 20, 90, 70))
    assert np.array_equal(far.repaint(ours.visible, whole).rgba, scene.repaint(ours.visible, whole).rgba)
    assert remote(photo, point=(50, 48)).amodal == model(photo, point=(50, 48)).amodal
    far.close()
    with pytest.raises(ServiceError, match="there is no such photo"):
        far.complete(point=(50, 48))


def test_the_clients_errors(service, photo):
    scene = Client(service.url).open(photo)
    with pytest.raises(PromptError, match="outside of the image"):
        scene.complete(point=(5000, 1))
    with pytest.raises(PromptError, match="did you mean 'hull'"):
        Client(service.url, model=ModelChoice(method="hul"))(photo, point=(50, 48))
    with pytest.raises(ServiceError, match="no service answers"):
        Client("http://127.0.0.1:9")


def test_the_default_inpainter_is_the_operators_or_goes_with_the_method(browser):
    _, about, _ = browser("GET", "/api/about")
    assert {row["inpainter"] for row in about["methods"]["choices"]} == {"classical"}  # the operator's, in these tests
    own = {row["name"]: row["inpainter"] for row in catalogue(Config())["methods"]["choices"]}
    assert (own["embedded"], own["tuning-free"]) == ("painter", "pocket")


def test_method_and_options_are_chosen_per_request(browser):
    scene = browser.open()
    choice = {"method": "visible", "segmenter_options": {"rounds": 1}}
    _, job, _ = browser("POST", f"/api/scenes/{scene}/completions", {"box": BOX, "model": choice})
    assert browser.finish(job)["state"] == "done"
    _, result, _ = browser("GET", f"/api/jobs/{job['id']}/result")
    assert result["provenance"]["method"]["name"] == "visible"
    assert result["provenance"]["segmenter"]["options"]["rounds"] == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "no prompt"),
        ({"points": [[9999, 1]]}, "outside of the image"),
        ({"points": [[1, 1]], "labels": [1, 0]}, "1 points have 2 labels"),
        ({"box": [10, 20, 5, 8]}, "if it is (x, y, w, h)"),
        ({"box": BOX, "samples": 0}, "samples: "),
        ({"box": BOX, "samples": 200}, "samples: Input should be less than or equal to 64"),
        ({"box": BOX, "colour": "red"}, "colour: "),
        ({"mask": {"size": [4, 4], "counts": "04"}}, "they must be equal"),
        ({"mask": {"size": [400, 600], "counts": "zz"}}, ""),
        ({"mask": {"size": [99999, 99999], "counts": "0"}}, "they must be equal"),
        ({"box": BOX, "occluder": "all"}, "occluder"),
        ({"box": BOX, "model": {"method": "hul"}}, "did you mean 'hull'"),
        ({"box": BOX, "model": {"inpainter": "stabilityai/sdxl"}}, "no inpainter named"),
        ({"box": BOX, "model": {"segmenter": "/etc"}}, "no segmenter named"),
        ({"box": BOX, "model": {"segmenter_options": {"rounds": 99}}}, "option rounds=99"),
        ({"text": "cup"}, ""),
    ],
)
def test_bad_requests_say_what_is_wrong(browser, body, text):
    scene = browser.open()
    status, answer, _ = browser("POST", f"/api/scenes/{scene}/completions", body)
    if status == 202:  # found only when the segmenter is asked
        assert browser.finish(answer)["state"] == "failed"
    else:
        assert status == 422 and text in answer["error"]


def test_cancel_within_a_step_and_the_queue(monkeypatch):
    """A slow method: one job runs, others wait; cancelling frees the thread within a step; the queue is bounded."""
    with running(limits=Limits(queue=2, session_jobs=4)) as service:
        one, other = Browser(service), Browser(service)
        gate = slow_method(monkeypatch, service)
        scene, elsewhere = one.open(), other.open()
        jobs = [one("POST", f"/api/scenes/{scene}/completions", {"box": BOX})[1]]
        assert gate.wait(100)
        jobs += [one("POST", f"/api/scenes/{scene}/completions", {"box": BOX})[1] for _ in range(2)]
        assert [one("GET", f"/api/jobs/{job['id']}")[1]["place"] for job in jobs] == [0, 1, 2]
        status, answer, headers = other("POST", f"/api/scenes/{elsewhere}/completions", {"box": BOX})
        assert status == 429 and "2 jobs are waiting" in answer["error"] and headers["retry-after"]
        status, _, _ = other("POST", f"/api/scenes/{elsewhere}/visible", {"points": [[300, 200]]})
        assert status == 200, "prompts are answered between the steps of a job"
        one("DELETE", f"/api/jobs/{jobs[1]['id']}")
        one("DELETE", f"/api/jobs/{jobs[0]['id']}")
        assert one.finish(jobs[0])["state"] == one.finish(jobs[1])["state"] == "cancelled"
        service.engine.desk.job_s = 0.5
        late = one.finish(jobs[2])
        assert late["state"] == "failed" and "longer than 0.5 seconds" in late["error"]
        assert one("GET", f"/api/jobs/{jobs[0]['id']}/result")[0] == 404


def test_the_client_cancels(monkeypatch, photo):
    with running() as service:
        slow_method(monkeypatch, service)
        scene = Client(service.url).open(photo)

        def progress(what, done, total):
            raise Cancelled("enough")

        with pytest.raises(Cancelled):
            scene.complete(point=(50, 48), progress=progress)
        deadline = time.perf_counter() + 100
        while service.engine.desk.counts["cancelled"] < 1:
            assert time.perf_counter() < deadline
            time.sleep(0.01)


def slow_method(monkeypatch, service):
    """A method that takes steps until it is stopped; the event is set when it begins."""
    begun = threading.Event()

    def slowly(embedded, image, requests, context):
        begun.set()
        while True:
            context.progress("step", 1, 1000)
            time.sleep(0.01)

    monkeypatch.setattr(service.engine._default.method, "complete", slowly)
    return begun


def test_scenes_and_results_give_way_and_age():
    now = [0.0]
    shelf: Shelf[str] = Shelf("photo", 2, 60, cost=100, pinned=lambda item: item == "pinned", clock=lambda: now[0])
    a, b = shelf.put("me", "a", 10), shelf.put("me", "b", 10)
    shelf.get(a, "me")
    c = shelf.put("me", "c", 10)
    assert shelf.get(a, "me") == "a" and shelf.get(c, "me") == "c"
    with pytest.raises(Gone):
        shelf.get(b, "me")
    with pytest.raises(Gone, match="there is no such photo"):
        shelf.get(a, "you")
    big = shelf.put("me", "big", 95)
    assert len(shelf) == 1 and shelf.get(big, "me") == "big"
    kept = shelf.put("me", "pinned")
    now[0] = 61
    shelf.sweep()
    assert len(shelf) == 1 and shelf.get(kept, "me") == "pinned"


def test_memory_is_bounded_by_the_limits(browser, service):
    scene = browser.open()
    limit = service.engine.config.limits
    assert limit.results == 128 and limit.scenes == 32
    for _ in range(limit.scenes + 3):
        last = browser.open(small_photo())
    assert len(service.engine.photos) == limit.scenes
    assert browser("GET", f"/api/scenes/{scene}")[0] == 404 and browser("GET", f"/api/scenes/{last}")[0] == 200


def small_photo():

    return encode_png(np.zeros((8, 8, 3), np.uint8))


def test_health_and_metrics(browser):
    assert browser("GET", "/api/health")[1]["status"] == "ok"
    status, text, headers = browser("GET", "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
    assert float(values["process_resident_memory_bytes"]) > 1e7
    assert int(values['amodal_jobs_total{end="done"}']) >= 0 and 'amodal_requests_total{status="2xx"}' in values


def test_watchers_hear_of_a_shutdown(monkeypatch, photo):
    """Those who watch a job, and the client, are told why before the lines close."""
    with running() as service:
        slow_method(monkeypatch, service)
        scene, told, watching = Client(service.url).open(photo), [], threading.Event()

        def watch():
            try:
                scene.complete(point=(50, 48), progress=lambda what, done, total: watching.set())
            except ServiceError as error:
                told.append(str(error))

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert watching.wait(100), "the job's steps reach the client"
    watcher.join(100)
    assert told == ["the service is shutting down"]
    with pytest.raises(ServiceError, match="no service answers"):
        scene.complete(point=(50, 48))


def test_a_click_may_mean_several_things(browser, service, monkeypatch):
    segmenter = service.engine._default.segmenter
    whole, part = Mask.from_box((20, 20, 120, 90)), Mask.from_box((40, 40, 60, 60))
    both = [amodal.plugins.protocols.Proposal(mask, 0.5) for mask in (part, whole)]
    monkeypatch.setattr(segmenter, "segment", lambda embedded, prompt: [both[1]])
    monkeypatch.setattr(segmenter, "propose", lambda embedded, prompt: both)
    scene = browser.open(quarter_photo())
    _, answer, _ = browser("POST", f"/api/scenes/{scene}/visible", {"point": [50, 50]})
    assert answer["area"] == whole.area and [other["area"] for other in answer["others"]] == [part.area]
    _, answer, _ = browser("POST", f"/api/scenes/{scene}/visible", {"point": [50, 50], "others": False})
    assert answer["area"] == whole.area and answer["others"] == []
    _, answer, _ = browser("POST", f"/api/scenes/{scene}/visible", {"point": [50, 50], "box": [0, 0, 99, 99]})
    assert answer["others"] == []


def test_a_click_does_not_wait_for_what_another_may_mean(browser, service, monkeypatch):
    segmenter, scene = service.engine._default.segmenter, browser.open(quarter_photo())
    route, begun, answered, free = f"/api/scenes/{scene}/visible", threading.Event(), threading.Event(), []
    whole = amodal.plugins.protocols.Proposal(Mask.from_box((20, 20, 120, 90)), 0.5)

    def propose(embedded, prompt):
        begun.set()
        free.append(answered.wait(10))
        return [whole]

    monkeypatch.setattr(segmenter, "segment", lambda embedded, prompt: [whole])
    monkeypatch.setattr(segmenter, "propose", propose)
    first = threading.Thread(target=browser, args=("POST", route, {"point": [50, 50]}))
    first.start()
    assert begun.wait(60)
    status, _, _ = browser("POST", route, {"point": [60, 50], "others": False})
    answered.set()
    first.join(60)
    assert status == 200 and free == [True]


def test_answers_leave_at_once(browser, monkeypatch):
    """No part of an answer waits until the client has acknowledged the part before (Nagle's algorithm)."""
    made, found = PromptHeads.connection_made, []

    def connection_made(protocol, transport):
        made(protocol, transport)
        found.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(PromptHeads, "connection_made", connection_made)
    browser("GET", "/api/health")
    assert found and all(found)


def test_a_glance_is_for_segmenters_that_have_one(browser, service, monkeypatch):
    segmenter, scene = service.engine._default.segmenter, browser.open(quarter_photo())
    route, rough = f"/api/scenes/{scene}/visible", Mask.from_box((20, 20, 70, 90))
    status, answer, _ = browser("POST", route, {"point": [50, 50], "glance": True})
    assert status == 422 and "ask again without `glance`" in answer["error"]
    with monkeypatch.context() as changed:
        changed.setattr(type(segmenter), "glance", lambda *_: amodal.plugins.protocols.Proposal(rough, 0.5))
        _, about, _ = browser("GET", "/api/about")
        assert {row["name"] for row in about["segmenters"]["choices"] if row["glance"]} == {"grabcut", "pocket"}
        _, answer, _ = browser("POST", route, {"point": [50, 50], "glance": True})
        assert answer["area"] == rough.area and answer["others"] == []
        assert browser("POST", route, {"box": SMALL_BOX, "glance": True})[0] == 422


def test_kept_results_are_bounded_by_bytes():
    with running(limits=Limits(result_bytes=300_000)) as service:
        browser = Browser(service)
        scene = browser.open(quarter_photo())
        for _ in range(8):
            _, job, _ = browser("POST", f"/api/scenes/{scene}/completions", {"box": SMALL_BOX})
            assert browser.finish(job)["state"] == "done"
        assert browser("GET", f"/api/jobs/{job['id']}/result")[0] == 200
        assert 0 < service.engine.jobs.total <= 300_000 and len(service.engine.jobs) < 8
