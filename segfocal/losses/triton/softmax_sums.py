# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201, RUF005
# mypy: disable-error-code="no-untyped-def, assignment"
"""Softmax on label maps with up to 32 classes: the sums, of which every thread keeps its own per class."""

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
    TP,
    WEIGHT,
    alpha_of,
    part,
    pixel_loss,
    pixels_of,
    rates,
    zeros,
)
from segfocal.losses.triton.softmax import half_of, margin_of, read


@triton.jit
def summed(sums, margin, powers, scale, label, w, curve, alpha, C: tl.constexpr, FORM: tl.constexpr,
           COLUMNS: tl.constexpr, AT: tl.constexpr):  # fmt: skip
    """Return the floating sums with every pixel added; the sum of p holds the wrong classes only."""
    known = tl.where(label < 0, 0, label)
    g, a, b, rest = rates(curve, known, FORM, COLUMNS)
    loss, _, factor, p, u = pixel_loss(margin, g, a, b, rest, FORM)
    if alpha is not None:
        loss = part(alpha_of(alpha, known, C), loss)
    to_p = scale * u
    loss, factor, mass, to_mass = part(w, loss), factor * w, p * w, to_p * w
    half = half_of(label)
    found = ()
    for c in tl.static_range(C):
        hit = half == 0.5 * c
        if AT[LOSS] >= 0:
            found = found + (sums[len(found)] + tl.where(hit, loss, 0.0),)
        if AT[INTERSECTION] >= 0:
            found = found + (sums[len(found)] + tl.where(hit, mass, 0.0),)
        if AT[PREDICTION] >= 0:
            found = found + (sums[len(found)] + powers[c] * to_mass,)
        if AT[PREDICTION_SQUARED] >= 0:
            q = tl.where(hit, p, powers[c] * to_p)
            found = found + (sums[len(found)] + w * (q * q),)
        if AT[MODULATION] >= 0:
            found = found + (sums[len(found)] + tl.where(hit, factor, 0.0),)
        if AT[WEIGHT] >= 0:
            found = found + (sums[len(found)] + tl.where(hit, w, 0.0),)
    return found


@triton.jit
def counted(tally, winner, label, C: tl.constexpr, DECIDE: tl.constexpr):
    """Return three counts of every class in one number: labels, labels met, and decisions times 2^20."""
    half = half_of(label)
    more = tl.where(winner == label, 1025, 1)
    winner = tl.where(label >= 0, winner, NO_LABEL)
    found = ()
    for c in tl.static_range(C):
        count = tally[c] + tl.where(half == 0.5 * c, more, 0)
        if DECIDE:
            count += tl.where(winner == c, 1048576, 0)
        found = found + (count,)
    return found


@triton.jit
def histogram(values, counts, BINS: tl.constexpr):
    """Count values, BINS at once; with integers the order of adding changes nothing."""
    return tl.histogram(tl.where(counts, values, 0), BINS, mask=counts)


@triton.jit
def put_counts(floats, ints, n, k, programs, poison, labels, met, decided, C: tl.constexpr, K: tl.constexpr,
               Q: tl.constexpr, BINS: tl.constexpr, WANT: tl.constexpr, AT: tl.constexpr):  # fmt: skip
    """Store the counts of all classes, and the masses that are counts."""
    c = tl.arange(0, BINS)
    row = n.to(tl.int64) * C + c
    at = floats + row * K * programs + k
    at += (WANT[LOSS] + WANT[INTERSECTION] + WANT[PREDICTION]) * programs
    at += (WANT[PREDICTION_SQUARED] + WANT[MODULATION]) * programs
    if AT[WEIGHT] < 0:
        for _ in tl.static_range(WANT[WEIGHT] + WANT[TARGET] + WANT[TARGET_SQUARED]):
            tl.store(at, labels.to(tl.float32) + poison, mask=c < C)
            at += programs
    at_count = ints + row * Q * programs + k
    if WANT[COUNT]:
        tl.store(at_count, labels, mask=c < C)
        at_count += programs
    if WANT[TP]:
        tl.store(at_count, met, mask=c < C)
        at_count += programs
    if WANT[FP]:
        tl.store(at_count, decided - met, mask=c < C)
        at_count += programs
    if WANT[FN]:
        tl.store(at_count, labels - met, mask=c < C)


@triton.jit
def of_class(sums, c: tl.constexpr, at: tl.constexpr, SUMS: tl.constexpr):
    """Sum one accumulator over the lanes."""
    return tl.sum(sums[c * SUMS + at], 0)


@triton.jit(do_not_specialize=["ignore", "programs", "turns"])
def softmax_sums(logits, target, weight, curve, alpha, floats, ints, at_x, at_t, at_w, space, ignore, S,
                 programs, turns, C: tl.constexpr, AXES: tl.constexpr, FORM: tl.constexpr,
                 COLUMNS: tl.constexpr, HAS_IGNORE: tl.constexpr, WANT: tl.constexpr, K: tl.constexpr,
                 Q: tl.constexpr, AT: tl.constexpr, SUMS: tl.constexpr, TALLY: tl.constexpr,
                 BINS: tl.constexpr, BLOCK: tl.constexpr, LONG: tl.constexpr):  # fmt: skip
    """Write the sums of every ``programs``-th tile of one image: (N C K, programs) and (N C Q, programs).

    AT names the places of the accumulators, of which a class has SUMS. Counts are kept in lanes where TALLY,
    in histograms where BINS: many classes need the registers.
    """
    n, k = tl.program_id(0) // programs, tl.program_id(0) % programs
    DECIDE: tl.constexpr = WANT[TP] or WANT[FP] or WANT[FN]
    sums = zeros(C * SUMS, BLOCK, tl.float32)
    tally = zeros(C * TALLY, BLOCK, tl.int32)
    if BINS > 0:
        all_labels, all_met = tl.zeros([BINS], tl.int32), tl.zeros([BINS], tl.int32)
        all_decided = tl.zeros([BINS], tl.int32)
    invalid = tl.zeros([BLOCK], tl.int32)
    for turn in range(turns):
        pixel, inside = pixels_of(k + turn * programs, S, BLOCK, LONG)
        xs, label, w = read(
            logits, target, weight, at_x, at_t, at_w, n, pixel, inside, space, ignore, C, AXES, HAS_IGNORE
        )
        invalid += (label == NO_LABEL).to(tl.int32)
        margin, powers, scale, winner = margin_of(xs, label, C)
        if TALLY:
            tally = counted(tally, winner, label, C, DECIDE)
        if BINS > 0:
            all_labels += histogram(label, label >= 0, BINS)
            if DECIDE:
                all_met += histogram(label, (label >= 0) & (winner == label), BINS)
                all_decided += histogram(winner, label >= 0, BINS)
        if SUMS > 0:
            sums = summed(sums, margin, powers, scale, label, w, curve, alpha, C, FORM, COLUMNS, AT)
    wrong = tl.sum(invalid, 0)
    poison = tl.where(wrong > 0, float("nan"), 0.0)
    if BINS > 0:
        put_counts(
            floats, ints, n, k, programs, poison, all_labels, all_met, all_decided, C, K, Q, BINS, WANT, AT
        )
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
        of_label = 0.0
        if AT[INTERSECTION] >= 0:
            of_label = of_class(sums, c, AT[INTERSECTION], SUMS)
        if WANT[LOSS]:
            tl.store(at, of_class(sums, c, AT[LOSS], SUMS) + poison)
            at += programs
        if WANT[INTERSECTION]:
            tl.store(at, of_label + poison)
            at += programs
        if WANT[PREDICTION]:
            tl.store(at, of_label + of_class(sums, c, AT[PREDICTION], SUMS) + poison)
            at += programs
        if WANT[PREDICTION_SQUARED]:
            tl.store(at, of_class(sums, c, AT[PREDICTION_SQUARED], SUMS) + poison)
            at += programs
        if WANT[MODULATION]:
            tl.store(at, of_class(sums, c, AT[MODULATION], SUMS) + poison)
            at += programs
        if TALLY or AT[WEIGHT] >= 0:
            mass = labels * 1.0
            if AT[WEIGHT] >= 0:
                mass = of_class(sums, c, AT[WEIGHT], SUMS)
            for _ in tl.static_range(WANT[WEIGHT] + WANT[TARGET] + WANT[TARGET_SQUARED]):
                tl.store(at, mass + poison)
                at += programs
        at_count = ints + row * Q * programs + k
        if TALLY:
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
        tl.store(ints + (row * Q + Q - 1) * programs + k, wrong if c == 0 else 0)
