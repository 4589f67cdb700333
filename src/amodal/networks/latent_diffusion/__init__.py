"""Latent diffusion conditioned on a picture: what pix2gestalt, Zero-1-to-3 and SyncDreamer have in common."""
