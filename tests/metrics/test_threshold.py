"""ThresholdSearch against SegmentationScores at every threshold, and its ties."""

import numpy as np
import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.metrics import SegmentationScores, ThresholdSearch
from segfocal.metrics.threshold import GRID, choose, held_out_gains


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
    best = [choice.best for choice in search.choices()]
    np.testing.assert_allclose(
        [found[thresholds == b, i].item() for i, b in enumerate(best)], found.max(axis=0)
    )
    used = search.thresholds()[0]
    assert search.compute()["threshold/0"].item() == used
    assert search.compute()["threshold_dice/0"].item() == pytest.approx(found[thresholds == used, 0].item())


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
    for name in "abc":
        search.update(torch.tensor([[probabilities]]), torch.tensor([[0, 1]]), [name])
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


def curves(images, *, peak, noise, seed=0):
    """Dice by threshold with its maximum near a place, moved at random from image to image."""
    rng = np.random.default_rng(seed)
    centres = peak + noise * rng.standard_normal((images, 1))
    return 0.8 - (GRID - centres) ** 2


def test_few_images_that_disagree_leave_the_threshold_at_half():
    """Each alone has another best threshold: what two of them choose does the third no good."""
    scores = np.stack([0.9 - np.abs(GRID - place) for place in (0.05, 0.1, 0.8)])
    choice = choose(scores, images=3)
    assert choice.threshold == 0.5
    assert choice.lower < 0
    one_way = np.where(GRID < 0.1, [[0.9], [0.2], [0.2]], [[0.1], [0.3], [0.4]])  # one image decides the mean
    choice = choose(one_way, images=3)
    assert (choice.threshold, choice.best) == (0.5, GRID[GRID < 0.1].max())
    assert "not surely better" in choice.reason()


def test_few_images_that_agree_move_it():
    choice = choose(curves(5, peak=0.2, noise=0.02), images=5)
    assert choice.threshold == choice.best == pytest.approx(0.2, abs=0.03)
    assert 0 < choice.lower < choice.gain == pytest.approx(0.09, abs=0.02)
    assert "left out" in choice.reason()


@pytest.mark.parametrize("images", [0, 1])
def test_none_and_one_tell_nothing(images):
    choice = choose(curves(3, peak=0.1, noise=0.0)[: max(images, 1)], images=images)
    assert choice.threshold == 0.5
    assert "nan" not in choice.reason()


@pytest.mark.parametrize("images", [5, 20, 60])
def test_where_half_is_best_few_sets_move_it_however_many_images_they_have(images):
    """One-sided at 95 %: of 100 validation sets at most about five are mistaken for better."""
    sets = [curves(images, peak=0.5, noise=0.2, seed=seed) for seed in range(100)]
    choices = [choose(scores, images=images) for scores in sets]
    assert sum(choice.best != 0.5 for choice in choices) > 80
    assert sum(choice.threshold != 0.5 for choice in choices) <= 10


def test_a_small_gain_needs_many_images():
    few, many = (choose(curves(images, peak=0.42, noise=0.2), images=images) for images in (20, 400))
    assert few.threshold == 0.5 != few.best
    assert many.threshold == many.best == pytest.approx(0.42, abs=0.03)


def test_gains_are_those_of_choosing_without_the_image():
    scores = curves(7, peak=0.3, noise=0.2)
    expected = []
    for index in range(7):
        others = np.delete(scores, index, axis=0).mean(axis=0)
        expected.append(scores[index, others.argmax()] - scores[index, GRID == 0.5].item())
    np.testing.assert_allclose(held_out_gains(scores), expected, rtol=1e-12)


def test_empty_images_count_where_something_is_found_in_them():
    """False positives at 0.5 in an image without the class, none at .8: the mean leaves it out there."""
    scores = np.full((4, len(GRID)), 0.6)
    scores[2:] = np.where(GRID < 0.7, 0.0, np.nan)
    choice = choose(scores, images=2)
    assert choice.best == GRID[GRID >= 0.7][0]
    gains = [0.0, 0.0, 0.6, 0.6]  # where the mean leaves an image out, it counts as the mean of the others
    np.testing.assert_allclose(held_out_gains(scores), gains)
    scores = np.vstack([scores, np.full((1, len(GRID)), np.nan)])  # one in which no threshold finds anything
    np.testing.assert_allclose(held_out_gains(scores), gains)


def test_classes_are_chosen_one_by_one():
    """Of two classes in many images one is rare: its threshold stays, the other's moves."""
    search = ThresholdSearch("multilabel", 2)
    for number in range(21):
        p = torch.full((1, 2, 4, 4), 0.02)
        target = torch.zeros(1, 2, 4, 4, dtype=torch.long)
        target[:, 0, :2] = 1
        p[:, 0, :2] = 0.3
        if number == 0:
            target[:, 1, :2], p[:, 1, :2] = 1, 0.3
        search.update(p, target, [f"{number}"])
    common, rare = search.choices()
    assert common.threshold == common.best < 0.3
    assert (rare.threshold, rare.images) == (0.5, 1)
