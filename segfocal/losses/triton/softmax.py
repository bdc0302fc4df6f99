# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201, RUF005
# mypy: disable-error-code="no-untyped-def, assignment"
"""Softmax on label maps with up to 32 classes: every class of a pixel lies in the registers of one thread.

Classes are unrolled, so that sums over them stay within a thread and no class is padded; the logits are read
once forward and once backward. Formulas as in ``eager/softmax.py``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from segfocal.losses.triton.pixel import (
    FINITE,
    IGNORED,
    INTERSECTION,
    LOSS,
    NO_LABEL,
    PREDICTION,
    PREDICTION_SQUARED,
    TINY,
    alpha_of,
    arriving,
    label_of,
    part,
    pixel_loss,
    pixels_of,
    place,
    rates,
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
    """Go through the classes of every pixel.

    Returns:
        Margin, exponentials of the wrong classes (0 at the label), 1 / their sum, and the class of the
        largest logit, the first of equals.
    """
    largest = tl.full(label.shape, -float("inf"), tl.float32)
    right = tl.zeros(label.shape, tl.float32)
    rival = tl.zeros(label.shape, tl.int32)
    wrongs = ()
    for c in tl.static_range(C):
        hit = label == c
        wrong = tl.where(hit, -float("inf"), xs[c])
        right = tl.where(hit, xs[c], right)
        rival = tl.where(wrong > largest, c, rival)
        largest = tl.maximum(largest, wrong)  # may pass over a NaN: the sum does not
        wrongs = wrongs + (wrong,)
    winner = tl.where((right > largest) | ((right == largest) & (label < rival)), label, rival)
    largest = tl.where(largest > FINITE, FINITE, tl.where(largest < -FINITE, -FINITE, largest))
    total = tl.zeros(label.shape, tl.float32)
    powers = ()
    for c in tl.static_range(C):
        # an infinite logit is the largest
        if C == 2:  # the one rival is the largest
            power = tl.where(label == c, 0.0, 1.0)
        else:
            below = tl.minimum(wrongs[c] - largest, 0.0, propagate_nan=tl.PropagateNan.ALL)
            power = tl.exp2(below * 1.4426950408889634)
        total += power
        powers = powers + (power,)
    margin, scale = largest - right, tl.full(label.shape, 1.0, tl.float32)
    if C > 2:
        total = tl.where(total < TINY, TINY, total)
        margin, scale = margin + tl.log(total), 1.0 / total
    return margin, powers, scale, winner


@triton.jit
def half_of(label):
    """Return half the label: a second way to ask for classes, else the first answers occupy registers."""
    return label.to(tl.float32) * 0.5


@triton.jit
def by_field(upstream, C: tl.constexpr, K: tl.constexpr):
    """Load the gradients by one field of every class."""
    found = ()
    for c in tl.static_range(C):
        found = found + (tl.load(upstream + c * K).to(tl.float32),)
    return found


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
    margin, _, _, _ = margin_of(xs, label, C)
    loss, _, _, _, _ = pixel_loss(margin, g, a, b, rest, FORM)
    if alpha is not None:
        loss = part(alpha_of(alpha, known, C), loss)
    loss = tl.where(label == NO_LABEL, float("nan"), part(w, loss))
    tl.store(place(out, n, pixel, space, at_out, AXES), loss, mask=inside)


@triton.jit(do_not_specialize=["ignore", "tiles"])
def softmax_gradient(logits, target, weight, curve, alpha, upstream, pull, out, at_x, at_t, at_w, at_out,
                     at_pull, space, ignore, S, tiles, C: tl.constexpr, AXES: tl.constexpr,
                     FORM: tl.constexpr, COLUMNS: tl.constexpr, HAS_IGNORE: tl.constexpr, WANT: tl.constexpr,
                     K: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the gradient by the logits of a tile: upstream is (N, C, K), or pull the gradient by the map."""
    n = tl.program_id(0) // tiles
    pixel, inside = pixels_of(tl.program_id(0) % tiles, S, BLOCK, LONG)
    xs, label, w = read(
        logits, target, weight, at_x, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE
    )
    known = tl.where(label < 0, 0, label)
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    margin, powers, scale, _ = margin_of(xs, label, C)
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
    REGION: tl.constexpr = WANT[INTERSECTION] or WANT[PREDICTION] or WANT[PREDICTION_SQUARED]
    to_loss, to_p, of_label = scale * pulled, scale * u, -pulled
    mean, mass = tl.zeros(label.shape, tl.float32), to_p * w
    by_p, by_square = (), ()
    if REGION:
        BY_P: tl.constexpr = WANT[LOSS] + WANT[INTERSECTION]
        by_p = by_field(upstream + BY_P, C * WANT[PREDICTION], K)
        by_square = by_field(upstream + BY_P + WANT[PREDICTION], C * WANT[PREDICTION_SQUARED], K)
        for c in tl.static_range(C * WANT[PREDICTION]):
            mean += powers[c] * by_p[c]
        for c in tl.static_range(C * WANT[PREDICTION_SQUARED]):
            mean += powers[c] * (powers[c] * to_p) * (2.0 * by_square[c])
        own = arriving(upstream + known * K, p, 1.0, WANT)
        mean = mean * to_p + tl.where(label < 0, 0.0, p * own)
        of_label += w * (p * (own - mean))
    at = place(out, n, pixel, space, at_out, AXES)
    step = tl.cast(at_out[1], tl.int64)
    half = half_of(label)
    for c in tl.static_range(C):
        rate = to_loss
        if REGION:
            h = -mean
            if WANT[PREDICTION]:
                h += by_p[c]
            if WANT[PREDICTION_SQUARED]:
                h += 2.0 * by_square[c] * (powers[c] * to_p)
            rate += mass * h
        grad = tl.where(half == 0.5 * c, of_label, powers[c] * rate)
        tl.store(at, grad.to(out.dtype.element_ty), mask=inside)
        at += step
