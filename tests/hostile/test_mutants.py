"""Damaged files of every format that the core reads: an answer or an `AmodalError`, and nothing else."""

import codecs
import io
import json
import random
import struct
import warnings

import numpy as np
import pytest
from PIL import Image as PILImage

from amodal.core import arrays, files, image, rle
from amodal.core.errors import DataError
from amodal.core.mask import Mask
from amodal.core.options import Options, build_options
from amodal.core.prompt import Prompt
from amodal.data.plain_pickle import read_pickle
from amodal.weights.tensors import check_safetensors
from mutants import COUNT, ODD, allowed, altered, damaged

PHOTO = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
BITS = np.zeros((24, 32), bool)
BITS[5:12, 6:20] = True
RECORD = {
    "points": [[3.5, 4]],
    "labels": [1],
    "box": [1, 2, 20, 18],
    "mask": Mask.from_array(BITS).to_dict(),
    "frame": [24, 32],
    "text": "a café",
}


def saved(picture: PILImage.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def pictures() -> dict[str, bytes]:
    photo = PILImage.fromarray(PHOTO)
    exif = photo.getexif()
    exif[0x0112] = 6
    label = PILImage.fromarray(BITS.astype(np.uint8))
    label.putpalette([0, 0, 0, 200, 0, 0])
    return {
        "jpeg": saved(photo, "JPEG", exif=exif),
        "png": saved(photo, "PNG"),
        "alpha": saved(photo.convert("RGBA"), "PNG"),
        "wide": saved(PILImage.fromarray(BITS.astype(np.uint16)), "PNG"),
        "palette": saved(label, "PNG"),
        "gif": saved(photo.quantize(8), "GIF", save_all=True, append_images=[label]),
        "webp": saved(photo, "WEBP"),
        "tiff": saved(photo, "TIFF", compression="tiff_lzw"),
        "float": saved(PILImage.fromarray(BITS.astype(np.float32)), "TIFF"),
        "bmp": saved(photo, "BMP"),
        "ppm": saved(photo, "PPM"),
        "jp2": saved(photo, "JPEG2000"),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", pictures())
def test_pictures(kind):
    luck = random.Random(kind)
    content = pictures()[kind]
    for _ in range(COUNT):
        mutant = damaged(content, luck)
        for reader in (image.read, image.read_soft, image.read_labels, image.picture_size):
            allowed(reader, mutant)


def test_texts(tmp_path):
    texts = {
        files.read_json: json.dumps(RECORD).encode(),
        files.read_toml: b'[a]\nb = [1, 2.5, "x"]\nc = 2020-01-01\n[[d]]\ne = {f = 0x10}\n',
        files.read_csv: codecs.BOM_UTF8 + b'a,b\n1,"x, y"\n',
        lambda path, error: list(files.read_lines(path, error)): b'{"a": 1}\n' * 3,
    }
    luck = random.Random(1)
    path = tmp_path / "mutant"
    for reader, content in texts.items():
        for _ in range(COUNT * 2):
            path.write_bytes(damaged(content, luck))
            allowed(reader, path, DataError)


def test_arrays_weights_and_pickles(tmp_path):
    import pickle

    buffers = [io.BytesIO(), io.BytesIO()]
    np.save(buffers[0], PHOTO)
    np.savez_compressed(buffers[1], rgba=PHOTO)
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    contents = {
        arrays.read_npy: buffers[0].getvalue(),
        lambda path: arrays.read_npz(path, ["rgba"]): buffers[1].getvalue(),
        check_safetensors: struct.pack("<Q", len(header)) + header + bytes(8),
        read_pickle: pickle.dumps({"images": [{"id": 1, "size": (2, 3), "x": np.arange(4)}]}, protocol=2),
    }
    luck = random.Random(2)
    path = tmp_path / "mutant"
    for reader, content in contents.items():
        for _ in range(COUNT * 2):
            path.write_bytes(damaged(content, luck))
            allowed(reader, path)


class Some(Options):
    """Options of every kind."""

    steps: int = 3
    leak: tuple[float, float] = (0.3, 0.0)
    mode: str | None = None


def test_prompts_masks_and_options():
    luck = random.Random(3)
    for _ in range(COUNT * 10):
        allowed(lambda record: Prompt.from_dict(record).check((24, 32)), altered(RECORD, luck))
        allowed(rle.decode, altered(RECORD["mask"], luck))
        allowed(lambda value: image.as_mask(value, (24, 32)), altered(RECORD["mask"], luck))
        allowed(
            lambda value: build_options(Some, value),
            {"steps": 3, "leak": "1,2", luck.choice(["mode", "leak", "x"]): luck.choice(ODD)},
        )


def test_torch_files(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save

    from amodal.weights.tensors import load_tensors

    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(3)}}, buffer)
    luck = random.Random(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for suffix, content in ((".pt", buffer.getvalue()), (".safetensors", save({"a": torch.zeros(3)}))):
            path = tmp_path / f"mutant{suffix}"
            for _ in range(COUNT):
                path.write_bytes(damaged(content, luck))
                allowed(load_tensors, path)
