"""segfocal.imbalance."""
