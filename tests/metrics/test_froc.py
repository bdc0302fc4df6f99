"""FROC: at every operating point the pairs that an exhaustive search finds among the candidates left."""

import numpy as np
import pytest
import torch
from lesion_reference import flood, most_pairs
from scipy import ndimage

from segfocal.errors import SegfocalError
from segfocal.metrics.froc import RATES, FrocScores


def images(seed, number=5, shape=(15, 18)):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        reference = ndimage.gaussian_filter(rng.random(shape), 0.8) > 0.62
        heat = ndimage.gaussian_filter(rng.random(shape), 0.7) + 0.25 * np.roll(reference, 1, axis=1)
        yield np.clip(1.6 * heat - 0.5, 0, 1).astype(np.float32), reference


def naive(pairs, *, level, min_size=1):
    """Sensitivity at each rate, from every operating point k/128 anew."""
    candidates, lesions = [], 0
    for heat, reference in pairs:
        parts = [part for part in flood(heat > level) if len(part) >= min_size]
        known = [part for part in flood(reference) if len(part) >= min_size]
        candidates.append(([(max(heat[place] for place in part), part) for part in parts], known))
        lesions += len(known)
    points = []
    for step in range(round(level * 128), 128):
        tp = fp = 0
        for scored, known in candidates:
            left = [part for score, part in scored if score > step / 128]
            pairs_found = most_pairs(left, known)
            tp, fp = tp + pairs_found, fp + len(left) - pairs_found
        points.append((fp / len(candidates), tp / lesions))
    return [max([share for rate, share in points if rate <= most], default=0.0) for most in RATES]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("level", "min_size"), [(0.25, 1), (0.375, 2)])
def test_sensitivities_are_those_of_an_exhaustive_search(seed, level, min_size):
    pairs = list(images(seed))
    metric = FrocScores("binary", 1, class_names=["lesion"], level=level, min_size=min_size)
    for number, (heat, reference) in enumerate(pairs):
        labels = torch.from_numpy(reference.astype(np.uint8))[None]
        metric.update(torch.from_numpy(heat)[None, None], labels, [str(number)])
    found, expected = metric.compute(), naive(pairs, level=level, min_size=min_size)
    assert 0 < sum(expected) < len(expected)
    for rate, value in zip(RATES, expected, strict=True):
        assert found[f"sensitivity_at_{rate:g}/lesion"] == pytest.approx(value)
    assert found["froc"] == pytest.approx(np.mean(expected))


def scored(heat, labels, **settings):
    metric = FrocScores("binary", 1, **settings)
    for number, (scores, target) in enumerate(zip(heat, labels, strict=True)):
        metric.update(
            torch.tensor(scores)[None, None], torch.tensor(target, dtype=torch.uint8)[None], [str(number)]
        )
    return metric.compute()


def test_a_known_curve():
    """Two images, two lesions: .9 right, .7 wrong, .6 right, .3 wrong."""
    heat = [[[0.9, 0.0, 0.7, 0.0]], [[0.6, 0.0, 0.3, 0.0]]]
    labels = [[[1, 0, 0, 0]], [[1, 0, 0, 0]]]
    found = scored(heat, labels)
    assert [float(found[f"sensitivity_at_{rate:g}"]) for rate in RATES] == [0.5, 0.5, 1, 1, 1, 1, 1]
    assert found["froc"] == pytest.approx(6 / 7)


def test_images_without_a_lesion_count_in_the_rate():
    wrong = [[0.9, 0.0, 0.9]]
    found = scored([[[0.8, 0.0, 0.0]], wrong], [[[1, 0, 0]], [[0, 0, 0]]])
    assert found["sensitivity_at_0.5"] == 0  # both wrong ones score more
    assert found["sensitivity_at_1"] == 1


def test_without_any_lesion_or_any_candidate():
    assert scored([[[0.9, 0.0]]], [[[0, 0]]])["froc"].isnan()
    assert scored([[[0.0, 0.0]]], [[[1, 0]]])["froc"] == 0
    everything = scored([np.ones((9, 9), dtype=np.float32)], [np.eye(9)])
    assert everything["froc"] == 1  # one candidate, one lesion through its centre


def test_ignored_pixels_hold_no_candidates():
    heat, labels = [[[0.9, 0.9, 0.0, 0.9]]], [[[1, 255, 0, 255]]]
    assert scored(heat, labels, ignore_index=255)["sensitivity_at_0.125"] == 1


def test_an_earlier_candidate_gives_way_to_a_later_one():
    """The better candidate fits both lesions, the other only the first."""
    heat, labels = np.zeros((2, 24), np.float32), np.zeros((2, 24), np.uint8)
    labels[:, 0:10] = labels[:, 11:21] = 1
    heat[:, 8:20], heat[:, 0:7] = 0.9, 0.5
    assert scored([heat], [labels])["sensitivity_at_0.125"] == 1


def test_wrong_settings_are_named():
    with pytest.raises(SegfocalError, match="level must lie in"):
        FrocScores("binary", 1, level=1.0)
