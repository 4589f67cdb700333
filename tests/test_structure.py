"""The shape of the source itself: lengths (also of tests and benchmarks), import direction, light imports."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "amodal"
FILES = sorted(SOURCE.rglob("*.py"))
BESIDE = sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


def long_parts(path: Path) -> list[str]:
    """What of a file is too long."""
    text, name = path.read_text(), path.relative_to(ROOT)
    found = [f"{name} has 400 lines or more"] if text.count("\n") >= 400 else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > 60:
                found.append(f"{name}:{node.lineno} {node.name} has {length} lines")
    return found


def test_files_and_functions_are_short() -> None:
    assert [part for path in (*FILES, *BESIDE) for part in long_parts(path)] == []


def test_the_measure_of_length_finds_what_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "long.py"
    file.write_text("def f():\n" + "    pass\n" * 400)
    assert long_parts(file) == ["long.py has 400 lines or more", "long.py:1 f has 401 lines"]


def test_module_docstrings() -> None:
    silent = [str(path.relative_to(SOURCE)) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == [], "these modules do not say what they hide"


def imports_torch(path: Path) -> bool:
    """Whether a module (a network, the training loop) imports torch at its top: then no light module may import it at its own."""
    return any(
        (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torch" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "torch")
        for node in ast.parse(path.read_text()).body
    )


def test_plugins_are_light() -> None:
    from amodal.plugins.registry import BUILTIN

    modules = {target.partition(":")[0] for table in BUILTIN.values() for target in table.values()}
    for module in modules:
        path = SOURCE.parent.joinpath(*module.split(".")).with_suffix(".py")
        assert not imports_torch(path), f"{path} is a plug-in and must not import torch at its top"


def test_every_module_imports_without_torch() -> None:
    names = [
        ".".join(("amodal", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for path in FILES
        if path.name != "__main__.py" and not imports_torch(path)
    ]
    code = (
        "import sys, importlib\n"
        "HEAVY = ('torch', 'diffusers', 'transformers', 'accelerate', 'torchvision')\n"
        "for heavy in HEAVY: sys.modules[heavy] = None\n"
        f"for name in {names!r}:\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:  # the service's packages may be absent; torch must not be missed\n"
        "        if error.name.partition('.')[0] in ('amodal', *HEAVY): raise\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE.parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr


POSIX = {"fcntl", "grp", "pwd", "resource", "termios", "tty"}
"""Modules that Windows does not have: functions that need one import it where the system has it."""


def test_no_module_needs_posix_at_its_import() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and POSIX & {*(alias.name for alias in node.names), getattr(node, "module", None)}
    ]
    assert found == []


def test_only_the_command_line_speaks_of_its_options() -> None:
    """An error of the library says what is wrong; `cli/` adds the option that mends it."""
    flag = re.compile(r"(?<![\w-])(--[a-z][a-z-]+|-o)\b")
    found = []
    for path in FILES:
        if path.relative_to(SOURCE).parts[0] in ("cli", "testing.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                texts = [part.value for part in ast.walk(node.exc) if isinstance(part, ast.Constant)]
                found += [
                    f"{path.relative_to(SOURCE)}:{node.lineno} {text}" for text in texts if flag.search(str(text))
                ]
    assert found == []


GUARDED = {
    "core/arrays.py",
    "core/files.py",
    "core/picture.py",
    "weights/tensors.py",
    "networks/onnx_session.py",
    "networks/onnx_export.py",
    "geometry/readers/__init__.py",  # textures, in more formats than photographs
    "serve/results.py",  # what the service itself packed
    "serve/labelstudio.py",  # the labelling configuration, which is XML
    "synthesis/composites/views.py",  # what was encoded a line above
    "synthesis/sample/content.py",  # what ships in the package
}
"""The modules that call a library's reader, each with its bounds and its own errors; all others call these."""
READERS = {
    *("json.load", "json.loads", "tomllib.load", "tomllib.loads", "csv.reader", "csv.DictReader", "pickle.load"),
    *(
        "pickle.loads",
        "np.load",
        "np.loadtxt",
        "np.genfromtxt",
        "np.fromfile",
        "np.memmap",
        "cv2.imread",
        "cv2.imdecode",
    ),
    *(
        "PILImage.open",
        "torch.load",
        "onnx.load",
        "load_file",
        "safe_open",
        "zipfile.ZipFile",
        "ZipFile",
        "tarfile.open",
    ),
    *("ET.parse", "ET.fromstring", "trimesh.load", "onnxruntime.InferenceSession", "onnx.load_model_from_string"),
}


def raw_reads(path: Path) -> list[str]:
    """Where a module reads by itself: a library's reader, `open` for reading, or a path's `read_text` and `read_bytes`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        first = ast.unparse(node.args[0]) if node.args else ""
        if name == "open":
            mode = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
            raw = not mode or "'r" in ast.unparse(mode[0])
        elif name in ("json.loads", "zipfile.ZipFile"):
            raw = not first.startswith("json.dumps(") and not any(ast.unparse(each) == "'w'" for each in node.args)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("read_text", "read_bytes"):
            raw = not ast.unparse(node.func.value).startswith("resources.files(")
        else:
            raw = name in READERS
        if raw:
            found.append(f"{path.name}:{node.lineno} {name}")
    return found


def test_only_the_guarded_modules_read() -> None:
    others = [path for path in FILES if path.relative_to(SOURCE).as_posix() not in GUARDED]
    assert [place for path in others for place in raw_reads(path)] == [], (
        "read through core/files.py, core/image.py, weights/tensors.py"
    )
    assert all(raw_reads(SOURCE / name) for name in GUARDED), "a module on the list reads nothing any more"


def test_the_search_for_raw_reads_finds_them(tmp_path: Path) -> None:
    file = tmp_path / "reads.py"
    file.write_text(
        "open(x)\nopen(x, 'rb')\nopen(x, 'ab')\njson.loads(x)\njson.loads(json.dumps(x))\nx.read_text()\ncv2.imread(x)\n"
    )
    assert [place.split(":")[1] for place in raw_reads(file)] == [
        "1 open",
        "2 open",
        "4 json.loads",
        "6 x.read_text",
        "7 cv2.imread",
    ]


THEIRS = {"hidden_states", "last_hidden_state", "output_hidden_states", "encoder_hidden_states"}
"""Names that belong to other packages."""


def test_identifiers_say_occluded_where_others_say_hidden() -> None:
    """One word for one thing (docs/conventions.md); typer's `hidden=` is its own."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "id", None) or getattr(node, "name", None)
            name = getattr(node, "attr", name) if isinstance(node, ast.Attribute) else getattr(node, "arg", name)
            typer = isinstance(node, ast.keyword) and path.parent.name == "cli"
            if isinstance(name, str) and "hidden" in name.lower() and name not in THEIRS and not typer:
                found.append(f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)} {name}")
    assert found == []
