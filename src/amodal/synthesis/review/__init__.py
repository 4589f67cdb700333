"""Reviewing a built data set by eye: yes or no to "Are both masks of good quality?", in the browser, by several people, in rounds."""

from .store import Review, accepted, agreement, export

__all__ = ["Review", "accepted", "agreement", "export"]
