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
