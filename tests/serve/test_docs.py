"""What the service's page of the documentation shows, run as it stands."""

import re
import shutil
from pathlib import Path

import amodal
from serve.conftest import DEMO

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"


def test_the_python_block(service, tmp_path, monkeypatch):
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    shutil.copy(DEMO / "coffee.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block.replace("http://127.0.0.1:7860", service.url), names)
    assert isinstance(names["result"], amodal.Completion) and (tmp_path / "out" / "object.amodal.png").exists()


def test_the_limits_that_it_names():
    from amodal.serve.config import Limits

    text, limits = PAGE.read_text(), Limits()
    for words in (
        f"{limits.upload_bytes >> 20} MB and {limits.pixels // 10**6} megapixels",
        f"{limits.scenes} open photos, {limits.results} kept results, {limits.queue} waiting jobs",
        f"{limits.session_jobs} of them a session's, {limits.job_s:.0f} seconds",
    ):
        assert words in " ".join(text.split())


def test_the_page_takes_every_file_that_is_read():
    """Browsers know no type for some of them, so that their names decide."""
    from amodal.core.picture import SUFFIXES

    code = (Path(amodal.__file__).parent / "serve" / "page" / "work.js").read_text()
    (suffix,) = re.findall(r"/(\\\.\(apng\S+\$)/i\.test", code)
    assert [name for name in (*SUFFIXES, ".heic", ".heif") if not re.search(suffix, f"photo{name}")] == []
    assert not re.search(suffix, "photo.txt")
