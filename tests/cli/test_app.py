"""The list of commands: told from a table, so that it costs nothing; the table must say what the modules register."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

import amodal.cli
from amodal.cli import run
from amodal.cli.app import COMMANDS, build
from amodal.cli.common import flat


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
