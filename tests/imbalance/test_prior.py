from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from segfocal.errors import SegfocalError
from segfocal.imbalance import bias_prior


def test_retinanet_prior():
    assert_allclose(bias_prior(0.01, "binary"), [-np.log(99)], rtol=1e-14)


def test_sigmoid_of_the_bias_is_the_foreground_fraction():
    counts = np.array([[990, 10], [7, 3]])
    bias = torch.from_numpy(bias_prior(counts, "multilabel"))
    assert_allclose(torch.sigmoid(bias).numpy(), [0.01, 0.3], rtol=1e-12)


def test_softmax_of_the_bias_is_the_class_frequencies():
    bias = torch.from_numpy(bias_prior([900, 90, 10], "multiclass"))
    assert_allclose(torch.softmax(bias, 0).numpy(), [0.9, 0.09, 0.01], rtol=1e-12)
    assert_allclose(bias_prior([0.9, 0.09, 0.01], "multiclass"), np.log([0.9, 0.09, 0.01]))


def test_a_count_of_zero_is_taken_as_one_pixel():
    assert_allclose(bias_prior([[99, 0]], "binary"), [-np.log(99)])
    assert_allclose(bias_prior([3, 0], "multiclass"), np.log([0.75, 0.25]))


def test_tiny_pi_stays_exact():
    assert_allclose(bias_prior([1e-12], "binary"), [np.log(1e-12)], rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "task", "message"),
    [
        (0.0, "binary", r"\(0, 1\)"),
        ([0.2, np.nan], "multilabel", r"\(0, 1\)"),
        ([99.0, 1.0], "multiclass", "integer type"),
        ([0.5, 0.4], "multiclass", "sum to 1"),
        ([5, 5], "binary", r"\(K, 2\)"),
        ([[5, 5]], "multiclass", r"\(C,\)"),
        ([[0, 0]], "binary", "all zero"),
        ([5, -5], "multiclass", "negative"),
        (0.1, "binery", "Did you mean 'binary'"),
        ([[0.1]], "binary", r"got shape \(1, 1\)"),
    ],
)
def test_wrong_input(value, task, message):
    with pytest.raises(SegfocalError, match=message):
        bias_prior(value, task)
