"""How many voxels of each class a volume holds, slice by slice."""

from __future__ import annotations

import numpy as np

from segfocal.data.labels import LabelRows, Mask
from segfocal.imbalance.counts import Counts, Task

SLAB = 16


def flat(mask: Mask) -> Mask:
    """Return a mask of three axes as one of two, the last two joined.

    Args:
        mask: ``(X, Y, Z)`` or ``(K, X, Y, Z)``.
    """
    return mask.reshape(*mask.shape[:-2], -1)


def count_labels(mask: Mask, *, task: Task, num_classes: int) -> LabelRows:
    """Count a volume's voxels per class and first axis, a few slices at a time.

    Args:
        mask: ``(X, Y, Z)`` or ``(K, X, Y, Z)``.
        task: What it means.
        num_classes: Channels of the logits.
    """
    slabs = [flat(mask[..., x : x + SLAB, :, :]) for x in range(0, mask.shape[-3], SLAB)]
    counted = [LabelRows.of(slab, task=task, num_classes=num_classes) for slab in slabs]
    negatives: Counts = np.sum([part.negatives for part in counted], axis=0, dtype=np.int64)
    return LabelRows(np.concatenate([part.rows for part in counted], axis=1), negatives)
