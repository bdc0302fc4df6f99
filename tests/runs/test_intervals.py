"""Intervals over crossed seeds and clusters, against hand, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from segfocal.errors import SegfocalError
from segfocal.runs.complete import complete_block
from segfocal.runs.crossed import crossed_variance, half_width, mean_squares
from segfocal.runs.intervals import crossed_interval
from segfocal.runs.jackknife import pseudo_values

TABLE = [[1.0, 2.0, 6.0], [3.0, 5.0, 7.0]]


def test_a_hand_computed_table():
    # rows 3 and 5, columns 2, 3.5 and 6.5, mean 4: sums of squares 6, 21 and 1
    assert [part.item() for part in mean_squares(np.array(TABLE))] == pytest.approx([6.0, 10.5, 0.5])
    found = crossed_interval(TABLE)
    variance, freedom = 16 / 6, 16**2 / (6**2 / 1 + 10.5**2 / 2 + 0.5**2 / 2)
    satterthwaite = stats.t.ppf(0.975, freedom) ** 2 * variance
    banerjee = [stats.t.ppf(0.975, k) ** 2 * part / 6 for k, part in ((1, 5.5), (2, 10.0), (2, 0.5))]
    half = math.sqrt(max(satterthwaite, sum(banerjee)))
    assert (found.mean, found.seeds, found.clusters, found.covers) == (4.0, 2, 3, "seeds and clusters")
    assert found.degrees_of_freedom == pytest.approx(freedom)
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))
    parts = (found.seed_variance, found.cluster_variance, found.residual_variance)
    assert parts == pytest.approx((5.5 / 3, 10 / 2, 0.5))
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.shares["cluster"] == pytest.approx(5 / (5 + 5.5 / 3 + 0.5))


def test_the_width_is_satterthwaites_but_never_less_than_banerjees():
    rng, wider = np.random.default_rng(8), set()
    for seeds, clusters, seed_sd in [(3, 4, 0.0), (3, 100, 0.3)] * 10:
        table = rng.normal(size=(seeds, 1)) * seed_sd + rng.normal(size=clusters)
        table = table + rng.normal(size=(seeds, clusters))
        by_seed, by_cluster, residual = (part.item() for part in mean_squares(table))
        _, variance, freedom = crossed_variance(table)
        plain = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
        parts = (max(by_seed - residual, 0), max(by_cluster - residual, 0), residual)
        degrees = (seeds - 1, clusters - 1, (seeds - 1) * (clusters - 1))
        own = sum(stats.t.ppf(0.975, k) ** 2 * part for k, part in zip(degrees, parts, strict=True))
        own = math.sqrt(own / table.size)
        found = crossed_interval(table)
        assert found.high - found.mean == pytest.approx(max(plain, own))
        wider.add(bool(own > plain))
    assert wider == {False, True}


@pytest.mark.parametrize(("axis", "covers"), [(0, "clusters"), (1, "seeds")])
def test_one_seed_or_one_cluster_is_students_interval(axis, covers):
    values = np.random.default_rng(0).normal(size=7)
    found = crossed_interval(np.expand_dims(values, axis))
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.covers == covers
    assert math.isnan(found.residual_variance)


def test_one_value_has_no_interval():
    found = crossed_interval([[3.0]])
    assert (found.mean, found.covers, found.excludes_zero) == (3.0, "nothing", False)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.degrees_of_freedom)


def test_seeds_without_effect_leave_students_interval_of_cluster_means():
    # the mean square of seeds equals the residual's here, so that the clusters' alone is left
    table = np.array([[1.0, 2.0, 3.0, 6.0], [2.0, 1.0, 5.0, 4.0]])
    by_seed, by_cluster, residual = (part.item() for part in mean_squares(table))
    assert by_seed < residual < by_cluster
    shift = math.sqrt((residual - by_seed) * 2 / 4) / 2
    rows = np.array([[-shift], [shift]])  # both rows have the mean 3, moved apart
    assert by_seed == 0
    _, variance, _ = crossed_variance(table + rows)
    assert variance == pytest.approx(table.mean(axis=0).var(ddof=1) / 4)


def test_a_variance_estimate_below_the_residuals_is_the_residuals():
    table = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    parts = [part.item() for part in mean_squares(table)]
    assert parts == pytest.approx([0.0, 0.0, 2.0])  # the formula alone would give -2 / 6
    _, variance, freedom = crossed_variance(table)
    assert variance == pytest.approx(2 / 6)
    assert freedom == 2
    found = crossed_interval(table)
    assert found.high == pytest.approx(stats.t.ppf(0.975, 2) * math.sqrt(2 / 6))
    assert (found.seed_variance, found.cluster_variance) == (0.0, 0.0)


def test_degrees_of_freedom_are_at_least_one():
    rng = np.random.default_rng(1)
    tables = rng.normal(size=(4000, 2, 3))
    _, variance, freedom = crossed_variance(tables)
    assert freedom.min() >= 1.0
    assert (variance > 0).all()
    by_seed, by_cluster, residual = mean_squares(tables)
    assert (variance * 6 >= np.maximum(residual, by_seed + by_cluster - residual) - 1e-12).all()


def test_equal_values_have_an_interval_of_no_width():
    found = crossed_interval(np.full((3, 4), 0.25))
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)
    assert found.excludes_zero
    assert not crossed_interval(np.zeros((3, 4))).excludes_zero


def test_shift_and_scale_carry_over():
    table = np.random.default_rng(2).normal(size=(3, 5))
    plain, moved = crossed_interval(table), crossed_interval(100 * table + 7)
    assert (moved.low, moved.high) == pytest.approx((100 * plain.low + 7, 100 * plain.high + 7))
    assert moved.degrees_of_freedom == pytest.approx(plain.degrees_of_freedom)


@pytest.mark.parametrize(("seeds", "clusters"), [(3, 4), (3, 100), (5, 28)])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds, clusters):
    """A small version of experiments/statistics, whose bounds are 93 to 98 %."""
    rng = np.random.default_rng(3)
    tables = rng.normal(size=(1500, seeds, 1)) * 0.35 + rng.normal(size=(1500, 1, clusters))
    tables += 0.55 * rng.normal(size=(1500, seeds, clusters))
    covered = np.abs(tables.mean(axis=(1, 2))) <= half_width(tables)
    assert 0.93 <= covered.mean() <= 0.98


def test_pooling_pairs_as_if_independent_covers_less():
    """Why the seeds are crossed: the plain standard error of all pairs is far too small."""
    rng = np.random.default_rng(4)
    tables = rng.normal(size=(1000, 3, 1)) + rng.normal(size=(1000, 1, 8)) + rng.normal(size=(1000, 3, 8))
    flat = tables.reshape(1000, 24)
    half = stats.t.ppf(0.975, 23) * flat.std(axis=1, ddof=1) / math.sqrt(24)
    assert (np.abs(flat.mean(axis=1)) <= half).mean() < 0.7


def test_missing_values_and_wrong_shapes_are_named():
    with pytest.raises(SegfocalError, match=r"1 of 4 missing or infinite.*complete"):
        crossed_interval([[1.0, 2.0], [float("nan"), 3.0]])
    for wrong in ([1.0, 2.0], [[]], [[[1.0]]]):
        with pytest.raises(SegfocalError, match="shape"):
            crossed_interval(wrong)
    with pytest.raises(SegfocalError, match="level"):
        crossed_interval([[1.0, 2.0]], level=95)


def test_a_failed_fold_costs_its_clusters_and_a_failed_training_its_seed():
    present = np.ones((3, 10), dtype=bool)
    present[1, 4:6] = False  # one fold of five of seed 1
    seeds, clusters = complete_block(present)
    assert (seeds.tolist(), clusters.tolist()) == ([0, 1, 2], [0, 1, 2, 3, 6, 7, 8, 9])
    present[1] = False
    seeds, clusters = complete_block(present)
    assert (seeds.tolist(), clusters.tolist()) == ([0, 2], list(range(10)))


def test_a_complete_block_is_complete_or_empty():
    rng = np.random.default_rng(5)
    for _ in range(200):
        present = rng.random((rng.integers(1, 6), rng.integers(1, 8))) < rng.random()
        seeds, clusters = complete_block(present)
        assert present[np.ix_(seeds, clusters)].all()
        assert (len(seeds) == 0) == (len(clusters) == 0)
        assert len(seeds) > 0 or not present.any() or min(present.shape) > 1
    seeds, clusters = complete_block(np.zeros((2, 3), dtype=bool))
    assert (len(seeds), len(clusters)) == (0, 0)


def test_pseudo_values_of_a_mean_are_its_values():
    values = np.random.default_rng(6).normal(size=(3, 5))
    sums = np.stack([values, np.ones_like(values)], axis=-1)
    whole, parts = pseudo_values(sums, lambda total: total[..., 0] / total[..., 1])
    np.testing.assert_allclose(whole, values.mean(axis=1))
    np.testing.assert_allclose(parts, values)


def test_pseudo_values_cover_a_quotient_of_sums():
    """Dice of pooled counts: the interval covers the ratio of expectations."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(600):
        size = rng.gamma(4.0, 25.0, size=(1, 12)) * np.ones((3, 1))
        hits = size * np.clip(0.8 + 0.05 * rng.normal(size=(1, 12)) + 0.02 * rng.normal(size=(3, 12)), 0, 1)
        counts = np.stack([hits, size], axis=-1)
        whole, parts = pseudo_values(counts, lambda total: total[..., 0] / total[..., 1])
        found = crossed_interval(parts, centre=float(whole.mean()))
        covered += found.low <= 0.8 <= found.high
    assert 0.92 <= covered / 600 <= 0.985


def test_one_cluster_leaves_the_scores_themselves():
    whole, parts = pseudo_values(np.array([[[3.0, 4.0]], [[1.0, 4.0]]]), lambda t: t[..., 0] / t[..., 1])
    assert whole.tolist() == [0.75, 0.25]
    assert parts.tolist() == [[0.75], [0.25]]
    with pytest.raises(SegfocalError, match="shape"):
        pseudo_values(np.array([1.0]), lambda total: total)
