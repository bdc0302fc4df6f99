from __future__ import annotations

import numpy as np
import pytest

from segfocal.errors import SegfocalError
from segfocal.imbalance import count_all, count_labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_multiclass_counts_by_hand(dtype):
    mask = np.array([[0, 0, 1], [3, 3, 3]], dtype=dtype)
    assert count_labels(mask, task="multiclass", num_classes=4).tolist() == [2, 1, 0, 3]


def test_binary_counts_negatives_then_positives():
    assert count_labels(np.array([[True, False, False]]), task="binary").tolist() == [[2, 1]]


def test_multilabel_counts_each_channel():
    mask = np.array([[[1, 1], [0, 255]], [[0, 0], [0, 1]]], dtype=np.uint8)
    counts = count_labels(mask, task="multilabel", num_classes=2, ignore_index=255)
    assert counts.tolist() == [[1, 2], [3, 1]]


def test_ignore_index_inside_the_classes_is_left_out():
    assert count_labels([0, 1, 1, 2], task="multiclass", num_classes=3, ignore_index=1).tolist() == [1, 0, 1]


def test_ignore_index_may_be_negative():
    assert count_labels([0, -1, 1], task="binary", ignore_index=-1).tolist() == [[1, 1]]


def test_counts_match_bincount_on_random_labels():
    mask = np.random.default_rng(0).integers(0, 7, (64, 33), dtype=np.uint8)
    counts = count_labels(mask, task="multiclass", num_classes=7)
    assert counts.tolist() == np.bincount(mask.ravel()).tolist()
    assert counts.dtype == np.int64


def test_sum_over_a_generator_of_masks():
    masks = (np.full((2, 2), k, dtype=np.uint8) for k in (0, 1, 1))
    assert count_all(masks, task="multiclass", num_classes=3).tolist() == [4, 8, 0]
    assert count_all([], task="multilabel", num_classes=2).tolist() == [[0, 0], [0, 0]]


def test_labels_outside_the_classes_are_listed_with_counts():
    with pytest.raises(SegfocalError, match=r"0 to 1, got 7 \(2 pixels\), 9 \(1 pixels\).*ignore_index"):
        count_labels([0, 7, 7, 9], task="binary")
    with pytest.raises(SegfocalError, match="mask 1: labels must lie in 0 to 2, got 3"):
        count_all([[0], [3]], task="multiclass", num_classes=3)


def test_wrong_type_shape_and_task():
    with pytest.raises(SegfocalError, match="float64"):
        count_labels([0.5], task="binary")
    with pytest.raises(SegfocalError, match=r"shape \(3, ...\).*got \(2, 4\)"):
        count_labels(np.zeros((2, 4), dtype=np.uint8), task="multilabel", num_classes=3)
    with pytest.raises(SegfocalError, match="Did you mean 'multilabel'"):
        count_labels([0], task="multilable")


def test_binary_has_one_channel():
    for count in (count_labels, count_all):
        with pytest.raises(SegfocalError, match=r"1 for binary.*got 2\. .*task='multiclass'"):
            count([0, 1], task="binary", num_classes=2)
    with pytest.raises(SegfocalError, match="whole number of at least 1, got None"):
        count_labels([[0, 1]], task="multilabel", num_classes=None)
