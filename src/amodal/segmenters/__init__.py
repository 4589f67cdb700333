"""Segmenters: image and prompt to the visible mask. The pipeline reaches them through the registry."""
