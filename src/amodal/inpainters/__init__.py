"""Inpainters: condition picture and area to a picture. The pipeline and the tuning-free method reach them through the registry."""
