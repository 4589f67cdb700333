"""The list of commands: told from a table, so that it costs nothing; the table must say what the modules register."""

import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

import amodal.cli
from amodal.cli import run
from amodal.cli.app import COMMANDS, build
from amodal.cli.common import flat, word


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name):
    command = get_command(build()).get_command(None, name)
    assert command is not None and command.name == name
    told = " ".join(command.help.split())
    assert told.startswith(COMMANDS[name][1].rstrip(".").split(":")[0].split(",")[0][:30]), told


def test_every_module_of_a_command_is_in_the_table():
    folder = Path(amodal.cli.__file__).parent
    own = {path.stem for path in folder.glob("*.py") if f"\ndef {path.stem}(" in path.read_text()}
    assert own - {"convert_weights"} <= {module for module, _ in COMMANDS.values()}


def test_a_group_of_options_is_its_fields():
    @dataclass(frozen=True)
    class Where:
        name: Annotated[str, typer.Argument()]
        root: Annotated[str, typer.Option()] = "here"

    @dataclass(frozen=True)
    class How:
        fast: bool = False

    def show(where: Where, how: How = How(True)) -> None:
        typer.echo(f"{where.name} {where.root} {how.fast}")

    app = typer.Typer()
    app.command()(flat(show))
    answers = [CliRunner().invoke(app, words.split()) for words in ("me", "me --root there --no-fast", "")]
    assert [answer.output for answer in answers[:2]] == ["me here True\n", "me there False\n"]
    assert answers[2].exit_code == 2


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from amodal.cli import run; run(['--help']);"
        "print(*sorted({'numpy', 'cv2', 'pydantic', 'torch', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "segment" in done.stdout and "layers" in done.stdout and done.stderr.strip() == ""


def test_an_unknown_command_is_told(capsys):
    assert run(["segmnt"]) == 2
    assert "segmnt" in capsys.readouterr().err


def test_layers(photo, disc_visible, tmp_path, capsys):
    import json
    import zipfile

    from PIL import Image

    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(disc_visible).save(tmp_path / "disc.png")
    arguments = ["layers", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "disc.png"), "--box", "66,0,82,96"]
    arguments += ["--method", "hull", "--segmenter", "grabcut", "-o", str(tmp_path / "out")]
    assert run(arguments) == 0
    record = json.loads((tmp_path / "out" / "photo.layers.json").read_text())
    assert len(record["objects"]) == 2 and zipfile.is_zipfile(tmp_path / "out" / "photo.layers.ora")
    capsys.readouterr()
    assert run(arguments) == 1 and "exists already" in capsys.readouterr().err
    assert run([*arguments, "--zip", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"]["layers"].endswith("photo.layers.zip")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("segment a.png --point 1,1 --invert-mask", "--invert-mask changes nothing without --mask"),
        ("views --cutout a.png --point 1,1", "--point changes nothing with --cutout"),
        ("views --cutout a.png --method hull", "--method changes nothing with --cutout"),
        ("reconstruct a.png --point 1,1 --rows all", "--rows changes nothing without --evaluate"),
        ("reconstruct --evaluate --objects . --views 3", "--views changes nothing with --evaluate"),
        ("recognize a.png --point 1,1 --clip clip", "--clip changes nothing with the embedded classifier"),
        ("recognize a.png --point 1,1 --limit 3", "--limit changes nothing without --dataset"),
        ("recognize --dataset cocoa --root . --point 1,1", "--point changes nothing with --dataset"),
        (
            "evaluate --dataset cocoa --root . --predictions . --samples 1",
            "--samples changes nothing with --predictions",
        ),
        ("batch . -o out --images .", "--images changes nothing with a folder of photos"),
        ("batch a.jsonl -o out --largest 3", "--largest changes nothing with a.jsonl"),
        ("compare a b --cases 2", "--cases changes nothing without --html or --png"),
        ("data review . --report --port 1", "--port changes nothing with --report"),
        ("data build pairs . --split val", "--split changes nothing without --dataset"),
        ("data build pairs a.toml --seed 1", "--seed changes nothing with a.toml"),
        ("data build pairs --dataset cocoa --root . --depth none", "--depth changes nothing with --dataset"),
    ],
)
def test_options_that_would_change_nothing_are_refused(words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.zeros((9, 9, 4), np.uint8))
    assert run(words.split()) == 2
    assert f"{text}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_export_writes_over_nothing(tmp_path, capsys):
    (tmp_path / "encoder.onnx").write_text("mine")
    assert run(["export", "recipe.toml", "weights.safetensors", "-o", str(tmp_path)]) == 1
    assert "encoder.onnx exists already" in capsys.readouterr().err
    (tmp_path / "unet").mkdir()  # of a network that is exported as folders
    assert run(["export", "recipe.toml", "weights.safetensors", "-o", str(tmp_path), "--force"]) == 2
    assert "recipe.toml" in capsys.readouterr().err


def test_boxes_are_those_of_a_coco_file_however_its_ending_is_written(tmp_path, capsys):
    assert run(["batch", str(tmp_path / "A.JSON"), "-o", str(tmp_path / "out"), "--boxes"]) == 1
    assert "there is no folder or file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["segment", "absent.png", "--point", "1,1"],
        ["layers", "absent.png"],
        ["views", "absent.png", "--point", "1,1"],
        ["reconstruct", "absent.png", "--point", "1,1"],
        ["order", "flat.png"],
        ["export", "absent.toml", "absent.safetensors"],
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("flat.png", np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "out").write_text("mine")
    for place in ("out", "out/inner"):
        assert run([*words, "-o", place]) == 1
        told = capsys.readouterr().err.strip()
        assert told.endswith(
            f"cannot write into {place}: there is a file where a folder is needed; choose another folder"
        )
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "place", "goes_on"),
    [
        (["batch", "photos", "-o", "out"], "amodal.batch.plan.read_plan", True),
        (
            ["data", "build", "photos", "photos", "-o", "out", "--saliency", "x.onnx"],
            "amodal.cli.build_composites.progress_bar",
            True,
        ),
        (["segment", "photo.jpg", "--point", "1,1"], "amodal.cli.segment.load_like", False),
    ],
)
def test_stopping_is_told(words, place, goes_on, monkeypatch, tmp_path, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    module, _, name = place.rpartition(".")
    monkeypatch.setattr(import_module(module), name, stop)
    assert run(words) == 130
    assert capsys.readouterr().err == f"amodal: stopped{'; the same command goes on' if goes_on else ''}\n"


def test_stopping_while_the_commands_are_imported_is_told(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(amodal.cli, "run", stop)
    with pytest.raises(SystemExit) as end:
        amodal.cli.main(["list"])
    assert end.value.code == 130 and capsys.readouterr().err == "amodal: stopped\n"


@pytest.mark.skipif(sys.platform == "win32", reason="file descriptors")
@pytest.mark.parametrize(("closed", "words"), [(0, b"empty"), (1, b""), (2, b"")])
def test_a_closed_stream_is_no_failure(closed, words, photo, tmp_path):
    """`2>&-`: no traceback, and no file takes the stream's number."""
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    source = "-" if closed == 0 else str(tmp_path / "photo.png")
    command = ["segment", source, "--box", "10,10,60,60", "--method", "hull", "-o", str(tmp_path / "out")]
    code = (
        f"import os, sys; os.close({closed}); os.execv(sys.executable, [sys.executable, '-m', 'amodal', *sys.argv[1:]])"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=False)
    assert b"Traceback" not in done.stderr and words in done.stderr
    assert done.returncode == (closed == 0)
    assert (tmp_path / "out" / "photo.json").exists() == (closed != 0)


def test_serve_needs_its_media_folder(tmp_path, capsys):
    assert run(["serve", "--media", str(tmp_path / "nope")]) == 2
    assert "nope; --media names the folder" in capsys.readouterr().err


def test_a_path_is_a_word_of_the_shell():
    assert word(Path("out/a b.json")) == "'out/a b.json'" and word("out/a.json") == "out/a.json"


def test_each_near_name_is_told_once(capsys):
    assert run(["show", "nope"]) == 2
    names = capsys.readouterr().err.partition("All: ")[2].strip().split(", ")
    assert len(names) == len(set(names)) > 10 and "embedded" in names
