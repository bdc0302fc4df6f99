"""Which seeds and clusters can be compared where some trainings are missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def complete_block(present: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose seeds and clusters such that no value is missing between them.

    The seed or cluster that lacks the largest share of its values goes, until none lacks any; of equals a
    cluster before a seed, the last first. So one training that failed costs the seed where it tested
    everything, and its own clusters where it was one fold of many.

    Args:
        present: bool (seeds, clusters): whether there is a value.

    Returns:
        Indices of the seeds and of the clusters that stay, rising; both empty where nothing is complete.

    Example:
        >>> seeds, clusters = complete_block([[True, True, True], [True, True, False]])
        >>> seeds.tolist(), clusters.tolist()
        ([0, 1], [0, 1])
    """
    table = np.asarray(present, dtype=bool)
    rows, columns = np.arange(table.shape[0]), np.arange(table.shape[1])
    while table.size and not table.all():
        by_row, by_column = 1 - table.mean(axis=1), 1 - table.mean(axis=0)
        if by_column.max() >= by_row.max():
            last = len(columns) - 1 - int(np.argmax(by_column[::-1]))
            table, columns = np.delete(table, last, axis=1), np.delete(columns, last)
        else:
            last = len(rows) - 1 - int(np.argmax(by_row[::-1]))
            table, rows = np.delete(table, last, axis=0), np.delete(rows, last)
    return (rows, columns) if table.size else (rows[:0], columns[:0])
