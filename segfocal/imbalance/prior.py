"""The bias of a head whose first predictions equal the class frequencies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError, check_choice
from segfocal.imbalance.counts import TASKS, Task, check_counts


def bias_prior(counts_or_pi: npt.ArrayLike, task: Task) -> npt.NDArray[np.float64]:
    """Return the bias at which a head with zero weights predicts the class frequencies.

    Sigmoid (binary, multilabel): -log((1 - pi) / pi) per channel. Softmax (multiclass): log pi_c.
    Whole-number arrays are counts, floating-point ones are frequencies pi. A count of zero is taken as one
    pixel, so that the bias stays finite; a given pi of 0 or 1 is an error.

    Args:
        counts_or_pi: Integers: ``(K, 2)`` = (negatives, positives) per channel, ``(C,)`` for multiclass.
            Floats: ``(K,)`` or one number for sigmoid, ``(C,)`` with sum 1 for multiclass.
        task: Decides between sigmoid and softmax.

    Returns:
        ``(K,)`` or ``(C,)`` float64 logits.

    Raises:
        SegfocalError: For an unknown task, a wrong shape, negative or all-zero counts, pi outside (0, 1), or
            class frequencies that do not sum to 1.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, section 4.1.

    Example:
        >>> bias_prior(0.01, "binary").round(4)
        array([-4.5951])
        >>> bias_prior([[99, 1]], "binary").round(4)
        array([-4.5951])
    """
    check_choice("task", task, TASKS)
    array = np.atleast_1d(np.asarray(counts_or_pi))
    pi = _given(array, task) if array.dtype.kind == "f" else _measured(array, task)
    return np.asarray(np.log(pi) if task == "multiclass" else np.log(pi) - np.log1p(-pi), dtype=np.float64)


def _measured(counts: npt.NDArray[Any], task: Task) -> npt.NDArray[np.float64]:
    multiclass = task == "multiclass"
    n = np.maximum(check_counts(counts, axes=1 if multiclass else 2), 1).astype(np.float64)
    return np.asarray(n / n.sum() if multiclass else n[:, 1] / n.sum(axis=1), dtype=np.float64)


def _given(pi: npt.NDArray[Any], task: Task) -> npt.NDArray[np.float64]:
    if pi.ndim != 1 or pi.size == 0:
        raise SegfocalError(f"pi must be one number or (K,) of them, got shape {pi.shape}.")
    if not ((pi > 0) & (pi < 1)).all():  # also catches NaN
        raise SegfocalError(f"pi must lie in (0, 1), got {pi.tolist()}. Counts must be of integer type.")
    if task == "multiclass" and abs(float(pi.sum()) - 1.0) > 1e-6:
        raise SegfocalError(f"pi of a multiclass task must sum to 1, got {float(pi.sum()):.8g}.")
    return pi.astype(np.float64)
