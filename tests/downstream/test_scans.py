"""Folders of scans in which several files have one name."""

from pathlib import Path

import numpy as np
import pytest

from amodal import load
from amodal.core.errors import AmodalError
from amodal.downstream.reconstruction.evaluate_3d import Evaluation, evaluate_reconstruction
from amodal.downstream.reconstruction.lifters import Inflate
from amodal.downstream.reconstruction.occluded import find_meshes, names_of, occluded_view
from amodal.geometry.mesh import Mesh

trimesh = pytest.importorskip("trimesh", reason="needs the extra amodal[scenes]")


def save(path: Path, *sides: float) -> None:
    made = trimesh.creation.box(sides)
    path.unlink(missing_ok=True)
    Mesh.coloured(made.vertices, made.faces, np.full((len(made.vertices), 3), 120, np.uint8)).save(path)


def test_scans_in_folders_of_their_own_are_told_apart(tmp_path: Path) -> None:
    """All are called `model.obj` there: the first one's rows stood for those of all. Another scan of the same name is another one."""
    root = tmp_path / "scans"
    for name, sides in {
        "brick/model.glb": (1, 0.6, 0.4),
        "post/model.glb": (0.5, 1, 0.5),
        "cup.glb": (1, 1, 1),
    }.items():
        save(root / name, *sides)
    files = find_meshes(root)
    assert set(names_of(files).values()) == {"brick/model.glb", "post/model.glb", "cup"}
    assert len({occluded_view(file, 0, files, 32).elevation for file in files}) == 3
    how = Evaluation(Inflate({"resolution": 12}), load("visible", segmenter="grabcut"), size=32, inputs=("whole",))
    content = evaluate_reconstruction(root, how, tmp_path / "report", views=1)
    assert [row["id"] for row in content["rows"]] == ["brick/model.glb/0", "cup/0", "post/model.glb/0"]
    save(root / "post" / "model.glb", 0.5, 1, 0.2)
    with pytest.raises(AmodalError, match="meshes_sha256"):
        evaluate_reconstruction(root, how, tmp_path / "report", views=1)
