"""Evaluation: metrics (pure functions), runs (rows, resume), reports (tables, pictures)."""
