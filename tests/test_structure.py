"""The shape of the source itself: lengths (also of tests and benchmarks), import direction, light imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "amodal"
FILES = sorted(SOURCE.rglob("*.py"))
BESIDE = sorted(path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
RANKS = {
    "scale": 1,
    "methods": 1,
    "segmenters": 1,
    "inpainters": 1,
    "data": 1,
    "evaluation": 2,
    "training": 2,
    "downstream": 2,
    "serve": 3,
    "cli": 4,
}
"""Dependencies point downwards; the modules beside the packages (types, pipeline) have rank 0."""


@pytest.mark.parametrize("path", [*FILES, *BESIDE], ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < 400, f"{path} has 400 lines or more"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{path}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_module_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} does not say what it hides"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_dependencies_point_one_way(path: Path) -> None:
    parts = path.relative_to(SOURCE).parts
    rank = RANKS.get(parts[0], 0) if len(parts) > 1 else 0
    if parts in (("__main__.py",),):
        return
    for node in ast.parse(
        path.read_text()
    ).body:  # top level only: lazy imports inside functions go through the registry
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(parts[: len(parts) - node.level])
            target = base + (node.module.split(".") if node.module else [])
            head = target[0] if target else ""
            assert RANKS.get(head, 0) <= rank, f"{path}:{node.lineno} imports {head} from below"
            if parts[0] == "methods" and head == "methods" and len(target) > 1 and len(parts) > 2:
                assert target[1] in (parts[1], "baselines"), f"{path}:{node.lineno}: methods never import each other"


def imports_torch(path: Path) -> bool:
    """Whether a module (a network, the training loop) imports torch at its top: then no light module may import it at its own."""
    return any(
        (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torch" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "torch")
        for node in ast.parse(path.read_text()).body
    )


def test_plugins_are_light() -> None:
    from amodal.registry import BUILTIN

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
        "for heavy in ('torch', 'diffusers', 'transformers', 'accelerate', 'torchvision'): sys.modules[heavy] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE.parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
