"""The primitive ``pixel_sums``: what may be asked of it, how it is checked, and which backend computes it."""

from segfocal.losses.primitive.sums import PixelSums, backend_for, pixel_map, pixel_sums

__all__ = ["PixelSums", "backend_for", "pixel_map", "pixel_sums"]
