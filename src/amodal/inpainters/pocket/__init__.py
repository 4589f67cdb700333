"""The pocket inpainter: a small diffusion network, trained here, shipped in the package."""
