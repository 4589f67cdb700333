"""Invented furnished rooms and rendered objects, as training data with exact truth."""
