"""segfocal.training."""
