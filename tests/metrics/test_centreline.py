"""clDice on vessels whose centrelines are known."""

import numpy as np
import pytest
import torch

from segfocal.metrics.centreline import CentrelineScores, centreline_dice


def vessel(*, width=3, gap=0, length=60):
    mask = np.zeros((21, length), dtype=bool)
    half = width // 2
    mask[10 - half : 11 + half, 4 : length - 4] = True
    mask[:, length // 2 : length // 2 + gap] = False
    return mask


def test_a_thicker_vessel_costs_nothing_and_half_its_dice():
    thick, thin = vessel(width=9), vessel(width=3)
    assert 2 * (thick & thin).sum() / (thick.sum() + thin.sum()) == 0.5
    assert centreline_dice(thin, thick) == 1
    assert centreline_dice(thick, thin) == pytest.approx(1, abs=0.05)  # ends of a thick line may fork


def test_a_broken_vessel_costs_its_gap():
    whole, broken = vessel(), vessel(gap=10)
    # of the centreline of 52 px less its ends, 10 are missed; all of the prediction's is right
    line = 52 - 2
    expected = 2 * (line - 10) / (line + line - 10)
    assert centreline_dice(broken, whole) == pytest.approx(expected, abs=0.02)
    assert centreline_dice(broken, whole) == centreline_dice(whole, broken)


def test_a_parallel_vessel_shares_nothing():
    assert centreline_dice(np.roll(vessel(), 6, axis=0), vessel()) == 0


@pytest.mark.parametrize(
    ("empty", "both", "reference"), [("one", 1.0, 0.0), ("nan", np.nan, 0.0), ("exclude", np.nan, np.nan)]
)
def test_empty_masks_follow_the_policy(empty, both, reference):
    none = np.zeros((8, 9), dtype=bool)
    np.testing.assert_equal(centreline_dice(none, none, empty=empty), both)
    np.testing.assert_equal(centreline_dice(vessel(), vessel() & False, empty=empty), reference)
    assert centreline_dice(none, ~none, empty=empty) == 0


def test_volumes_and_what_thinning_leaves_empty():
    tube = np.zeros((9, 9, 30), dtype=bool)
    tube[3:6, 3:6, 2:28] = True
    half = tube.copy()
    half[..., 15:] = False
    assert centreline_dice(tube, tube) == 1
    assert centreline_dice(half, tube) == pytest.approx(2 / 3, abs=0.05)
    cube = np.zeros((6, 6, 6), dtype=bool)
    cube[2:4, 2:4, 2:4] = True
    assert centreline_dice(cube, cube) == 1


def test_rows_and_means_by_class():
    labels = torch.from_numpy(np.stack([vessel(), vessel()])).byte()[None]
    scores = torch.from_numpy(np.stack([vessel(gap=10), vessel()])).float()[None]
    metric = CentrelineScores("multilabel", 2, class_names=["artery", "vein"])
    metric.update(scores, labels, ["eye"])
    found = metric.compute()
    assert found["cldice/vein"] == 1
    assert found["cldice"] == pytest.approx((1 + found["cldice/artery"].item()) / 2)
    assert metric.rows()["eye", 1] == {"cldice": 1.0}


def test_ignored_pixels_break_no_vessel():
    labels = vessel().astype(np.uint8)
    labels[:, 30:40] = 255
    metric = CentrelineScores("binary", 1, ignore_index=255)
    scores = torch.from_numpy(vessel(gap=10)).float()[None, None]
    metric.update(scores, torch.from_numpy(labels)[None], ["eye"])
    assert metric.compute()["cldice"] == 1
