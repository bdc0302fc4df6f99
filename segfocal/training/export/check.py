"""Run an exported file beside the network that it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.training.export.program import first_line

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Agreement:
    """How a file compares with its network.

    Args:
        shapes: Of the inputs that both were given.
        difference: The largest in any probability.
    """

    shapes: tuple[tuple[int, ...], ...]
    difference: float


def traced_sizes(divisor: int, *, axes: int) -> tuple[int, ...]:
    """Return the sizes with which a network is traced: all different, none a multiple of ``divisor``.

    Args:
        divisor: Multiple of the sizes that the network takes.
        axes: Spatial axes.

    Example:
        >>> traced_sizes(8, axes=2)
        (71, 79)
    """
    least = _least(axes)
    multiple = -(-least // divisor) + 1
    return tuple(divisor * (multiple + axis) - (divisor > 1) for axis in range(axes))


def other_shapes(
    divisor: int, *, channels: int, axes: int, tile: Sequence[int] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Return shapes of inputs that a file for any size is tried with, none of them the traced one.

    Args:
        divisor: Multiple of the sizes that the network takes.
        channels: Of the images.
        axes: Spatial axes.
        tile: Sizes to which smaller images are padded; None: they are not.

    Returns:
        Of one image whose sides are multiples, of three that are no multiples, and of one long and flat; of
        volumes the first two, or where there are tiles of one smaller and of two larger than them.

    Example:
        >>> other_shapes(8, channels=3, axes=2)
        ((1, 3, 64, 72), (3, 3, 97, 66), (1, 3, 65, 193))
    """
    if tile is not None:
        larger = tile[0] + 1, *(edge - 1 for edge in tile[1:])
        return (1, channels, *(edge // 2 + 1 for edge in tile)), (2, channels, *larger)
    even = -(-_least(axes) // divisor) * divisor
    exact = (1, channels, *(even + divisor * axis for axis in range(axes)))
    odd = (even + 4 * divisor + 1, even + 2, even + divisor + 3)[:axes]
    if axes == 3:
        return exact, (2, channels, *odd)
    return exact, (3, channels, *odd), (1, channels, even + 1, 3 * even + 1)


def compare(
    exported: Callable[[Tensor], Tensor],
    network: Callable[[Tensor], Tensor],
    *,
    shapes: Sequence[tuple[int, ...]],
    sample: tuple[float, float],
) -> Agreement:
    """Give both the same random inputs.

    Args:
        exported: The file, read back.
        network: What it was made from.
        shapes: Of the inputs.
        sample: Their lowest and highest value.

    Returns:
        The largest difference.

    Raises:
        SegfocalError: If a probability differs by more than 1e-4 or is not finite, a shape differs, or the
            file cannot be run; with the shape.
    """
    generator = torch.Generator().manual_seed(0)
    low, high = sample
    largest = 0.0
    for shape in shapes:
        images = (low + (high - low) * torch.rand(shape, generator=generator)).round(decimals=2)
        with torch.inference_mode():
            expected = network(images)
        largest = max(largest, _difference(_run(exported, images), expected, shape))
    return Agreement(tuple(shapes), largest)


def _run(exported: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            return exported(images)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _refusal(tuple(images.shape), f"cannot be run ({first_line(error)})") from error


def _difference(found: Tensor, expected: Tensor, shape: tuple[int, ...]) -> float:
    if found.shape != expected.shape:
        raise _refusal(shape, f"gives the shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE:  # also NaN
        raise _refusal(
            shape, f"differs from the network by up to {difference:.2g} in a probability, allowed is 1e-4"
        )
    return difference


def _refusal(shape: tuple[int, ...], fault: str) -> SegfocalError:
    return SegfocalError(
        f"The exported file {fault} for an input of shape {shape}; nothing was written. A "
        "network that pools over its whole image (PSPNet, UPerNet, PAN) is exported for one size: add "
        "--size, e.g. that of the training patches. Or try another --format."
    )


def _least(axes: int) -> int:
    # instance norms refuse a single pixel at the bottom of five halvings
    return 64 if axes == 2 else 16
