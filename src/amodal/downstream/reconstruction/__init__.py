"""Completed objects in three dimensions: lifters and their evaluation."""
