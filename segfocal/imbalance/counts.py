"""Count how often each class occurs in label masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError, check_choice

Task = Literal["binary", "multiclass", "multilabel"]
TASKS = ("binary", "multiclass", "multilabel")
Counts = npt.NDArray[np.int64]


def count_labels(
    mask: npt.ArrayLike, *, task: Task, num_classes: int = 1, ignore_index: int | None = None
) -> Counts:
    """Count the pixels of each class in one mask.

    Args:
        mask: Labels of integer type or bool: any shape for binary (0 or 1) and multiclass
            (0 to ``num_classes - 1``), ``(num_classes, *S)`` of 0 and 1 for multilabel.
        task: How to read the mask.
        num_classes: Number of logit channels: 1 for binary, C with the background for multiclass, K for
            multilabel.
        ignore_index: Label that is left out of every count; None counts all.

    Returns:
        int64 counts: ``(C,)`` for multiclass, ``(K, 2)`` = (negatives, positives) per channel otherwise.

    Raises:
        SegfocalError: For a mask that is not of integers, has the wrong shape, or holds labels outside the
            classes (listed with their counts).

    Example:
        >>> count_labels([[0, 2], [2, 255]], task="multiclass", num_classes=3, ignore_index=255)
        array([1, 0, 2])
        >>> count_labels([[0, 1], [0, 0]], task="binary")
        array([[3, 1]])
    """
    _check_classes(task, num_classes)
    labels = np.asarray(mask)
    if labels.dtype.kind not in "bui":
        raise SegfocalError(f"mask must hold integers or bool, got {labels.dtype}. Round and cast it first.")
    if task == "multiclass":
        return _histogram(labels, num_classes, ignore_index)
    if task == "binary":
        labels = labels[None]
    if labels.shape[:1] != (num_classes,):
        raise SegfocalError(
            f"mask must have shape ({num_classes}, ...) for {task} with {num_classes} classes, "
            f"got {labels.shape[0 if task == 'multilabel' else 1 :]}. Put the classes on the first axis."
        )
    return np.stack([_histogram(channel, 2, ignore_index) for channel in labels])


def count_all(
    masks: Iterable[npt.ArrayLike], *, task: Task, num_classes: int = 1, ignore_index: int | None = None
) -> Counts:
    """Sum `count_labels` over masks, one at a time, so that a data set need not fit in memory.

    Args:
        masks: The masks of the training split.
        task: As in `count_labels`.
        num_classes: As in `count_labels`.
        ignore_index: As in `count_labels`.

    Returns:
        int64 counts of the same shape as one mask's; zeros where there are no masks.

    Raises:
        SegfocalError: As `count_labels`, with the position of the mask in front.

    Example:
        >>> count_all([[0, 1], [1, 1]], task="multiclass", num_classes=2)
        array([1, 3])
    """
    _check_classes(task, num_classes)
    total = np.zeros((num_classes,) if task == "multiclass" else (num_classes, 2), dtype=np.int64)
    for position, mask in enumerate(masks):
        try:
            total += count_labels(mask, task=task, num_classes=num_classes, ignore_index=ignore_index)
        except SegfocalError as error:
            raise SegfocalError(f"mask {position}: {error}") from error
    return total


def _check_classes(task: Task, num_classes: int) -> None:
    check_choice("task", task, TASKS)
    if not isinstance(num_classes, int | np.integer) or num_classes < 1:
        raise SegfocalError(f"num_classes must be a whole number of at least 1, got {num_classes!r}.")
    if task == "binary" and num_classes != 1:
        raise SegfocalError(
            f"num_classes must be 1 for binary, whose network has one logit channel, got {num_classes}. "
            "Leave it out, or take task='multiclass' for a softmax over background and foreground."
        )


def _histogram(labels: npt.NDArray[Any], classes: int, ignore_index: int | None) -> Counts:
    values, counts = np.unique(labels, return_counts=True)
    inside = (values >= 0) & (values < classes)
    ignored = np.zeros_like(inside) if ignore_index is None else values == ignore_index
    wrong = ~inside & ~ignored
    if wrong.any():
        listed = ", ".join(f"{v} ({n} pixels)" for v, n in zip(values[wrong], counts[wrong], strict=True))
        raise SegfocalError(
            f"labels must lie in 0 to {classes - 1}, got {listed}. Map them to classes or set ignore_index."
        )
    kept = inside & ~ignored
    result = np.zeros(classes, dtype=np.int64)
    result[values[kept].astype(np.int64)] = counts[kept]
    return result


def check_counts(counts: npt.ArrayLike, *, axes: int) -> Counts:
    """Return counts as int64 after checking them.

    Args:
        counts: ``(C,)`` (one axis) or ``(K, 2)`` (two axes), whole numbers of integer or floating type.
        axes: How many axes the caller needs, 1 or 2.

    Returns:
        The counts as an int64 array.

    Raises:
        SegfocalError: For another shape, negative or fractional counts, a sum that int64 cannot hold, or
            nothing counted at all.

    Example:
        >>> check_counts([3.0, 1.0], axes=1)
        array([3, 1])
    """
    try:
        array = np.asarray(counts)
    except ValueError as error:  # rows of different lengths
        raise SegfocalError(f"counts must be an array of numbers, got {counts!r}.") from error
    wanted = "(C,), one count per class" if axes == 1 else "(K, 2), negatives and positives per channel"
    if array.ndim != axes or array.size == 0 or (axes == 2 and array.shape[1] != 2):
        raise SegfocalError(f"counts must have shape {wanted}, got {array.shape}.")
    if array.dtype.kind not in "uif" or not np.isfinite(array).all() or (array != np.floor(array)).any():
        raise SegfocalError(f"counts must be whole numbers, got {array.tolist()}. Give pixel counts.")
    if (array < 0).any():
        raise SegfocalError(f"counts must not be negative, got {array.tolist()}.")
    if array.sum(dtype=np.float64) >= 2.0**63:
        raise SegfocalError(f"counts must sum to less than 2^63, got {array.tolist()}. Scale them down.")
    if not array.any():
        raise SegfocalError("counts are all zero: nothing is labelled. Check the masks and ignore_index.")
    return array.astype(np.int64)
