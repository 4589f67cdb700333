"""pix2gestalt (Ozguroglu et al., CVPR 2024): a latent diffusion model that draws the whole object on white."""
