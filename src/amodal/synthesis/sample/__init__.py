"""The sample set: something to try on every page of the documentation, made from what the package ships."""

from .write import write_sample

__all__ = ["write_sample"]
