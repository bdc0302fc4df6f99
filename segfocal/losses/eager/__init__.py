"""Backend in plain torch, on any device, in any precision: the definition of the other backends."""

from segfocal.losses.eager.backend import pixel_map, pixel_map_backward, pixel_sums, pixel_sums_backward

__all__ = ["pixel_map", "pixel_map_backward", "pixel_sums", "pixel_sums_backward"]
