"""From a run directory and images to masks."""
