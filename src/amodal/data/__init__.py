"""Data sets: samples, readers (one file a data set) and builders."""

from .sample import Dataset, Sample, dataset

__all__ = ["Dataset", "Sample", "dataset"]
