"""Volumes in NIfTI files: layouts, reading, preparation, patches, and the data module."""
