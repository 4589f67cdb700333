"""The released Lightning checkpoint (15.5 GB) to a folder of safetensors (2.5 GB in half precision), one tensor at a time."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import OutputError, WeightsError
from ...core.files import atomic_write, check_folder
from ...plugins.protocols import Progress, no_progress
from ...runtime.devices import DTYPES
from ...weights.tensors import load_tensors
from ..checkpoints import facts_of
from .keys import CLIP_PREFIXES, PROJECTION, Source, clip_source, ema_key, unet_source, vae_source, volume_source
from .model import PUBLISHED, SYNCDREAMER, ZERO123, Architecture, Networks, write_side_files

if TYPE_CHECKING:
    import torch

__all__ = ["architecture_of", "convert_checkpoint", "refuse_trained", "sources", "write_safetensors"]

FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "image_encoder": "model.safetensors",
    "projection": "model.safetensors",
    "volume": "model.safetensors",
}
CODES = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}


def sources(networks: Networks, ema: bool = True) -> dict[str, dict[str, Source]]:
    """For each network its keys and where they come from in the released checkpoint.

    Args:
        networks: of the checkpoint's shapes (the meta device suffices).
        ema: take the averaged weights of the UNet, as sampling needs; SyncDreamer's checkpoint has none.
    """
    unet = unet_source(networks.unet.state_dict(), int(networks.unet.config.layers_per_block))
    with_volume = networks.volume is not None
    if ema and not with_volume:
        unet = {key: Source(ema_key(source.key)) for key, source in unet.items()}
    plan = {
        "unet": unet,
        "vae": vae_source(networks.vae.state_dict(), len(networks.vae.config.block_out_channels)),
        "image_encoder": clip_source(networks.image_encoder.state_dict(), CLIP_PREFIXES[with_volume]),
        "projection": {key: Source(name) for key, name in PROJECTION.items()},
    }
    return {**plan, "volume": volume_source(networks.volume.state_dict())} if with_volume else plan


def architecture_of(tensors: Mapping[str, torch.Tensor]) -> Architecture:
    """The model that a checkpoint in latent-diffusion's layout is of, by its tensors; pix2gestalt where they do not say."""
    if any(name.startswith("spatial_volume.") for name in tensors):
        return SYNCDREAMER
    first = tensors.get("model.diffusion_model.input_blocks.0.0.weight")
    return ZERO123 if first is not None and first.ndim == 4 and first.shape[1] == 8 else PUBLISHED


def refuse_trained(file: Path) -> None:
    """Raise WeightsError if a file is what `amodal train` writes, not a checkpoint in the original layout."""
    task = facts_of(file).get("task")
    if task is not None:
        what = f"{file} holds what a run of amodal train learnt ({task[:40]}), no whole model"
        if task == "pix2gestalt":
            raise WeightsError(f"{what}; make a folder of it with amodal export, and give that as the option model")
        raise WeightsError(f"{what}; give it to the method that it was trained for, as the option weights")


def convert_checkpoint(
    checkpoint: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    dtype: str = "fp16",
    ema: bool = True,
    architecture: Architecture | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Write the networks of a checkpoint in the original layout as a folder that `Networks.from_pretrained` loads.

    At most one tensor is in memory; nothing but tensors is unpickled; the folder appears when it is whole.

    Args:
        checkpoint: the `.ckpt` file of PyTorch Lightning (or a plain `state_dict` of the same keys).
        folder: to be made; must not exist.
        dtype: "fp16", "bf16" or "fp32": how the weights are written.
        ema: the averaged weights of the UNet (what the authors sample with) or the last ones.
        architecture: the shapes to expect; by default those of the released model whose tensors the file holds.
        progress: called once per tensor.

    Raises:
        WeightsError: the file is cut short, holds other objects than tensors, or tensors of another network; or it is what a
            training run wrote.
        OutputError: the folder exists or cannot be written.
    """
    target = Path(folder)
    if dtype not in DTYPES:
        raise WeightsError(f"weights are written as {', '.join(DTYPES)}, not as {dtype}")
    if target.exists():
        raise OutputError(f"{target} exists already; choose another folder or remove it first")
    check_folder(target)
    refuse_trained(Path(checkpoint))
    tensors = load_tensors(checkpoint)  # mapped, not read
    networks = (architecture or architecture_of(tensors)).build("meta")
    plan = sources(networks, ema)
    check_plan(plan, networks, tensors, str(checkpoint))
    total = sum(len(part) for part in plan.values())
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        done = 0
        for name, module in networks.parts().items():
            shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
            stream = _stream(tensors, plan[name], shapes, dtype)
            write_safetensors(work / name / FILES[name], shapes, dtype, _ticked(stream, progress, done, total))
            done += len(shapes)
        networks.unet.save_config(work / "unet")
        networks.vae.save_config(work / "vae")
        networks.image_encoder.config.save_pretrained(work / "image_encoder")
        write_side_files(work, networks)
        work.chmod(0o755)
        try:
            work.rename(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror}; did another process make it?") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def check_plan(
    plan: Mapping[str, Mapping[str, Source]], networks: Networks, tensors: Mapping[str, torch.Tensor], name: str
) -> None:
    """Check before any writing that every tensor is there with the right shape. Raises WeightsError."""
    for part, module in networks.parts().items():
        missing = [source.key for source in plan[part].values() if source.key not in tensors]
        if missing:
            hint = (
                " (the averaged weights are absent; take the others, not averaged)"
                if _lacks_ema(missing, tensors)
                else ""
            )
            raise WeightsError(
                f"{name} is not a checkpoint of {networks.name}: {len(missing)} of {len(plan[part])} tensors of its {part} "
                f"are missing ({', '.join(missing[:3])}, ...){hint}"
            )
        for key, value in module.state_dict().items():
            source = plan[part][key]
            shape = taken_shape(tuple(tensors[source.key].shape), source)
            # The VAE's attention is stored as 1x1 convolutions and used as linear layers.
            if shape != tuple(value.shape) and shape != (*value.shape, 1, 1):
                raise WeightsError(
                    f"{name} does not fit: {source.key} gives {shape}, {part} needs {tuple(value.shape)} for {key}"
                )


def _lacks_ema(missing: list[str], tensors: Mapping[str, torch.Tensor]) -> bool:
    return all(key.startswith("model_ema.") for key in missing) and any(k.startswith("model.diff") for k in tensors)


def taken_shape(shape: tuple[int, ...], source: Source) -> tuple[int, ...]:
    """The shape after taking what `source` says."""
    if source.transposed:
        return shape[::-1]
    return (shape[0] // source.part[1], *shape[1:]) if source.part else shape


def _stream(
    tensors: Mapping[str, torch.Tensor], plan: Mapping[str, Source], shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> Iterator[torch.Tensor]:
    import torch

    for key, shape in shapes.items():
        source = plan[key]
        tensor = tensors[source.key]
        if source.part:
            tensor = tensor.chunk(source.part[1])[source.part[0]]
        if source.transposed:
            tensor = tensor.T
        tensor = tensor.reshape(shape).to(getattr(torch, DTYPES[dtype])).contiguous()
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{source.key} holds values that {dtype} cannot hold; convert to fp32")
        yield tensor


def _ticked(stream: Iterator[Any], progress: Progress, done: int, total: int) -> Iterator[Any]:
    for number, item in enumerate(stream, done + 1):
        yield item
        progress("tensor", number, total)


def write_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str, tensors: Iterator[torch.Tensor]
) -> None:
    """Write a safetensors file tensor by tensor, in the order of `shapes`, all of one `dtype`.

    The format: the header's length (8 bytes, little endian), the header (JSON: name to dtype, shape, byte range), the data.
    """
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for key, shape in shapes.items():
        size = getattr(torch, DTYPES[dtype]).itemsize
        for length in shape:
            size *= length
        header[key] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(tensor.flatten().view(torch.uint8).numpy().data)
