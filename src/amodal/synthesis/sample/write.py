"""Writing the sample set: whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ... import __version__
from ...core.errors import AmodalError, OutputError
from ...core.files import read_json, write_json, write_text
from . import content

__all__ = ["write_sample"]

FORMAT = "amodal/sample/1"
LIST = "sample.json"

README = """\
A small set to try amodal on, made by `amodal data sample`. The commands of the documentation run in a folder like this one.

photo.jpg              a cup on a saucer; visible.png marks what can be seen of the saucer, occluder.png what hides it
masks/                 visible masks of the cup, the saucer and the spoon of photo.jpg
photos/                eight photographs; instances.json (COCO) has visible masks on them, prompts.jsonl three prompts
frames/                eight frames of a walk past the table of room.glb
room.glb               a toy scene; cameras.json lists eight cameras, room.toml is what `amodal data build scenes` reads
composites.toml        what `amodal data build composites` reads
data/composites_dev/   24 composites with exact truth (reader: masks)
data/bookstore_dev/    occluded furniture of the room (reader: masks)
data/room/             the room's views in the project's own format (reader: folder)
data/COCOA/            the same in COCO-A's layout (reader: cocoa); train and val are the same pictures
data/photos/           photographs with one mask each, which recipes read with data/backgrounds/, data/coco_visible/ and data/objects/

The data sets are for trying commands: they are far too small, and too easy, to say how good a method is. The photographs are in
the public domain or CC0, but for china.jpg (danielbuechele on Flickr, CC BY 2.0); coins.jpg has no known copyright restrictions.
"""
ROOM = """\
# amodal data build scenes room.toml -o rooms
# A small room of boxes: eight views, rendered, with exact truth.
name = "toy"
license = "Apache-2.0"
[select]
min_amodal = 200
min_visible = 50
max_open_edges = 1.0

[[scene]]
kind = "gltf"
path = "room.glb"
split = "eval"
cameras = "list"
camera_list = "cameras.json"
"""
COMPOSITES = """\
# amodal data build composites composites.toml -o composites
count = 12
seed = 5
targets = {thing = 1.0, shape = 1.0}
kinds = {none = 1.0, one = 2.0, two = 1.0, bars = 0.6}

[library]
photos = "./data/photos"
backgrounds = "./data/backgrounds/dev"
split = "dev"
invented = 24
"""


def write_sample(folder: str | os.PathLike[str]) -> bool:
    """Write the sample set from what the package ships; no network, no extra.

    It is made beside the folder and moved there when it is whole. A folder that holds it already is left as it is.

    Args:
        folder: the folder to make; it may exist if it is empty or holds this sample.

    Returns:
        Whether it was written now.

    Raises:
        OutputError: the folder holds something else, or a sample whose files were lost or changed.
        OutputError: it cannot be written.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file; choose another place for the sample")
    if target.is_dir() and any(target.iterdir()):
        check(target)
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}; choose another folder") from error
    try:
        fill(made)
        made.chmod(0o755)
        if target.is_dir():
            target.rmdir()  # empty; Windows moves no folder over another
        made.replace(target)
    except OSError as error:
        if isinstance(error, AmodalError):
            raise
        raise OutputError(f"cannot write {target}: {error.strerror}; choose another folder") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return True


def fill(root: Path) -> None:
    """Write all parts, the list of files last."""
    content.photographs(root)
    content.development(root / "data")
    content.composites(root / "data")
    content.room(root)
    for name, text in (("README.txt", README), ("room.toml", ROOM), ("composites.toml", COMPOSITES)):
        write_text(root / name, text)
    sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    write_json(root / LIST, {"format": FORMAT, "version": __version__, "files": dict(sorted(sizes.items()))})


def check(root: Path) -> None:
    """Whether a folder holds this sample, whole. Raises OutputError."""
    listed = read_json(root / LIST, OutputError) if (root / LIST).is_file() else None
    if not isinstance(listed, dict) or not isinstance(listed.get("files"), dict) or listed.get("format") != FORMAT:
        raise OutputError(f"{root} is not empty and holds no sample; choose a new folder for it")
    if listed.get("version") != __version__:
        raise OutputError(f"{root} holds the sample of version {listed.get('version')}; choose a new folder")
    for name, size in listed["files"].items():
        path = root / name
        if not path.is_file() or path.stat().st_size != size:
            raise OutputError(f"{root} holds the sample, but {name} was lost or changed; choose a new folder")
