"""The protocols of methods, inpainters, segmenters and lifters, and the registry of their names."""
