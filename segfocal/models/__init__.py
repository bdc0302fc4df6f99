"""segfocal.models."""
