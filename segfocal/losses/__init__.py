"""segfocal.losses."""
