"""Whole-part pairs (pix2gestalt, section 3.1): photographs of whole objects with an occluder laid over them."""
