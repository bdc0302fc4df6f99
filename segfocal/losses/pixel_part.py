"""The part of a loss that every pixel has by itself, and what it is at each of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.deep import DeepSupervision
from segfocal.losses.explain import sides
from segfocal.losses.pixelwise import PixelwiseLoss
from segfocal.losses.terms import SumOfLosses


@dataclass(frozen=True, eq=False)
class PixelLosses:
    """The loss of every element: ``(N, *S)`` for multiclass and ``(N, K, *S)`` otherwise.

    Args:
        values: In nats, before the reduction, float.
        foreground: bool, which elements are positives: class 0 is the background of a multiclass task.
        kept: bool, which elements are not ignored.
    """

    values: Tensor
    foreground: Tensor
    kept: Tensor


def pixel_part(loss: nn.Module) -> PixelwiseLoss:
    """Return the one pixel loss inside a loss.

    Args:
        loss: Any module. Of deep supervision it is that of the wrapped loss, of a sum that of its terms.

    Returns:
        A pixel loss; shares of its total do not depend on its weight in a sum.

    Raises:
        SegfocalError: With the reason where there is none, or more than one.

    Example:
        >>> from segfocal.losses import FocalDiceLoss
        >>> pixel_part(FocalDiceLoss("binary"))
        FocalLoss(task='binary')
    """
    found = _pixel_losses(loss)
    if len(found) == 1:
        return found[0]
    name = type(loss).__name__
    if found:
        parts = " and ".join(type(each).__name__ for each in found)
        raise SegfocalError(f"{name} has several losses per pixel, {parts}. Score a run with one of them.")
    raise SegfocalError(
        f"{name} has no loss per pixel: it is a ratio of sums over regions, or a loss of another library. "
        "Add a pixel loss such as FocalLoss to have one."
    )


def pixel_losses(loss: PixelwiseLoss, logits: Tensor, target: Tensor) -> PixelLosses:
    """Compute the loss of every element, without gradients.

    Args:
        loss: A pixel loss.
        logits: ``(N, C, *S)``.
        target: As the loss takes it.

    Returns:
        Values, and on which side each element is.

    Raises:
        SegfocalError: As ``loss(logits, target)``.
    """
    loss.check_call(logits, target)
    values = loss.map(logits.detach(), target)
    if loss.task == "binary" and target.ndim < logits.ndim:
        values = values.unsqueeze(1)
    foreground, kept = sides(values, target, loss.task, loss.ignore_index)
    return PixelLosses(values, foreground, kept)


def _pixel_losses(loss: nn.Module) -> list[PixelwiseLoss]:
    if isinstance(loss, PixelwiseLoss):
        return [loss]
    if isinstance(loss, DeepSupervision):
        return _pixel_losses(loss.loss)
    return [
        each for term in (loss.terms if isinstance(loss, SumOfLosses) else ()) for each in _pixel_losses(term)
    ]
