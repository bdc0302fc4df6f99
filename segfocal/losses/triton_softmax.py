# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201, RUF005
# mypy: disable-error-code="no-untyped-def, assignment"
"""Softmax on label maps with up to 32 classes: every class of a pixel lies in the registers of one thread.

Classes are unrolled, so that sums over them stay within a thread and no class is padded; the logits are read
once forward and once backward. Formulas as in ``eager_softmax.py``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segfocal.losses.triton_pixel import (
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
    added,
    alpha_of,
    arriving,
    label_of,
    pixel_loss,
    pixels_of,
    place,
    rates,
    zeros,
)


@triton.jit
def read(logits, target, weight, at_x, at_t, at_w, n, pixel, inside, space, ignore, C: tl.constexpr,
         AXES: tl.constexpr, HAS_IGNORE: tl.constexpr):  # fmt: skip
    """Return the logits of every class, the labels and the weights, 0 where ignored."""
    stored = tl.load(place(target, n, pixel, space, at_t, AXES), mask=inside, other=0)
    label = label_of(stored, inside, ignore, C, HAS_IGNORE)
    counts = label != IGNORED
    w = counts.to(tl.float32)
    if weight is not None:
        w = tl.load(place(weight, n, pixel, space, at_w, AXES), mask=inside, other=0.0).to(tl.float32)
        w = tl.where(counts, w, 0.0)
    at = place(logits, n, pixel, space, at_x, AXES)
    step = tl.cast(at_x[1], tl.int64)
    xs = ()
    for _ in tl.static_range(C):
        x = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        at += step  # step by step: multiples of it would occupy registers
        if HAS_IGNORE:
            x = tl.where(counts, x, 0.0)
        xs = xs + (x,)
    return xs, label, w


@triton.jit
def margin_of(xs, label, C: tl.constexpr):
    """Compute the margin, the exponentials of the wrong classes, 0 at the label, and 1 / their sum."""
    largest = tl.full(label.shape, -float("inf"), tl.float32)
    right = tl.zeros(label.shape, tl.float32)
    for c in tl.static_range(C):
        hit = label == c
        wrong = tl.where(hit, -float("inf"), xs[c])
        largest = tl.where(wrong > largest, wrong, largest)
        right = tl.where(hit, xs[c], right)
    largest = tl.where(largest > FINITE, FINITE, tl.where(largest < -FINITE, -FINITE, largest))
    total = tl.zeros(label.shape, tl.float32)
    powers = ()
    for c in tl.static_range(C):
        below = xs[c] - largest
        power = tl.where(label == c, 0.0, tl.exp(tl.where(below > 0, 0.0, below)))
        total += power
        powers = powers + (power,)
    total = tl.where(total < TINY, TINY, total)
    return (largest - right) + tl.log(total), powers, 1.0 / total


@triton.jit
def winner_of(xs, C: tl.constexpr):
    """Return the class of the largest logit, the first of equals."""
    best = xs[0]
    winner = tl.zeros(best.shape, tl.int32)
    for c in tl.static_range(1, C):
        better = xs[c] > best
        best = tl.where(better, xs[c], best)
        winner = tl.where(better, c, winner)
    return winner


@triton.jit
def terms(xs, label, w, curve, alpha, C: tl.constexpr, FORM: tl.constexpr, COLUMNS: tl.constexpr,
          WANT: tl.constexpr, MASS: tl.constexpr):  # fmt: skip
    """Return what every pixel adds to the floating sums, class by class; the weight's sum comes last."""
    margin, powers, scale = margin_of(xs, label, C)
    known = tl.where(label < 0, 0, label)
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    loss, _, factor, p, u = pixel_loss(margin, g, a, b, rest, FORM)
    if alpha is not None:
        loss = loss * alpha_of(alpha, known, C)
    loss, factor, scale = loss * w, factor * w, scale * u
    found = ()
    for c in tl.static_range(C):
        hit = label == c
        q = tl.where(hit, p, powers[c] * scale)
        if WANT[LOSS]:
            found = found + (tl.where(hit, loss, 0.0),)
        if WANT[INTERSECTION]:
            found = found + (tl.where(hit, p * w, 0.0),)
        if WANT[PREDICTION]:
            found = found + (w * q,)
        if WANT[PREDICTION_SQUARED]:
            found = found + (w * (q * q),)
        if WANT[MODULATION]:
            found = found + (tl.where(hit, factor, 0.0),)
        if MASS:
            found = found + (tl.where(hit, w, 0.0),)
    return found


@triton.jit
def tallies(xs, label, C: tl.constexpr, WANT: tl.constexpr):
    """Return three counts of every class in one number: labels, labels met, and decisions times 2^20."""
    winner = label
    if WANT[TP] or WANT[FP] or WANT[FN]:
        winner = tl.where(label >= 0, winner_of(xs, C), NO_LABEL)
    found = ()
    for c in tl.static_range(C):
        of_label, decided = (label == c).to(tl.int32), (winner == c).to(tl.int32)
        found = found + (of_label + of_label * decided * 1024 + decided * 1048576,)
    return found


@triton.jit(do_not_specialize=["ignore", "programs", "turns"])
def softmax_sums(logits, target, weight, curve, alpha, floats, ints, at_x, at_t, at_w, space, ignore, S,
                 programs, turns, C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr,
                 COLUMNS: tl.constexpr, HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr,
                 Q: tl.constexpr, SUMS: tl.constexpr, TALLY: tl.constexpr, MASS: tl.constexpr,
                 BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the sums of every ``programs``-th tile of one image: (N C K, programs) and (N C Q, programs)."""
    n, k = tl.program_id(0) // programs, tl.program_id(0) % programs
    sums = zeros(C * SUMS, BLOCK, tl.float32)
    tally = zeros(C * TALLY, BLOCK, tl.int32)
    invalid = tl.zeros([BLOCK], tl.int32)
    for turn in range(turns):
        pixel, inside = pixels_of(k + turn * programs, S, BLOCK, LONG)
        xs, label, w = read(
            logits, target, weight, at_x, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE
        )
        invalid += (label == NO_LABEL).to(tl.int32)
        if TALLY:  # first, so that the logits are no longer needed when the sums are added
            tally = added(tally, tallies(xs, label, C, WANT), C)
        if SUMS > 0:
            sums = added(sums, terms(xs, label, w, curve, alpha, C, FORM, COLUMNS, WANT, MASS), C * SUMS)
    wrong = tl.sum(invalid, 0)
    poison = tl.where(wrong > 0, float("nan"), 0.0)
    for c in tl.static_range(C):
        row = n.to(tl.int64) * C + c
        labels, met, decided = 0, 0, 0
        if TALLY:
            # one reduction for all three: 20 bits hold the sum of a program's pixels
            three = tally[c].to(tl.int64)
            three = tl.sum((three & 1023) | ((three & 1047552) << 10) | ((three >> 20) << 40), 0)
            labels = (three & 1048575).to(tl.int32)
            met = ((three >> 20) & 1048575).to(tl.int32)
            decided = (three >> 40).to(tl.int32)
        at = floats + row * K * programs + k
        for j in tl.static_range(SUMS - MASS):
            tl.store(at, tl.sum(sums[c * SUMS + j], 0) + poison)
            at += programs
        if WANT[WEIGHT] or WANT[TARGET] or WANT[TARGET_SQUARED]:
            mass = poison
            if MASS:
                mass += tl.sum(sums[c * SUMS + SUMS - 1], 0)
            else:
                mass += labels.to(tl.float32)
            for _ in tl.static_range(WANT[WEIGHT] + WANT[TARGET] + WANT[TARGET_SQUARED]):
                tl.store(at, mass)
                at += programs
        at_count = ints + row * Q * programs + k
        if WANT[COUNT]:
            tl.store(at_count, labels)
            at_count += programs
        if WANT[TP]:
            tl.store(at_count, met)
            at_count += programs
        if WANT[FP]:
            tl.store(at_count, decided - met)
            at_count += programs
        if WANT[FN]:
            tl.store(at_count, labels - met)
            at_count += programs
        if c == 0:
            tl.store(at_count, wrong)
        else:
            tl.store(at_count, 0)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def softmax_map(logits, target, weight, curve, alpha, out, at_x, at_t, at_w, at_out, space, ignore, S, tiles,
                C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr, COLUMNS: tl.constexpr,
                HAS_IGNORE: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the loss of every pixel of a tile, NaN where the label is none."""
    n = tl.program_id(0) // tiles
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    xs, label, w = read(
        logits, target, weight, at_x, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE
    )
    known = tl.where(label < 0, 0, label)
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    margin, _, _ = margin_of(xs, label, C)
    loss, _, _, _, _ = pixel_loss(margin, g, a, b, rest, FORM)
    if alpha is not None:
        loss = loss * alpha_of(alpha, known, C)
    loss = tl.where(label == NO_LABEL, float("nan"), loss * w)
    tl.store(place(out, n, pixel, space, at_out, AXES), loss, mask=inside)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def softmax_gradient(logits, target, weight, curve, alpha, upstream, pull, out, at_x, at_t, at_w, at_out,
                     at_pull, space, ignore, S, tiles, C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr,
                     COLUMNS: tl.constexpr, HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr,
                     BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the gradient by the logits of a tile: upstream is (N, C, K), or pull the gradient by the map."""
    n = tl.program_id(0) // tiles
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    xs, label, w = read(
        logits, target, weight, at_x, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE
    )
    known = tl.where(label < 0, 0, label)
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    margin, powers, scale = margin_of(xs, label, C)
    _, slope, _, p, u = pixel_loss(margin, g, a, b, rest, FORM)
    pulled = tl.zeros(label.shape, tl.float32)
    if upstream is not None:
        upstream += n.to(tl.int64) * C * K
        if WANT[LOSS]:
            pulled = tl.load(upstream + known * K).to(tl.float32)
    else:
        pulled = tl.load(place(pull, n, pixel, space, at_pull, AXES), mask=inside, other=0.0).to(tl.float32)
    if alpha is not None:
        pulled = pulled * alpha_of(alpha, known, C)
    pulled = tl.where(label < 0, 0.0, pulled * slope * w)
    region: tl.constexpr = WANT[INTERSECTION] or WANT[PREDICTION] or WANT[PREDICTION_SQUARED]
    to_loss, to_p = scale * pulled, scale * u
    mean = tl.zeros(label.shape, tl.float32)
    if region:
        for c in tl.static_range(C):
            q = tl.where(label == c, p, powers[c] * to_p)
            mean += q * arriving(upstream + c * K, q, (label == c).to(tl.float32), WANT)
    at = place(out, n, pixel, space, at_out, AXES)
    step = tl.cast(at_out[1], tl.int64)
    for c in tl.static_range(C):
        hit = label == c
        grad = tl.where(hit, -pulled, powers[c] * to_loss)
        if region:
            q = tl.where(hit, p, powers[c] * to_p)
            grad += w * (q * (arriving(upstream + c * K, q, hit.to(tl.float32), WANT) - mean))
        tl.store(at, grad.to(out.dtype.element_ty), mask=inside)
        at += step
