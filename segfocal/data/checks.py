"""Checks of settings and labels that need no model: made before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segfocal.data.cases import CaseSet
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task


def check_classes(task: Task, class_names: Sequence[str], *, ignore_index: int | None) -> None:
    """Raise unless names and ignore label fit the task.

    Args:
        task: What the masks mean.
        class_names: One per channel of the logits.
        ignore_index: Label without a class.

    Raises:
        SegfocalError: Saying which of them does not fit.
    """
    count = len(class_names)
    least, most = {"binary": (1, 1), "multiclass": (2, 2**15), "multilabel": (1, 2**15)}[task]
    if not least <= count <= most:
        expected = "1 name" if task == "binary" else f"at least {least} name(s)"
        raise SegfocalError(f"class_names must hold {expected} for task {task!r}, got {list(class_names)}.")
    if len(set(class_names)) < count:
        raise SegfocalError(f"class_names must differ, got {list(class_names)}.")
    labels = count if task == "multiclass" else 2
    if ignore_index is not None and 0 <= ignore_index < labels:
        raise SegfocalError(
            f"ignore_index {ignore_index} is one of the labels 0 to {labels - 1}. Choose another."
        )


def check_patch_size(size: int | Sequence[int], *, axes: int = 2) -> tuple[int, ...]:
    """Return the edges of a patch.

    Args:
        size: One number, or one per axis, in pixels.
        axes: How many.

    Raises:
        SegfocalError: For anything else.

    Example:
        >>> check_patch_size(64)
        (64, 64)
    """
    edges = (size,) * axes if isinstance(size, int) else tuple(size)
    if len(edges) != axes or min(edges) < 1:
        number = {2: "two", 3: "three"}[axes]
        raise SegfocalError(f"patch_size must be one or {number} positive numbers, got {size}.")
    return edges


def check_labels(cases: CaseSet) -> None:
    """Raise when all masks together hold one class only, or nothing but the ignore label.

    Reads masks until two classes have been met, which is the first one in most sets.

    Args:
        cases: The training cases.

    Raises:
        SegfocalError: Naming the only class.
    """
    total: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    for index in range(len(cases)):
        counts = cases.labels(index).rows.counts(cases.task)
        total = total + counts
        seen = total if cases.task == "multiclass" else total.sum(axis=0)
        if np.count_nonzero(seen) > 1:
            return
    if not seen.any():
        raise SegfocalError(
            f"all pixels of all {len(cases)} training masks are ignored (ignore_index {cases.ignore_index}). "
            "Check the mask values that are mapped to it."
        )
    only = int(np.flatnonzero(seen)[0])
    label = f"class {only}" if cases.task == "multiclass" else ("background", "foreground")[only]
    raise SegfocalError(
        f"all {len(cases)} training masks hold {label} only: there is nothing to tell apart. Check the "
        "folder of the masks and how their values are mapped to classes."
    )
