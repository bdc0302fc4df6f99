from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from segfocal.errors import SegfocalError
from segfocal.imbalance import alpha_from_counts, binary_alpha


def test_inverse_frequency_by_hand():
    # 1/60, 1/30, 1/10 are in the ratio 1 : 2 : 6, whose mean is 3
    assert_allclose(alpha_from_counts([60, 30, 10]), [1 / 3, 2 / 3, 2])


def test_median_frequency_by_hand():
    # median 30: 1/2, 1, 3, mean 1.5
    assert_allclose(alpha_from_counts([60, 30, 10], "median"), [1 / 3, 2 / 3, 2])


def test_effective_number_by_hand():
    # N = 4, b = 3/4: 1 - b^3 = 37/64, 1 - b = 1/4, so the raw weights are 16/37 and 1
    assert_allclose(alpha_from_counts([3, 1], "effective"), np.array([16 / 37, 1]) / (53 / 74), rtol=1e-14)


def test_effective_number_at_millions_of_pixels_against_mpmath():
    mpmath = pytest.importorskip("mpmath")
    counts = [10**8, 10**5, 2 * 10**4]
    with mpmath.workdps(60):
        b = 1 - 1 / mpmath.mpf(sum(counts))
        raw = [(1 - b) / (1 - b**n) for n in counts]
        truth = [float(w / (sum(raw) / 3)) for w in raw]
    assert_allclose(alpha_from_counts(counts, "effective"), truth, rtol=1e-12)
    assert truth[2] / truth[0] > 3000  # where a fixed b = .9999 gives 1.16


@pytest.mark.parametrize("method", ["inverse", "median", "effective"])
def test_mean_is_one_over_the_classes_that_occur(method):
    alpha = alpha_from_counts([1000, 0, 17, 5], method)
    assert alpha[[0, 2, 3]].mean() == pytest.approx(1)
    assert alpha[1] == 1
    assert alpha[0] < alpha[2] < alpha[3]


@pytest.mark.parametrize("method", ["inverse", "median", "effective"])
def test_equal_counts_and_a_single_pixel_give_weight_one(method):
    assert_allclose(alpha_from_counts([5, 5, 5], method), 1)
    assert_allclose(alpha_from_counts([0, 1], method), 1)


def test_binary_alpha_is_one_minus_the_foreground_fraction():
    assert_allclose(binary_alpha([[950, 50], [1, 3]]), [0.95, 0.25])


def test_binary_alpha_gives_both_sides_the_same_weight():
    negatives, positives = 977, 23
    (alpha,) = binary_alpha([[negatives, positives]])
    assert alpha * positives == pytest.approx((1 - alpha) * negatives)


def test_binary_alpha_refuses_a_channel_with_one_side():
    with pytest.raises(SegfocalError, match="channel 1: 100 negatives, 0 positives"):
        binary_alpha([[90, 10], [100, 0]])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, -2], "negative"),
        ([0, 0], "all zero"),
        ([[1, 2]], r"shape \(C,\).*\(1, 2\)"),
        ([], "shape"),
        ([0.5, 1], "whole numbers"),
        ([np.nan, 1], "whole numbers"),
        ([[1], [1, 2]], "array of numbers"),
        (np.array([2**63, 10], dtype=np.uint64), r"less than 2\^63, got \[9223372036854775808, 10\]"),
        ([2.0**63, 10.0], r"less than 2\^63"),
    ],
)
def test_wrong_counts(counts, message):
    with pytest.raises(SegfocalError, match=message):
        alpha_from_counts(counts)


def test_unknown_method_lists_the_choices():
    with pytest.raises(SegfocalError, match=r"'inverse', 'median', 'effective', got 'inverted'.*'inverse'"):
        alpha_from_counts([1, 2], "inverted")


def test_binary_alpha_needs_two_columns():
    with pytest.raises(SegfocalError, match=r"\(K, 2\).*got \(2, 3\)"):
        binary_alpha([[1, 2, 3], [1, 2, 3]])
