"""Region terms as arithmetic on intersection, prediction and target sums."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segfocal.losses.primitive.sums import PixelSums
from segfocal.losses.reduction import ratio

Absent = Literal["include", "skip"]
ClassWeighting = Literal["square", "simple"]


class Overlap(NamedTuple):
    """Sums over pixels, ``(R, C)``: R is the number of images, or 1 where the batch is one region.

    Args:
        intersection: I, the sum of weight times score over the pixels of the class.
        prediction: P, the sum of weight times score (or score squared).
        target: Y, the sum of weight over the pixels of the class (or of soft labels squared).
    """

    intersection: Tensor
    prediction: Tensor
    target: Tensor


def overlap(sums: PixelSums, *, per_image: bool, squared: bool, include_background: bool) -> Overlap:
    """Take the region sums of a pass, over the batch or per image.

    Args:
        sums: With ``intersection`` and either prediction and target or their squares.
        per_image: Whether each image is a region of its own.
        squared: Whether the squared sums are taken.
        include_background: Whether class 0 takes part; leaving it out drops its column only, the softmax has
            seen it.

    Returns:
        The sums, ``(R, C)`` or ``(R, C - 1)``.
    """
    prediction = sums.prediction_squared if squared else sums.prediction
    target = sums.target_squared if squared else sums.target
    assert sums.intersection is not None
    assert prediction is not None
    assert target is not None
    columns = (sums.intersection, prediction, target.to(prediction.dtype))
    if not per_image:
        columns = tuple(each.sum(0, keepdim=True) for each in columns)  # type: ignore[assignment]
    return Overlap(*(each if include_background else each[:, 1:] for each in columns))


def dice(region: Overlap, *, smooth: float) -> Tensor:
    """Compute ``1 - (2 I + s) / (P + Y + s)``, 0 where nothing is labelled.

    Args:
        region: ``(R, C)`` sums.
        smooth: s, in pixels.

    Returns:
        ``(R, C)`` in [0, 1].

    Source:
        Milletari et al., "V-Net", 2016, section 3 (squared sums there).

    Example:
        >>> one = Overlap(*torch.tensor([[[2.0]], [[3.0]], [[5.0]]]))  # I, P, Y
        >>> dice(one, smooth=0.0)  # 1 - 4 / 8
        tensor([[0.5000]])
    """
    i, p, y = region
    return ratio(p + y - 2 * i, p + y + smooth)


def jaccard(region: Overlap, *, smooth: float) -> Tensor:
    """Compute ``1 - (I + s) / (P + Y - I + s)``.

    Args:
        region: ``(R, C)`` sums.
        smooth: s, in pixels.

    Returns:
        ``(R, C)`` in [0, 1].

    Example:
        >>> one = Overlap(*torch.tensor([[[2.0]], [[3.0]], [[5.0]]]))
        >>> jaccard(one, smooth=0.0)  # 1 - 2 / 6
        tensor([[0.6667]])
    """
    i, p, y = region
    return ratio(p + y - 2 * i, p + y - i + smooth)


def tversky(region: Overlap, *, fp_weight: float, fn_weight: float, smooth: float) -> Tensor:
    """Compute ``1 - (I + s) / (I + fp_weight FP + fn_weight FN + s)``, FP = P - I, FN = Y - I.

    Args:
        region: ``(R, C)`` sums.
        fp_weight: Weight of false positives.
        fn_weight: Weight of false negatives.
        smooth: s, in pixels.

    Returns:
        ``(R, C)`` in [0, 1].

    Source:
        Salehi et al., "Tversky loss function", 2017, eq. 2 and 3: fp_weight is their alpha, fn_weight beta.

    Example:
        >>> one = Overlap(*torch.tensor([[[2.0]], [[3.0]], [[5.0]]]))  # FP 1, FN 3
        >>> tversky(one, fp_weight=0.3, fn_weight=0.9, smooth=0.0)  # 3 / (2 + 3)
        tensor([[0.6000]])
    """
    i, p, y = region
    missed = fp_weight * (p - i) + fn_weight * (y - i)
    return ratio(missed, i + missed + smooth)


def raised(term: Tensor, exponent: float | Tensor) -> Tensor:
    """Raise a term to a power, with value and gradient 0 at 0, where a power below 1 is infinitely steep.

    Args:
        term: At least 0, but for rounding.
        exponent: Above 0.

    Returns:
        Same shape.

    Example:
        >>> raised(torch.tensor([0.0, 0.25]), 0.5)
        tensor([0.0000, 0.5000])
    """
    # not "> 0": a NaN from invalid labels has to come through
    nothing = term <= 0
    return torch.where(nothing, torch.zeros_like(term), torch.where(nothing, 1.0, term) ** exponent)


def generalized_dice(region: Overlap, *, weighting: ClassWeighting, smooth: float) -> Tensor:
    """Compute ``1 - (2 sum_c v_c I_c + s) / (sum_c v_c (P_c + Y_c) + s)``.

    Args:
        region: ``(R, C)`` sums.
        weighting: ``"square"``: v = 1 / Y^2; ``"simple"``: v = 1 / Y. An absent class takes the largest v of
            the others; where all are absent v = s for each, so that ``1 - 1 / (P + 1)`` is left.
        smooth: s, in units of ``v Y``.

    Returns:
        ``(R, 1)`` in [0, 1].

    Source:
        Sudre et al., "Generalised Dice overlap", 2017, eq. 1.

    Example:
        >>> two = Overlap(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 2.0]]), torch.tensor([[2.0, 1.0]]))
        >>> generalized_dice(two, weighting="simple", smooth=0.0)  # 1 - 2 (1/2 + 1) / (4/2 + 3)
        tensor([[0.4000]])
    """
    i, p, y = region
    occurs = y > 0
    inverse = torch.where(occurs, y, torch.ones_like(y)).reciprocal()
    v = inverse**2 if weighting == "square" else inverse
    largest = torch.where(occurs, v, torch.zeros_like(v)).amax(1, keepdim=True)
    alone = torch.full_like(largest, smooth if smooth > 0 else 1.0)
    v = torch.where(occurs, v, torch.where(largest > 0, largest, alone))
    both = (v * (p + y)).sum(1, keepdim=True)
    return ratio(both - 2 * (v * i).sum(1, keepdim=True), both + smooth)


def shares(term: Tensor, target: Tensor, absent: Absent) -> tuple[Tensor, Tensor]:
    """Sum a term over regions and classes, and count them: numerator and denominator of its mean.

    Both add up over images, and over ranks.

    Args:
        term: ``(R, C)``.
        target: ``(R, C)``, 0 where the class is absent from the reference.
        absent: ``"include"`` counts R C; ``"skip"`` only those that are present.

    Returns:
        Two scalars; no images, no loss.

    Example:
        >>> shares(torch.tensor([[0.5, 1.0]]), torch.tensor([[9.0, 0.0]]), "skip")
        (tensor(0.5000), tensor(1.))
    """
    if absent == "include":
        return term.sum(), term.new_full((), term.numel())
    present = target > 0
    return torch.where(present, term, torch.zeros_like(term)).sum(), present.sum().to(term.dtype)
