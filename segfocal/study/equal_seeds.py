"""Seeds that changed nothing: trainings whose scores are equal image by image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def equal_seeds(table: Array) -> NDArray[np.intp]:
    """Return which seed each seed of each arm repeats.

    Two trainings with equal scores on every image are one training done twice, as where all weights are
    loaded and the data have a seed of their own. Networks that find nothing, or one class everywhere, have
    equal scores without being equal: they are not taken for repeats.

    Args:
        table: (kinds of threshold, scores, arms, seeds, images, classes), the scores Dice, IoU, precision and
            recall; NaN where there is none.

    Returns:
        (arms, seeds): the place of the seed that is repeated, the seed's own place where it repeats none. Of
        equal seeds that with the most scores is the repeated one, then the first.

    Example:
        >>> scores = np.array([0.5, 0.5, 0.6]).reshape(1, 1, 1, 3, 1, 1)
        >>> equal_seeds(np.repeat(scores, 4, axis=1)).tolist()
        [[0, 0, 2]]
    """
    known = np.isfinite(table).sum(axis=(0, 1, 4, 5))
    found = np.tile(np.arange(table.shape[3]), (table.shape[2], 1))
    for arm, counts in enumerate(known):
        kept: list[int] = []
        for seed in sorted(range(counts.size), key=lambda place: (-int(counts[place]), place)):
            own = table[:, :, arm, seed]
            same = next((other for other in kept if _repeats(own, table[:, :, arm, other])), seed)
            found[arm, seed] = same
            kept += [seed] if same == seed else []
    return found


def distinct_seeds(repeats: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the seeds to use for several arms together: of those that are equal for every arm, one.

    Args:
        repeats: Of ``equal_seeds``, (arms, seeds).

    Returns:
        Places of seeds, rising.

    Example:
        >>> distinct_seeds(np.array([[0, 0, 0], [0, 0, 2]])).tolist()
        [0, 2]
    """
    repeated = (repeats == np.arange(repeats.shape[1])).any(axis=0)
    order = np.argsort(~repeated, kind="stable")
    first = np.unique(repeats[:, order], axis=1, return_index=True)[1]
    return np.sort(order[first])


def _repeats(one: Array, other: Array) -> bool:
    """Whether (kinds, scores, images, classes) are equal wherever both are known, and of real masks."""
    both = np.isfinite(one) & np.isfinite(other)
    if not bool(((one == other) | ~both).all()):
        return False
    # precision and recall between 0 and 1: something found, something missed, something wrong
    return bool((both & (one > 0) & (one < 1)).all(axis=1).any())
