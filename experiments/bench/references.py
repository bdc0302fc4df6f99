"""The formulas in float64, written as they are defined: what every provider is checked against."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

GAMMA = 2.0


def binary_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of (1 - p_t)^2 (-log p_t)."""
    surprise = F.binary_cross_entropy_with_logits(logits, labels.double(), reduction="none")
    return (torch.expm1(-surprise).neg() ** GAMMA * surprise).mean()


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log p_t."""
    return F.binary_cross_entropy_with_logits(logits, labels.double())


def softmax_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over pixels of (1 - p_t)^2 (-log p_t) with the softmax of the logits."""
    surprise = F.cross_entropy(logits, labels, reduction="none")
    return (torch.expm1(-surprise).neg() ** GAMMA * surprise).mean()


def one_hot(labels: Tensor, channels: int) -> Tensor:
    """Return masks (N, C, *S) of the labels."""
    return torch.stack([(labels == label).double() for label in range(channels)], dim=1)


def dice(logits: Tensor, labels: Tensor, *, smooth: float, per_image: bool = False, skip: int = 0) -> Tensor:
    """Mean over classes, without the first ``skip``, of 1 - (2 I + smooth) / (P + Y + smooth)."""
    axes = [*([] if per_image else [0]), *range(2, logits.ndim)]
    probabilities, masks = logits.softmax(1), one_hot(labels, logits.shape[1])
    both = (probabilities * masks).sum(axes)
    either = probabilities.sum(axes) + masks.sum(axes)
    return (1 - (2 * both + smooth) / (either + smooth))[..., skip:].mean()


def one_against_rest(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over pixels and classes of the binary focal loss of every class against the rest."""
    return binary_focal(logits, one_hot(labels, logits.shape[1]))


def focal_and_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax focal loss plus Dice of the batch, smoothed by 1."""
    return softmax_focal(logits, labels) + dice(logits, labels, smooth=1.0)


def focal_over_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax focal loss over the number of classes."""
    return softmax_focal(logits, labels) / logits.shape[1]


def rest_and_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of every class against the rest, plus softmax Dice of the batch without smoothing."""
    return one_against_rest(logits, labels) + dice(logits, labels, smooth=0.0)


def rest_and_dice_per_image(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of every class against the rest, plus softmax Dice of every image, smoothed by 1e-5."""
    return one_against_rest(logits, labels) + dice(logits, labels, smooth=1e-5, per_image=True)


def cross_entropy_minus_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy minus the Dice score of the foreground classes of the batch, smoothed by 1e-5."""
    return F.cross_entropy(logits, labels) + dice(logits, labels, smooth=1e-5, skip=1) - 1


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "binary focal": binary_focal,
    "binary cross-entropy": binary_cross_entropy,
    "softmax focal + dice": focal_and_dice,
    "softmax focal of rows": softmax_focal,
    "softmax focal / classes": focal_over_classes,
    "one-against-rest focal + dice": rest_and_dice,
    "one-against-rest focal + dice per image": rest_and_dice_per_image,
    "cross-entropy": F.cross_entropy,
    "cross-entropy - dice": cross_entropy_minus_dice,
}
