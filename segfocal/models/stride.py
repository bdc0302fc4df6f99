"""The multiple that a network's input sizes must have, and padding to it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.models.outputs import main_output
from segfocal.models.probe import probing

# powers of two for convolutional networks; 14 and 7 x 2^k for transformers with such patches and windows
CANDIDATES = (1, 2, 4, 8, 16, 32, 64, 14, 28, 56, 112)
_CHANNELS = re.compile(r"expected input\[.*\] to have (\d+) channels, but got (\d+) channels")


def size_divisor(
    network: nn.Module,
    *,
    in_channels: int,
    spatial_dims: int = 2,
    divisor: int | None = None,
    window: Sequence[int] | None = None,
) -> int:
    """Find the smallest multiple that the network's input sizes must have.

    The network is run on small inputs of zeros: sizes that are an odd multiple of a candidate, so that a
    size passes only where the candidate itself is enough. It must return logits of the same size.
    smp networks say their stride themselves; some would take any size, but at the cost of feature maps that
    no longer lie on top of each other.

    Args:
        network: Any network, images ``(N, in_channels, *S)`` to logits ``(N, C, *S)``.
        in_channels: Channels of its images.
        spatial_dims: 2 or 3.
        divisor: The answer where it is known; nothing is run then.
        window: The one size in which all cases are run, as volumes are; None: whole images are. A network
            that takes this size alone, such as ``UNETR``, gets a multiple that divides it.

    Returns:
        The multiple, in pixels.

    Raises:
        SegfocalError: If the network takes other channels, or no candidate works; with its own complaint.

    Example:
        >>> size_divisor(nn.Conv2d(3, 2, 3, padding=1), in_channels=3)
        1
    """
    if divisor is not None:
        if divisor < 1:
            raise SegfocalError(f"divisor must be a positive number of pixels, got {divisor}.")
        return divisor
    complaint, failures = "", list[str]()
    least = _declared_stride(network)
    sizes = {c: _odd_multiples(c, spatial_dims) for c in CANDIDATES if c % least == 0}
    if window is not None and (inside := _dividing(window)):
        sizes[-inside] = tuple(window)  # the last, and no multiple that others hold
    with probing(network) as example:
        for candidate, size in sizes.items():
            try:
                found = main_output(network(example.new_zeros(1, in_channels, *size))).shape[2:]
            except SegfocalError:
                raise
            except Exception as error:  # networks of other packages raise whatever they like
                if mismatch := other_channels(str(error), in_channels):
                    raise mismatch from error
                complaint = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                failures.append(complaint)
                continue
            if tuple(found) == size:
                return abs(candidate)
            complaint = f"an input of size {size} gave logits of size {tuple(found)}"
    if len(failures) == len(sizes) and len(set(failures)) == 1:
        raise SegfocalError(
            f"{type(network).__name__} fails on images of {in_channels} channels of any size: {complaint}. "
            "Its forward must take one tensor (N, C, H, W) or (N, C, D, H, W) and return logits: wrap it in "
            "a module that does, or take another network."
        )
    raise SegfocalError(
        f"No input size that is a multiple of {', '.join(map(str, CANDIDATES))} gives logits of the same "
        f"size with {in_channels} input channels; the last attempt: {complaint}. Give the multiple as "
        f"divisor=, wrap the network so that it resizes its logits to its input, or take one for any size."
    )


def other_channels(complaint: str, in_channels: int) -> SegfocalError | None:
    """Return what to say where the first convolution expects other channels than the images have.

    Args:
        complaint: What torch said.
        in_channels: Of the images.

    Returns:
        An exception to raise; None where the complaint is another.
    """
    found = _CHANNELS.search(complaint)
    if found is None or int(found[2]) != in_channels:
        return None
    return SegfocalError(
        f"The network takes images of {found[1]} channel(s), but they have {in_channels}. Set the network's "
        f"in_channels to {in_channels}, or let the data give {found[1]} (preprocess.in_channels; channels of "
        "generated data)."
    )


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until every size is a multiple.

    Args:
        images: Shape ``(N, C, *S)``, one to three spatial axes, any size from 1 px.
        multiple: In pixels.

    Returns:
        The images, padded at the end of each axis; ``crop_to`` undoes it. Unchanged where nothing is missing.

    Example:
        >>> import torch
        >>> pad_to_multiple(torch.zeros(1, 3, 30, 33), 16).shape
        torch.Size([1, 3, 32, 48])
    """
    missing = [-size % multiple for size in images.shape[2:]]
    if not any(missing):
        return images
    pairs = [amount for size in reversed(missing) for amount in (0, size)]
    return F.pad(images, pairs, mode="replicate")


def crop_to(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Cut what ``pad_to_multiple`` added.

    Args:
        maps: Shape ``(N, C, *S)``.
        size: The sizes before padding.

    Returns:
        A view of shape ``(N, C, *size)``.

    Example:
        >>> import torch
        >>> crop_to(torch.zeros(1, 2, 32, 48), (30, 33)).shape
        torch.Size([1, 2, 30, 33])
    """
    for axis, length in enumerate(size, start=2):
        maps = maps.narrow(axis, 0, length)
    return maps


def _declared_stride(network: nn.Module) -> int:
    # a network can be one of smp's only where smp is imported already
    smp = sys.modules.get("segmentation_models_pytorch")
    if smp is None:
        return 1
    parts = (module for module in network.modules() if isinstance(module, smp.base.SegmentationModel))
    return max((int(part.encoder.output_stride) for part in parts), default=1)


def _dividing(window: Sequence[int]) -> int | None:
    """Return the largest step at which windows of a size can overlap by half, and stay of that size."""
    steps = (32, 16, 8, 4, 2, 1) if min(window) < 128 else (32,)
    fitting = (step for step in steps if min(window) >= 2 * step and all(w % step == 0 for w in window))
    return next(fitting, None)


def _odd_multiples(candidate: int, spatial_dims: int) -> tuple[int, ...]:
    # at least 64 px (32 in 3D): instance norms refuse a single pixel at the bottom of five halvings
    least = 64 if spatial_dims == 2 else 32
    odd = 2 * (least // (2 * candidate)) + 1 if candidate < least else 3
    return tuple(candidate * (odd + 2 * (axis == 0)) for axis in range(spatial_dims))
