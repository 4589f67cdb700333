"""Names of objects: equal ones are objects of their own, in every format and across files."""

from __future__ import annotations

import json
from pathlib import Path

from amodal.geometry.readers import files_of, open_source
from amodal.geometry.scene import distinct
from amodal.synthesis.rooms.rooms import load_objects
from amodal.synthesis.scenes.build import build
from amodal.synthesis.scenes.config import read_config
from amodal.synthesis.scenes.piles import object_files
from scenes_make import OBJ, SQUARE, TWO_SQUARES, gltf, write_glb


def objects(kind: str, path: Path) -> dict[str, tuple[str, int]]:
    """Object to its label and number of faces. Nothing may be left out."""
    scene = open_source(kind, path).geometry(None)
    assert scene.remarks == ()
    return {each.name: (each.label, int((scene.owner == each.id).sum())) for each in scene.instances}


def test_names_become_distinct_and_single_ones_stay() -> None:
    assert distinct(["x", "a", "a", "a_1"]) == ["x", "a", "a_2", "a_1"]
    assert distinct(["a", "a", "a_2", "a", "a_2"]) == ["a", "a_3", "a_2", "a_4", "a_2_2"]
    assert len(set(distinct(["chair"] * 1000 + ["chair_7"]))) == 1001


def test_objects_of_a_folder_belong_to_their_file(tmp_path: Path) -> None:
    """Every file's objects are its own, and the suffix may be in capitals."""
    for name, line in (("a.obj", "o Cube"), ("b.obj", "o Cube"), ("C.OBJ", "o Lamp")):
        (tmp_path / name).write_text(f"{line}\n{OBJ}f 1 2 3 4\n")
    assert objects("obj", tmp_path) == {"Lamp": ("Lamp", 2), "Cube": ("Cube", 2), "Cube_2": ("Cube", 2)}
    for name in ("a.obj", "b.obj"):
        (tmp_path / name).write_text(f"g default\n{OBJ}f 1 2 3 4\n")
    assert list(objects("obj", tmp_path)) == ["Lamp", "default", "default_2"]


def test_obj_group_without_a_name_is_the_default_group(tmp_path: Path) -> None:
    path = tmp_path / "s.obj"
    path.write_text(OBJ + "g seat\nf 1 2 3\ng\nf 1 3 4\ng default\nf 1 2 4\n")
    assert objects("obj", path) == {"seat": ("seat", 1), "default": ("default", 2)}
    path.write_text("g\n" + OBJ + "g seat\nf 1 2 3\n")  # as 3ds Max writes it: no face is in the default group
    assert objects("obj", path) == {"seat": ("seat", 1)}
    path.write_text("g\n" + OBJ + "f 1 2 3\n")
    assert objects("obj", path) == {"s": ("s", 1)}
    path.write_text("o seat\n" + OBJ + "f 1 2 3\ng\nf 1 3 4\no\nf 1 2 4\n")  # groups are none where there are objects
    (line,) = open_source("obj", path).geometry(None).remarks
    assert "1 lines of kind 'o' are not understood" in line


def test_gltf_nodes_of_one_name_do_not_end_the_build(tmp_path: Path) -> None:
    nodes = [{"name": name, "mesh": 0, "translation": [3 * k, 0, 0]} for k, name in enumerate(("x", "a", "a", "a_1"))]
    content = json.loads(gltf(tmp_path / "s.gltf", SQUARE, [0, 1, 2, 0, 2, 3]).read_text())
    content["nodes"], content["scenes"] = nodes, [{"nodes": [3, 2, 1, 0]}]
    content["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1.8}}]
    for name, depth in (("v", 12), ("v", 14), ("v_5", 16)):
        content["nodes"].append({"name": name, "camera": 0, "translation": [4, 0, depth]})
    content["scenes"][0]["nodes"] += [4, 5, 6]
    (tmp_path / "s.gltf").write_text(json.dumps(content))
    assert list(objects("gltf", tmp_path / "s.gltf")) == ["x", "a", "a_2", "a_1"]
    (tmp_path / "s.toml").write_text(
        'name = "s"\npictures = "render"\n[select]\nratio = 0.0\nmin_amodal = 1\nmin_visible = 1\nmax_open_edges = 1.0\n'
        '[[scene]]\nkind = "gltf"\npath = "s.gltf"\nreader = { picture = [64, 48] }\n'
    )
    report = build(read_config(tmp_path / "s.toml"), tmp_path / "out")
    assert report.failures == [] and report.notes == [] and (report.views, report.samples) == (3, 12)
    content["nodes"].append({"name": "world", "children": content["scenes"][0]["nodes"]})
    content["scenes"][0]["nodes"] = [len(content["nodes"]) - 1]
    (tmp_path / "s.gltf").write_text(json.dumps(content))
    (note,) = build(read_config(tmp_path / "s.toml"), tmp_path / "out", overwrite=True).notes
    assert "there is one object" in note and "reader.level = 2 makes objects of the nodes below it" in note


def test_files_in_capitals_are_found_everywhere(tmp_path: Path) -> None:
    write_glb(tmp_path / "CUP.GLB", TWO_SQUARES)
    assert object_files(tmp_path) == [tmp_path / "CUP.GLB"] and len(load_objects(tmp_path)) == 1
    assert files_of(tmp_path / "gone", ".glb") == []
