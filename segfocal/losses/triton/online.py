# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def"
"""Softmax on label maps with more than 32 classes: classes come in chunks, the logits are read twice.

The first read finds the margin by an online logsumexp over the wrong classes, the second the sums of every
class, or the gradient. Formulas as in ``eager/softmax.py``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segfocal.losses.triton.pixel import (
    COUNT,
    FINITE,
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
    TINY,
    TP,
    WEIGHT,
    alpha_of,
    label_of,
    part,
    pixel_loss,
    pixels_of,
    place,
    rates,
)


@triton.jit
def read(target, weight, at_t, at_w, n, pixel, inside, space, ignore, C: tl.constexpr, AXES: tl.constexpr,
         HAS_IGNORE: tl.constexpr):  # fmt: skip
    """Return labels and weights, 0 where ignored."""
    stored = tl.load(place(target, n, pixel, space, at_t, AXES), mask=inside, other=0)
    label = label_of(stored, inside, ignore, C, HAS_IGNORE)
    w = (label != IGNORED).to(tl.float32)
    if weight is not None:
        given = tl.load(place(weight, n, pixel, space, at_w, AXES), mask=inside, other=0.0).to(tl.float32)
        w = tl.where(label != IGNORED, given, 0.0)
    return label, w


@triton.jit
def chunk(at, step, start, inside, counts, C: tl.constexpr, ROWS: tl.constexpr):
    """Load the logits of some classes, (ROWS, BLOCK): 0 where ignored, -inf beyond the last class."""
    c = start + tl.arange(0, ROWS)
    there = (c < C)[:, None]
    x = tl.load(at[None, :] + c.to(tl.int64)[:, None] * step, mask=there & inside[None, :], other=0.0)
    x = tl.where(counts[None, :], x.to(tl.float32), 0.0)
    return c[:, None], there, tl.where(there, x, -float("inf"))


@triton.jit
def power_of(x, largest):
    """Compute ``e^(x - largest)``; an infinite logit counts as the largest."""
    below = x - largest[None, :]
    return tl.exp(tl.where(below > 0, 0.0, below))


@triton.jit
def larger(one, two):
    """Return the maximum, clamped so that differences are finite."""
    found = tl.where(one > two, one, two)
    return tl.where(found > FINITE, FINITE, tl.where(found < -FINITE, -FINITE, found))


@triton.jit
def by_upstream(upstream, c, there, field: tl.constexpr, K: tl.constexpr):
    """Load the gradients by one field of some classes."""
    return tl.load(upstream + c * K + field, mask=there, other=0.0).to(tl.float32)


@triton.jit
def first_read(at, step, inside, label, upstream, C: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
               BY_P: tl.constexpr, BY_SQUARE: tl.constexpr, K: tl.constexpr):  # fmt: skip
    """Go through all classes once.

    Returns:
        Largest wrong logit, logit of the label, sum of the wrong classes' exponentials, that sum weighted by
        the upstream gradients of P and (of the squares) of P2, and the class of the largest logit.
    """
    counts = label != IGNORED
    largest, right = tl.full([BLOCK], -FINITE, tl.float32), tl.zeros([BLOCK], tl.float32)
    total, by_p = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    by_square, best = tl.zeros([BLOCK], tl.float32), tl.full([BLOCK], -float("inf"), tl.float32)
    winner = tl.zeros([BLOCK], tl.int32)
    for start in range(0, C, ROWS):
        c, there, x = chunk(at, step, start, inside, counts, C, ROWS)
        hit = c == label[None, :]
        right += tl.sum(tl.where(hit, x, 0.0), 0)
        new = larger(largest, tl.max(tl.where(hit, -float("inf"), x), 0))
        power = tl.where(hit, 0.0, power_of(x, new))
        shrink = tl.exp(largest - new)
        total = total * shrink + tl.sum(power, 0)
        if BY_P >= 0:
            by_p = by_p * shrink + tl.sum(power * by_upstream(upstream, c, there, BY_P, K), 0)
        if BY_SQUARE >= 0:
            more = power * power * by_upstream(upstream, c, there, BY_SQUARE, K)
            by_square = by_square * (shrink * shrink) + tl.sum(more, 0)
        largest = new
        highest = tl.max(x, 0)
        first = tl.min(tl.where(x == highest[None, :], c, C), 0)
        winner = tl.where(highest > best, first, winner)
        best = tl.where(highest > best, highest, best)
    return largest, right, tl.where(total < TINY, TINY, total), by_p, by_square, winner


@triton.jit
def put(at, c, there, value, N_ROWS: tl.constexpr, parts):
    """Store one sum of every class of a chunk; ``N_ROWS`` sums of a class follow one another."""
    tl.store(at + c.to(tl.int64) * N_ROWS * parts, value, mask=there)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def online_sums(logits, target, weight, curve, alpha, floats, ints, at_x, at_t, at_w, space, ignore, S, tiles,
                C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr, COLUMNS: tl.constexpr,
                HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr, Q: tl.constexpr,
                ROWS: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the sums of one tile: (N C K, tiles) and (N C Q, tiles)."""
    n, k = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    pixel, inside = pixels_of(k, S, BLOCK, LONG)
    label, w = read(target, weight, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE)
    at, step = place(logits, n, pixel, space, at_x, AXES), tl.cast(at_x[1], tl.int64)
    largest, right, total, _, _, winner = first_read(at, step, inside, label, None, C, ROWS, BLOCK, -1, -1, K)
    known = tl.where(label < 0, 0, label)
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    loss, _, factor, p, u = pixel_loss((largest - right) + tl.log(total), g, a, b, rest, FORM)
    if alpha is not None:
        loss = part(alpha_of(alpha, known, C), loss)
    loss, factor, mass, scale = part(w, loss), factor * w, p * w, u / total
    winner = tl.where(label >= 0, winner, NO_LABEL)
    wrong = tl.sum((label == NO_LABEL).to(tl.int32), 0)
    poison = tl.where(wrong > 0, float("nan"), 0.0)
    floats += n.to(tl.int64) * C * K * tiles + k
    ints += n.to(tl.int64) * C * Q * tiles + k
    for start in range(0, C, ROWS):
        lane = start + tl.arange(0, ROWS)
        c, there = lane[:, None], lane < C
        hit = c == label[None, :]
        to, to_count = floats, ints
        if WANT[LOSS]:
            put(to, lane, there, tl.sum(tl.where(hit, loss[None, :], 0.0), 1) + poison, K, tiles)
            to += tiles
        if WANT[INTERSECTION]:
            put(to, lane, there, tl.sum(tl.where(hit, mass[None, :], 0.0), 1) + poison, K, tiles)
            to += tiles
        if WANT[PREDICTION] or WANT[PREDICTION_SQUARED]:
            x = chunk(at, step, start, inside, label != IGNORED, C, ROWS)[2]
            q = tl.where(hit, p[None, :], power_of(x, largest) * scale[None, :])
            if WANT[PREDICTION]:
                put(to, lane, there, tl.sum(w[None, :] * q, 1) + poison, K, tiles)
                to += tiles
            if WANT[PREDICTION_SQUARED]:
                put(to, lane, there, tl.sum(w[None, :] * (q * q), 1) + poison, K, tiles)
                to += tiles
        if WANT[MODULATION]:
            put(to, lane, there, tl.sum(tl.where(hit, factor[None, :], 0.0), 1) + poison, K, tiles)
            to += tiles
        if WANT[WEIGHT] or WANT[TARGET] or WANT[TARGET_SQUARED]:
            found = tl.sum(tl.where(hit, w[None, :], 0.0), 1) + poison
            for _field in tl.static_range(WANT[WEIGHT] + WANT[TARGET] + WANT[TARGET_SQUARED]):
                put(to, lane, there, found, K, tiles)
                to += tiles
        if Q > 1:
            labels = tl.sum(hit.to(tl.int32), 1)
            decided = c == winner[None, :]
            met = tl.sum((hit & decided).to(tl.int32), 1)
            if WANT[COUNT]:
                put(to_count, lane, there, labels, Q, tiles)
                to_count += tiles
            if WANT[TP]:
                put(to_count, lane, there, met, Q, tiles)
                to_count += tiles
            if WANT[FP]:
                put(to_count, lane, there, tl.sum(decided.to(tl.int32), 1) - met, Q, tiles)
                to_count += tiles
            if WANT[FN]:
                put(to_count, lane, there, labels - met, Q, tiles)
                to_count += tiles
        put(to_count, lane, there, tl.where(lane == 0, wrong, 0), Q, tiles)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def online_map(logits, target, weight, curve, alpha, out, at_x, at_t, at_w, at_out, space, ignore, S, tiles,
               C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr, COLUMNS: tl.constexpr,
               HAS_IGNORE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
               LONG: tl.constexpr):  # fmt: skip
    """Write the loss of every pixel of a tile, NaN where the label is none."""
    n = tl.program_id(0) // tiles
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    label, w = read(target, weight, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE)
    at, step = place(logits, n, pixel, space, at_x, AXES), tl.cast(at_x[1], tl.int64)
    largest, right, total, _, _, _ = first_read(at, step, inside, label, None, C, ROWS, BLOCK, -1, -1, 0)
    known = tl.where(label < 0, 0, label)
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    loss, _, _, _, _ = pixel_loss((largest - right) + tl.log(total), g, a, b, rest, FORM)
    if alpha is not None:
        loss = part(alpha_of(alpha, known, C), loss)
    loss = tl.where(label == NO_LABEL, float("nan"), part(w, loss))
    tl.store(place(out, n, pixel, space, at_out, AXES), loss, mask=inside)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def online_gradient(logits, target, weight, curve, alpha, upstream, pull, out, at_x, at_t, at_w, at_out,
                    at_pull, space, ignore, S, tiles, C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr,
                    COLUMNS: tl.constexpr, HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr,
                    ROWS: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the gradient by the logits of a tile: upstream is (N, C, K), or pull the gradient by the map."""
    n = tl.program_id(0) // tiles
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    label, w = read(target, weight, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE)
    at, step = place(logits, n, pixel, space, at_x, AXES), tl.cast(at_x[1], tl.int64)
    BY_I: tl.constexpr = WANT[LOSS] if WANT[INTERSECTION] else -1
    BY_P: tl.constexpr = WANT[LOSS] + WANT[INTERSECTION] if WANT[PREDICTION] else -1
    BY_SQUARE: tl.constexpr = (
        WANT[LOSS] + WANT[INTERSECTION] + WANT[PREDICTION] if WANT[PREDICTION_SQUARED] else -1
    )
    known = tl.where(label < 0, 0, label)
    pulled = tl.zeros([BLOCK], tl.float32)
    by_label = tl.zeros([BLOCK], tl.float32)
    if upstream is not None:
        upstream += n.to(tl.int64) * C * K
        if WANT[LOSS]:
            pulled = tl.load(upstream + known * K).to(tl.float32)
        if WANT[INTERSECTION]:
            by_label = tl.load(upstream + known * K + BY_I).to(tl.float32)
    else:
        pulled = tl.load(place(pull, n, pixel, space, at_pull, AXES), mask=inside, other=0.0).to(tl.float32)
    largest, right, total, by_p, by_square, _ = first_read(
        at, step, inside, label, upstream, C, ROWS, BLOCK, BY_P, BY_SQUARE, K
    )
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    _, slope, _, p, u = pixel_loss((largest - right) + tl.log(total), g, a, b, rest, FORM)
    if alpha is not None:
        pulled = pulled * alpha_of(alpha, known, C)
    pulled = tl.where(label < 0, 0.0, pulled * slope * w)
    to_loss, to_p = pulled / total, u / total
    own = by_label
    if BY_P >= 0:
        own += tl.load(upstream + known * K + BY_P).to(tl.float32)
    if BY_SQUARE >= 0:
        own += 2.0 * tl.load(upstream + known * K + BY_SQUARE).to(tl.float32) * p
        by_p += 2.0 * to_p * by_square
    mean = to_p * by_p + tl.where(label < 0, 0.0, p * own)
    at_grad, step_grad = place(out, n, pixel, space, at_out, AXES), tl.cast(at_out[1], tl.int64)
    for start in range(0, C, ROWS):
        c, there, x = chunk(at, step, start, inside, label != IGNORED, C, ROWS)
        hit = c == label[None, :]
        power = power_of(x, largest)
        grad = tl.where(hit, -pulled[None, :], power * to_loss[None, :])
        if BY_I >= 0 or BY_P >= 0 or BY_SQUARE >= 0:
            q = tl.where(hit, p[None, :], power * to_p[None, :])
            h = tl.where(hit, by_label[None, :], 0.0) - mean[None, :]
            if BY_P >= 0:
                h += by_upstream(upstream, c, there, BY_P, K)
            if BY_SQUARE >= 0:
                h += 2.0 * by_upstream(upstream, c, there, BY_SQUARE, K) * q
            grad += w[None, :] * (q * h)
        to = at_grad[None, :] + c.to(tl.int64) * step_grad
        tl.store(to, grad.to(out.dtype.element_ty), mask=there & inside[None, :])
