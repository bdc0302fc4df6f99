"""segfocal.metrics."""
