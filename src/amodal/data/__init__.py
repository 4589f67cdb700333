"""Data sets: samples, readers (one file a data set) and builders."""
