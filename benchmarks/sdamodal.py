"""SDAmodal: eight objects of one picture that share its features, against eight that each compute or read them anew.

On a GPU: Stable Diffusion 2.1 and the network at full size with random weights, 768 pixels, 8 draws (speed and memory do not
depend on the values). Without one: narrow networks and small pictures on the CPU, which tells what sharing saves, not how fast
the real model is.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.measure import Skip
from benchmarks.pix2gestalt import measure

OBJECTS = 8
FULL: dict[str, Any] = {"image_size": 768, "input_size": 512}
SMALL: dict[str, Any] = {"image_size": 128, "input_size": 64}
WORDS = ("<|startoftext|>", "<|endoftext|>", "!")


def run(objects: int = OBJECTS, draws: int = 8) -> dict[str, Any]:
    """Seconds for the first picture's features, for objects that share them, and for objects on their own."""
    try:
        import torch
    except ImportError as error:
        raise Skip("torch is not installed") from error
    import amodal

    cuda = torch.cuda.is_available()
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    masks = [amodal.Mask.from_box((60 * k, 40, 60 * k + 80, 200)) for k in range(objects)]
    with TemporaryDirectory() as folder:
        root = Path(folder)
        options = {"weights": str(root / "sdamodal.safetensors"), "model": str(write_diffusion(root / "sd", cuda))}
        write_network(root / "sdamodal.safetensors", cuda)
        settings = {**(FULL if cuda else SMALL), "draws": draws}
        options |= {**settings, "draw_batch": 8, "batch": 8}
        plain = amodal.load("sdamodal", device="auto", options={**options, "cache": "none"})
        kept = amodal.load("sdamodal", device="auto", options={**options, "cache": str(root / "features")})

        def together(model: Any) -> None:
            model.open(picture).complete_all([amodal.Prompt.make(mask=mask) for mask in masks], paint=False)

        def apart(model: Any) -> None:
            for mask in masks:
                model.open(picture).complete_all([amodal.Prompt.make(mask=mask)], paint=False)

        rows = {
            "features_of_a_picture": timed(lambda: plain.method.features(picture), cuda),
            "objects_sharing_features": timed(lambda: together(plain), cuda),
            "objects_each_computing_them": timed(lambda: apart(plain), cuda),
            "objects_each_reading_them_from_disk": timed(lambda: apart(kept), cuda),
            "objects_sharing_features_from_disk": timed(lambda: together(kept), cuda),
        }
        size = sum(path.stat().st_size for path in (root / "features").rglob("*.safetensors"))
    return {
        "clock": "wall" if cuda else "processor",
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "networks": "full size, fp16, random weights" if cuda else "narrow, fp32, random weights",
        "objects": objects,
        "settings": settings,
        "parameters": {"network": count(plain.method.network), "unet": count(plain.method.features._parts["unet"])},
        "rows": rows,
        "sharing_saves": ratio(rows, "objects_each_computing_them", "objects_sharing_features"),
        "disk_saves": ratio(rows, "objects_each_computing_them", "objects_each_reading_them_from_disk"),
        "features_on_disk_bytes": size,
    }


def timed(work: Any, cuda: bool) -> dict[str, float]:
    """Seconds (see `benchmarks.pix2gestalt.measure`), and the peak of GPU memory."""
    row = {"seconds": round(measure(work, cuda), 4)}
    if cuda:
        import torch

        row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    return row


def ratio(rows: dict[str, dict[str, float]], slow: str, fast: str) -> float:
    """How many times longer the slow one takes."""
    return round(rows[slow]["seconds"] / rows[fast]["seconds"], 2)


def count(network: Any) -> int:
    """Parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def write_network(path: Path, full: bool) -> None:
    """SDAmodal's network with random weights; the paper's size, or one that fits the narrow diffusion model."""
    import torch
    from safetensors.torch import save_file

    from amodal.methods.sdamodal.network import SDAmodalNet

    torch.manual_seed(0)
    network = SDAmodalNet() if full else SDAmodalNet((160, 160, 80, 40), widths=(8, 8, 16, 16, 32, 32), reduced=16)
    save_file(network.state_dict(), path)


def write_diffusion(folder: Path, full: bool) -> Path:
    """Stable Diffusion 2.1's architecture with random weights in diffusers' layout; an eighth of its width if not `full`."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    part, dtype = (1, torch.float16) if full else (8, torch.float32)
    unet = UNet2DConditionModel(
        sample_size=96,
        block_out_channels=tuple(width // part for width in (320, 640, 1280, 1280)),
        attention_head_dim=(5, 10, 20, 20) if full else 5,
        cross_attention_dim=1024 // part,
        use_linear_projection=True,
        norm_num_groups=32 // part,
    )
    vae = AutoencoderKL(
        block_out_channels=tuple(width // part for width in (128, 256, 512, 512)),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=32 // part,
    )
    text = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=1024 // part,
        num_attention_heads=16,
        num_hidden_layers=2,
        bos_token_id=0,
        eos_token_id=1,
    )
    (folder / "tokenizer").mkdir(parents=True)
    vocabulary, merges = folder / "tokenizer" / "vocab.json", folder / "tokenizer" / "merges.txt"
    vocabulary.write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    merges.write_text("#version: 0.2\n")
    schedule = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
    }
    for name, network in (("unet", unet), ("vae", vae), ("text_encoder", CLIPTextModel(text))):
        torch.nn.Module.to(network, dtype)  # diffusers' own `to` warns about parts that are not there
        network.save_pretrained(folder / name)
    CLIPTokenizer(str(vocabulary), str(merges), model_max_length=77).save_pretrained(folder / "tokenizer")
    DDIMScheduler(**schedule).save_pretrained(folder / "scheduler")
    return folder
