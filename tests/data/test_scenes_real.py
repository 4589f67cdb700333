"""The real scenes beside the checkout: the example configuration reads, views are exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from amodal.core.options import build_options
from amodal.geometry import project
from amodal.geometry.cameras import CameraSampling, sample_cameras
from amodal.geometry.readers import open_source
from amodal.synthesis.scenes.config import read_config

pytest.importorskip("trimesh")
pytest.importorskip("embreex")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "faces", "objects"), [("bookstore", 100_809, 125), ("warehouse", 13_575, 25)])
def test_views_of_the_example_scenes_are_exact(development_data: Path, name: str, faces: int, objects: int) -> None:
    config = read_config(Path(__file__).parents[2] / "examples" / "rooms.toml")
    wanted = next(each for each in config.scene if each.name == name)
    assert wanted.cameras == "sample" and wanted.sample.count == 200
    scene = open_source(wanted.kind, development_data / "scenes" / f"{name}.glb", name, wanted.reader).geometry(None)
    assert (len(scene.faces), len(scene.instances)) == (faces, objects)
    assert any(each.structure for each in scene.instances)
    cameras, failures = sample_cameras(scene, build_options(CameraSampling, {"count": 3, "width": 320, "height": 240}))
    assert not failures
    for camera in cameras:
        found = project(scene, camera, beyond=0.5)
        for identity, visible in found.visible.items():
            assert visible.area == np.count_nonzero(found.labels == identity)
            assert found.amodal[identity].contains(visible)
        assert sum(each.area for each in found.visible.values()) == np.count_nonzero(found.labels)
        alone = next(each for each in scene.instances if found.visible.get(each.id))
        only = replace(scene, faces=scene.faces[scene.owner == alone.id], owner=scene.owner[scene.owner == alone.id])
        single = project(replace(only, surface=None), camera, beyond=0.5)
        assert single.amodal[alone.id] == found.amodal[alone.id]  # equation 2, literally
