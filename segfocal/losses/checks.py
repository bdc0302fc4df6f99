"""Checks of what a loss is built with and called with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.reduction import Task


def numbers(argument: str, value: Any, *, low: float = 0.0, high: float = float("inf")) -> Tensor:
    """Turn a number or a list of numbers into a float64 tensor, each checked to be finite and in range.

    Args:
        argument: Its name, for the message.
        value: A number, or a flat list, array or tensor of numbers.
        low: Smallest value allowed.
        high: Largest value allowed.

    Returns:
        A CPU tensor of its own, ``()`` or ``(C,)``.

    Raises:
        SegfocalError: For anything that is not a number or a flat list of numbers in range.
    """
    plain = _plain(value)
    entries = plain if isinstance(plain, list) else [plain]
    if plain is None or not all(isinstance(entry, (int, float)) for entry in entries):
        raise SegfocalError(f"{argument} must be a number or a flat list of numbers, got {value!r}.")
    if not entries:
        raise SegfocalError(f"{argument} must have one number per class, got an empty list.")
    for entry in entries:
        check_range(argument, entry, low=low, high=high, open_high=high == float("inf"))
    # the explicit device keeps the numbers real under torch.device("meta")
    return torch.tensor(plain, dtype=torch.float64, device="cpu")


def _plain(value: Any) -> Any:
    """Turn arrays and tensors into lists; Python numbers stay as they are, so that a graph can be traced."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    if all(isinstance(entry, (int, float)) and not isinstance(entry, bool) for entry in entries):
        return list(value) if isinstance(value, (list, tuple)) else value
    try:
        return None if isinstance(value, bool) else torch.as_tensor(value).detach().double().tolist()
    except (TypeError, ValueError, RuntimeError):
        return None


def check_ignore_index(ignore_index: Any) -> None:
    """Raise unless ignore_index is an integer or None."""
    if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
        raise SegfocalError(f"ignore_index must be an integer label or None, got {ignore_index!r}.")


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


def check_channels(logits: Tensor, task: Task) -> None:
    """Raise where the number of logits contradicts the task.

    Args:
        logits: ``(N, C, *S)``.
        task: The task.

    Raises:
        SegfocalError: One channel in a multiclass task (its softmax is constant), several in a binary one.
    """
    if not isinstance(logits, Tensor):
        raise SegfocalError(
            f"logits must be a tensor, got {type(logits).__name__}. Outputs of several resolutions go to "
            "DeepSupervision(loss); for arrays take torch.from_numpy."
        )
    if logits.ndim < 2:
        raise SegfocalError(f"logits must have shape (N, C, *S), got {tuple(logits.shape)}.")
    channels = logits.shape[1]
    if task == "binary" and channels != 1:
        raise SegfocalError(
            f'task "binary" takes one logit per pixel, (N, 1, *S), got {tuple(logits.shape)}. '
            'Use task="multiclass" for exclusive classes or task="multilabel" for overlapping ones.'
        )
    if task == "multiclass" and channels < 2:
        raise SegfocalError(
            f'task "multiclass" needs at least two logits per pixel, background included, got '
            f'{tuple(logits.shape)}. Use task="binary" for a single logit.'
        )
