"""What would take all memory or time is refused, and what was damaged is told when work goes on."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from amodal.batch import complete
from amodal.cli import run
from amodal.cli import segment as segment_command
from amodal.core.errors import DataError, MaskError
from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.data.folder import FolderWriter
from amodal.data.scene_masks import read_scene

SIZE = (60, 80)


def test_a_depth_map_is_no_label_picture(tmp_path):
    values = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    Image.fromarray(values).save(tmp_path / "depth.png")
    with pytest.raises(MaskError, match="has 4,799 values; a label picture has one an object"):
        read_scene(tmp_path / "depth.png", SIZE)


def test_stdin_that_does_not_end(monkeypatch, capsys):
    monkeypatch.setattr(segment_command, "MAX_STDIN", 1000)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(5000))))
    assert run(["segment", "-", "--point", "1,2", "--method", "hull"]) == 1
    assert "amodal: stdin gives more than" in capsys.readouterr().err


def test_objects_of_a_photo_in_parts_equal_all_at_once(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encode_png(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)))
    boxes = [[3 * k, 2 * k, 3 * k + 30, 2 * k + 20] for k in range(5)]
    records = [{"image": "a.png", "mask": Mask.from_box(tuple(box)).to_rle(SIZE)} for box in boxes]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, records)))
    for name, memory in (("whole", 1 << 29), ("parts", 1)):
        monkeypatch.setattr(complete, "MEMORY", memory)
        assert (
            run(["batch", str(tmp_path / "list.jsonl"), "-o", str(tmp_path / name), "--method", "hull", "--cutouts"])
            == 0
        )
    shards = [(tmp_path / name / "shards" / "00000.jsonl").read_bytes() for name in ("whole", "parts")]
    assert shards[0] == shards[1] and shards[0].count(b"\n") == 5


@pytest.mark.parametrize("line", ['{"image": 3}', '{"objects": []}', '{"image": {"name": []}, "objects": [1]}'])
def test_a_build_whose_journal_was_damaged_is_told(line, tmp_path):
    with pytest.raises(KeyboardInterrupt), FolderWriter(tmp_path / "set", name="x", settings={}):
        raise KeyboardInterrupt
    (tmp_path / "set" / ".build.jsonl").write_text(line + "\n")
    with (
        pytest.raises(DataError, match="is damaged .*; begin anew"),
        FolderWriter(tmp_path / "set", name="x", settings={}),
    ):
        pass
