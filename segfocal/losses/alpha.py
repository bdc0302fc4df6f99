"""alpha: its numbers, those that follow from counts, and losses that wait for counts."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.checks import numbers
from segfocal.losses.reduction import Task


class WithAlpha(nn.Module):
    """What a loss with ``alpha="balanced"`` somewhere among its terms can be asked and told."""

    def wants_counts(self) -> bool:
        """Tell whether some alpha is "balanced" and waits for :meth:`with_alpha`."""
        return any(term.waits_for_alpha() for term in self.modules() if isinstance(term, WithAlpha))

    def waits_for_alpha(self) -> bool:
        """Tell whether this very module's own alpha is still "balanced"."""
        return False

    def with_alpha(self, counts: Any) -> Self:
        """Return a copy with every ``alpha="balanced"`` replaced by numbers.

        Args:
            counts: Labels of the training split: ``(C,)`` for multiclass, ``(K, 2)`` = (negatives, positives)
                per channel for binary (K = 1) and multilabel; tensor, array or nested list.

        Returns:
            A deep copy; multiclass: 1 / count scaled to mean 1 over the classes that occur (weight 1 for one
            that does not); sigmoid: alpha = 1 - foreground fraction.

        Raises:
            SegfocalError: For counts of the wrong shape, negative ones, or a channel with one side only.
        """
        resolved = copy.deepcopy(self)
        for term in resolved.modules():
            if isinstance(term, WithAlpha) and term.waits_for_alpha():
                term.resolve_alpha(counts)
        return resolved

    def resolve_alpha(self, counts: Any) -> None:
        """Replace this module's own balanced alpha; does nothing where there is none."""


def alpha_numbers(alpha: Any, task: Task) -> Tensor:
    """Check alpha against the task and return its numbers.

    Args:
        alpha: Binary: a number in [0, 1]. Multilabel: one, or one per channel. Multiclass: one per class.
        task: The task.

    Returns:
        ``()`` or ``(C,)`` float64.

    Raises:
        SegfocalError: For a scalar alpha in a multiclass task, which has no meaning of its own, and for
            numbers out of range.
    """
    if isinstance(alpha, str):
        raise SegfocalError(f'alpha must be None, numbers or "balanced", got {alpha!r}.')
    values = numbers("alpha", alpha, high=float("inf") if task == "multiclass" else 1.0)
    if task == "multiclass" and values.ndim == 0:
        raise SegfocalError(
            f"alpha must have one weight per class in a multiclass task, got the single number {alpha!r}. "
            'Give a list such as [0.25, 0.75, 0.75], or alpha="balanced".'
        )
    if task == "binary" and values.numel() != 1:
        raise SegfocalError(f"alpha must be one number in a binary task, got {values.numel()} numbers.")
    if task == "multiclass" and not bool((values > 0).any()):
        raise SegfocalError("alpha must be above 0 for at least one class, got zeros only.")
    return values


def balanced_alpha(counts: Any, task: Task) -> Tensor:
    """Compute alpha from label counts.

    Args:
        counts: ``(C,)`` for multiclass, ``(K, 2)`` = (negatives, positives) otherwise.
        task: The task.

    Returns:
        Multiclass ``(C,)``: 1 / count scaled to mean 1 over the classes that occur, 1 for the others.
        Sigmoid ``()`` or ``(K,)``: 1 - foreground fraction.

    Raises:
        SegfocalError: For a wrong shape, negative counts, nothing counted, or a one-sided channel.

    Example:
        >>> balanced_alpha([90, 10], "multiclass")
        tensor([0.2000, 1.8000], dtype=torch.float64)
        >>> balanced_alpha([[990, 10]], "binary").tolist()
        0.99
    """
    table = _table(counts)
    wanted = "(C,)" if task == "multiclass" else "(1, 2)" if task == "binary" else "(K, 2)"
    fits = table.ndim == 1 if task == "multiclass" else table.ndim == 2 and table.shape[1] == 2
    if not fits or (task == "binary" and table.shape[0] != 1) or bool((table < 0).any()):
        raise SegfocalError(
            f"counts must be {wanted} numbers of labels for task {task!r}, got {table.tolist()}."
        )
    if task == "multiclass":
        occurs = table > 0
        if not bool(occurs.any()):
            raise SegfocalError("counts must not be all 0. Count the labels of the training split.")
        inverse = 1.0 / table[occurs]
        alpha = torch.ones_like(table)
        alpha[occurs] = inverse / inverse.mean()
        return alpha
    if bool((table == 0).any()):
        raise SegfocalError(
            f"a balanced alpha needs negatives and positives in every channel, got {table.tolist()}. "
            "Give alpha as numbers, or leave the class out."
        )
    alpha = table[:, 0] / table.sum(1)
    return alpha[0] if task == "binary" else alpha


def _table(counts: Any) -> Tensor:
    """Turn counts into a float64 tensor of finite numbers."""
    try:
        table = torch.as_tensor(counts).to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise SegfocalError(f"counts must be a list, array or tensor of numbers, got {counts!r}.") from None
    if not bool(table.isfinite().all()):
        raise SegfocalError(f"counts must be finite, got {table.tolist()}. Give numbers of labels.")
    return table
