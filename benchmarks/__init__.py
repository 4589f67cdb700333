"""Benchmarks: each module has `run() -> dict`; `python -m benchmarks [NAME...]` writes `benchmarks/results/NAME.json`."""
