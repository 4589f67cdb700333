"""A seeded monkey: whatever is done, and in whatever order answers come, the page shows only what is of its photo and prompt."""

import shutil
import subprocess
from pathlib import Path

import pytest

import amodal.serve

PAGE = Path(amodal.serve.__file__).parent / "page"
TESTS = Path(__file__).parent


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_pages_state(seed):
    """2,000 random actions on the reducer; a service that answers late, in any order, twice, or with an error."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here (Debian: apt-get install nodejs)")
    command = [node, str(TESTS / "monkey.mjs"), str(PAGE), str(seed), "2000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert '"results":' in done.stdout and '"jobDone":' in done.stdout


def test_a_real_browser(service, tmp_path):
    """The same with clicks, keys, drags, other photos and reloads in Chromium, answers delayed and reordered on their way."""
    from serve.browser import chromium
    from serve.monkey import begin

    with chromium(tmp_path) as driver:
        monkey = begin(driver, service.url, tmp_path, seed=5)
        monkey.run(60, reloads=25)
    assert monkey.did["reload"] == 2 and monkey.shown["result"] and monkey.shown["visible"]
