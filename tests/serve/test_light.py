"""The service with the embedded default needs nothing beyond the extra `serve`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import sys
for heavy in ("torch", "torchvision", "diffusers", "transformers", "accelerate", "ray", "pyarrow", "pandas", "multipart"):
    sys.modules[heavy] = None
sys.path[:0] = [{tests!r}]
import amodal
from serve.conftest import DEMO, running
from amodal.pipeline.choice import ModelChoice
from amodal.serve.client import Client
with running(model=ModelChoice()) as service:
    result = Client(service.url)(amodal.read(DEMO / "coffee.jpg"), box=(150, 70, 490, 360))
    print(result.amodal.area, result.provenance["method"]["name"])
"""


def test_page_and_service_run_without_torch():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    code = CODE.format(tests=str(ROOT / "tests"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 10_000
