"""Random fields: correlated noise of exact variance and slow illumination."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], *, sigma_px: float) -> Array:
    """Draw Gaussian noise, blurred over the last two axes, standard normal at every pixel.

    The blur wraps around and its kernel has unit square sum, so that each pixel is exactly N(0, 1).
    It is a sum of shifts and no matrix product: those may round differently with the number of threads.

    Args:
        rng: Source of randomness.
        shape: ``(..., H, W)``.
        sigma_px: Width of the Gaussian kernel.

    Returns:
        float64 field of the given shape.

    Example:
        >>> smooth_noise(np.random.default_rng(0), (3, 8, 8), sigma_px=1.0).shape
        (3, 8, 8)
    """
    reach = int(np.ceil(2.5 * sigma_px))
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    field = rng.standard_normal(shape)
    for axis in (-2, -1):
        size = shape[axis]
        padding = [(0, 0)] * field.ndim
        padding[axis] = (reach, reach)
        padded = np.moveaxis(np.pad(field, padding, mode="wrap"), axis, 0)
        blurred = sum(weight * padded[k : k + size] for k, weight in enumerate(kernel))
        field = np.moveaxis(np.asarray(blurred), 0, axis)
    return field


def illumination(rng: np.random.Generator, shape: tuple[int, int], *, waves: int) -> Array:
    """Draw a slow field from low cosine modes, scaled to run exactly from -1 to 1.

    Args:
        rng: Source of randomness.
        shape: Height and width.
        waves: Highest number of half waves along an axis.

    Returns:
        float64 ``(H, W)``.

    Example:
        >>> field = illumination(np.random.default_rng(0), (8, 8), waves=2)
        >>> float(field.min()), float(field.max())
        (-1.0, 1.0)
    """
    order = np.arange(waves + 1)
    weights = rng.standard_normal((waves + 1, waves + 1)) / (1.0 + order[:, None] + order)
    weights[0, 0] = 0.0
    rows, columns = (np.cos(np.pi * order[:, None] * (np.arange(n) + 0.5) / n) for n in shape)
    field = np.einsum("jx,jy->yx", columns, np.einsum("ij,iy->jy", weights, rows))
    return np.asarray((field - field.min()) / (field.max() - field.min()) * 2.0 - 1.0)
