"""segfocal.data."""
