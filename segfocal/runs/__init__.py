"""segfocal.runs."""
