"""`tuning-free`: an inpainting diffusion model completes the object, a segmenter reads the mask from its picture."""
