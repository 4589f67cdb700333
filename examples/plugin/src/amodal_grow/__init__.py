"""A template of a package that adds a method to amodal."""
