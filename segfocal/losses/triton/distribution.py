# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def"
"""Softmax where the target is a distribution over the classes, masks or smoothed labels: the kernels.

The logits are read twice forward and three times backward (masks once more where they are smoothed), a small
tile at a time, so that all reads but the first meet the cache unless there are very many classes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segfocal.losses.triton.pixel import (
    COUNT,
    FN,
    FP,
    INTERSECTION,
    LOSS,
    MODULATION,
    NO_LABEL,
    PREDICTION,
    PREDICTION_SQUARED,
    TARGET,
    TARGET_SQUARED,
    TINY,
    TP,
    WEIGHT,
    pixels_of,
    place,
)
from segfocal.losses.triton.soft import below, curves, first_read, pulls, read, smoothed, weight_of


@triton.jit
def put(at, lane, value, C: tl.constexpr, STEP: tl.constexpr, parts):
    """Store one sum of every class of a chunk; the sums of a class are STEP."""
    tl.store(at + lane.to(tl.int64) * STEP * parts, value, mask=lane < C)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def distribution_sums(logits, target, weight, curve, alpha, smoothing, floats, ints, at_x, at_t, at_w, space,
                      ignore, S, tiles, C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr,
                      COLUMNS: tl.constexpr, MASKS: tl.constexpr, SOFT: tl.constexpr,
                      HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr, Q: tl.constexpr,
                      ROWS: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the sums of one tile: (N C K, tiles) and (N C Q, tiles)."""
    n, k = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    pixel, inside = pixels_of(k, S, BLOCK, LONG)
    at, step = place(logits, n, pixel, space, at_x, AXES), tl.cast(at_x[1], tl.int64)
    at_q, step_q = place(target, n, pixel, space, at_t, AXES), tl.cast(at_t[1], tl.int64)
    top, best, total, second, other, counts, likely, _, no_label = first_read(
        at, step, at_q, step_q, inside, None, None, ignore, C, MASKS, SOFT, HAS_IGNORE, K, ROWS, BLOCK, False
    )
    w = weight_of(weight, at_w, n, pixel, inside, counts, space, AXES)
    e = smoothed(smoothing)
    poison = tl.where(tl.sum(no_label.to(tl.int32), 0) > 0, float("nan"), 0.0)
    floats += n.to(tl.int64) * C * K * tiles + k
    ints += n.to(tl.int64) * C * Q * tiles + k
    losses = tl.zeros([BLOCK], tl.float32)
    for start in range(0, C, ROWS):
        lane, there, x, q = read(
            at, step, at_q, step_q, start, inside, ignore, C, MASKS, SOFT, HAS_IGNORE, ROWS
        )
        use = there & counts[None, :]
        wrong = tl.sum((use & (q == NO_LABEL)).to(tl.int32), 1)
        if not MASKS:
            wrong = tl.where(lane == 0, wrong, 0)
        q = tl.where(use & (q > 0), q, 0.0)
        loss, _slope, factor, p, _u = curves(
            x, lane, use, top, best, total, second, other, curve, alpha, C, FORM, COLUMNS
        )
        losses += tl.sum(tl.where(use, loss, 0.0), 0)
        each = w[None, :]
        to, to_count = floats, ints
        if WANT[LOSS]:
            # a class that has no share of the target adds nothing, however large its loss
            found = tl.where(q > 0, each * (q * ((1.0 - e) * loss)), 0.0)
            put(to, lane, tl.sum(found, 1) + poison, C, K, tiles)
            to += tiles
        if WANT[INTERSECTION]:
            put(to, lane, tl.sum(each * (p * q), 1) + poison, C, K, tiles)
            to += tiles
        if WANT[PREDICTION]:
            put(to, lane, tl.sum(each * p, 1) + poison, C, K, tiles)
            to += tiles
        if WANT[PREDICTION_SQUARED]:
            put(to, lane, tl.sum(each * (p * p), 1) + poison, C, K, tiles)
            to += tiles
        if WANT[MODULATION]:
            put(to, lane, tl.sum(each * (q * factor), 1) + poison, C, K, tiles)
            to += tiles
        for _field in tl.static_range(WANT[WEIGHT] + WANT[TARGET]):
            put(to, lane, tl.sum(each * q, 1) + poison, C, K, tiles)
            to += tiles
        if WANT[TARGET_SQUARED]:
            put(to, lane, tl.sum(each * (q * q), 1) + poison, C, K, tiles)
            to += tiles
        if WANT[COUNT]:
            if SOFT:
                put(to, lane, tl.sum(q, 1) + poison, C, K, tiles)
            else:
                put(to_count, lane, tl.sum((q > 0).to(tl.int32), 1), C, Q, tiles)
                to_count += tiles
        if WANT[TP] or WANT[FP] or WANT[FN]:
            decided = (use & (lane[:, None] == best[None, :])).to(tl.int32)
            label = (use & (lane[:, None] == likely[None, :])).to(tl.int32)
            if WANT[TP]:
                put(to_count, lane, tl.sum(decided * label, 1), C, Q, tiles)
                to_count += tiles
            if WANT[FP]:
                put(to_count, lane, tl.sum(decided * (1 - label), 1), C, Q, tiles)
                to_count += tiles
            if WANT[FN]:
                put(to_count, lane, tl.sum((1 - decided) * label, 1), C, Q, tiles)
                to_count += tiles
        put(to_count, lane, wrong, C, Q, tiles)
    if WANT[LOSS] and smoothing is not None:
        tl.debug_barrier()  # one thread may have stored what another one loads
        spread = w * (e / C * losses)
        for start in range(0, C, ROWS):
            lane, there, x, q = read(
                at, step, at_q, step_q, start, inside, ignore, C, MASKS, SOFT, HAS_IGNORE, ROWS
            )
            to = floats + lane.to(tl.int64) * K * tiles
            found = tl.sum(tl.where(there & (q > 0), spread[None, :] * q, 0.0), 1)
            tl.store(to, tl.load(to, mask=lane < C, other=0.0) + found, mask=lane < C)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def distribution_map(logits, target, weight, curve, alpha, smoothing, out, at_x, at_t, at_w, at_out, space,
                     ignore, S, tiles, C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr,
                     COLUMNS: tl.constexpr, MASKS: tl.constexpr, SOFT: tl.constexpr, HAS_IGNORE: tl.constexpr,
                     ROWS: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the loss of every pixel of a tile, NaN where a label is none."""
    n = tl.program_id(0) // tiles
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    at, step = place(logits, n, pixel, space, at_x, AXES), tl.cast(at_x[1], tl.int64)
    at_q, step_q = place(target, n, pixel, space, at_t, AXES), tl.cast(at_t[1], tl.int64)
    top, best, total, second, other, counts, _, summed, no_label = first_read(
        at, step, at_q, step_q, inside, None, None, ignore, C, MASKS, SOFT, HAS_IGNORE, 0, ROWS, BLOCK, False
    )
    w = weight_of(weight, at_w, n, pixel, inside, counts, space, AXES)
    e = smoothed(smoothing)
    losses, found = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for start in range(0, C, ROWS):
        lane, there, x, q = read(
            at, step, at_q, step_q, start, inside, ignore, C, MASKS, SOFT, HAS_IGNORE, ROWS
        )
        use = there & counts[None, :]
        loss = curves(x, lane, use, top, best, total, second, other, curve, alpha, C, FORM, COLUMNS)[0]
        losses += tl.sum(tl.where(use, loss, 0.0), 0)
        found += tl.sum(tl.where(use & (q > 0), q * loss, 0.0), 0)
    if smoothing is not None:
        found = (1.0 - e) * found + tl.where(summed == 0.0, 0.0, e / C * losses * summed)
    found = tl.where(no_label, float("nan"), tl.where(counts, w * found, 0.0))
    tl.store(place(out, n, pixel, space, at_out, AXES), found, mask=inside)


@triton.jit
def by_field(upstream, lane, C: tl.constexpr, field: tl.constexpr, K: tl.constexpr):
    """Load the gradients by one field of some classes."""
    return tl.load(upstream + lane * K + field, mask=lane < C, other=0.0).to(tl.float32)[:, None]


@triton.jit
def arriving(upstream, lane, p, q, C: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr):
    """Return the gradients that arrive at the probabilities of some classes from their region sums."""
    found = p * 0.0
    if WANT[INTERSECTION]:
        found += by_field(upstream, lane, C, WANT[LOSS], K) * q
    if WANT[PREDICTION]:
        found += by_field(upstream, lane, C, WANT[LOSS] + WANT[INTERSECTION], K)
    if WANT[PREDICTION_SQUARED]:
        place_squared: tl.constexpr = WANT[LOSS] + WANT[INTERSECTION] + WANT[PREDICTION]
        found += 2.0 * by_field(upstream, lane, C, place_squared, K) * p
    return found


@triton.jit(do_not_specialize=["ignore", "tiles"])
def distribution_gradient(logits, target, weight, curve, alpha, smoothing, upstream, pull, out, at_x, at_t,
                          at_w, at_out, at_pull, space, ignore, S, tiles, C: tl.constexpr, AXES: tl.constexpr,
                          FORM: tl.constexpr, COLUMNS: tl.constexpr, MASKS: tl.constexpr, SOFT: tl.constexpr,
                          HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr, ROWS: tl.constexpr,
                          BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the gradient by the logits of a tile: upstream is (N, C, K), or pull the gradient by the map."""
    n = tl.program_id(0) // tiles
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    at, step = place(logits, n, pixel, space, at_x, AXES), tl.cast(at_x[1], tl.int64)
    at_q, step_q = place(target, n, pixel, space, at_t, AXES), tl.cast(at_t[1], tl.int64)
    by_map = tl.zeros([BLOCK], tl.float32)
    if upstream is not None:
        upstream += n.to(tl.int64) * C * K
    else:
        by_map = tl.load(place(pull, n, pixel, space, at_pull, AXES), mask=inside, other=0.0).to(tl.float32)
    PULLS: tl.constexpr = WANT[LOSS]
    top, best, total, second, other, counts, _, pulled, _ = first_read(
        at, step, at_q, step_q, inside, by_map, upstream, ignore, C, MASKS, SOFT, HAS_IGNORE, K, ROWS, BLOCK,
        PULLS,
    )  # fmt: skip
    w = weight_of(weight, at_w, n, pixel, inside, counts, space, AXES)
    e = smoothed(smoothing)
    ratios, mean = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    of_best = tl.zeros([BLOCK], tl.float32)
    at_grad, step_grad = place(out, n, pixel, space, at_out, AXES), tl.cast(at_out[1], tl.int64)
    for writing in tl.static_range(2):
        for start in range(0, C, ROWS):
            lane, there, x, q = read(
                at, step, at_q, step_q, start, inside, ignore, C, MASKS, SOFT, HAS_IGNORE, ROWS
            )
            use = there & counts[None, :]
            q = tl.where(use & (q > 0), q, 0.0)
            _loss, slope, _factor, p, u = curves(
                x, lane, use, top, best, total, second, other, curve, alpha, C, FORM, COLUMNS
            )
            own = p * 0.0
            if PULLS:
                own = slope * (
                    (1.0 - e) * (q * pulls(by_map, upstream, lane, C, K)) + e / C * pulled[None, :]
                )
            # a class pulls all others by p / u; the best one, whose u may be nothing, by its rivals' softmax
            leads = lane[:, None] == best[None, :]
            ratio = tl.where(leads, 0.0, own / tl.where(leads, 1.0, u))
            h = arriving(upstream, lane, p, q, C, WANT, K)
            if writing == 0:
                ratios += tl.sum(tl.where(use, ratio, 0.0), 0)
                of_best += tl.sum(tl.where(use & leads, own, 0.0), 0)
                mean += tl.sum(tl.where(use, p * h, 0.0), 0)
            else:
                rivals = below(x, second) / tl.where(other < TINY, TINY, other)[None, :]
                grad = tl.where(leads, 0.0, of_best[None, :] * rivals) - own
                grad += p * (ratios[None, :] - ratio) + p * (h - mean[None, :])
                to = at_grad[None, :] + lane.to(tl.int64)[:, None] * step_grad
                grad = tl.where(use, w[None, :] * grad, 0.0)
                tl.store(to, grad.to(out.dtype.element_ty), mask=there & inside[None, :])
