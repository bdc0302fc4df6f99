"""Check a batch of probabilities and labels before anything is counted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.metrics.batch import Task


def check_batch(
    probabilities: Tensor,
    target: Tensor,
    names: Sequence[str],
    *,
    task: Task,
    num_classes: int,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor]:
    """Check shapes, ranges and labels.

    Args:
        probabilities: (N, C, *S), floating, in [0, 1]; C is 1 for binary.
        target: Integer or bool labels: (N, *S) for binary and multiclass, (N, C, *S) for multilabel; binary
            takes (N, 1, *S) too.
        names: One per image, strings.
        task: binary, multiclass or multilabel.
        num_classes: C.
        ignore_index: The label of pixels that count nowhere.

    Returns:
        The probabilities as float32 (float64 stays), 0 where an ignored one is no probability, and the
        target, detached; target (N, *S) for multiclass, (N, C, *S) otherwise.

    Raises:
        SegfocalError: Naming what was expected and what came; for labels outside the classes, their values
            and counts; for values outside [0, 1], a reminder that logits are not probabilities.
    """
    _check_types(probabilities, target, num_classes=num_classes)
    target = _shaped_target(probabilities, target, task=task)
    _check_names(names, images=len(probabilities))
    highest = num_classes - 1 if task == "multiclass" else 1
    target = _wide_enough(target, highest, ignore_index)
    check_labels(target, names, highest=highest, ignore_index=ignore_index)
    probabilities = _within_range(probabilities.detach(), target, ignore_index)
    if probabilities.dtype != torch.float64:
        probabilities = probabilities.float()
    return probabilities, target


def check_labels(target: Tensor, names: Sequence[str], *, highest: int, ignore_index: int | None) -> None:
    """Raise unless every label lies in [0, highest] or is the ignored one.

    Args:
        target: Labels, of a type that holds ``highest`` and ``ignore_index``.
        names: Names of the images, for the message.
        highest: Largest label.
        ignore_index: The label of pixels that count nowhere.

    Raises:
        SegfocalError: Listing the offending labels with their counts.
    """
    if target.numel() == 0:
        return
    low, high = torch.aminmax(target)
    if low >= 0 and high <= highest:
        return
    wrong = (target < 0) | (target > highest)
    if ignore_index is not None:
        wrong &= target != ignore_index
    values, counts = torch.unique(target[wrong], return_counts=True)
    if len(values):
        found = ", ".join(f"{v} ({n} px)" for v, n in zip(values[:8].tolist(), counts.tolist(), strict=False))
        raise SegfocalError(
            f"labels must lie in 0..{highest}{_or_ignored(ignore_index)}, got {found} in {', '.join(names)}. "
            "Set ignore_index, or correct the masks."
        )


def _check_types(probabilities: Tensor, target: Tensor, *, num_classes: int) -> None:
    for name, value in (("probabilities", probabilities), ("target", target)):
        if not isinstance(value, Tensor):
            raise SegfocalError(
                f"{name} must be a torch.Tensor, got {type(value).__name__}. "
                "Convert arrays by torch.as_tensor."
            )
    shape = tuple(probabilities.shape)
    if probabilities.ndim < 2 or shape[1] != num_classes or not probabilities.is_floating_point():
        raise SegfocalError(
            f"probabilities must be floating with shape (N, {num_classes}, *S), got {probabilities.dtype} "
            f"of shape {shape}."
        )


def _check_names(names: Sequence[str], *, images: int) -> None:
    listed = isinstance(names, Sequence) and not isinstance(names, str)
    if not listed or len(names) != images or not all(isinstance(name, str) for name in names):
        raise SegfocalError(
            f"names must hold one name per image ({images}), got {names!r}. "
            "Pass batch['name'] along with the batch."
        )


def _within_range(probabilities: Tensor, target: Tensor, ignore_index: int | None) -> Tensor:
    """Raise for what is no probability; at ignored pixels it becomes 0, to matter nowhere."""
    low, high = _limits(probabilities)
    if not (low >= 0 and high <= 1) and ignore_index is not None:  # NaN compares false
        ignored = (target == ignore_index).view(len(target), -1, *probabilities.shape[2:])
        probabilities = probabilities.masked_fill(ignored, 0.0)
        low, high = _limits(probabilities)
    if not (low >= 0 and high <= 1):
        raise SegfocalError(
            f"probabilities must lie in [0, 1], got [{low:g}, {high:g}]. "
            "Apply sigmoid or softmax to the logits first; NaN comes from the network."
        )
    return probabilities


def _limits(values: Tensor) -> tuple[float, float]:
    if not values.numel():
        return 0.0, 0.0
    low, high = torch.aminmax(values)
    return float(low), float(high)


def _shaped_target(probabilities: Tensor, target: Tensor, *, task: Task) -> Tensor:
    if target.is_floating_point() or target.is_complex():
        raise SegfocalError(
            f"target must hold integer or bool labels, got {target.dtype}. "
            "Scores need hard masks: threshold soft ones first, e.g. (target > 0.5)."
        )
    batch, classes, *space = probabilities.shape
    label_map, masks = (batch, *space), (batch, classes, *space)
    if task == "binary" and tuple(target.shape) == label_map:
        target = target.unsqueeze(1)
    expected = label_map if task == "multiclass" else masks
    if tuple(target.shape) != expected:
        raise SegfocalError(
            f"target must have shape {expected} to match probabilities {masks}, got {tuple(target.shape)}."
        )
    return target.detach()


def _wide_enough(target: Tensor, *values: int | None) -> Tensor:
    """Widen small integer types that cannot hold the values: torch would compare modulo 256."""
    if target.dtype == torch.bool:
        target = target.view(torch.uint8)
    if target.dtype in (torch.uint32, torch.uint64):  # torch can hardly compute with them
        return target.long()
    info = torch.iinfo(target.dtype)
    fits = all(value is None or info.min <= value <= info.max for value in values)
    return target if fits and target.dtype != torch.uint16 else target.int()


def _or_ignored(ignore_index: int | None) -> str:
    return "" if ignore_index is None else f" or be {ignore_index} (ignored)"
