"""One polars table per view, from run directories; no figure, no HTML, no torch."""
