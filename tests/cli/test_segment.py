"""`amodal segment`: files, exit codes, one-line errors, exact repetition."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import amodal
from amodal.cli import run
from amodal.core.image import encode_png, read
from reference import coco_mask as coco

SUFFIXES = (".amodal.png", ".visible.png", ".cutout.png", ".overlay.png", ".json")


@pytest.fixture
def files(tmp_path, photo, disc_visible):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    (tmp_path / "mask.png").write_bytes(encode_png(disc_visible))
    return tmp_path


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_all_files_and_their_content(files, photo, disc_visible, capsys):
    arguments = [
        "segment",
        str(files / "photo.png"),
        "--mask",
        str(files / "mask.png"),
        "-o",
        str(files / "out"),
        "--json",
    ]
    assert run(arguments) == 0
    records = json.loads(capsys.readouterr().out)
    assert sorted(results(files / "out")) == sorted(f"photo{suffix}" for suffix in SUFFIXES)
    record = json.loads((files / "out" / "photo.json").read_text())
    assert {key: value for key, value in records[0].items() if key != "files"} == record
    visible = cv2.imread(str(files / "out" / "photo.visible.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(visible, disc_visible * np.uint8(255))
    amodal = cv2.imread(str(files / "out" / "photo.amodal.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(coco.decode(record["amodal"]) * np.uint8(255), amodal)
    assert np.array_equal(coco.decode(record["visible"]), disc_visible)
    assert np.array_equal(coco.decode(record["occluded"]) > 0, (amodal > 0) & ~disc_visible)
    cutout = cv2.cvtColor(
        cv2.imread(str(files / "out" / "photo.cutout.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA
    )
    x0, y0, x1, y1 = record["amodal_box"]
    assert np.array_equal(cutout[..., 3], amodal[y0:y1, x0:x1])
    inside = disc_visible[y0:y1, x0:x1]
    assert np.array_equal(cutout[inside, :3], photo[y0:y1, x0:x1][inside])
    assert read(files / "out" / "photo.overlay.png").shape == photo.shape
    assert record["occlusion_rate"] == pytest.approx(
        (amodal > 0).sum() / (amodal > 0).sum() - disc_visible.sum() / (amodal > 0).sum(), abs=1e-6
    )


@pytest.mark.parametrize(
    "prompt", [["--point", "45,48"], ["--box", "28,16,92,80"], ["--point", "45,48", "--point", "74,48,0"]]
)
def test_like_repeats_exactly(files, prompt):
    assert (
        run(["segment", str(files / "photo.png"), *prompt, "--method", "hull", "--seed", "7", "-o", str(files / "a")])
        == 0
    )
    assert run(["segment", "--like", str(files / "a" / "photo.json"), "-o", str(files / "b")]) == 0
    assert results(files / "a") == results(files / "b")
    assert (
        run(["segment", "--like", str(files / "a" / "photo.json"), "--method", "visible", "-o", str(files / "c")]) == 0
    )
    assert json.loads((files / "c" / "photo.json").read_text())["occlusion_rate"] == 0


def test_like_on_another_picture_says_so(files, photo, capsys):
    prompt = ["--box", "28,16,92,80"]
    assert run(["segment", str(files / "photo.png"), *prompt, "-o", str(files / "a")]) == 0
    (files / "other.png").write_bytes(encode_png(photo[::-1]))
    assert (
        run(["segment", str(files / "other.png"), "--like", str(files / "a" / "photo.json"), "-o", str(files / "b")])
        == 0
    )
    assert (
        "amodal: warning: " in (text := capsys.readouterr().err)
        and "other.png is not the picture of the record" in text
    )


def test_like_repeats_a_mask_prompt_and_an_occluder(files):
    arguments = ["--mask", str(files / "mask.png"), "--occluder", str(files / "mask.png"), "-o", str(files / "a")]
    assert run(["segment", str(files / "photo.png"), *arguments]) == 0
    assert run(["segment", "--like", str(files / "a" / "photo.json"), "-o", str(files / "b")]) == 0
    assert results(files / "a") == results(files / "b")


def test_like_of_an_older_record_takes_the_mask_alone(files):
    """Once a click beside a mask was let through, and left out."""
    prompt = ["--mask", str(files / "mask.png"), "--method", "hull"]
    assert run(["segment", str(files / "photo.png"), *prompt, "-o", str(files / "a")]) == 0
    record = json.loads((files / "a" / "photo.json").read_text())
    record["provenance"]["prompt"].update(points=[[1, 2]], labels=[1])
    (files / "old.json").write_text(json.dumps(record))
    assert run(["segment", "--like", str(files / "old.json"), "-o", str(files / "b")]) == 0
    assert results(files / "a") == results(files / "b")


def test_several_objects_and_pictures(files, capsys):
    boxes = ["--box", "28,16,92,80", "--box", "60,0,90,90"]
    assert run(["segment", str(files / "photo.png"), *boxes, "-o", str(files / "out")]) == 0
    assert (files / "out" / "photo.0.json").exists() and (files / "out" / "photo.1.json").exists()
    (files / "bad.png").write_bytes(b"")
    assert (
        run(
            [
                "segment",
                str(files / "bad.png"),
                str(files / "photo.png"),
                "--box",
                "28,16,92,80",
                "-o",
                str(files / "two"),
            ]
        )
        == 3
    )
    assert "bad.png is empty" in capsys.readouterr().err
    assert (files / "two" / "photo.json").exists()
    (files / "more").mkdir()
    shutil.copy(files / "photo.png", files / "more" / "photo.png")
    same = [str(files / "photo.png"), str(files / "more" / "photo.png"), *boxes[:2], "-o", str(files / "same")]
    assert run(["segment", *same, "--force"]) == 2
    assert "would both be written as photo.json" in capsys.readouterr().err and not (files / "same").exists()


def test_nothing_is_overwritten_without_force(files, capsys):
    arguments = ["segment", str(files / "photo.png"), "--box", "28,16,92,80", "-o", str(files / "out")]
    assert run(arguments) == 0
    before = results(files / "out")
    assert run([*arguments, "--method", "visible"]) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert results(files / "out") == before
    assert run([*arguments, "--method", "visible", "--force"]) == 0
    assert results(files / "out") != before


BAD = {
    "no picture": ([], 2, "no picture given"),
    "no prompt": (["photo.png"], 2, "no prompt: mark the object with --point"),
    "absent": (["none.png", "--point", "1,1"], 1, "there is no file"),
    "outside": (["photo.png", "--point", "500,1"], 2, "outside of the image, which is 128 wide and 96 high"),
    "point": (["photo.png", "--point", "1;2"], 2, "is not --point X,Y"),
    "label": (["photo.png", "--point", "1,2,7"], 2, "labels are 1"),
    "xywh": (["photo.png", "--box", "30,40,20,20"], 2, r"pass (30, 40, 50, 60)"),
    "a mask and a point": (
        ["photo.png", "--mask", "mask.png", "--point", "1,1"],
        2,
        "takes no --point, --box or --text",
    ),
    "boxes and points": (["photo.png", "--box", "1,1,5,5", "--box", "1,1,9,9", "--point", "1,1"], 2, "several boxes"),
    "method": (["photo.png", "--point", "1,1", "--method", "hul"], 2, "did you mean 'hull'"),
    "inpainter": (["photo.png", "--point", "1,1", "--inpainter", "clasical"], 2, "did you mean 'classical'"),
    "setting": (["photo.png", "--point", "1,1", "--set", "leak=3"], 2, "no option named 'leak'"),
    "setting of a part": (
        ["photo.png", "--point", "1,1", "--segmenter", "grabcut", "--set", "segmenter.rounds=0"],
        2,
        "rounds=",
    ),
    "setting form": (["photo.png", "--point", "1,1", "--set", "leak"], 2, "a setting has the form name=value"),
    "mask size": (["photo.png", "--mask", "small.png"], 1, "is 5 x 4 pixels, the image 128 x 96"),
    "mask empty": (["photo.png", "--mask", "empty.png"], 1, "marks no pixel"),
    "text": (["photo.png", "--text", "disc", "--segmenter", "grabcut"], 2, "does not understand words"),
    "like": (["--like", "photo.png"], 1, "is not a text file"),
    "like foreign": (["--like", "foreign.json"], 1, "is not a result of amodal segment"),
    "output": (["photo.png", "--point", "45,48", "-o", "photo.png"], 1, "cannot write"),
    "samples": (["photo.png", "--point", "45,48", "--samples", "0"], 2, "samples"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(files, monkeypatch, capsys, case):
    monkeypatch.chdir(files)
    (files / "small.png").write_bytes(encode_png(np.ones((4, 5), bool)))
    (files / "empty.png").write_bytes(encode_png(np.zeros((96, 128), bool)))
    (files / "foreign.json").write_text("{}")
    before = results(files)
    arguments, code, text = BAD[case]
    assert run(["segment", *arguments]) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert "Traceback" not in captured.err
    assert results(files) == before


def test_stdin(files):
    command = [sys.executable, "-m", "amodal", "segment", "-", "--box", "28,16,92,80", "-o", str(files / "out")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with open(files / "photo.png", "rb") as photo:
        done = subprocess.run(command, stdin=photo, check=True, env=environment, capture_output=True, text=True)
    assert "next: amodal segment PHOTO --like" in done.stderr  # a record of stdin names no photo
    assert (files / "out" / "stdin.amodal.png").exists()


def test_a_full_disk(files):
    """A file size limit of the process stands for a full disk: nothing half-written stays."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "from amodal.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "segment",
        str(files / "photo.png"),
        "--mask",
        str(files / "mask.png"),
        "-o",
        str(files / "out"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("amodal: cannot write") and "Traceback" not in done.stderr
    assert all(
        path.name.endswith(".png") and cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None
        for path in (files / "out").iterdir()
    )


def test_like_repeats_a_corrected_mask(files, disc_visible):
    """A repainted result (the page's "Correct") is made again with the same bytes."""
    photo = amodal.read(files / "photo.png")
    visible = amodal.Mask.from_array(disc_visible)
    done = amodal.load().open(photo).repaint(visible, amodal.Mask.from_box((20, 10, 100, 80)), seed=2)
    done.provenance["image"] = {"file": str(files / "photo.png")}
    first = done.save(files / "a", "photo")
    assert run(["segment", "--like", str(first["json"]), "-o", str(files / "b")]) == 0
    for what in ("amodal", "cutout"):
        assert (files / "b" / first[what].name).read_bytes() == first[what].read_bytes()


def test_json_alone_writes_no_file(tmp_path, monkeypatch, capsys):
    import amodal

    monkeypatch.chdir(tmp_path)
    photo = Path(amodal.__file__).parent / "_demo" / "coffee.jpg"
    assert run(["segment", str(photo), "--box", "100,90,480,380", "--method", "hull", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["files"] == {} and record["amodal_area"] > 0 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"samples": "many"},
        {"seed": []},
        {"prompt": 3},
        {"prompt": {"points": 7}},
        {"method": "hull"},
        {"image": "photo.jpg"},
        {"image": {"file": 3}},
        {"occluder": {"size": 1}},
        {"seed": float("1e400")},
    ],
)
def test_an_edited_record_is_told_in_one_line(change, photo, disc_visible, tmp_path, capsys):
    import amodal

    record = amodal.load("hull").open(photo).complete(mask=disc_visible).to_dict()
    record["provenance"]["image"]["file"] = str(tmp_path / "photo.png")
    record["provenance"].update(change)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert run(["segment", "--like", str(tmp_path / "record.json"), "-o", str(tmp_path / "out")]) in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_record_saved_from_python_is_repeated(photo, disc_visible, tmp_path, capsys):
    import amodal

    Image.fromarray(photo).save(tmp_path / "photo.png")
    done = amodal.load("hull").open(photo).complete(mask=disc_visible, seed=3)
    files = done.save(tmp_path / "python")
    like = ["segment", str(tmp_path / "photo.png"), "--like", str(files["json"]), "-o", str(tmp_path / "again")]
    assert run(like) == 0 and "is not the picture" not in capsys.readouterr().err
    again = json.loads((tmp_path / "again" / "photo.json").read_text())
    assert again["amodal"] == done.to_dict()["amodal"] and again["provenance"]["seed"] == 3
    assert (tmp_path / "again" / "photo.cutout.png").read_bytes() == files["cutout"].read_bytes()


def test_a_soft_edge_is_of_the_cut_out_alone_and_is_repeated(files, capsys):
    command = ["segment", str(files / "photo.png"), "--mask", str(files / "mask.png"), "-o"]
    assert run([*command, str(files / "hard")]) == 0
    assert run([*command, str(files / "soft"), "--edge", "soft"]) == 0
    hard, soft = results(files / "hard"), results(files / "soft")
    assert {name for name in hard if hard[name] != soft[name]} == {"photo.cutout.png", "photo.json"}
    alpha = cv2.imread(str(files / "soft" / "photo.cutout.png"), cv2.IMREAD_UNCHANGED)[..., 3]
    assert ((alpha > 0) & (alpha < 255)).any()
    assert run(["segment", "--like", str(files / "soft" / "photo.json"), "-o", str(files / "again")]) == 0
    assert results(files / "again")["photo.cutout.png"] == soft["photo.cutout.png"]


def test_the_home_folder_in_every_path(files, monkeypatch):
    monkeypatch.setenv("HOME", str(files))
    assert run(["segment", "~/photo.png", "--mask", "~/mask.png", "--method", "hull", "-o", "~/out"]) == 0
    assert (files / "out" / "photo.json").is_file()


def test_what_is_there_is_refused_before_the_work(files, capsys):
    """A method that takes minutes ended in a refusal to write."""
    (files / "mine.py").write_text(
        "from amodal.plugins.protocols import Method, Prediction\n"
        "class Mine(Method):\n    name = 'mine'\n    summary = 'counts'\n"
        "    def __init__(self, options=None, device='auto'):\n        super().__init__(options, device)\n"
        f"        with open({str(files / 'calls')!r}, 'a') as calls: calls.write('loaded ')\n"
        "    def complete(self, embedded, image, requests, context):\n"
        f"        with open({str(files / 'calls')!r}, 'a') as calls: calls.write('x')\n"
        "        return [[Prediction(request.visible)] for request in requests]\n"
    )
    (files / "other.png").write_bytes((files / "photo.png").read_bytes())
    given = ["--mask", str(files / "mask.png"), "--method", f"{files / 'mine.py'}:Mine", "-o", str(files / "out")]
    assert run(["segment", str(files / "photo.png"), *given]) == 0
    assert run(["segment", str(files / "photo.png"), *given]) == 1
    assert run(["segment", str(files / "photo.png"), str(files / "other.png"), *given]) == 3, "the other one is done"
    assert run(["segment", str(files / "photo.png"), str(files / "other.png"), *given]) == 1, "none is left"
    assert capsys.readouterr().err.count("photo.amodal.png exists already") == 3
    assert (files / "calls").read_text() == "loaded x" * 2, "a model is loaded only for what can be written"


def test_stdin_and_a_picture_of_its_name(files, capsys):
    """Both are written as stdin: with --force one took the other's place."""
    shutil.copy(files / "photo.png", files / "stdin.png")
    arguments = ["segment", "-", str(files / "stdin.png"), "--point", "60,45", "--force", "-o", str(files / "out")]
    assert run(arguments) == 2 and "would both be written as stdin.json" in capsys.readouterr().err
