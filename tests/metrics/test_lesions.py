"""Lesions: flood fill and exhaustive pairing give the truth; merged and split ones are spelled out."""

import numpy as np
import pytest
import torch
from lesion_reference import counts, flood
from scipy import ndimage

from segfocal.errors import SegfocalError
from segfocal.metrics.components import find_components
from segfocal.metrics.lesions import LesionCounts, LesionScores, lesion_counts


def blobs(seed, shape, share):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random(shape), 0.8)
    return noise > np.quantile(noise, 1 - share)


@pytest.mark.parametrize("shape", [(13, 17), (6, 7, 5), (1, 30)])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_counts_are_those_of_flood_fill_and_exhaustive_pairing(shape, full, seed):
    predicted, reference = blobs(seed, shape, 0.15), blobs(seed + 50, shape, 0.15)
    if seed % 2:  # much in common, moved a little
        predicted = np.roll(reference, 1, axis=-1) | (predicted & blobs(seed + 90, shape, 0.3))
    for min_size in (1, 3):
        found = lesion_counts(predicted, reference, full=full, min_size=min_size)
        assert found == counts(predicted, reference, full=full, min_size=min_size)


@pytest.mark.parametrize("full", [True, False])
def test_components_are_those_of_flood_fill(full):
    mask = blobs(3, (19, 23), 0.3)
    found, known = find_components(mask, full=full), flood(mask, full=full)
    assert found.sizes.tolist() == [len(part) for part in known]
    for number, part in enumerate(known):
        own = np.unravel_index(found.pixels[found.at(found.pixels) == number], mask.shape)
        assert set(zip(*(axis.tolist() for axis in own), strict=True)) == part


def boxes(*spans, shape=(20, 40)):
    mask = np.zeros(shape, dtype=bool)
    for top, bottom, left, right in spans:
        mask[top:bottom, left:right] = True
    return mask


TWO = boxes((4, 10, 4, 10), (4, 10, 14, 20))


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (boxes((4, 10, 4, 20)), (1, 0, 1)),  # one over both finds one
        (boxes((4, 10, 4, 6), (4, 10, 8, 10)), (1, 1, 1)),  # two within one: the second is made up
        (boxes((6, 7, 6, 7)), (1, 0, 1)),  # IoU of 1/36, but its centre is inside
        (boxes((3, 4, 4, 10), (12, 14, 30, 32)), (0, 2, 2)),  # beside
        (np.ones((20, 40), dtype=bool), (0, 1, 2)),  # the centre of everything lies in no lesion
        (boxes(), (0, 0, 2)),
    ],
)
def test_merged_split_small_and_missing_predictions(predicted, expected):
    assert lesion_counts(predicted, TWO) == LesionCounts(*expected)


def test_predicting_everything_finds_one_lesion_at_most():
    lesion_in_the_middle = boxes((8, 12, 18, 22), (0, 2, 0, 2), (17, 19, 35, 38))
    assert lesion_counts(np.ones((20, 40), dtype=bool), lesion_in_the_middle) == LesionCounts(1, 0, 2)


def test_pairs_are_the_most_that_are_possible():
    """The first prediction fits both lesions, the second only the first: both must be paired."""
    reference = boxes((0, 2, 0, 10), (0, 2, 11, 21))
    predicted = boxes((0, 2, 8, 20), (0, 2, 0, 7))
    assert lesion_counts(predicted, reference) == LesionCounts(2, 0, 0)
    assert lesion_counts(boxes((0, 2, 0, 7), (0, 2, 8, 20)), reference) == LesionCounts(2, 0, 0)


def test_touching_corners_are_one_component_or_two():
    corner = boxes((2, 4, 2, 4), (4, 6, 4, 6))
    assert len(find_components(corner)) == 1
    assert len(find_components(corner, full=False)) == 2


def scores_of(predicted, labels, **settings):
    metric = LesionScores("binary", 1, class_names=["lesion"], **settings)
    for number, (mask, label) in enumerate(zip(predicted, labels, strict=True)):
        target = torch.from_numpy(label.astype(np.uint8))[None]
        metric.update(torch.from_numpy(mask.astype(np.float32))[None, None], target, [f"eye {number}"])
    return metric


@pytest.mark.parametrize(("empty", "mean"), [("one", (1 + 0 + 1) / 3), ("nan", 0.5), ("exclude", 1.0)])
def test_images_without_lesions_follow_the_policy(empty, mean):
    none = boxes()
    metric = scores_of([none, TWO, TWO], [none, none, TWO], empty=empty)
    found = metric.compute()
    assert found["lesion_f1"] == pytest.approx(mean)
    # two made up in the second image, two right in the third
    assert found["dataset_lesion_precision"] == pytest.approx(0.5)
    assert found["dataset_lesion_sensitivity"] == 1
    assert found["dataset_lesion_f1/lesion"] == pytest.approx(2 / 3)
    rows = metric.rows()
    assert [rows[f"eye {n}", 0]["lesion_fp"] for n in range(3)] == [0, 2, 0]
    assert rows["eye 0", 0]["lesion_f1"] == (1.0 if empty == "one" else None)
    assert rows["eye 2", 0] == {"lesion_tp": 2, "lesion_fp": 0, "lesion_fn": 0, "lesion_f1": 1.0}


def test_ignored_pixels_are_neither_prediction_nor_lesion():
    labels = TWO.astype(np.uint8)
    labels[:, 12:] = 255
    metric = scores_of([TWO], [labels], ignore_index=255)
    assert metric.rows()["eye 0", 0] == {"lesion_tp": 1, "lesion_fp": 0, "lesion_fn": 0, "lesion_f1": 1.0}


def test_multiclass_leaves_the_background_out_and_multilabel_takes_the_classes_named():
    labels = torch.from_numpy(TWO.astype(np.int64))[None]
    scores = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    multiclass = LesionScores("multiclass", 2, class_names=["rest", "lesion"])
    multiclass.update(scores, labels, ["a"])
    assert set(multiclass.rows()) == {("a", 1)}
    both = labels.repeat(2, 1, 1)[None].byte()
    multilabel = LesionScores("multilabel", 2, class_names=["MA", "OD"], classes=["MA"])
    multilabel.update(both.float(), both, ["a"])
    assert set(multilabel.rows()) == {("a", 0)}
    assert "lesion_f1/OD" not in multilabel.compute()


def test_thresholds_decide_what_is_predicted():
    faint = torch.from_numpy(TWO.astype(np.float32))[None, None] * 0.4
    for threshold, missed in ((0.5, 2), (0.3, 0)):
        metric = LesionScores("binary", 1, thresholds=[threshold])
        metric.update(faint, torch.from_numpy(TWO.astype(np.uint8))[None], ["a"])
        assert metric.rows()["a", 0]["lesion_fn"] == missed


def test_wrong_settings_are_named():
    with pytest.raises(SegfocalError, match="min_size must lie in"):
        LesionScores("binary", 1, min_size=0)
    with pytest.raises(SegfocalError, match="must be one of 'MA', got 'ma'"):
        LesionScores("binary", 1, class_names=["MA"], classes=["ma"])
