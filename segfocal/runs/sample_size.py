"""How many clusters or seeds it would take to show a difference as large as the one observed."""

from __future__ import annotations

import math

from segfocal.errors import check_range

POWER = 0.8


def units_needed(
    difference: float,
    *,
    variance: float,
    residual: float = 0.0,
    others: int = 1,
    other_variance: float = 0.0,
    level: float = 0.05,
    power: float = POWER,
) -> int | None:
    """Return how many clusters (or seeds) would show a difference in ``power`` of all repetitions.

    The variance of the mean over n units is ``other_variance / others + (variance + residual / others) / n``;
    n is the smallest with ``difference^2 >= (z_{1 - level/2} + z_power)^2 Var``. For clusters the others are
    the seeds, and the other way round. Normal quantiles: for fewer than 20 it is a few too low.

    Args:
        difference: The mean difference, in any unit.
        variance: Of that difference between the units asked for, unit squared.
        residual: What is left of one (seed, cluster) value, unit squared.
        others: Units of the other kind that there are.
        other_variance: Between those, unit squared.
        level: Two-sided, before any correction; Holm's strictest is ``level / contrasts``.
        power: Chance to show a true difference of this size.

    Returns:
        The number, at least 2; None where no number would do (the other kind varies too much, or there is no
        difference).

    Raises:
        SegfocalError: For a level or a power outside (0, 1).

    Example:
        >>> units_needed(0.5, variance=1.0)  # a difference of half a standard deviation
        32
    """
    from scipy.special import ndtri

    check_range("level", level, low=0.0, high=1.0, open_low=True, open_high=True)
    check_range("power", power, low=0.0, high=1.0, open_low=True, open_high=True)
    quantile = float(ndtri(1 - level / 2) + ndtri(power))
    room = (difference / quantile) ** 2 - other_variance / others
    if not room > 0 or not math.isfinite(variance + residual):
        return None
    count = (variance + residual / others) / room
    return max(2, math.ceil(count - 1e-9)) if math.isfinite(count) else None
