"""Backend for CUDA: kernels in Triton, one read of the logits forward, one read and one write backward."""

from segfocal.losses.triton.backend import (
    pixel_map,
    pixel_map_backward,
    pixel_sums,
    pixel_sums_backward,
    probe,
)

__all__ = ["pixel_map", "pixel_map_backward", "pixel_sums", "pixel_sums_backward", "probe"]
