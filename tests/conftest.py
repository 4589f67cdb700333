"""Fixtures that all tests share."""

from __future__ import annotations

import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Generator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from amodal.core.extras import requirements

if find_spec("hypothesis"):  # the same values in every run; those that are slow to make on a busy machine are no fault
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "amodal", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("amodal")
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
OPTIONAL = {
    name.partition("[")[0].lower().replace("-", "_")
    for extra, names in requirements().items()
    if extra
    for name in names
}
OPTIONAL |= {"skimage"}
DEVELOPMENT = Path(os.environ.get("AMODAL_DATA", Path(__file__).parent.parent / "data"))


LIGHT = {"batch", "cli", "conventions", "contract", "engine", "evaluation", "hostile", "methods", "plugins", "unit"}
ABSENT = re.compile(r"(?:No module named|needs the package) '(\w+)")
LACKS = re.compile(
    r"could not import '(\w+)|Skipped: (?:the package )?(.+?) is not installed|needs the extra (\S+?)[')]"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--complete",
        action="store_true",
        help="everything is installed: a test that lacks a package fails instead of being skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--complete"):
        pytest.importorskip = lambda name, *_, **__: import_module(name)  # type: ignore[assignment]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Modules of tests that need an extra which is not installed are skipped."""
    report = yield
    return without_extra(report, collector.path, collector.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Single tests likewise; also where a command that they run says what it lacks."""
    report = yield
    return without_extra(report, item.path, item.config)


def without_extra(report: Report, path: Path, config: pytest.Config) -> Report:
    """The report; that of a skip where it failed for a package of an extra that is not installed.

    Not with `--complete`; and not in the folders of the light package's own tests: there a test asks itself for what it needs
    (`pytest.importorskip`), so that an import that has no business in the light package is seen.
    """
    light = path.parent.name in LIGHT
    if report.failed and not light and not config.getoption("--complete"):
        told = f"{report.longreprtext} {report.capstdout} {report.capstderr}"
        for name in ABSENT.findall(told):
            if name.lower() in OPTIONAL and find_spec(name) is None:
                report.outcome, report.longrepr = "skipped", (str(path), 0, f"Skipped: {name} is not installed")
                break
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests, or whole modules of tests, were skipped for which package that is not installed."""
    lacking = Counter[str]()
    for report in terminalreporter.stats.get("skipped", []):
        if found := LACKS.search(str(report.longrepr)):
            lacking[next(filter(None, found.groups()))] += 1
    if lacking:
        counts = ", ".join(f"{name} {count}" for name, count in lacking.most_common())
        terminalreporter.write_line(f"skipped for want of a package: {counts}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test, and every fixture that it is the first to ask for, begins with the same random numbers."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def development_data() -> Path:
    """The folder of the development sets (docs/datasets/development.md); tests that need them skip where they are absent."""
    if not (DEVELOPMENT / "cocoa_demo").is_dir():  # the sample set's data/ has none
        pytest.skip(f"the development sets are not at {DEVELOPMENT} (set AMODAL_DATA)")
    return DEVELOPMENT


@pytest.fixture(scope="session")
def sample_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `amodal data sample` writes; for reading only: copy it to work in it."""
    from amodal.synthesis.sample import write_sample

    folder = tmp_path_factory.mktemp("sample") / "sample"
    assert write_sample(folder)
    return folder


@pytest.fixture
def photo() -> np.ndarray:
    """A small picture with an orange disc, partly behind a grey bar, on a blue-green gradient: (96, 128, 3) uint8."""
    rows, columns = np.indices((96, 128))
    image = np.stack([columns, rows + 60, 160 - rows], axis=-1).clip(0, 255).astype(np.uint8)
    disc = (rows - 48) ** 2 + (columns - 60) ** 2 < 30**2
    image[disc] = (230, 120, 20)
    image[:, 66:82] = 128
    return image


@pytest.fixture
def disc_visible() -> np.ndarray:
    """The visible part of the photo's disc: (96, 128) bool, two pieces."""
    rows, columns = np.indices((96, 128))
    disc = (rows - 48) ** 2 + (columns - 60) ** 2 < 30**2
    disc[:, 66:82] = False
    return disc


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("sd15")` is the folder of a tiny diffusion model of that family; see `tiny_diffusion.FAMILIES`."""
    pytest.importorskip("diffusers")
    from tiny_diffusion import build

    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = build(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """torch's compiler with a cache of its own and quick to run: plain C++ by one process. Skips where there is none."""
    pytest.importorskip("torch")
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # a pool of processes would import torch once more each
    import torch
    from torch._dynamo.utils import counters
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    monkeypatch.setenv(
        "TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiler")
    )  # the usual one may hold what a kill cut short
    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        pytest.skip(f"there is no C++ compiler: {error}")
    torch._dynamo.reset()  # what other tests compiled does not count
    counters.clear()
    quick = {"cpp.vec_isa_ok": False, "cpp_cache_precompile_headers": False, "compile_threads": 1}
    with config.patch(quick):
        yield counters
    torch._dynamo.reset()
