"""The amodal mask of a drawn whole: by the white background (the authors' evaluation) or by a matting network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import AmodalError, WeightsError
from ...networks.latent_diffusion.model import load_part
from ...weights.catalogue import locate

__all__ = ["Matting", "white_mask"]


def white_mask(picture: NDArray[np.uint8], threshold: int = 250) -> NDArray[np.bool_]:
    """Where (H, W, 3) RGB is not white: grey value at most `threshold`.

    The grey value has the weights of blue and red exchanged, as in the authors' evaluation (0.114 R + 0.587 G + 0.299 B).
    """
    import cv2

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) <= threshold)


class Matting:
    """Alpha by ViTMatte (Yao et al. 2023) through transformers; its trimap comes from the white background."""

    def __init__(self, folder: str | Path, device: Any = "cpu", band: int = 10) -> None:
        """Load a ViTMatte model from a folder (or the local hub cache).

        Args:
            folder: as `VitMatteForImageMatting.save_pretrained` writes it, or the name of fetched weights.
            device: a torch device.
            band: half width of the unknown band of the trimap, in pixels.

        Raises:
            WeightsError: it cannot be loaded.
        """
        import torch
        from transformers import VitMatteForImageMatting

        try:
            network = load_part(VitMatteForImageMatting, locate(str(folder)), torch.float32)
        except AmodalError as error:
            raise WeightsError(
                f"cannot load the matting model: {error}; or give a folder as the option matting_model, "
                "or use the option cutout=white"
            ) from error
        self.network = network.eval().requires_grad_(False).to(device)
        self.band = band

    def alpha(self, pictures: NDArray[np.uint8], threshold: int = 250) -> NDArray[np.float32]:
        """Opacity (N, H, W) float32 in [0, 1] of wholes on white (N, H, W, 3) uint8."""
        import torch

        trimaps = np.stack([self.trimap(picture, threshold) for picture in pictures])
        values = np.concatenate([pictures.astype(np.float32) / 255 * 2 - 1, trimaps[..., None] * 2 - 1], axis=3)
        height, width = values.shape[1:3]
        down, right = -height % 32, -width % 32
        padded = np.pad(values, ((0, 0), (0, down), (0, right), (0, 0)))
        tensor = torch.from_numpy(padded).permute(0, 3, 1, 2).float().to(self.network.device)
        with torch.inference_mode():
            alphas = self.network(pixel_values=tensor.to(self.network.dtype)).alphas[:, 0].float().cpu().numpy()
        alphas = np.where(trimaps == 0.5, alphas[:, :height, :width], trimaps)
        return np.asarray(np.clip(alphas, 0, 1), np.float32)

    def trimap(self, picture: NDArray[np.uint8], threshold: int = 250) -> NDArray[np.float32]:
        """0 background, 0.5 unknown, 1 object: (H, W) float32."""
        import cv2

        inside = white_mask(picture, threshold).astype(np.uint8)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self.band + 1, 2 * self.band + 1))
        sure, perhaps = cv2.erode(inside, disc), cv2.dilate(inside, disc)
        return np.asarray((sure.astype(np.float32) + perhaps) / 2, np.float32)
