"""Scores from counts, against torchmetrics, MONAI and cases worked out by hand."""

import numpy as np
import polars as pl
import pytest
import torch
from monai.metrics import DiceMetric
from numpy.testing import assert_allclose, assert_array_equal
from torchmetrics.functional.classification import (
    binary_f1_score,
    binary_fbeta_score,
    binary_jaccard_index,
    binary_precision,
    binary_recall,
)

from segfocal.errors import SegfocalError
from segfocal.runs.scores import (
    all_scores,
    dataset_level,
    dice,
    f_beta,
    image_level,
    iou,
    mean_ignoring_nan,
    precision,
    recall,
)

NAN = float("nan")
# (tp, fp, fn): both empty, reference empty, prediction empty, disjoint, perfect
COUNTS = np.array([[0, 0, 0], [0, 7, 0], [0, 0, 5], [0, 3, 4], [9, 0, 0]]).T
MATRIX = {
    "one": [1.0, 0.0, 0.0, 0.0, 1.0],  # MetricsReloaded
    "nan": [NAN, 0.0, 0.0, 0.0, 1.0],  # nnU-Net v2
    "exclude": [NAN, NAN, 0.0, 0.0, 1.0],  # MONAI's default
}


@pytest.mark.parametrize("empty", MATRIX)
@pytest.mark.parametrize("score", [dice, iou, precision, recall])
def test_empty_masks_score_as_the_policy_says(score, empty):
    assert_array_equal(score(*COUNTS, empty=empty), MATRIX[empty])


@pytest.mark.parametrize("empty", MATRIX)
def test_f_beta_follows_the_same_policy(empty):
    assert_array_equal(f_beta(*COUNTS, beta=2.0, empty=empty), MATRIX[empty])


@pytest.mark.parametrize(("ignore_empty", "empty"), [(True, "exclude"), (False, "one")])
def test_dice_equals_monai_under_both_of_its_policies(ignore_empty, empty):
    masks = torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]])
    predicted = masks.repeat_interleave(3, 0)[:, None, None]
    reference = masks.repeat(3, 1)[:, None, None]
    metric = DiceMetric(ignore_empty=ignore_empty, reduction="none")
    expected = metric(predicted, reference).flatten().numpy()
    tp = (predicted & reference).flatten(1).sum(1).numpy()
    fp, fn = predicted.flatten(1).sum(1).numpy() - tp, reference.flatten(1).sum(1).numpy() - tp
    assert_allclose(dice(tp, fp, fn, empty=empty), expected, rtol=1e-6)


def test_scores_equal_torchmetrics_where_nothing_is_empty():
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.randint(0, 2, (5, 300), generator=generator) for _ in range(2))
    tp, fp = (predicted & target).sum(1).numpy(), (predicted & (1 - target)).sum(1).numpy()
    fn = ((1 - predicted) & target).sum(1).numpy()
    ours = all_scores(tp, fp, fn, beta=2.0)
    peers = {
        "dice": binary_f1_score,
        "iou": binary_jaccard_index,
        "precision": binary_precision,
        "recall": binary_recall,
        "f2": lambda p, t: binary_fbeta_score(p, t, beta=2.0),
    }
    for name, peer in peers.items():
        expected = [peer(p, t).item() for p, t in zip(predicted, target, strict=True)]
        assert_allclose(ours[name], expected, rtol=1e-6, err_msg=name)


def test_image_and_data_set_level_differ_as_worked_out_by_hand():
    tp, fp, fn = [[10], [0]], [[0], [10]], [[0], [10]]
    assert image_level(tp, fp, fn)["dice"].tolist() == [0.5]
    assert dataset_level(tp, fp, fn)["dice"].tolist() == [0.5]
    tp, fp, fn = [[90], [1]], [[0], [1]], [[0], [0]]
    assert image_level(tp, fp, fn)["dice"].tolist() == pytest.approx([(1 + 2 / 3) / 2])
    assert dataset_level(tp, fp, fn)["dice"].tolist() == pytest.approx([182 / 183])


def test_images_left_out_are_not_in_the_denominator():
    tp, fp, fn = [[4], [0], [0]], [[0], [0], [2]], [[0], [0], [0]]
    means = {empty: image_level(tp, fp, fn, empty=empty)["dice"].item() for empty in MATRIX}
    assert means == pytest.approx({"one": 2 / 3, "nan": 1 / 2, "exclude": 1.0})


def test_a_class_without_cases_is_nan_and_left_out_of_the_mean():
    values = image_level([[4, 0]], [[0, 0]], [[0, 0]], empty="nan")["dice"]
    assert_array_equal(values, [1.0, NAN])
    assert mean_ignoring_nan(values) == 1.0


def test_counts_may_be_polars_columns():
    table = pl.DataFrame({"tp": [8], "fp": [2], "fn": [4]})
    assert dice(table["tp"], table["fp"], table["fn"]).tolist() == pytest.approx([16 / 22])


def test_counts_beyond_float32_stay_exact():
    assert recall(2**40 - 1, 0, 1).item() == (2**40 - 1) / 2**40


def test_an_unknown_policy_lists_the_choices():
    with pytest.raises(SegfocalError, match=r"'one', 'nan', 'exclude', got 'onne'\. Did you mean 'one'"):
        dice(1, 1, 1, empty="onne")


def test_beta_must_be_positive():
    with pytest.raises(SegfocalError, match="beta"):
        f_beta(1, 1, 1, beta=0.0)
