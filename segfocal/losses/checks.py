"""Checks of what a loss is built with and called with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.primitive.hints import views_that_fit
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
        hint = f" Did you mean {argument}={_flat(plain)}?" if _flat(plain) else ""
        got = repr(plain if plain is not None else value)
        raise SegfocalError(f"{argument} must be a number or a flat list of numbers, got {got}.{hint}")
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


def _flat(entries: Any) -> list[float]:
    """Return the numbers of a column, (C, 1), or a row, (1, C); an empty list of anything else."""
    try:
        shape = torch.as_tensor(entries).shape
    except (TypeError, ValueError, RuntimeError):
        return []
    found: list[float] = torch.as_tensor(entries).flatten().tolist()
    return found if len(shape) == 2 and 1 in shape else []


def check_ignore_index(ignore_index: Any) -> None:
    """Raise unless ignore_index is an integer or None."""
    if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
        raise SegfocalError(f"ignore_index must be an integer label or None, got {ignore_index!r}.")


def check_channels(logits: Tensor, task: Task, target: object = None) -> None:
    """Raise where the number of logits contradicts the task.

    Args:
        logits: ``(N, C, *S)``.
        task: The task.
        target: What the logits are compared with, for a hint.

    Raises:
        SegfocalError: One channel in a multiclass task (its softmax is constant), several in a binary one.
    """
    if not isinstance(logits, Tensor):
        raise SegfocalError(f"logits must be a tensor, got {type(logits).__name__}. {_way_to_logits(logits)}")
    fewest, most = 2 if task == "multiclass" else 1, 1 if task == "binary" else None
    if logits.ndim >= 2 and logits.shape[1] >= fewest and (most is None or logits.shape[1] <= most):
        return
    got, hint = tuple(logits.shape), views_that_fit(logits, target, fewest=fewest, most=most)
    if logits.ndim < 2:
        raise SegfocalError(f"logits must have shape (N, C, *S), got {got}.{hint}")
    if task == "binary":
        other = ' Use task="multiclass" for exclusive classes or task="multilabel" for overlapping ones.'
        raise SegfocalError(f'task "binary" takes one logit per pixel, (N, 1, *S), got {got}.{hint or other}')
    other = ' Use task="binary" for a single logit.'
    raise SegfocalError(
        'task "multiclass" needs at least two logits per pixel, background included, '
        f"got {got}.{hint or other}"
    )


def _way_to_logits(output: object) -> str:
    """Say where the logits are in what a network may return."""
    if isinstance(output, Mapping):
        name = "out" if "out" in output else next(iter(output), "out")
        return f"Did you mean logits[{name!r}]?"
    return "Outputs of several resolutions go to DeepSupervision(loss); for arrays take torch.from_numpy."
