"""A seeded monkey: whatever is done, and in whatever order answers come, the page shows only what is of its photo and prompt."""

import shutil
import subprocess
from pathlib import Path

import pytest

import amodal.serve

PAGE = Path(amodal.serve.__file__).parent / "page"
TESTS = Path(__file__).parent


def node(script, *arguments):
    """What a script of node's tells of the page's modules."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node here (Debian: apt-get install nodejs)")
    command = [program, str(TESTS / script), str(PAGE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_pages_state(seed):
    """2,000 random actions on the reducer; a service that answers late, in any order, twice, or with an error."""
    told = node("monkey.mjs", str(seed), "2000")
    assert '"results":' in told and '"jobDone":' in told


def test_stories_of_the_pages_state():
    """What the user did can be undone, what was computed is not lost."""
    node("steps.mjs")


def test_a_real_browser(service, tmp_path):
    """The same with clicks, keys, drags, other photos and reloads in Chromium, answers delayed and reordered on their way."""
    from serve.browser import chromium
    from serve.monkey import begin

    with chromium(tmp_path) as driver:
        monkey = begin(driver, service.url, tmp_path, seed=5)
        monkey.run(60, reloads=25)
    assert monkey.did["reload"] == 2 and monkey.shown["result"] and monkey.shown["visible"]
