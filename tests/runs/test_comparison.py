"""The paired test, Holm's correction, sizes and rankings: against scipy, brute force and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from segfocal.errors import SegfocalError
from segfocal.runs.comparison import compare
from segfocal.runs.ranking import rank_stability
from segfocal.runs.sample_size import units_needed
from segfocal.runs.signedrank import EXACT_UP_TO, holm, is_decidable, signed_rank, smallest_p


def by_brute_force(values):
    """Share of all sign patterns whose rank sum lies at least as far from the middle."""
    values = np.asarray([value for value in values if value != 0])
    ranks = stats.rankdata(np.abs(values))
    middle = ranks.sum() / 2
    far = abs(ranks[values > 0].sum() - middle)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return float(np.mean([abs(total - middle) >= far - 1e-9 for total in sums]))


@pytest.mark.parametrize("count", [1, 2, 5, 8, 20, 50])
def test_without_ties_p_is_scipys_exact(count):
    rng = np.random.default_rng(count)
    for shift in (0.0, 0.5):
        values = rng.normal(size=count) + shift
        found = signed_rank(values)
        assert found.p_value == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=1e-10)
        assert found.exact
        assert found.zeros == 0


def test_with_ties_and_zeros_p_counts_all_sign_patterns():
    rng = np.random.default_rng(0)
    for _ in range(40):
        values = rng.integers(-3, 4, size=rng.integers(2, 11)) / 10
        found = signed_rank(values)
        assert found.zeros == (values == 0).sum()
        expected = by_brute_force(values) if (values != 0).any() else 1.0
        assert found.p_value == pytest.approx(expected)


def test_rounding_errors_break_no_tie():
    plain, disturbed = [0.3, -0.3, 0.3, 0.2], [0.1 + 0.2, -0.3, 0.3, 0.2]
    assert signed_rank(disturbed) == signed_rank(plain)
    assert signed_rank([0.1 + 0.2 - 0.3, 0.5, 0.25]).zeros == 1


def test_many_clusters_take_the_normal_approximation():
    values = np.random.default_rng(1).normal(size=EXACT_UP_TO + 1) + 0.1
    found = signed_rank(values)
    assert not found.exact
    assert found.p_value == stats.wilcoxon(values, method="asymptotic").pvalue
    exact = signed_rank(values[:EXACT_UP_TO])
    approximate = stats.wilcoxon(values[:EXACT_UP_TO], method="asymptotic").pvalue
    assert exact.p_value == pytest.approx(approximate, abs=0.005)


def test_all_zeros_is_no_difference():
    found = signed_rank(np.zeros(5))
    assert (found.p_value, found.zeros, found.clusters) == (1.0, 5, 5)


@pytest.mark.parametrize("clusters", [1, 2, 4, 8, 28])
def test_the_smallest_p_is_reached_when_all_agree(clusters):
    values = np.arange(1, clusters + 1) / 10
    assert signed_rank(values).p_value == pytest.approx(smallest_p(clusters))


def test_the_known_limits():
    assert smallest_p(8) == pytest.approx(0.0078, abs=5e-5)
    assert smallest_p(4) == 0.125
    assert smallest_p(28) == pytest.approx(7.5e-9, rel=0.01)
    assert smallest_p(0) == 1.0
    assert not is_decidable(4, contrasts=1)
    assert not is_decidable(5, contrasts=1)
    assert is_decidable(6, contrasts=1)
    assert is_decidable(8, contrasts=6)
    assert not is_decidable(8, contrasts=7)
    assert is_decidable(28, contrasts=1000)


def by_definition(values, level):
    """Holm's procedure as published: reject in order until the first that is above level / (m - i)."""
    rejected, order = set(), np.argsort(values, kind="stable")
    for place, index in enumerate(order):
        if values[index] > level / (len(values) - place):
            break
        rejected.add(int(index))
    return rejected


def test_adjusted_p_rejects_what_holms_procedure_rejects():
    rng = np.random.default_rng(2)
    for _ in range(100):
        values = rng.random(rng.integers(1, 7)) ** 3
        adjusted = holm(values.tolist())
        for level in (0.01, 0.05, 0.2):
            assert {i for i, p in enumerate(adjusted) if p <= level} == by_definition(values, level)


def test_a_contrast_without_data_still_counts():
    assert holm([0.02, None, 0.03]) == [0.06, None, 0.06]
    assert holm([None]) == [None]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(SegfocalError, match="p_values"):
        holm([1.2])


def test_holm_keeps_the_familywise_error():
    """Eight clusters, four true nulls: at least one rejection in at most 5 % of families."""
    rng = np.random.default_rng(3)
    families = 400
    wrong = sum(
        min(holm([signed_rank(rng.normal(size=8)).p_value for _ in range(4)])) <= 0.05
        for _ in range(families)
    )
    assert wrong / families <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / families)


def test_a_comparison_uses_what_both_arms_have():
    table = np.array([[1.0, 2.0, 3.0, -1.0], [3.0, 2.0, math.nan, -3.0], [math.nan] * 4])
    found = compare(table)
    assert (found.interval.seeds, found.interval.clusters) == (2, 3)
    assert (found.seeds_left_out, found.clusters_left_out) == (1, 1)
    assert found.interval.mean == pytest.approx(np.mean([1, 3, 2, 2, -1, -3]))
    assert (found.wins, found.ties, found.losses) == (2, 0, 1)
    assert found.test.p_value == stats.wilcoxon([2.0, 2.1, -2.2], method="exact").pvalue
    assert found.smallest_p == 0.25
    assert compare(np.full((2, 3), math.nan)) is None
    with pytest.raises(SegfocalError, match="shape"):
        compare([1.0, 2.0])


def test_ties_within_a_margin():
    found = compare([[0.0, 0.001, -0.001, 0.5, -0.5]], tie=0.001)
    assert (found.wins, found.ties, found.losses) == (1, 3, 1)
    assert compare([[0.0, 0.001, -0.001]]).ties == 1


def test_half_a_standard_deviation_takes_32_clusters():
    assert units_needed(0.5, variance=1.0) == 32
    assert units_needed(-0.5, variance=1.0) == 32
    assert units_needed(5.0, variance=1.0) == 2
    assert units_needed(0.5, variance=1.0, level=0.05 / 6) > 32
    assert units_needed(0.0, variance=1.0) is None
    assert units_needed(0.5, variance=math.nan) is None
    assert units_needed(0.5, variance=0.0) == 2


def test_seeds_that_vary_too_much_cannot_be_made_up_for():
    common = {"variance": 1.0, "residual": 3.0, "others": 3}
    assert units_needed(0.5, **common) == math.ceil(2 * (1.959964 + 0.841621) ** 2 / 0.25)
    factor = (1.959964 + 0.841621) ** 2
    with_others = math.ceil(2 / (0.25 / factor - 0.03 / 3))
    assert units_needed(0.5, **common, other_variance=0.03) == with_others > units_needed(0.5, **common)
    assert units_needed(0.5, **common, other_variance=1.0) is None
    with pytest.raises(SegfocalError, match="power"):
        units_needed(0.5, variance=1.0, power=1.0)


def test_the_number_needed_has_the_power_it_promises():
    rng = np.random.default_rng(4)
    count = units_needed(0.5, variance=1.0)
    shown = stats.ttest_1samp(rng.normal(0.5, 1.0, size=(4000, count)), 0, axis=1).pvalue <= 0.05
    assert shown.mean() == pytest.approx(0.8, abs=0.03)


def test_a_comparison_names_the_clusters_or_the_seeds_that_lack():
    rng = np.random.default_rng(5)
    clusters, seeds = rng.normal(size=(1, 20)), np.array([[-1.0], [0.0], [1.0]])
    steady = compare(0.2 + clusters - clusters.mean() + 0.1 * rng.normal(size=(3, 20)))
    assert steady.clusters_needed() > 20
    shaky = compare(0.2 + seeds + 0.1 * rng.normal(size=(3, 20)))
    assert shaky.clusters_needed() is None
    assert shaky.seeds_needed() > 3
    assert compare([[0.1, 0.2, 0.4]]).seeds_needed() is None


def test_never_fewer_clusters_than_the_test_can_use():
    """A difference of many standard deviations still takes six clusters, eight at a sixth of the level."""
    found = compare(1.0 + 0.001 * np.random.default_rng(10).normal(size=(3, 4)))
    assert units_needed(1.0, variance=1e-6) == 2
    assert (found.clusters_needed(), found.clusters_needed(level=0.05 / 6)) == (6, 8)


def test_an_arm_that_always_leads_ranks_first_always():
    base = np.random.default_rng(6).normal(size=(3, 12))
    found = rank_stability([base, base + 0.1, base - 0.1])
    assert found.first.tolist() == [0.0, 1.0, 0.0]
    assert found.rank.tolist() == [2.0, 1.0, 3.0]
    assert (found.seeds, found.clusters) == (3, 12)


def test_ties_share_the_first_place_and_shares_add_to_one():
    base = np.random.default_rng(7).normal(size=(2, 6))
    assert rank_stability([base, base]).first.tolist() == [0.5, 0.5]
    found = rank_stability([base, base + np.random.default_rng(8).normal(size=(2, 6))])
    assert found.first.sum() == pytest.approx(1.0)


def test_the_share_is_the_bootstraps_own():
    """Against the exact share over all samples of four clusters with replacement."""
    gap = np.array([3.0, -1.0, -1.5, 0.4])
    exact = np.mean([np.mean(gap[list(draw)]) > 0 for draw in itertools.product(range(4), repeat=4)])
    found = rank_stability([gap[None], np.zeros((1, 4))], samples=20_000)
    assert found.first[0] == pytest.approx(exact, abs=0.01)


def test_ranking_is_repeatable_and_uses_what_all_arms_have():
    scores = np.random.default_rng(9).normal(size=(3, 3, 8))
    scores[2, 1] = math.nan
    first, again = rank_stability(scores), rank_stability(scores)
    assert first.first.tolist() == again.first.tolist()
    assert (first.seeds, first.clusters) == (2, 8)
    scores[1] = math.nan
    assert rank_stability(scores) is None
    with pytest.raises(SegfocalError, match="shape"):
        rank_stability([[1.0]])
