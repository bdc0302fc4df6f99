"""Loss and slope of the pixel losses in numpy, for drawing them where torch need not be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import SegfocalError, check_range

Array = NDArray[np.float64]
Curve = Callable[[Array], tuple[Array, Array]]


def focal_curve(margin: ArrayLike, *, gamma: float) -> tuple[Array, Array]:
    """Compute focal loss and its slope; gamma 0 is cross-entropy.

    Args:
        margin: How far the wrong answer is ahead, in nats, any shape.
        gamma: Exponent, at least 0.

    Returns:
        Loss in nats and derivative by the margin.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 4; evaluated without cancellation.

    Example:
        >>> loss, slope = focal_curve(0.0, gamma=2.0)
        >>> round(float(loss), 4)  # 0.25 log 2
        0.1733
    """
    z = np.asarray(margin, np.float64)
    nll = np.logaddexp(0.0, z)
    wrong, true = np.exp(z - nll), np.exp(-nll)
    factor = np.exp(gamma * (z - nll))
    return factor * nll, factor * (wrong + gamma * true * nll)


def knee_curve(margin: ArrayLike, *, gamma: float, knee: float) -> tuple[Array, Array]:
    """Compute knee focal loss: focal up to ``p_t = knee``, above it cross-entropy with focal's slope there.

    Example:
        >>> loss, slope = knee_curve(-3.0, gamma=2.0, knee=0.75)
        >>> round(float(slope / focal_curve(-3.0, gamma=0.0)[1]), 6)
        0.170381
    """
    z = np.asarray(margin, np.float64)
    tau = float(slope_ratio(knee, gamma=gamma))
    offset = (tau - (1 - knee) ** gamma) * -np.log(knee)
    (loss, slope), (entropy, pull) = focal_curve(z, gamma=gamma), focal_curve(z, gamma=0.0)
    hard = z > np.log1p(-knee) - np.log(knee)
    return np.where(hard, loss + offset, tau * entropy), np.where(hard, slope, tau * pull)


def tail_curve(margin: ArrayLike, *, gamma: float, tail: float) -> tuple[Array, Array]:
    """Compute tail-mixed focal loss, ``tail`` times cross-entropy plus the rest focal.

    Example:
        >>> float(tail_curve(0.0, gamma=2.0, tail=1.0)[1])
        0.5
    """
    (loss, slope), (entropy, pull) = focal_curve(margin, gamma=gamma), focal_curve(margin, gamma=0.0)
    return tail * entropy + (1 - tail) * loss, tail * pull + (1 - tail) * slope


def slope_ratio(p: ArrayLike, *, gamma: float) -> Array:
    """Compute ``(1-p)^g - g p (1-p)^(g-1) log p``: focal's slope over cross-entropy's, for 0 < p < 1.

    Example:
        >>> slope_ratio(0.75, gamma=2.0).round(3).item()
        0.17
    """
    true = np.asarray(p, np.float64)
    return np.asarray((1 - true) ** gamma - gamma * true * (1 - true) ** (gamma - 1) * np.log(true))


def curve_table(
    *, gammas: Sequence[float], knee: float | None = None, tail: float | None = None, points: int = 241
) -> pl.DataFrame:
    """Tabulate loss, slope and slope ratio of several losses.

    Args:
        gammas: Exponents; 0 is cross-entropy.
        knee: Adds the knee form at this ``p_t`` for each gamma above 0.
        tail: Adds the tail-mixed form for each gamma above 0.
        points: Margins, evenly spaced from 7 to -7.

    Returns:
        loss_name, gamma, margin (nats), p (of the true class), loss (nats), slope, ratio (slope over that of
        cross-entropy).

    Raises:
        SegfocalError: For values out of range; for a knee below the point where focal's slope falls under
            cross-entropy's, where the form does not hold.
    """
    losses = _losses(gammas, knee=knee, tail=tail)
    margin = np.linspace(7.0, -7.0, points)
    _, entropy_slope = focal_curve(margin, gamma=0.0)
    parts = []
    for name, (gamma, curve) in losses.items():
        loss, slope = curve(margin)
        columns = {"margin": margin, "p": np.exp(-np.logaddexp(0.0, margin)), "loss": loss, "slope": slope}
        rows = pl.DataFrame(columns | {"ratio": slope / entropy_slope})
        parts.append(rows.select(pl.lit(name).alias("loss_name"), pl.lit(gamma).alias("gamma"), pl.all()))
    return pl.concat(parts)


def _losses(
    gammas: Sequence[float], *, knee: float | None, tail: float | None
) -> dict[str, tuple[float, Curve]]:
    if not gammas:
        raise SegfocalError("--gamma needs at least one number, got none.")
    found: dict[str, tuple[float, Curve]] = {}
    for gamma in dict.fromkeys(map(float, gammas)):
        check_range("--gamma", gamma, low=0.0, high=50.0)
        name = "cross-entropy" if gamma == 0 else f"focal, gamma {gamma:g}"
        found[name] = (gamma, functools.partial(focal_curve, gamma=gamma))
        if gamma == 0:
            continue
        if knee is not None:
            _check_knee(knee, gamma)
            curve = functools.partial(knee_curve, gamma=gamma, knee=knee)
            found[f"knee {knee:g}, gamma {gamma:g}"] = (gamma, curve)
        if tail is not None:
            check_range("--tail", tail, low=0.0, high=1.0)
            curve = functools.partial(tail_curve, gamma=gamma, tail=tail)
            found[f"tail {tail:g}, gamma {gamma:g}"] = (gamma, curve)
    return found


def _check_knee(knee: float, gamma: float) -> None:
    check_range("--knee", knee, low=0.0, high=1.0, open_low=True, open_high=True)
    ratio = float(slope_ratio(knee, gamma=gamma))
    if ratio > 1:
        raise SegfocalError(
            "--knee must lie where focal's slope is below cross-entropy's, "
            f"got {knee:g}, where it is {ratio:.3g} "
            f"times as steep for gamma {gamma:g}. Choose a larger knee, such as 0.75."
        )
