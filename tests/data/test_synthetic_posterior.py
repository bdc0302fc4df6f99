from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest

from segfocal.data.synthetic import SyntheticData, bayes_counts, bayes_dice, dice_decision, threshold_dice
from segfocal.data.synthetic.discs import Discs, distance_field
from segfocal.data.synthetic.noise import smooth_noise
from segfocal.data.synthetic.scene import draw_labels, make_scene, posterior

KINDS = ["vessels", "lesions", "lanes"]
TASKS = ["binary", "multiclass", "multilabel"]


def one_hot(mask, task):
    if task == "multilabel":
        return mask
    return np.stack([mask == number for number in ([1] if task == "binary" else range(4))])


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_drawn_with_exactly_the_posterior(task):
    rng = np.random.default_rng(0)
    layers = 1 if task == "binary" else 3
    scene = make_scene(rng, kind="lesions", layers=layers, shape=(32, 32), foreground=0.2)
    truth = posterior(scene.probability, task=task)
    draws = 1500
    total = sum(
        one_hot(draw_labels(rng, scene.probability, task=task), task).astype(int) for _ in range(draws)
    )
    deviation = np.abs(total / draws - truth)
    # five standard errors: fewer than one false alarm per 1000 runs over about 4000 pixels
    assert (deviation <= 5 * np.sqrt(truth * (1 - truth) / draws) + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS)
def test_posterior_is_calibrated_on_the_labels(kind, task):
    source = SyntheticData(kind=kind, task=task, foreground=0.1, image_size=96).source("test")
    q = np.stack([source.posterior(index) for index in range(40)]).ravel()
    y = np.stack([one_hot(source.mask(index), task) for index in range(40)]).ravel()
    bins = np.minimum((q * 15).astype(int), 14)
    count = np.bincount(bins, minlength=15)
    gap = np.abs(np.bincount(bins, weights=q, minlength=15) - np.bincount(bins, weights=y, minlength=15))
    assert gap.sum() / q.size < 0.01
    assert (gap / np.maximum(count, 1) < 0.1).all()


@pytest.mark.parametrize("task", TASKS)
def test_posterior_is_a_probability(task):
    q = SyntheticData(task=task, foreground=0.2, image_size=64).posterior("train", 0)
    assert q.dtype == np.float32
    assert 0 <= q.min() <= q.max() <= 1
    assert np.count_nonzero((q > 0.1) & (q < 0.9)) > 100
    if task == "multiclass":
        assert_allclose(q.sum(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("foreground", [0.0005, 0.01, 0.2])
@pytest.mark.parametrize("layers", [1, 3])
def test_expected_foreground_of_every_scene_is_the_request(kind, foreground, layers):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        scene = make_scene(rng, kind=kind, layers=layers, shape=(96, 64), foreground=foreground)
        union = 1 - np.prod(1 - scene.probability, axis=0)
        assert union.mean() == pytest.approx(foreground, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("foreground", [0.0005, 0.01, 0.05, 0.2])
def test_no_threshold_reaches_half_and_bayes_is_far_above(kind, foreground):
    data = SyntheticData(kind=kind, foreground=foreground, channels=3, test_images=20)
    threshold, bayes = threshold_dice(data)[0], bayes_dice(data)[0]
    assert threshold < 0.5
    assert bayes > 0.5
    assert bayes > threshold + 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_no_threshold_finds_any_class(kind, task):
    data = SyntheticData(kind=kind, task=task, foreground=0.2, test_images=12)
    foreground = slice(1 if task == "multiclass" else 0, None)
    threshold, bayes = threshold_dice(data)[foreground], bayes_dice(data)[foreground]
    assert (threshold < 0.5).all()
    assert (bayes > threshold + 0.3).all()


def test_threshold_dice_finds_the_threshold_of_a_readable_picture(monkeypatch):
    data = SyntheticData(image_size=32, test_images=2, foreground=0.2)
    source = data.source("test")
    monkeypatch.setattr(source, "image", lambda index: (200 - 100 * source.mask(index))[..., None])
    monkeypatch.setattr(data, "source", lambda split: source)
    assert threshold_dice(data).tolist() == [1.0]


def test_dice_decision_maximises_the_ratio_over_all_subsets():
    rng = np.random.default_rng(1)
    for _ in range(20):
        q = rng.random(8) ** 2

        def expected(chosen, q=q):
            return 2 * q[chosen].sum() / (chosen.sum() + q.sum())

        best = max(
            expected(np.array(bits)) for bits in itertools.product([False, True], repeat=8) if any(bits)
        )
        assert expected(dice_decision(q)) == pytest.approx(best)


def test_dice_decision_of_certain_and_of_empty_masks():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert dice_decision(certain).tolist() == [[True, False], [False, True]]
    assert not dice_decision(np.zeros((2, 2))).any()


def test_bayes_counts_add_up_to_the_masks():
    data = SyntheticData(task="multiclass", image_size=48, test_images=2)
    counts = bayes_counts(data)
    for index, per_class in enumerate(counts):
        mask = data.source("test").mask(index)
        assert (per_class[:, 0] + per_class[:, 2]).tolist() == np.bincount(mask.ravel(), minlength=4).tolist()


def test_smooth_noise_is_standard_normal_at_every_pixel():
    draws = smooth_noise(np.random.default_rng(0), (4000, 6, 6), sigma_px=1.5)
    for pixel in [(0, 0), (3, 2), (5, 5)]:
        assert kstest(draws[:, *pixel], "norm").pvalue > 0.001
    neighbours = np.corrcoef(draws[:, 2, 2], draws[:, 2, 3])[0, 1]
    assert neighbours > 0.8


def test_distance_field_matches_brute_force():
    rng = np.random.default_rng(2)
    y, x, radius = rng.uniform(-2, 22, 30), rng.uniform(-2, 32, 30), rng.uniform(0.5, 9, 30)
    field, index = distance_field(Discs(y, x, radius, radius, radius), (20, 30))
    rows, columns = np.mgrid[:20, :30]
    brute = np.hypot(rows[..., None] - y, columns[..., None] - x) - radius
    known = brute.min(axis=-1) <= 3.0
    assert_allclose(field[known], brute.min(axis=-1)[known], atol=1e-3)
    assert np.isinf(field[~known]).all()
    assert_allclose(np.take_along_axis(brute, index[..., None], -1)[..., 0][known], field[known], atol=2e-3)
