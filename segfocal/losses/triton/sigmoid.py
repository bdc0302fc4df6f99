# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201, RUF005
# mypy: disable-error-code="no-untyped-def, assignment"
"""Sigmoid: every channel is a two-class problem of its own, and every program works on one channel.

Formulas as in ``eager/sigmoid.py``. A hard label needs the loss of one side, a soft or smoothed one of both.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segfocal.losses.triton.pixel import (
    COUNT,
    FN,
    FP,
    IGNORED,
    INTERSECTION,
    LOSS,
    MODULATION,
    NO_LABEL,
    PREDICTION,
    PREDICTION_SQUARED,
    TARGET,
    TARGET_SQUARED,
    TP,
    WEIGHT,
    added,
    alpha_of,
    arriving,
    label_of,
    part,
    pixel_loss,
    pixels_of,
    place,
    rates,
    share_of,
    zeros,
)


@triton.jit
def read(logits, target, weight, at_x, at_t, at_w, n, c, pixel, inside, space, ignore, C, AXES: tl.constexpr,
         MASKS: tl.constexpr, SOFT: tl.constexpr, HAS_IGNORE: tl.constexpr):  # fmt: skip
    """Return logits and labels, 0 where ignored or no label, weights, what counts, and what is no label."""
    channel = c.to(tl.int64)
    at = place(target, n, pixel, space, at_t, AXES) + channel * at_t[1]
    stored = tl.load(at, mask=inside, other=0)
    if MASKS:
        y = share_of(stored, inside, ignore, SOFT, HAS_IGNORE)
    else:
        label = label_of(stored, inside, ignore, C, HAS_IGNORE)
        y = tl.where(label < 0, label, (label == c).to(tl.int32)).to(tl.float32)
    counts, no_label = y != IGNORED, y == NO_LABEL
    w = counts.to(tl.float32)
    if weight is not None:
        at = place(weight, n, pixel, space, at_w, AXES) + channel * at_w[1]
        w = tl.where(counts, tl.load(at, mask=inside, other=0.0).to(tl.float32), 0.0)
    at = place(logits, n, pixel, space, at_x, AXES) + channel * at_x[1]
    x = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    if HAS_IGNORE:
        x = tl.where(counts, x, 0.0)
    return x, tl.where(y < 0, 0.0, y), w, counts, no_label


@triton.jit
def shares(as_0, as_1, y):
    """Give each side its share."""
    return part(1.0 - y, as_0), part(y, as_1)


@triton.jit
def moved(as_0, as_1, smoothing):
    """Mix the losses of both sides as smoothed labels do."""
    if smoothing is not None:
        e = tl.load(smoothing).to(tl.float32) * 0.5
        mixed_0 = (1.0 - e) * as_0 + part(e, as_1)
        as_1 = (1.0 - e) * as_1 + part(e, as_0)
        as_0 = mixed_0
    return as_0, as_1


@triton.jit
def sides(x, y, smoothing, curve, alpha, c, C, SOFT: tl.constexpr, FORM: tl.constexpr, COLUMNS: tl.constexpr,
          ALPHAS: tl.constexpr):  # fmt: skip
    """Compute loss and factor of every element, apart for negatives and positives, and its probability.

    Returns:
        Loss of the negative side, of the positive one, alpha applied; factors likewise; probability.
    """
    g, a, b, rest = rates(curve, c, FORM, COLUMNS)
    alpha_0, alpha_1 = 1.0, 1.0
    if alpha is not None:
        alpha_1 = alpha_of(alpha, c, ALPHAS)
        alpha_0 = 1.0 - alpha_1
    if SOFT or smoothing is not None:
        loss_0, _, factor_0, _, p = pixel_loss(x, g, a, b, rest, FORM)
        loss_1, _, factor_1, _, _ = pixel_loss(-x, g, a, b, rest, FORM)
        if alpha is not None:
            loss_0, loss_1 = part(alpha_0, loss_0), part(alpha_1, loss_1)
        loss_0, loss_1 = moved(loss_0, loss_1, smoothing)
        loss_0, loss_1 = shares(loss_0, loss_1, y)
        factor_0, factor_1 = shares(factor_0, factor_1, y)
        return loss_0, loss_1, factor_0, factor_1, p
    positive = y > 0
    loss, _, factor, right, wrong = pixel_loss(tl.where(positive, -x, x), g, a, b, rest, FORM)
    if alpha is not None:
        loss = part(tl.where(positive, alpha_1, alpha_0), loss)
    return (
        tl.where(positive, 0.0, loss),
        tl.where(positive, loss, 0.0),
        tl.where(positive, 0.0, factor),
        tl.where(positive, factor, 0.0),
        tl.where(positive, right, wrong),
    )


@triton.jit
def terms(x, y, w, counts, smoothing, curve, alpha, c, C, SOFT: tl.constexpr, FORM: tl.constexpr,
          COLUMNS: tl.constexpr, ALPHAS: tl.constexpr, WANT: tl.constexpr):  # fmt: skip
    """Return what every element adds to the floating sums, in the order of ``fields.layout``."""
    loss_0, loss_1, factor_0, factor_1, p = sides(
        x, y, smoothing, curve, alpha, c, C, SOFT, FORM, COLUMNS, ALPHAS
    )
    found = ()
    if WANT[LOSS]:
        found = found + (part(w, loss_0), part(w, loss_1))
    if WANT[INTERSECTION]:
        found = found + (w * (p * y),)
    if WANT[PREDICTION]:
        found = found + (w * p,)
    if WANT[PREDICTION_SQUARED]:
        found = found + (w * (p * p),)
    if WANT[MODULATION]:
        found = found + (w * factor_0, w * factor_1)
    if WANT[WEIGHT]:
        found = found + (w * (1.0 - y), w * y)
    if WANT[TARGET]:
        found = found + (w * y,)
    if WANT[TARGET_SQUARED]:
        found = found + (w * (y * y),)
    if WANT[COUNT] and SOFT:
        found = found + (tl.where(counts, 1.0 - y, 0.0), y)
    return found


@triton.jit
def tallies(x, y, counts, SOFT: tl.constexpr, WANT: tl.constexpr):
    """Return what every element adds to the counts, in the order of ``fields.layout``."""
    label, positive = (y > 0.5).to(tl.int32), (x > 0).to(tl.int32)
    found = ()
    if WANT[COUNT] and not SOFT:
        found = found + ((counts & (y == 0.0)).to(tl.int32), (y > 0.0).to(tl.int32))
    if WANT[TP]:
        found = found + (positive * label,)
    if WANT[FP]:
        found = found + (positive * (1 - label),)
    if WANT[FN]:
        found = found + ((1 - positive) * label,)
    return found


@triton.jit(do_not_specialize=["ignore", "programs", "turns"])
def sigmoid_sums(logits, target, weight, curve, alpha, smoothing, floats, ints, at_x, at_t, at_w, space,
                 ignore, S, C, programs, turns, AXES: tl.constexpr, FORM: tl.constexpr, COLUMNS: tl.constexpr,
                 ALPHAS: tl.constexpr, MASKS: tl.constexpr, SOFT: tl.constexpr, HAS_IGNORE: tl.constexpr,
                 WANT: tl.constexpr, K: tl.constexpr, Q: tl.constexpr, BLOCK: tl.constexpr,
                 LONG: tl.constexpr):  # fmt: skip
    """Write the sums of every ``programs``-th tile of a channel: (N C K, programs) and (N C Q, programs)."""
    row, k = tl.program_id(0) // programs, tl.program_id(0) % programs
    n, c = row // C, row % C
    sums = zeros(K, BLOCK, tl.float32)
    tally = zeros(Q - 1, BLOCK, tl.int32)
    invalid = tl.zeros([BLOCK], tl.int32)
    for turn in range(turns):
        pixel, inside = pixels_of(k + turn * programs, S, BLOCK, LONG)
        x, y, w, counts, no_label = read(
            logits, target, weight, at_x, at_t, at_w, n, c, pixel, inside, space, ignore, C, AXES, MASKS,
            SOFT, HAS_IGNORE,
        )  # fmt: skip
        invalid += no_label.to(tl.int32)
        if K > 0:
            found = terms(x, y, w, counts, smoothing, curve, alpha, c, C, SOFT, FORM, COLUMNS, ALPHAS, WANT)
            sums = added(sums, found, K)
        if Q > 1:
            tally = added(tally, tallies(x, y, counts, SOFT, WANT), Q - 1)
    wrong = tl.sum(invalid, 0)
    poison = tl.where(wrong > 0, float("nan"), 0.0)
    at = floats + row.to(tl.int64) * K * programs + k
    for j in tl.static_range(K):
        tl.store(at + j * programs, tl.sum(sums[j], 0) + poison)
    at_count = ints + row.to(tl.int64) * Q * programs + k
    for j in tl.static_range(Q - 1):
        tl.store(at_count + j * programs, tl.sum(tally[j], 0))
    if not MASKS:
        wrong = tl.where(c == 0, wrong, 0)  # one label map serves all channels
    tl.store(at_count + (Q - 1) * programs, wrong)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def sigmoid_map(logits, target, weight, curve, alpha, smoothing, out, at_x, at_t, at_w, at_out, space, ignore,
                S, C, tiles, AXES: tl.constexpr, FORM: tl.constexpr, COLUMNS: tl.constexpr,
                ALPHAS: tl.constexpr, MASKS: tl.constexpr, SOFT: tl.constexpr, HAS_IGNORE: tl.constexpr,
                BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the loss of every element of a tile, NaN where the label is none."""
    row = tl.program_id(0) // tiles
    n, c = row // C, row % C
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    x, y, w, _, no_label = read(
        logits, target, weight, at_x, at_t, at_w, n, c, pixel, inside, space, ignore, C, AXES, MASKS, SOFT,
        HAS_IGNORE,
    )  # fmt: skip
    loss_0, loss_1, _, _, _ = sides(x, y, smoothing, curve, alpha, c, C, SOFT, FORM, COLUMNS, ALPHAS)
    loss = tl.where(no_label, float("nan"), part(w, loss_0 + loss_1))
    tl.store(place(out, n, pixel, space, at_out, AXES) + c.to(tl.int64) * at_out[1], loss, mask=inside)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def sigmoid_gradient(logits, target, weight, curve, alpha, smoothing, upstream, pull, out, at_x, at_t, at_w,
                     at_out, at_pull, space, ignore, S, C, tiles, AXES: tl.constexpr, FORM: tl.constexpr,
                     COLUMNS: tl.constexpr, ALPHAS: tl.constexpr, MASKS: tl.constexpr, SOFT: tl.constexpr,
                     HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr,
                     LONG: tl.constexpr):  # fmt: skip
    """Write the gradient by the logits of a tile: upstream is (N, C, K), or pull the gradient by the map."""
    row = tl.program_id(0) // tiles
    n, c = row // C, row % C
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    x, y, w, _, _ = read(
        logits, target, weight, at_x, at_t, at_w, n, c, pixel, inside, space, ignore, C, AXES, MASKS, SOFT,
        HAS_IGNORE,
    )  # fmt: skip
    channel = c.to(tl.int64)
    up_0, up_1 = 0.0, 0.0
    if upstream is not None:
        upstream += row.to(tl.int64) * K
        if WANT[LOSS]:
            up_0 = tl.load(upstream).to(tl.float32)
            up_1 = tl.load(upstream + 1).to(tl.float32)
            upstream += 1  # the loss has one place more than ``arriving`` expects
    else:
        at = place(pull, n, pixel, space, at_pull, AXES) + channel * at_pull[1]
        up_0 = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        up_1 = up_0
    g, a, b, rest = rates(curve, c, FORM, COLUMNS)
    alpha_0, alpha_1 = 1.0, 1.0
    if alpha is not None:
        alpha_1 = alpha_of(alpha, c, ALPHAS)
        alpha_0 = 1.0 - alpha_1
    if SOFT or smoothing is not None:
        pull_0, pull_1 = up_0 * (1.0 - y), up_1 * y
        if smoothing is not None:
            e = tl.load(smoothing).to(tl.float32) * 0.5
            pull_0, pull_1 = pull_0 + e * (pull_1 - pull_0), pull_1 + e * (pull_0 - pull_1)
        _, slope_0, _, q, p = pixel_loss(x, g, a, b, rest, FORM)
        _, slope_1, _, _, _ = pixel_loss(-x, g, a, b, rest, FORM)
        grad = alpha_0 * pull_0 * slope_0 - alpha_1 * pull_1 * slope_1
    else:
        positive = y > 0
        _, slope, _, right, wrong = pixel_loss(tl.where(positive, -x, x), g, a, b, rest, FORM)
        p, q = tl.where(positive, right, wrong), tl.where(positive, wrong, right)
        grad = slope * tl.where(positive, -alpha_1 * up_1, alpha_0 * up_0)
    if WANT[INTERSECTION] or WANT[PREDICTION] or WANT[PREDICTION_SQUARED]:
        grad += p * q * arriving(upstream, p, y, WANT)
    at = place(out, n, pixel, space, at_out, AXES) + channel * at_out[1]
    tl.store(at, (w * grad).to(out.dtype.element_ty), mask=inside)
