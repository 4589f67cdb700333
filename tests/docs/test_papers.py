"""docs/papers.md: every command that it names parses with the real parsers; methods, data sets and options are real. What runs
stands in test_papers_run.py."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from amodal.core.options import build_options
from amodal.plugins import registry
from command_line import parsed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
LINES = sorted({*re.findall(r"`(amodal [^`]+)`", PAGE), *re.findall(r"^(amodal .+)$", PAGE, re.MULTILINE)})
COMMANDS = [shlex.split(line) for line in LINES if not line.startswith("amodal fetch NAME")]


def of(*words: str) -> list[Any]:
    return [pytest.param(c, id=" ".join(c)[:120]) for c in COMMANDS if c[1 : 1 + len(words)] == list(words)]


def test_the_page_has_commands_of_all_three_papers() -> None:
    assert len(COMMANDS) > 40 and len(of("train")) >= 10 and len(of("evaluate")) >= 20


@pytest.mark.parametrize("words", [pytest.param(c, id=" ".join(c)[:120]) for c in COMMANDS])
def test_a_command_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert parsed(words)


@pytest.mark.parametrize("words", of("evaluate"))
def test_an_evaluation_names_what_there_is(words: list[str]) -> None:
    given = parsed(words)
    assert len(given["dataset"]) == len(given["root"])
    for name in given["dataset"]:
        registry.find("datasets", name)
    for name in given["method"]:
        method = registry.find("methods", name)
        options = dict(item.split("=", 1) for item in given["settings"] or [])
        build_options(method.Options, options)
    for kind in ("inpainter", "segmenter"):
        if given[kind]:
            registry.find(f"{kind}s", given[kind])
    if given["ablate"]:
        from amodal.evaluation.ablation import parts_of, variants

        parts, inpainters = parts_of(given["ablate"])
        assert len(variants(parts, registry.find("methods", given["method"][0]).Options, inpainters)) > len(parts)


def test_coco_a_is_read_in_the_part_that_each_paper_reports_on() -> None:
    """Zhan et al.: test; pix2gestalt most likely val, the reader's default, and the tuning-free paper follows it."""
    first, third = PAGE.split("\n## Amodal ground truth")
    for text, part in ((first, "val"), (third, "test")):
        asked = [parsed(shlex.split(line)) for line in re.findall(r"`(amodal evaluate [^`]+)`", text)]
        asked = [given for given in asked if "cocoa" in given["dataset"]]
        assert len(asked) > 7
        for given in asked:
            parts = given["split"] or [registry.find("datasets", name).splits[0] for name in given["dataset"]]
            assert dict(zip(given["dataset"], parts, strict=True))["cocoa"] == part, given["output"]


def test_rows_without_a_skip_have_fewer_weights_than_those_with_it() -> None:
    """Table 3, B and C; table 4, C and F: the setting changes the network."""
    pytest.importorskip("torch")
    from amodal.training.recipe import read_recipe
    from amodal.training.tasks import open_task

    small = ["network.widths=[4,4,4,4,4,4]", "network.image_widths=[4,4,4,4]", "network.reduced=4"]
    four, five = (
        sum(
            weights.numel()
            for weights in open_task(
                read_recipe(ROOT / "recipes/occamodal.toml", [*small, f"network.final_skip={skip}"])
            )
            .network()
            .parameters()
        )
        for skip in ("false", "true")
    )
    assert four < five
