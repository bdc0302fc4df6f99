# The compiler gives arguments their types, and knows tuples by their sums only.
# ruff: noqa: ANN001, ANN201, RUF005
# mypy: disable-error-code="no-untyped-def, assignment"
"""The pixel losses of ``primitive/pixel.py`` and how pixels are read, as functions for the kernels.

All arithmetic is float32. ``exp_neg`` and ``log1p_unit`` keep their relative precision far into the tails,
where the hardware's exponential loses a digit or two. Comparisons are written so that a NaN stays one.
"""

from __future__ import annotations

import triton
import triton.language as tl

FINITE = tl.constexpr(1e30)  # see pixel.FINITE
TINY = tl.constexpr(1.17549435e-38)  # the smallest normal number
IGNORED = tl.constexpr(-1)  # in place of a label
NO_LABEL = tl.constexpr(-2)

# places of fields.FIELDS among the flags of a kernel
LOSS = tl.constexpr(0)
INTERSECTION = tl.constexpr(1)
PREDICTION = tl.constexpr(2)
PREDICTION_SQUARED = tl.constexpr(3)
MODULATION = tl.constexpr(4)
WEIGHT = tl.constexpr(5)
TARGET = tl.constexpr(6)
TARGET_SQUARED = tl.constexpr(7)
COUNT = tl.constexpr(8)
TP = tl.constexpr(9)
FP = tl.constexpr(10)
FN = tl.constexpr(11)


@triton.jit
def exp_neg(x):
    """Compute ``e^x`` for x <= 0; 0 far below the smallest normal number."""
    limited = tl.where(x < -104.0, -104.0, x)
    whole = limited * 1.4426950408889634
    # what rounding took from the product, and from the constant
    rest = tl.fma(limited, 1.4426950408889634, -whole) + limited * 1.9259630e-8
    power = tl.exp2(whole)
    return tl.fma(power, rest * 0.6931471805599453, power)


@triton.jit
def log1p_unit(x):
    """Compute ``log(1 + x)`` for 0 <= x <= 1 with relative error below 2e-7: a minimax fit."""
    q = x * -0.00324395947 + 0.0198511664
    q = q * x - 0.0569589786
    q = q * x + 0.106035986
    q = q * x - 0.153055594
    q = q * x + 0.196759277
    q = q * x - 0.249541314
    q = q * x + 0.333299622
    q = q * x - 0.499999024
    q = q * x + 0.999999995
    return q * x


@triton.jit
def split(margin):
    """Compute p, u, nll and log u from the margin; see ``pixel.split``."""
    wrong = margin > 0
    small = exp_neg(tl.where(wrong, -margin, margin))
    larger = 1.0 / (1.0 + small)
    smaller = small * larger
    rest = log1p_unit(small)
    limited = tl.where(margin < -FINITE, -FINITE, margin)
    p = tl.where(wrong, smaller, larger)
    u = tl.where(wrong, larger, smaller)
    return p, u, tl.where(wrong, margin, 0.0) + rest, tl.where(wrong, 0.0, limited) - rest


@triton.jit
def part(weight, value):
    """Return ``weight * value`` of a loss, 0 for weight 0 where the loss is infinite too; a NaN stays one."""
    finite = tl.where(value == float("inf"), 0.0, value)
    return weight * tl.where(weight == 0.0, finite, value)


@triton.jit
def pixel_loss(margin, g, a, b, c, FORM: tl.constexpr):
    """Compute loss, slope, factor ``u^g``, p and u; a, b, c are the rows of the curve below gamma."""
    p, u, nll, log_u = split(margin)
    factor = exp_neg(g * log_u)
    scaled = factor
    if FORM == "reduced":
        scaled = factor / exp_neg(g * b)
    pull = g * (p * tl.where(nll > FINITE, FINITE, nll))
    loss = scaled * nll
    slope = scaled * (u + pull)
    if FORM == "poly":
        extra = a * (factor * u)
        loss = loss + extra
        slope = slope + (g + 1.0) * (p * extra)
    if FORM == "tail":
        loss = part(a, nll) + part(1.0 - a, loss)
        slope = a * u + (1.0 - a) * slope
    if FORM == "knee":
        hard = margin > a
        loss = tl.where(hard, loss + c, b * nll)
        slope = tl.where(hard, slope, b * u)
    if FORM == "reduced":
        hard = margin > a
        loss = tl.where(hard, nll, loss)
        slope = tl.where(hard, u, slope)
    if FORM == "convex":
        _, steep_u, steep_nll, _ = split(g * margin - a)
        loss = part(b, nll) + part(1.0 - b, steep_nll / g)
        slope = b * u + (1.0 - b) * steep_u
    return loss, slope, factor, p, u


@triton.jit
def rates(curve, which, FORM: tl.constexpr, COLUMNS: tl.constexpr):
    """Load gamma and what the form adds; ``which`` is a class, or one for every pixel."""
    at = curve
    if COLUMNS > 1:
        at = curve + which
    g = tl.load(at).to(tl.float32)
    a, b, c = g, g, g
    if FORM != "focal":
        a = tl.load(at + COLUMNS).to(tl.float32)
    if FORM == "knee" or FORM == "reduced" or FORM == "convex":
        b = tl.load(at + 2 * COLUMNS).to(tl.float32)
    if FORM == "knee":
        c = tl.load(at + 3 * COLUMNS).to(tl.float32)
    return g, a, b, c


@triton.jit
def alpha_of(alpha, which, ALPHAS: tl.constexpr):
    """Load alpha, of which there are one or one per class."""
    at = alpha
    if ALPHAS > 1:
        at = alpha + which
    return tl.load(at).to(tl.float32)


@triton.jit
def pixels_of(tile, S, BLOCK: tl.constexpr, LONG: tl.constexpr):
    """Return the numbers of a tile's pixels within their image, and which of them exist."""
    if LONG:
        tile = tile.to(tl.int64)
    pixel = tile * BLOCK + tl.arange(0, BLOCK)
    return pixel, pixel < S


@triton.jit
def place(tensor, n, pixel, space, steps, AXES: tl.constexpr):
    """Return pointers to the pixels of image n; steps are of image, channel, then axes, outermost first."""
    base = tensor + n.to(tl.int64) * steps[0]
    rest = pixel
    for k in tl.static_range(AXES - 1):
        base += (rest % space[AXES - 1 - k]).to(tl.int64) * steps[1 + AXES - k]
        rest = rest // space[AXES - 1 - k]
    return base + rest.to(tl.int64) * steps[2]


@triton.jit
def label_of(stored, inside, ignore, CLASSES: tl.constexpr, HAS_IGNORE: tl.constexpr):
    """Return labels as int32: IGNORED where ignored or outside, NO_LABEL where out of range."""
    if stored.dtype != tl.int64:
        stored = stored.to(tl.int32)
    label = tl.where((stored < 0) | (stored >= CLASSES), NO_LABEL, stored).to(tl.int32)
    if HAS_IGNORE:
        label = tl.where(stored == ignore, IGNORED, label)
    return tl.where(inside, label, IGNORED)


@triton.jit
def share_of(stored, inside, ignore, SOFT: tl.constexpr, HAS_IGNORE: tl.constexpr):
    """Return a mask's values as float32, IGNORED and NO_LABEL as for labels."""
    if not SOFT:
        return label_of(stored, inside, ignore, 2, HAS_IGNORE).to(tl.float32)
    share = stored
    if stored.dtype != tl.float64:  # there 1 + 1e-12 is no share
        share = stored.to(tl.float32)
    found = tl.where((share >= 0) & (share <= 1), share, NO_LABEL).to(tl.float32)
    if HAS_IGNORE:
        found = tl.where(share == ignore, IGNORED, found)
    return tl.where(inside, found, IGNORED)


@triton.jit
def arriving(at, q, share, WANT: tl.constexpr):
    """Return the gradient that arrives at probability q of a class; those by its sums lie at ``at``."""
    found = q * 0.0
    if WANT[LOSS]:
        at += 1
    if WANT[INTERSECTION]:
        found += tl.load(at).to(tl.float32) * share
        at += 1
    if WANT[PREDICTION]:
        found += tl.load(at).to(tl.float32)
        at += 1
    if WANT[PREDICTION_SQUARED]:
        found += 2.0 * tl.load(at).to(tl.float32) * q
    return found


@triton.jit
def zeros(COUNT: tl.constexpr, BLOCK: tl.constexpr, dtype: tl.constexpr):
    """Return COUNT empty accumulators, one value per lane."""
    found = ()
    for _ in tl.static_range(COUNT):
        found = found + (tl.zeros([BLOCK], dtype),)
    return found


@triton.jit
def added(one, two, COUNT: tl.constexpr):
    """Add tuples element by element."""
    found = ()
    for j in tl.static_range(COUNT):
        found = found + (one[j] + two[j],)
    return found


@triton.jit(do_not_specialize=["N_C", "C", "parts"])
def finish(floats, ints, float_parts, int_parts, N_C, C, parts, K: tl.constexpr, Q: tl.constexpr,
           POISON: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Add up what the programs found, in their order, in float64 and int64: one program per sum.

    Parts are (N C K, parts) and (N C Q, parts). With POISON an image with an invalid value in any channel has
    no sums; without it the parts are NaN already.
    """
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    if row < N_C * K:
        total = tl.zeros([BLOCK], tl.float64)
        for start in range(0, parts, BLOCK):
            at = start + lane
            total += tl.load(float_parts + row * parts + at, mask=at < parts, other=0.0).to(tl.float64)
        found = tl.sum(total, 0)
        if POISON:
            image = row // K // C
            wrong = tl.zeros([BLOCK], tl.int32)
            for c in range(C):
                of_channel = ((image * C + c) * Q + Q - 1) * parts
                for start in range(0, parts, BLOCK):
                    at = start + lane
                    wrong += tl.load(int_parts + of_channel + at, mask=at < parts, other=0)
            found = tl.where(tl.sum(wrong, 0) > 0, float("nan"), found)
        tl.store(floats + row, found)
    else:
        row = row - N_C * K
        count = tl.zeros([BLOCK], tl.int64)
        for start in range(0, parts, BLOCK):
            at = start + lane
            count += tl.load(int_parts + row * parts + at, mask=at < parts, other=0).to(tl.int64)
        tl.store(ints + row, tl.sum(count, 0))
