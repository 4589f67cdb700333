"""`amodal batch` as users run it: resumed after kill -9, by two workers, on Ray; its output opens elsewhere."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amodal import cli
from amodal.batch.complete import FIELDS
from amodal.batch.plan import read_plan, told
from amodal.core.mask import Mask
from dying import dies
from nursery import nursery

SOURCE = Path(__file__).parents[2] / "src"
PARTS = ("--method", "hull", "--segmenter", "grabcut", "--inpainter", "classical")
"""The engine is tested, not the networks: the parts that start at once."""
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
"""The tests' cluster listens to this machine alone, and is not put behind other processes."""
KILLS = os.environ.get("AMODAL_KILLS")
"""AMODAL_KILLS=100 makes every search for a moment at which a kill does harm longer; also in tests/training/test_loop.py."""


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> Path:
    """Twelve small photos with two objects each; one photo is missing, one prompt is outside of its photo."""
    folder = tmp_path_factory.mktemp("photos")
    rows, columns = np.indices((48, 64))
    random_numbers = np.random.default_rng(0)
    lines = []
    for number in range(12):
        x, y = 20 + number, 24
        image = random_numbers.integers(0, 60, (48, 64, 3), dtype=np.uint8)
        disc = (columns - x) ** 2 + (rows - y) ** 2 < 15**2
        image[disc] = (230, 120, 20 + number)
        Image.fromarray(image).save(folder / f"{number:02d}.png")
        visible = disc & (columns < x + 5)
        lines.append({"image": f"{number:02d}.png", "mask": Mask.from_array(visible).to_dict(), "category": "disc"})
        lines.append({"image": f"{number:02d}.png", "box": [x - 15, y - 15, x + 15, y + 15]})
    lines.append({"image": "absent.png", "point": [3, 3], "id": "lost"})
    lines.append({"image": "03.png", "point": [640, 3], "id": "outside"})
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def unbroken(prompts, tmp_path_factory) -> dict[str, bytes]:
    """The bytes of a batch that nothing stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert cli.run(["batch", str(prompts), "-o", str(folder / "out"), "--cutouts", *PARTS]) == 3
    return content(folder / "out")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def arguments(prompts: Path, out: Path, *more: str) -> list[str]:
    return ["batch", str(prompts), "-o", str(out), "--cutouts", *PARTS, *more]


def start(prompts: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "amodal", *arguments(prompts, out, *more)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def test_failures_are_rows(unbroken):
    records = [json.loads(line) for line in unbroken["shards/00000.jsonl"].splitlines()]
    assert len(records) == 26
    failures = {record["id"]: record["error"] for record in records if record["status"] == "failed"}
    assert set(failures) == {"lost", "outside"}
    assert "there is no file" in failures["lost"] and "outside of the image" in failures["outside"]
    fine = next(record for record in records if record["id"] == "03.png#1")
    assert fine["status"] == "done" and fine["amodal_area"] >= fine["visible_area"] > 0
    assert unbroken[fine["cutout"]].startswith(b"\x89PNG")


def test_killed_and_started_again(prompts, unbroken, tmp_path):
    out = tmp_path / "out"
    dies(3, *arguments(prompts, out))
    dies(3, *arguments(prompts, out, "--workers", "2"))
    assert journal_lines(out) == 6
    last = start(prompts, out)
    _, text = last.communicate()
    assert last.returncode == 3 and b"done already; going on" in text
    assert content(out) == unbroken


def killed_again_and_again(wanted: int, run, prompts: Path, unbroken, folder: Path, how, victims) -> None:
    """Batches are started and killed at random moments, again and again, until each is done: all outputs equal.

    Args:
        wanted: kills, at least.
        run: a nursery.
        how: further arguments of each start.
        victims: the processes of a child that are killed, one after the other.
    """
    dice = random.Random(5)
    kills = finished = 0
    while kills < wanted or finished < 2:
        out = folder / f"out{finished}"
        code = -signal.SIGKILL
        while code == -signal.SIGKILL:
            child = run.start(*arguments(prompts, out, *how(dice)))
            # Moments within the work are drawn by what is written, those between and while it starts and ends by time.
            lines = dice.choice((0, *range(journal_lines(out) + 1, 18)))  # there are 13: some runs come to their end
            while child.running() and journal_lines(out) < lines:
                time.sleep(0.003)
            for pid in victims(child.pid, dice) if kills < wanted else ():
                time.sleep(dice.uniform(0, 0.05))
                if child.running() and killed(pid):
                    kills += 1
            code = child.code()
        assert code == 3, "some objects of the batch cannot be done"
        assert content(out) == unbroken
        finished += 1
    print(f"{kills} kills, {finished} batches, all equal")


def journal_lines(out: Path) -> int:
    try:
        return (out / "journal.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def test_kills_at_random_moments(prompts, unbroken, tmp_path):
    """kill -9, in one process and in a pool."""
    with nursery("amodal.batch.export", *(["pyarrow.parquet"] if find_spec("pyarrow") else [])) as run:
        workers = lambda dice: ("--workers", dice.choice("1112"))  # noqa: E731
        killed_again_and_again(int(KILLS or 10), run, prompts, unbroken, tmp_path, workers, lambda pid, dice: [pid])


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, int]]:
    """Ray, started once: its address and the process that starts its workers."""
    pytest.importorskip("ray", reason='Ray is not installed (pip install "amodal[ray]")')
    code = (
        "import ray, sys; how = {'include_dashboard': False, 'log_to_driver': False, '_node_ip_address': '127.0.0.1'}\n"
        "print(ray.init(address='local', num_cpus=2, **how).address_info['gcs_address'], flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, **RAY, "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}
    environment["PYTHONPATH"] = str(SOURCE)
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        address = process.stdout.readline().strip()
        assert address, "Ray does not start on this machine"
        yield address, next(pid for pid in children_of(process.pid) if "raylet/raylet" in command_of(pid))
    finally:
        process.communicate()


@pytest.mark.slow
def test_kills_on_ray(cluster, prompts, unbroken, tmp_path, monkeypatch):
    """kill -9 of what runs the batch, and before it, where there is one, of an actor."""
    address, raylet = cluster
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)

    def victims(pid: int, dice: random.Random) -> list[int]:
        actors = [child for child in children_of(raylet) if "ray::Actor" in command_of(child)]
        return [*dice.sample(actors, min(1, len(actors))), pid]

    with nursery("amodal.engine.ray", "amodal.batch.export", "pyarrow.parquet", "ray") as run:
        ray = lambda dice: ("--ray", address, "--workers", "2")  # noqa: E731
        killed_again_and_again(int(KILLS or 3), run, prompts, unbroken, tmp_path, ray, victims)


def test_two_workers_equal_one_and_survive_the_death_of_one(prompts, unbroken, tmp_path):
    out = tmp_path / "out"
    process = start(prompts, out, "--workers", "2")
    while not (out / "journal.jsonl").exists() or not (out / "journal.jsonl").stat().st_size:
        assert process.poll() is None
        time.sleep(0.01)
    children = [pid for pid in children_of(process.pid) if "spawn_main" in command_of(pid)]
    if children:
        killed(children[0])
    process.communicate()
    assert process.returncode == 3 and content(out) == unbroken


def killed(pid: int) -> bool:
    """Whether there was such a process to kill: it may have ended by itself a moment ago."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.slow
def test_a_ray_of_its_own_equals_one_process(prompts, unbroken, tmp_path):
    pytest.importorskip("ray", reason='Ray is not installed (pip install "amodal[ray]")')
    process = start(prompts, tmp_path / "out", "--ray", "local", "--workers", "2")
    _, text = process.communicate()
    assert process.returncode == 3, text.decode()
    assert content(tmp_path / "out") == unbroken


@pytest.fixture
def two_nodes() -> Iterator[str]:
    """A cluster that was started by itself, of two nodes on this machine with one CPU each: its address."""
    pytest.importorskip("ray", reason='Ray is not installed (pip install "amodal[ray]")')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    common = [
        "--num-cpus=1",
        "--object-store-memory=100000000",
        "--disable-usage-stats",
        "--block",
    ]
    place = tempfile.mkdtemp(prefix="ray")  # short: the names of sockets may have 107 characters
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={place}"]
    environment = {**os.environ, **RAY, "PYTHONPATH": str(SOURCE), "RAY_raylet_start_wait_time_s": "120"}
    nodes = []
    try:
        for more in (head, [f"--address={address}"]):
            command = [sys.executable, "-m", "ray.scripts.scripts", "start", *more, *common]
            nodes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
            for line in nodes[-1].stdout:
                if b"Ray runtime started" in line:
                    break
            else:
                pytest.fail("a node of Ray does not start on this machine")
        yield address
    finally:
        for node in reversed(nodes):
            node.terminate()
            node.communicate(timeout=60)
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.slow
def test_a_cluster_of_two_nodes_equals_one_process(two_nodes, prompts, unbroken, tmp_path, monkeypatch):
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(prompts.parent)  # relative paths mean the same on the nodes
    process = start(Path(prompts.name), tmp_path / "out", "--ray", two_nodes, "--workers", "2")
    _, text = process.communicate()
    assert process.returncode == 3, text.decode()
    made = content(tmp_path / "out")
    differ = {name for name in made | unbroken if made.get(name) != unbroken.get(name)}
    assert differ <= {"shards/00000.jsonl", "manifest.json", "objects.parquet"}, "where the lost photo was looked for"
    assert made["shards/00000.jsonl"] == unbroken["shards/00000.jsonl"].replace(f"{prompts.parent}/".encode(), b"")


def test_opens_with_pandas_datasets_and_pycocotools(unbroken, tmp_path):
    for name, data in unbroken.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    from reference import COCO

    table = pandas.read_parquet(tmp_path / "objects.parquet")
    lines = pandas.read_json(tmp_path / "shards" / "00000.jsonl", lines=True)
    assert list(table["id"]) == list(lines["id"]) and len(table) == 26
    first = table.iloc[0]
    bits = Mask.from_rle({"size": list(first.amodal["size"]), "counts": first.amodal["counts"]})
    assert bits.area == first.amodal_area
    coco = COCO(str(tmp_path / "coco.json"))
    assert len(coco.getAnnIds()) == 24 and {c["name"] for c in coco.dataset["categories"]} == {"disc", "object"}
    annotation = coco.loadAnns([1])[0]
    assert np.array_equal(coco.annToMask(annotation).astype(bool), bits.to_array((48, 64)))


def test_opens_with_datasets(unbroken, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    path = tmp_path / "objects.parquet"
    path.write_bytes(unbroken["objects.parquet"])
    table = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert table.num_rows == 26 and table[0]["status"] == "done"


def test_all_objects_of_a_folder(prompts, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["batch", str(prompts.parent), "-o", str(out), "--limit", "1", "--json", *PARTS]) == 0
    counts = json.loads(capsys.readouterr().out)
    records = [json.loads(line) for line in (out / "shards" / "00000.jsonl").read_text().splitlines()]
    assert counts["done"] == len(records) >= 1
    assert {record["image"] for record in records} == {"00.png"}
    disc = Mask.from_array(np.hypot(*(np.indices((48, 64)) - np.array([24, 20])[:, None, None])) < 15)
    best = max(Mask.from_rle(record["visible"]).iou(disc) for record in records if record["image"] == "00.png")
    assert best > 0.8


def test_output_within_the_photos_is_no_photo(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    image = np.full((48, 64, 3), 40, np.uint8)
    image[10:40, 20:50] = (220, 90, 60)
    Image.fromarray(image).save(photos / "a.png")
    (photos / "linked").symlink_to(tmp_path)
    command = arguments(photos, photos / "out", "--largest", "1")
    assert cli.run(command) == 0 and list((photos / "out" / "cutouts").rglob("*.png"))
    assert "1 link to a folder" in capsys.readouterr().err
    before = content(photos / "out")
    for more in ([], ["--force"]):
        assert cli.run([*command, *more]) == 0 and content(photos / "out") == before
        assert "1 photos; passed over: " in (told := capsys.readouterr().err) and "1 folder of a batch" in told


def test_a_folder_that_cannot_be_read_is_told(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    within = os.open(tmp_path, os.O_RDONLY)
    for _ in range(17):  # a path longer than the system takes
        os.mkdir("d" * 250, dir_fd=within)
        outer, within = within, os.open("d" * 250, os.O_RDONLY, dir_fd=within)
        os.close(outer)
    os.close(within)
    assert told(read_plan(tmp_path).passed) == "; passed over: 1 unreadable folder"


def test_the_records_of_a_photo_that_cannot_be_read_are_whole(tmp_path):
    made = {"images": [{"id": 5, "file_name": "absent.png"}], "categories": [{"id": 3, "name": "cup"}]}
    entry = {"id": 7, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4]}
    (tmp_path / "coco.json").write_text(json.dumps({**made, "annotations": [entry]}))
    assert cli.run(arguments(tmp_path / "coco.json", tmp_path / "out")) == 1
    record = json.loads((tmp_path / "out" / "shards" / "00000.jsonl").read_text())
    assert set(record) == set(FIELDS) and record["category"] == "cup" and record["width"] is None
    assert json.loads(record["source"]) == {"id": 7, "image_id": 5, "category_id": 3}
    assert "absent.png" in record["error"]


def test_wrong_use(prompts, tmp_path, capsys):
    out = str(tmp_path / "out")
    for given, code, text in (
        ([str(tmp_path / "nothing"), "-o", out], 1, "there is no folder or file"),
        ([str(tmp_path), "-o", out], 1, "there is no photo in"),
        ([str(prompts), "-o", out, "--method", "hul"], 2, "did you mean 'hull'"),
        ([str(prompts), "-o", out, "--set", "segmenter.sied=3"], 2, "no option named 'sied'"),
        ([str(prompts), "-o", out, "--gpus", "1"], 2, "--gpus is for --ray"),
        ([str(prompts), "-o", str(prompts.parent), "--force"], 1, "holds other files"),
    ):
        assert cli.run(["batch", *given]) == code
        assert text in capsys.readouterr().err
    assert prompts.exists() and not (tmp_path / "out" / "plan.json").exists()


def test_force_begins_anew(prompts, tmp_path, capsys):
    out = tmp_path / "out"
    for extra, code in (([], 0), (["--seed", "4"], 1), (["--seed", "4", "--force"], 0)):
        assert cli.run(["batch", str(prompts), "-o", str(out), "--limit", "1", *PARTS, *extra]) == code
    assert "differs in seed (0, now 4); repeat it with the same ones to go on, begin anew" in capsys.readouterr().err
