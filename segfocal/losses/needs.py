"""What a loss asks of a pass over the pixels, and how several losses share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from segfocal.losses.primitive.curve import Form
from segfocal.losses.primitive.sums import PixelSums, pixel_map, pixel_sums

Activation = Literal["sigmoid", "softmax"]
SMALL = 2**8  # places of a sequence


@dataclass(frozen=True, eq=False)
class PixelTerm:
    """The settings of one pixel loss; the tensors are the buffers of the module that owns it.

    Two terms with equal numbers are not the same term: comparing numbers would wait for the device, and a
    schedule may move one of them later. Sharing goes by identity of ``gamma``.
    """

    gamma: Tensor
    alpha: Tensor | None
    form: Form
    parameter: Tensor | None
    label_smoothing: float


@dataclass(frozen=True, eq=False)
class Needs:
    """The arguments of one call of ``pixel_sums``: which sums, with which pixel loss.

    Args:
        activation: ``"sigmoid"`` or ``"softmax"``.
        want: Names of the fields of ``PixelSums``.
        pixel: Settings of the pixel loss; ``None`` where only region sums are wanted.
        ignore_index: Label left out, or ``None``.
        validate: As in ``pixel_sums``.
        per_image: Whether every image needs its own sums; else those of all may come as one row, (1, C).
    """

    activation: Activation
    want: frozenset[str]
    pixel: PixelTerm | None = None
    ignore_index: int | None = None
    validate: bool | None = None
    per_image: bool = True


def joined(logits: Tensor) -> bool:
    """Return whether the call is better computed as one image: rows of a table, tokens, short sequences.

    Example:
        >>> import torch
        >>> joined(torch.zeros(512, 27)), joined(torch.zeros(8, 2, 64, 64))
        (True, False)
    """
    return logits.ndim == 2 or (logits.ndim == 3 and logits.shape[0] > 1 and logits.shape[2] < SMALL)


def compute(needs: Needs, logits: Tensor, target: Tensor, weight: Tensor | None) -> PixelSums:
    """Read the logits once and return the sums that ``needs`` names.

    Every loss of this package gets its numbers here and nowhere else.

    Args:
        needs: What to sum.
        logits: ``(N, C, *S)``.
        target: Label map or masks, see ``pixel_sums``.
        weight: ``(N, *S)`` pixel weights or ``None``.

    Returns:
        The sums per image and class, or of all images together where nothing needs them apart.
    """
    return pixel_sums(
        logits,
        target,
        activation=needs.activation,
        want=needs.want,
        weight=weight,
        ignore_index=needs.ignore_index,
        validate=needs.validate,
        joined=not needs.per_image and joined(logits),
        **_pixel_arguments(needs.pixel),
    )


def compute_map(needs: Needs, logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Return the loss of every element, for the reduction "none" and for explanations.

    Args:
        needs: With a pixel loss; ``want`` plays no role.
        logits: ``(N, C, *S)``.
        target: Label map or masks.
        weight: ``(N, *S)`` pixel weights or ``None``.

    Returns:
        ``(N, *S)`` for softmax, ``(N, C, *S)`` for sigmoid, in nats; 0 where ignored.
    """
    return pixel_map(
        logits,
        target,
        activation=needs.activation,
        weight=weight,
        ignore_index=needs.ignore_index,
        validate=needs.validate,
        joined=joined(logits),
        **_pixel_arguments(needs.pixel),
    )


def plan(needs: Sequence[Needs]) -> tuple[tuple[int, ...], ...]:
    """Group needs that one pass can serve: same activation, same ignored label, at most one pixel loss.

    Args:
        needs: What each term asks for.

    Returns:
        Positions in ``needs``, one group per pass, in the order of first appearance of a pixel loss.
    """
    groups: list[list[int]] = []
    with_pixel = [i for i, each in enumerate(needs) if each.pixel is not None]
    without = [i for i, each in enumerate(needs) if each.pixel is None]
    for i in with_pixel + without:
        for group in groups:
            if all(_can_share(needs[i], needs[j]) for j in group):
                group.append(i)
                break
        else:
            groups.append([i])
    return tuple(tuple(group) for group in groups)


def union(needs: Sequence[Needs]) -> Needs:
    """Merge needs that :func:`plan` put into one group.

    Args:
        needs: At least one; they can share a pass.

    Returns:
        Needs that ask for every sum that any of them asks for; validated where any of them wants it.
    """
    first = needs[0]
    pixel = next((each.pixel for each in needs if each.pixel is not None), None)
    wishes = [each.validate for each in needs]
    validate = True if True in wishes else None if None in wishes else False
    want = frozenset().union(*(each.want for each in needs))
    per_image = any(each.per_image for each in needs)
    return Needs(first.activation, want, pixel, first.ignore_index, validate, per_image)


def _can_share(one: Needs, other: Needs) -> bool:
    """Tell whether one pass can serve both."""
    same_read = one.activation == other.activation and one.ignore_index == other.ignore_index
    if one.pixel is None or other.pixel is None:
        return same_read
    return same_read and one.pixel.gamma is other.pixel.gamma


def _pixel_arguments(pixel: PixelTerm | None) -> dict[str, Any]:
    """Spell a pixel loss as arguments of the primitive."""
    if pixel is None:
        return {}
    return {
        "gamma": pixel.gamma,
        "alpha": pixel.alpha,
        "form": pixel.form,
        "parameter": pixel.parameter,
        "label_smoothing": pixel.label_smoothing,
    }
