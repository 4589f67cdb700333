"""Packages whose plug-ins are broken: each is told by name, and nothing else suffers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import amodal

METHOD = """
from amodal.plugins.protocols import Method, Prediction

class Whole(Method):
    name, summary = {name!r}, "the visible mask"

    {body}
"""
COMPLETE = "def complete(self, embedded, image, requests, context): return [[Prediction(r.visible)] for r in requests]"
METHODS = {  # a package to its module and what `amodal list` says of its method
    "syntax": ("class Whole(:", "SyntaxError"),
    "value": ("raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines"),
    "exit": ("raise SystemExit(5)", "SystemExit: 5"),
    "absent": ("import not_there", "No module named 'not_there'"),
    "nothing": ("", "AttributeError"),
    "function": ("def Whole(options, device): ...", "is no class derived from Method"),
    "stranger": ("class Whole: name = summary = 'x'", "is no class derived from Method"),
    "verbless": (METHOD.format(name="verbless", body="pass"), "lacks complete"),
    "verb": (
        METHOD.format(name="verb", body="def complete(self, image): ..."),
        "complete(self, embedded, image, requests",
    ),
    "init": (
        METHOD.format(name="init", body=f"def __init__(self): ...\n    {COMPLETE}"),
        "__init__(self, options, device)",
    ),
    "nameless": (METHOD.format(name=None, body=COMPLETE), "has no name"),
    "one": (METHOD.format(name="twice", body=COMPLETE), ""),
    "other": (METHOD.format(name="twice", body=COMPLETE), ""),
    "good": (METHOD.format(name="hull", body=COMPLETE), ""),
    "taken": (METHOD.format(name="hull", body=COMPLETE), ""),
    "more": (METHOD.format(name="more", body=f"extra = 'big'\n    {COMPLETE}"), ""),
}
EXTRA = 'Provides-Extra: big\nRequires-Dist: not-there-at-all; extra == "big"'
NAMES = {"one": "twice", "other": "twice", "taken": "hull"}


def package(folder: Path, name: str, group: str, offer: str) -> None:
    """What pip leaves of an installed package that offers one thing."""
    info = folder / f"b_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: b-{name}\nVersion: 1.0\n{EXTRA}\n")
    (info / "entry_points.txt").write_text(f"[amodal.{group}]\n{offer}\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for name, (module, _) in METHODS.items():
        (folder / f"b_{name}.py").write_text(module)
        package(folder, name, "methods", f"{NAMES.get(name, name)} = b_{name}:Whole")
    (folder / "b_data.py").write_text("class Reader: ...")
    package(folder, "data", "datasets", "mine = b_data:Reader")
    (folder / "b_task.py").write_text("raise RuntimeError('no')")
    package(folder, "task", "tasks", "mine = b_task:Task")
    for name, table in {"toml": "[x\n", "names": "[sam-vit-b]\nkind='file'\nsummary='mine'\nlicense='MIT'\n"}.items():
        (folder / f"b_{name}").mkdir()
        (folder / f"b_{name}" / "__init__.py").touch()
        (folder / f"b_{name}" / "weights.toml").write_text(table)
        package(folder, name, "weights", f"{name} = b_{name}")
    package(folder, "gone", "weights", "gone = b_gone.not_there")
    return folder


def ask(site, *words):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(amodal.__file__).parents[1]), str(site)])}
    return subprocess.run(
        [sys.executable, "-m", "amodal", *words], env=environment, capture_output=True, text=True, check=False
    )


def test_the_list_tells_what_is_wrong_with_each(site):
    done = ask(site, "list", "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    for name, (_, words) in METHODS.items():
        if words:
            assert table["methods"][name].startswith("(not available: ") and words in table["methods"][name]
    assert "offered by the packages" in table["methods"]["twice"] and "b-other" in table["methods"]["twice"]
    assert "has no name and no summary" in table["datasets"]["mine"]
    assert table["methods"]["good"] == "the visible mask"
    assert "convex hull" in table["methods"]["hull"], "names that ship are not given away"
    assert "Segment" in table["weights"]["sam-vit-b"] or "SAM" in table["weights"]["sam-vit-b"]
    told = [line for line in done.stderr.splitlines() if line.startswith("amodal: warning: ")]
    for package, words in (
        ("b-taken", "'hull'"),
        ("b-toml", "TOML"),
        ("b-names", "sam-vit-b"),
        ("b-gone", "no package b_gone.not_there"),
    ):
        assert [line for line in told if package in line and words in line], (package, done.stderr)


def test_asking_for_a_broken_one_is_one_line(site, tmp_path):
    for name in ("value", "twice", "verb"):
        done = ask(site, "show", name)
        assert done.returncode == 1 and "Traceback" not in done.stderr and repr(name) in done.stderr
    (tmp_path / "recipe.toml").write_text('task = "mine"\n')
    done = ask(site, "train", str(tmp_path / "recipe.toml"), "-o", str(tmp_path / "run"))
    assert done.returncode == 1 and "task 'mine' of the package b-task cannot be imported" in done.stderr


def test_a_result_is_repeated_by_the_method_that_made_it(site, tmp_path):
    """The class calls itself `hull`, and is offered as `good`: its results are not repeated by amodal's own `hull`."""
    photo = Path(amodal.__file__).parent / "_demo" / "coffee.jpg"
    done = ask(
        site,
        "segment",
        str(photo),
        "--mask",
        str(photo.with_name("coffee.saucer.png")),
        "--method",
        "good",
        "-o",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "coffee.json").read_text())
    assert record["provenance"]["method"]["name"] == "good"


def test_what_a_package_needs_is_its_own_extra(site, tmp_path):
    command = 'pip install not-there-at-all  (the extra "big" of b-more)'
    report = json.loads(ask(site, "doctor", "--json").stdout)
    assert report["methods"]["more"] == {"ready": False, "do": command} and report["methods"]["good"]["ready"]
    photo = Path(amodal.__file__).parent / "_demo" / "coffee.jpg"
    done = ask(site, "segment", str(photo), "--box", "10,10,90,90", "--method", "more", "-o", str(tmp_path / "out"))
    assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith(
        f"'more' needs packages that are not installed; run: {command}"
    )
