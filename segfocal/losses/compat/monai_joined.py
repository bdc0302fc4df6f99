"""Two losses of MONAI on the same input, in one pass where they can share it."""

from __future__ import annotations

from torch import Tensor

from segfocal.losses.compat.adapter import evaluate
from segfocal.losses.compat.monai_base import RegionLoss
from segfocal.losses.compat.monai_pixel import CrossEntropy, FocalLoss


def joined(
    region: RegionLoss, pixel: FocalLoss | CrossEntropy, input: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute both terms, in one pass where they have the same activation.

    Args:
        region: Its call decides how the target is read.
        pixel: Takes the input as logits, whatever the region takes it for.
        input: ``(N, C, *S)``.
        target: As ``region`` takes it.

    Returns:
        The two values.
    """
    call = region.call(input, target)
    pixel.check_channels(input.shape[1])
    if pixel.reduction == "none":
        return evaluate([region], call)[0], pixel.map(call._replace(logits=input))
    if call.logits is input:
        first, second = evaluate([region, pixel], call)
        return first, second
    return evaluate([region], call)[0], evaluate([pixel], call._replace(logits=input))[0]
