"""`segment --like` with an edited record: repeated, or one line."""

import json
import random

import pytest

from amodal.cli import run
from amodal.core.image import encode_png

ODD = (None, True, -1, 2.5, 1e308, 10**30, "", "x", [], [[1]], {}, {"a": 1})


@pytest.fixture
def record(tmp_path, photo):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    arguments = ["segment", str(tmp_path / "photo.png"), "--box", "28,16,92,80", "--method", "hull"]
    assert run([*arguments, "--segmenter", "grabcut", "-o", str(tmp_path / "a")]) == 0
    return tmp_path / "a" / "photo.json"


def places(value, at=()):
    yield at
    for key in value if isinstance(value, dict) else ():
        yield from places(value[key], (*at, key))


def test_every_place_of_the_record_may_be_damaged(record, tmp_path, capsys, monkeypatch):
    content = json.loads(record.read_text())
    luck = random.Random(0)
    for number, place in enumerate(path for path in places(content["provenance"]) if path):
        changed = json.loads(record.read_text())
        inside = changed["provenance"]
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = luck.choice(ODD)
        (tmp_path / "b.json").write_text(json.dumps(changed))
        capsys.readouterr()
        code = run(["segment", "--like", str(tmp_path / "b.json"), "-o", str(tmp_path / f"out{number}")])
        errors = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("amodal: ") and "warning" not in line
        ]
        assert (code, len(errors)) in ((0, 0), (1, 1), (2, 1)), place


def test_a_record_of_before_the_names_changed_repeats_the_network_that_ships(tmp_path, photo, capsys):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    assert run(["segment", str(tmp_path / "photo.png"), "--box", "28,16,92,80", "-o", str(tmp_path / "a")]) == 0
    old = json.loads((tmp_path / "a" / "photo.json").read_text())
    method = old["provenance"]["method"]
    method |= {"name": "occamodal", "weights": {"occamodal": method["weights"]["embedded"]}}

    def repeat(name):
        (tmp_path / f"{name}.json").write_text(json.dumps(old))
        capsys.readouterr()
        code = run(["segment", "--like", str(tmp_path / f"{name}.json"), "-o", str(tmp_path / name)])
        return code, capsys.readouterr().err

    code, told = repeat("same")
    assert code == 0 and "warning" not in told
    pictures = [(tmp_path / folder / "photo.cutout.png").read_bytes() for folder in ("a", "same")]
    assert pictures[0] == pictures[1]
    method["weights"] = {"occamodal": "0" * 64}
    code, told = repeat("older")
    assert code == 0 and "the method's weights are not those of the record" in told
    method |= {"weights": {}, "options": {}}
    code, told = repeat("neither")
    assert code == 1 and "may be the one that is called embedded now" in told
    method |= {"options": {"input_size": 64, "weights": ""}}
    code, told = repeat("paper")
    assert code == 2 and "the one that ships is embedded (--set weights=RUN/weights.safetensors)" in told


def test_a_photo_that_was_moved_is_told(record, tmp_path, capsys):
    (tmp_path / "photo.png").rename(tmp_path / "moved.png")
    capsys.readouterr()
    assert run(["segment", "--like", str(record), "-o", str(tmp_path / "b")]) == 2
    told = capsys.readouterr().err
    assert "photo.png, seen from this folder; name it, as in amodal segment PHOTO --like" in told
    assert run(["segment", str(tmp_path / "moved.png"), "--like", str(record), "-o", str(tmp_path / "b")]) == 0
