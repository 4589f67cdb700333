"""The template of a package with a plug-in, installed as a user would and used in another process; and a class in a lone file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import amodal
from amodal.cli import run
from amodal.core.errors import MissingExtraError, UnknownNameError, UsageError
from amodal.plugins import registry
from amodal.testing import check_inpainter, check_method, check_segmenter, example_photo

TEMPLATE = Path(__file__).parents[2] / "examples" / "plugin"
LONE = """
from amodal.core.regions import convex_hull
from amodal.plugins.protocols import Method, Prediction

class Mine(Method):
    name, summary = "mine", "a hull"

    def complete(self, embedded, image, requests, context):
        context.progress("object", 1, 1)
        return [[Prediction(convex_hull(request.visible))] for request in requests]

class NoMethod:
    pass
"""
RECIPE = """
task = "grow"
[run]
steps = 300
batch = 8
workers = 0
precision = "fp32"
validate_every = 300
checkpoint_every = 300
[optimizer]
lr = 0.1
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the template installed, and the environment that finds it."""
    target = tmp_path_factory.mktemp("site")
    copy = tmp_path_factory.mktemp("copy") / "plugin"
    import shutil

    shutil.copytree(TEMPLATE, copy)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(copy)], check=True, capture_output=True)
    source = str(Path(amodal.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([source, str(target)])}


def told(environment, *arguments):
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_an_installed_package_has_full_rights(installed):
    record = json.loads(told(installed, "-m", "amodal", "show", "grow", "--json"))
    method = next(each for each in record if each["kind"] == "methods")
    assert method["license"] == "MIT" and method["weights"][0]["name"] == "grow"
    assert method["weights"][0]["state"] == "embedded"
    code = (
        "from amodal.plugins.registry import requirement; print(requirement('methods', 'grow', 'fast'));"
        "from amodal.training.tasks import TASKS; print('grow' in TASKS)"
    )
    assert told(installed, "-c", code).split() == ["pip", "install", '"amodal-grow[fast]"', "False"]


def test_its_own_tests_pass(installed):
    out = told(
        installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TEMPLATE / "tests"), "--rootdir", str(TEMPLATE)
    )
    assert "2 passed" in out


@pytest.mark.slow
def test_its_task_trains_and_the_result_serves_the_method(installed, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "grow.toml").write_text(RECIPE)
    told(installed, "-m", "amodal", "train", str(tmp_path / "grow.toml"), "-o", str(tmp_path / "run"))
    weights = tmp_path / "run" / "weights.safetensors"
    assert weights.is_file(), sorted(each.name for each in (tmp_path / "run").iterdir())
    told(installed, "-m", "amodal", "export", str(tmp_path / "grow.toml"), str(weights), "-o", str(tmp_path / "out"))
    code = (
        "import sys, amodal; from amodal.testing import example_photo; photo, disc = example_photo();"
        "done = amodal.load('grow', options={'weights': sys.argv[1]})(photo, mask=disc);"
        "print(done.amodal.box[0] - disc.box[0], done.provenance['method']['weights'])"
    )
    grown, _, record = told(installed, "-c", code, str(tmp_path / "out" / "grow.txt")).partition(" ")
    assert grown == "-6" and "grow.txt" in record


def test_a_class_in_a_file_is_a_method(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(LONE)
    photo, disc = example_photo()
    done = amodal.load(f"{file}:Mine")(photo, mask=disc)
    assert done.amodal == amodal.load("hull")(photo, mask=disc).amodal
    check_method(registry.create_method(f"{file}:Mine"))
    assert registry.find("methods", f"{file}:Mine").license == "not stated"
    for name, error, text in (
        (f"{file}:Yours", UnknownNameError, "no Method named 'Yours'; All: Mine"),
        (f"{file}:NoMethod", UnknownNameError, "no Method named 'NoMethod'"),
        (f"{tmp_path}/none.py:Mine", UnknownNameError, "there is no file"),
    ):
        with pytest.raises(error, match=text):
            amodal.load(name)
    file.write_text("import nothing_of_this_name")
    os.utime(file, (1, 1))
    with pytest.raises(MissingExtraError, match="needs the package 'nothing_of_this_name'"):
        amodal.load(f"{file}:Mine")
    file.write_text("x = (")
    os.utime(file, (2, 2))
    with pytest.raises(UsageError, match="cannot be run: SyntaxError"):
        amodal.load(f"{file}:Mine")


def test_a_class_in_a_file_on_the_command_line(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "mine.py").write_text(LONE)
    photo, disc = example_photo()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(disc.to_array((96, 128))).save(tmp_path / "disc.png")
    arguments = ["segment", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "disc.png"), "-o", str(tmp_path)]
    assert run([*arguments, "--method", f"{tmp_path}/mine.py:Mine"]) == 0
    assert run([*arguments[:2], "-o", str(tmp_path / "again"), "--like", str(tmp_path / "photo.json")]) == 0
    assert (tmp_path / "again" / "photo.json").read_bytes() == (tmp_path / "photo.json").read_bytes()
    assert run([*arguments, "--method", f"{tmp_path}/mine.py:Other", "--force"]) == 2
    assert "no Method named 'Other'" in capsys.readouterr().err


def test_a_class_in_a_file_is_evaluated_by_other_processes(tmp_path, sample_set):
    (tmp_path / "mine.py").write_text(LONE)
    data = amodal.dataset("masks", sample_set / "data" / "bookstore_dev")
    model = amodal.load(f"{tmp_path}/mine.py:Mine", segmenter="grabcut", inpainter="classical")
    alone, together = (amodal.evaluate(model, data, limit=4, workers=workers) for workers in (1, 2))
    assert [row.iou for row in alone.rows] == [row.iou for row in together.rows]
    assert alone.content["settings"]["method"]["name"] == f"{tmp_path}/mine.py:Mine"
    for thing in (data, data[0], alone, alone.rows[0]):
        assert len(repr(thing)) < 200 + len(str(tmp_path)), type(thing)


def test_the_contract_checks_find_what_is_wrong(tmp_path):
    class Forgetful(registry.find("methods", "hull")):
        def complete(self, embedded, image, requests, context):
            import random

            answers = super().complete(embedded, image, requests, context)
            return [[type(each)(each.amodal.shift(random.randrange(9), 0)) for each in row] for row in answers]

    with pytest.raises(AssertionError, match="the same seed must give the same answer"):
        check_method(Forgetful())

    class Silent(registry.find("methods", "visible")):
        def complete(self, embedded, image, requests, context):
            return super().complete(embedded, image, requests, type(context)())

    with pytest.raises(AssertionError, match="progress was never called"):
        check_method(Silent())


def test_what_ships_passes_the_contract():
    check_inpainter(registry.create_inpainter("classical"))
    check_segmenter(registry.create_segmenter("grabcut"))


def test_exported_networks_serve_their_methods(tmp_path, photo, disc_visible):
    """Copies of the shipped files, given by path, answer as the shipped ones, and are recorded by their digests."""
    import shutil

    from amodal.core.errors import WeightsError
    from amodal.weights.catalogue import embedded, entries

    for name in ("embedded", "pocket-segmenter-encoder", "pocket-segmenter-head"):
        shutil.copy(embedded(name), tmp_path / embedded(name).name)
    own = amodal.load(
        options={"weights": str(tmp_path / "embedded.onnx")}, segmenter_options={"weights": str(tmp_path)}
    )
    done, shipped = own(photo, point=(45, 48)), amodal.load()(photo, point=(45, 48))
    assert done == shipped
    digests = done.provenance["method"]["weights"]
    assert list(digests.values()) == [entries()["embedded"].sha256]
    (tmp_path / "text.onnx").write_text("no network")
    for file, text in (("none.onnx", "there is no file"), ("text.onnx", "no ONNX network")):
        with pytest.raises(WeightsError, match=text):
            amodal.load(options={"weights": str(tmp_path / file)})(photo, mask=disc_visible)
    with pytest.raises(WeightsError, match="no exported network of the method embedded"):
        amodal.load(options={"weights": str(embedded("pocket-inpainter"))})(photo, mask=disc_visible)
