"""From a run directory to one file that runs without segfocal."""
