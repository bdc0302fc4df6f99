import numpy as np
import pytest
from numpy.testing import assert_array_equal

from segfocal.data.labels import LabelRows

RNG = np.random.default_rng(0)


def test_multiclass_counts_agree_with_bincount_and_leave_out_ignored_pixels():
    mask = RNG.integers(0, 5, (17, 23)).astype(np.uint8)
    mask[3:5] = 255
    rows = LabelRows.of(mask, task="multiclass", num_classes=5)
    assert_array_equal(rows.counts("multiclass"), np.bincount(mask[mask != 255], minlength=5))
    assert_array_equal(rows.rows[2], (mask == 2).sum(1))


def test_multilabel_counts_negatives_and_positives_per_channel():
    mask = RNG.integers(0, 2, (3, 9, 8)).astype(np.uint8)
    mask[1, 0] = 255
    counts = LabelRows.of(mask, task="multilabel", num_classes=3).counts("multilabel")
    assert_array_equal(counts, [[(m == 0).sum(), (m == 1).sum()] for m in mask])


def test_a_binary_mask_is_one_channel():
    mask = np.eye(6, dtype=np.uint8)
    assert_array_equal(LabelRows.of(mask, task="binary", num_classes=1).counts("binary"), [[30, 6]])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_pixels_of_a_class_are_drawn_evenly(task):
    mask = np.zeros((5, 6), dtype=np.uint8)
    mask[1, 2:4] = mask[4, 0] = 1
    given = mask[None] if task == "multilabel" else mask
    rows = LabelRows.of(given, task=task, num_classes=2 if task == "multiclass" else 1)
    drawn = [rows.draw(given, RNG, task=task) for _ in range(600)]
    assert {pixel: 150 < drawn.count(pixel) < 250 for pixel in set(drawn)} == {
        (1, 2): True,
        (1, 3): True,
        (4, 0): True,
    }


def test_rare_classes_are_drawn_as_often_as_common_ones_and_background_never():
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[5:15] = 1
    mask[0, 0] = 3
    rows = LabelRows.of(mask, task="multiclass", num_classes=4)
    labels = [int(mask[rows.draw(mask, RNG, task="multiclass")]) for _ in range(400)]
    assert set(labels) == {1, 3}
    assert 140 < labels.count(3) < 260


def test_there_is_nothing_to_draw_without_foreground():
    mask = np.zeros((4, 4), dtype=np.uint8)
    assert LabelRows.of(mask, task="binary", num_classes=1).draw(mask, RNG, task="binary") is None
