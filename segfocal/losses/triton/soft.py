# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def"
"""Softmax where the target is a distribution over the classes: how pixels are read, and their margins.

Every class has its own margin. Classes come in chunks, (ROWS, BLOCK); formulas as in ``eager/soft.py``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segfocal.losses.triton.pixel import (
    FINITE,
    IGNORED,
    NO_LABEL,
    TINY,
    alpha_of,
    exp_neg,
    label_of,
    pixel_loss,
    place,
    rates,
    share_of,
)


@triton.jit
def read(at, step, at_target, step_target, start, inside, ignore, C: tl.constexpr, MASKS: tl.constexpr,
         SOFT: tl.constexpr, HAS_IGNORE: tl.constexpr, ROWS: tl.constexpr):  # fmt: skip
    """Load logits and target of some classes, (ROWS, BLOCK): -inf and 0 beyond the last class.

    Returns:
        Classes, which of them there are, clamped logits, shares with IGNORED and NO_LABEL.
    """
    lane = start + tl.arange(0, ROWS)
    c, there = lane[:, None], (lane < C)[:, None]
    both = there & inside[None, :]
    x = tl.load(at[None, :] + c.to(tl.int64) * step, mask=both, other=0.0).to(tl.float32)
    x = tl.where(x > FINITE, FINITE, tl.where(x < -FINITE, -FINITE, x))
    x = tl.where(there, x, -float("inf"))
    if MASKS:
        stored = tl.load(at_target[None, :] + c.to(tl.int64) * step_target, mask=both, other=0)
        q = share_of(stored, inside[None, :], ignore, SOFT, HAS_IGNORE)
        q = tl.where(there, q, 0.0)
    else:
        label = label_of(tl.load(at_target, mask=inside, other=0), inside, ignore, C, HAS_IGNORE)[None, :]
        q = tl.where(label < 0, label, (label == c).to(tl.int32)).to(tl.float32)
    return lane, there, x, q


@triton.jit
def first_of(values, highest, c, C: tl.constexpr):
    """Return the first class whose value is the highest."""
    return tl.min(tl.where(values == highest[None, :], c, C), 0)


@triton.jit
def below(x, top):
    """Compute ``e^(x - top)``."""
    less = x - top[None, :]
    return exp_neg(tl.where(less > 0, 0.0, less))


@triton.jit
def first_read(at, step, at_target, step_target, inside, pull, upstream, ignore, C: tl.constexpr,
               MASKS: tl.constexpr, SOFT: tl.constexpr, HAS_IGNORE: tl.constexpr, K: tl.constexpr,
               ROWS: tl.constexpr, BLOCK: tl.constexpr, PULLS: tl.constexpr):  # fmt: skip
    """Go through all classes once.

    Returns:
        Of the largest logit: its value, class, and sum of exponentials relative to it; of its rivals: the
        largest value, and sum relative to that; where pixels count; the class of the largest share; the
        shares' sum, each times the gradient by its loss where PULLS; where any share is no label.
    """
    top, second = tl.full([BLOCK], -FINITE, tl.float32), tl.full([BLOCK], -FINITE, tl.float32)
    total, other = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    best, likely = tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32)
    most, summed = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    ignored, wrong = tl.where(inside, 0, 1), tl.zeros([BLOCK], tl.int32)
    for start in range(0, C, ROWS):
        lane, _there, x, q = read(
            at, step, at_target, step_target, start, inside, ignore, C, MASKS, SOFT, HAS_IGNORE, ROWS
        )
        c = lane[:, None]
        ignored = tl.maximum(ignored, tl.max((q == IGNORED).to(tl.int32), 0))
        wrong = tl.maximum(wrong, tl.max((q == NO_LABEL).to(tl.int32), 0))
        q = tl.where(q > 0, q, 0.0)
        high = tl.max(q, 0)
        likely = tl.where(high > most, first_of(q, high, c, C), likely)
        most = tl.where(high > most, high, most)
        if PULLS:
            q = q * pulls(pull, upstream, lane, C, K)
        summed += tl.sum(q, 0)
        high = tl.max(x, 0)
        first = first_of(x, high, c, C)
        runner_up = tl.max(tl.where(c == first[None, :], -float("inf"), x), 0)
        better = high > top
        best = tl.where(better, first, best)
        new_top, new_second = tl.where(better, high, top), tl.where(better, top, second)
        rival = tl.where(better, runner_up, high)
        new_second = tl.where(rival > new_second, rival, new_second)
        # the rivals so far: all there were where a better class came, else the rivals there were
        other = tl.where(better, total, other) * exp_neg(tl.where(better, top, second) - new_second)
        other += tl.sum(tl.where(c == best[None, :], 0.0, below(x, new_second)), 0)
        total = total * exp_neg(top - new_top) + tl.sum(below(x, new_top), 0)
        top, second = new_top, new_second
    counts = ignored == 0
    return top, best, total, second, other, counts, likely, summed, counts & (wrong > 0)


@triton.jit
def pulls(pull, upstream, lane, C: tl.constexpr, K: tl.constexpr):
    """Return the gradient by the loss of some classes, (ROWS, 1) from the sums or (1, BLOCK) from the map."""
    found = pull[None, :]
    if upstream is not None:
        found = tl.load(upstream + lane * K, mask=lane < C, other=0.0).to(tl.float32)[:, None]
    return found


@triton.jit
def curves(x, lane, use, top, best, total, second, other, curve, alpha, C: tl.constexpr, FORM: tl.constexpr,
           COLUMNS: tl.constexpr):  # fmt: skip
    """Run the pixel loss of some classes, each as if it were the true one; alpha is in loss and slope."""
    rivals = total[None, :] - below(x, top)
    ordinary = tl.log(tl.where(rivals < TINY, TINY, rivals)) - (x - top[None, :])
    # a NaN among the rivals is in the total, whatever a maximum makes of it
    winning = (second - top) + tl.log(tl.where(other < TINY, TINY, other)) + 0.0 * total
    margin = tl.where(lane[:, None] == best[None, :], winning[None, :], ordinary)
    known = tl.where(lane < C, lane, 0)[:, None]
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    loss, slope, factor, p, u = pixel_loss(tl.where(use, margin, 0.0), g, a, b, rest, FORM)
    if alpha is not None:
        scale = alpha_of(alpha, known, C)
        loss, slope = loss * scale, slope * scale
    return loss, slope, factor, p, u


@triton.jit
def weight_of(weight, at_w, n, pixel, inside, counts, space, AXES: tl.constexpr):
    """Return the weight of every pixel, 0 where ignored."""
    w = counts.to(tl.float32)
    if weight is not None:
        given = tl.load(place(weight, n, pixel, space, at_w, AXES), mask=inside, other=0.0).to(tl.float32)
        w = tl.where(counts, given, 0.0)
    return w


@triton.jit
def smoothed(smoothing):
    """Return the share of the target given to all classes alike."""
    e = 0.0
    if smoothing is not None:
        e = tl.load(smoothing).to(tl.float32)
    return e
