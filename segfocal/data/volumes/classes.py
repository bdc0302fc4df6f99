"""Which classes a task makes of the labels in dataset.json."""

from __future__ import annotations

from segfocal.data.volumes.layout import VolumeSet
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task


def class_values(found: VolumeSet, task: Task) -> list[tuple[int, ...]]:
    """Return the label values of each class, the background first.

    Args:
        found: What dataset.json says.
        task: ``"binary"`` makes one class of all but the background.

    Raises:
        SegfocalError: For multiclass where classes overlap.
    """
    values = list(found.labels.values())
    if task == "multiclass" and found.regions:
        raise SegfocalError(
            f"{found.root}: classes are regions that overlap, which needs task 'multilabel', got "
            f"{found.labels}."
        )
    if task == "binary":
        return [values[0], tuple(sorted({value for each in values[1:] for value in each}))]
    return values


def class_names(found: VolumeSet, task: Task) -> list[str]:
    """Return one name per channel of the logits.

    Args:
        found: What dataset.json says.
        task: What the masks mean.
    """
    names = list(found.labels)
    if task == "binary":
        return names[1:] if len(names) == 2 else ["foreground"]
    return names if task == "multiclass" else names[1:]
