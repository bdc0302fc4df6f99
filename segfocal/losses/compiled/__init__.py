"""Backend for the CPU: kernels in C++, built once by the machine's own compiler."""

from segfocal.losses.compiled.backend import (
    pixel_map,
    pixel_map_backward,
    pixel_sums,
    pixel_sums_backward,
    suits,
)

__all__ = ["pixel_map", "pixel_map_backward", "pixel_sums", "pixel_sums_backward", "suits"]
