"""`shap-e`: image to 3-D by diffusers' Shap-E pipeline (Jun and Nichol 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.errors import DataError, WeightsError, reported
from ...core.options import Options
from ...geometry.mesh import Mesh
from ...plugins.protocols import Progress, no_progress
from ...runtime.quiet import quiet
from ..cutout import check_cutout, on_white
from .lifters import Lifter

__all__ = ["ShapE"]

NOTHING = "Shap-E found no surface for this picture; try another seed or a larger object"


class ShapEOptions(Options):
    """Options of Shap-E."""

    model: str = Field("shap-e-img2img", description="fetched weights by name, a hub name or a folder")
    steps: int = Field(
        64, ge=2, le=1000, description="of the Heun sampler; each but the last evaluates the network twice"
    )
    grid: int = Field(128, ge=8, le=512, description="cells along each side in which the surface is sought")
    guidance: float = Field(3.0, ge=1, le=20, description="weight of the picture")


class ShapE(Lifter):
    """Shap-E: a diffusion model over implicit functions, decoded to a mesh with a colour per vertex."""

    name: ClassVar[str] = "shap-e"
    summary: ClassVar[str] = "image to 3-D by Shap-E through diffusers; a coloured mesh"
    Options: ClassVar[type[Options]] = ShapEOptions
    paper: ClassVar[str] = "Jun and Nichol, Shap-E: Generating Conditional 3D Implicit Functions, 2023"
    license: ClassVar[str] = "Apache-2.0 code; MIT weights"
    memory: ClassVar[str] = "a GPU is advised; works on a CPU, slowly"
    extra: ClassVar[str] = "diffusion"
    weights: ClassVar[tuple[str, ...]] = ("shap-e-img2img",)

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        from diffusers import PriorTransformer, ShapEImg2ImgPipeline
        from diffusers.pipelines.shap_e import ShapERenderer
        from transformers import CLIPVisionModel

        from ...runtime.devices import pick_device
        from ...weights.catalogue import locate
        from ...weights.pretrained import load_pretrained

        folder = locate(self.options.model)
        parts = {"prior": PriorTransformer, "image_encoder": CLIPVisionModel, "shap_e_renderer": ShapERenderer}
        networks = {name: load_pretrained(cls, folder / name) for name, cls in parts.items()}
        with quiet(), reported(WeightsError, f"{folder} is not a Shap-E pipeline"):
            self.pipeline = ShapEImg2ImgPipeline.from_pretrained(folder, local_files_only=True, **networks)
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.to(pick_device(device))

    def lift(
        self, rgba: NDArray[np.uint8], seed: int = 0, progress: Progress = no_progress, keep: Path | None = None
    ) -> Mesh:
        import torch
        from PIL import Image as PILImage

        alpha = check_cutout(rgba)
        rows, columns = np.nonzero(alpha)
        box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        picture = PILImage.fromarray(on_white(rgba[box][..., :3], alpha[box], margin=0.15))
        done = [0]

        def count(*_: Any) -> None:
            done[0] += 1
            progress("step", done[0], 2 * self.options.steps - 1)

        hook = self.pipeline.prior.register_forward_pre_hook(count)
        try:
            latent = self.pipeline(
                picture,
                num_inference_steps=self.options.steps,
                guidance_scale=self.options.guidance,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="latent",
            ).images
        finally:
            hook.remove()
        try:
            with torch.no_grad():
                renderer = self.pipeline.shap_e_renderer
                return from_decoder(renderer.decode_to_mesh(latent, latent.device, grid_size=self.options.grid))
        except ValueError as error:  # the decoder joins lists of vertices, of which there are none
            raise DataError(NOTHING) from error


def from_decoder(output: Any) -> Mesh:
    """Shap-E's mesh in our axes: its z is up, and it looks along -y at the viewer of the picture. Raises DataError if empty."""
    vertices = output.verts.float().cpu().numpy().astype(np.float64)
    faces = output.faces.cpu().numpy().astype(np.int64)
    if not len(faces):
        raise DataError(NOTHING)
    channels = output.vertex_channels
    colours = np.stack([channels[name].float().cpu().numpy() for name in "RGB"], axis=1)
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    notes = {"lifter": "shap-e"}
    painted = np.clip(np.rint(colours * 255), 0, 255).astype(np.uint8)
    return Mesh.coloured(vertices @ upright.T, faces, painted, notes).normalised()
