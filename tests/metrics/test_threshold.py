"""ThresholdSearch against SegmentationScores at every threshold, and its ties."""

import numpy as np
import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.metrics import SegmentationScores, ThresholdSearch


def batch(classes, *, images=4):
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(images, classes, 20, 21, generator=generator) < 0.1).long()
    target[0, 0] = 0
    p = (torch.randn(target.shape, generator=generator) + 2.5 * target - 2).sigmoid()
    target[torch.rand(target.shape, generator=generator) < 0.1] = 255
    return p, target, [f"image{index}" for index in range(images)]


@pytest.mark.parametrize("empty", ["one", "nan", "exclude"])
@pytest.mark.parametrize(("task", "classes"), [("binary", 1), ("multilabel", 2)])
def test_the_mean_dice_of_every_threshold_is_what_scoring_there_gives(task, classes, empty):
    p, target, names = batch(classes)
    p[0, 0, 0, :5] = torch.tensor([0.0, 1.0, 0.5, 1 / 128, 127 / 128])
    search = ThresholdSearch(task, classes, ignore_index=255, empty=empty)
    search.update(p, target, names)
    thresholds, found = search.curve()
    assert len(thresholds) == 127
    for threshold, dice in list(zip(thresholds, found, strict=True))[::9]:
        scores = SegmentationScores(task, classes, ignore_index=255, thresholds=float(threshold), empty=empty)
        scores.update(p, target, names)
        expected = [scores.compute()[f"dice/{index}"].item() for index in range(classes)]
        np.testing.assert_allclose(dice, expected, rtol=1e-6)
    best = search.thresholds()
    assert [found[thresholds == b, i].item() for i, b in enumerate(best)] == found.max(axis=0).tolist()
    assert search.compute()["threshold/0"].item() == best[0]
    assert search.compute()["threshold_dice/0"].item() == pytest.approx(found.max(axis=0)[0])


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.2, 0.8], 0.5),  # the whole plateau is as good: nearest to the middle
        ([0.1, 0.2], 25 / 128),
        ([0.8, 0.9], 103 / 128),
    ],
)
def test_ties_go_to_the_threshold_nearest_to_half(probabilities, expected):
    search = ThresholdSearch("binary", 1)
    search.update(torch.tensor([[probabilities]]), torch.tensor([[0, 1]]), ["a"])
    assert search.thresholds() == [expected]


def test_without_any_reference_the_threshold_stays_half():
    search = ThresholdSearch("binary", 1, empty="exclude")
    search.update(torch.tensor([[[0.2, 0.8]]]), torch.tensor([[0, 0]]), ["a"])
    assert search.thresholds() == [0.5]


def test_order_changes_nothing():
    p, target, names = batch(2, images=5)
    forward, backward = (ThresholdSearch("multilabel", 2, ignore_index=255) for _ in range(2))
    forward.update(p, target, names)
    for index in reversed(range(5)):
        backward.update(p[index : index + 1], target[index : index + 1], names[index : index + 1])
    np.testing.assert_array_equal(forward.curve()[1], backward.curve()[1])


def test_multiclass_has_no_threshold():
    with pytest.raises(SegfocalError, match="argmax"):
        ThresholdSearch("multiclass", 3)
