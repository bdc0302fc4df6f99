"""segmentation-models-pytorch's soft scores of probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from segfocal.losses.compat.inputs import check_shape, logits_of
from segfocal.losses.compat.regions import refuse_soft, soft_target, tversky_parts
from segfocal.losses.evaluation import result_dtype
from segfocal.losses.needs import Needs, compute
from segfocal.losses.overlap import overlap


def soft_tversky_score(
    output: Tensor,
    target: Tensor,
    alpha: float,
    beta: float,
    smooth: float = 0.0,
    eps: float = 1e-7,
    dims: Sequence[int] | int | None = None,
) -> Tensor:
    """Compute ``(I + smooth) / max(I + alpha FP + beta FN + smooth, eps)`` of probabilities.

    Args:
        output: Probabilities in [0, 1], any shape.
        target: 0 and 1, the same shape.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        smooth: Added to both sides of the fraction, in elements.
        eps: Smallest denominator.
        dims: Axes to sum over; ``None``: all.

    Returns:
        Scores in [0, 1], the shape that ``dims`` leaves; float32, or float64 for float64 output.

    Raises:
        SegfocalError: For shapes that differ, values outside [0, 1], and soft targets.

    Example:
        >>> import torch
        >>> soft_tversky_score(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1, 0, 0]), 1.0, 1.0)  # 1 / 2
        tensor(0.5000)
    """
    check_shape("target", target, tuple(output.shape), output)
    axes = range(output.ndim) if dims is None else [dims] if isinstance(dims, int) else dims
    summed = [axis % output.ndim for axis in axes]
    kept = [axis for axis in range(output.ndim) if axis not in summed]
    sizes = [output.shape[axis] for axis in kept]
    rows, masks = (each.permute(*kept, *summed).reshape(math.prod(sizes), 1, -1) for each in (output, target))
    needs = Needs("sigmoid", frozenset({"intersection", "prediction", "target", "target_squared"}))
    sums = compute(needs, logits_of("output", rows, "Apply the sigmoid first."), masks, None)
    region = overlap(sums, per_image=True, squared=False, include_background=True)
    top, bottom = tversky_parts(region, fp_weight=alpha, fn_weight=beta)
    scores = (top + smooth) / (bottom + smooth).clamp(min=eps)
    return refuse_soft(scores, soft_target(sums)).reshape(sizes).to(result_dtype(output))


def soft_dice_score(
    output: Tensor,
    target: Tensor,
    smooth: float = 0.0,
    eps: float = 1e-7,
    dims: Sequence[int] | int | None = None,
) -> Tensor:
    """Compute the Dice score, ``soft_tversky_score`` with both weights 1/2."""
    return soft_tversky_score(output, target, 0.5, 0.5, smooth, eps, dims)


def soft_jaccard_score(
    output: Tensor,
    target: Tensor,
    smooth: float = 0.0,
    eps: float = 1e-7,
    dims: Sequence[int] | int | None = None,
) -> Tensor:
    """Compute the Jaccard score, ``soft_tversky_score`` with both weights 1."""
    return soft_tversky_score(output, target, 1.0, 1.0, smooth, eps, dims)
