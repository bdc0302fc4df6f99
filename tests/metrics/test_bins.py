"""Bins: their order, their edges, and the area under the precision-recall curve."""

import pytest
import torch
from torch.testing import assert_close
from torchmetrics.functional.classification import binary_average_precision

from segfocal.metrics.bins import (
    PR_BINS,
    average_precision,
    average_precision_of_33,
    pr_bin,
    pr_edges,
    reliability_bin,
)


def numbers():
    generator = torch.Generator().manual_seed(0)
    logits = torch.linspace(-60, 60, 200_001)
    extremes = torch.tensor([0.0, 1.0, 0.5, 2.0**-149, 2.0**-33, 1 - 2.0**-24])
    return torch.cat([torch.rand(100_000, generator=generator), logits.sigmoid(), extremes]).sort().values


def test_bins_rise_with_the_probability_and_fill_the_range():
    bins = pr_bin(numbers())
    assert (bins.diff() >= 0).all()
    assert (bins[0], bins[-1]) == (0, PR_BINS - 1)


@pytest.mark.parametrize("bins", [PR_BINS, 256])
def test_every_probability_lies_between_the_edges_of_its_bin(bins):
    p, edges = numbers(), pr_edges(bins)
    assert len(edges) == bins + 1
    assert (edges.diff() > 0).all()
    index = (pr_bin(p) // (PR_BINS // bins)).long()
    assert (edges[index] <= p.double()).all()
    assert (p.double() <= edges[index + 1]).all()


def test_bins_are_a_thousandth_of_the_smaller_side_wide():
    edges = pr_edges()
    width, middle = edges.diff(), (edges[1:] + edges[:-1]) / 2
    side = torch.minimum(middle, 1 - middle)[1:-1]
    assert (width[1:-1] / side).max() < 1 / 1000


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_numbers_have_a_bin_each(dtype):
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    every = every[(every >= 2.0**-33) & (every <= 1)].float()
    assert len(pr_bin(every).unique()) == len(every.unique())


def test_reliability_bins_are_equally_wide():
    edges = torch.arange(16) / 15
    middles = (edges[1:] + edges[:-1]) / 2
    assert reliability_bin(middles).tolist() == list(range(15))
    assert reliability_bin(torch.tensor([0.0, 1.0])).tolist() == [0, 14]


@pytest.mark.parametrize("prevalence", [0.5, 0.01, 0.001])
def test_area_equals_torchmetrics_to_a_ten_thousandth(prevalence):
    generator = torch.Generator().manual_seed(1)
    target = (torch.rand(40_000, generator=generator) < prevalence).long()
    p = (torch.randn(40_000, generator=generator) * 2 + 3 * target - 6).sigmoid()
    counts = [torch.bincount(pr_bin(p[target == label]), minlength=PR_BINS) for label in (0, 1)]
    exact = binary_average_precision(p.double(), target)
    assert_close(average_precision(*counts).item(), exact.item(), rtol=0, atol=1e-4)


def test_area_of_half_precision_scores_is_exact():
    generator = torch.Generator().manual_seed(2)
    target = (torch.rand(20_000, generator=generator) < 0.05).long()
    p = (torch.randn(20_000, generator=generator) + 2 * target - 3).sigmoid().half().float()
    counts = [torch.bincount(pr_bin(p[target == label]), minlength=PR_BINS) for label in (0, 1)]
    exact = binary_average_precision(p, target)
    assert_close(average_precision(*counts).item(), exact.item(), rtol=1e-5, atol=0)


def test_area_without_positives_is_nan_and_of_a_perfect_order_one():
    assert average_precision(torch.tensor([3, 0]), torch.tensor([0, 0])).isnan()
    assert average_precision(torch.tensor([3, 0]), torch.tensor([0, 2])) == 1


@pytest.mark.parametrize("shift", [0.0, -4.0])
def test_the_33_thresholds_are_those_of_the_challenge(shift):
    """Thresholds one by one; none of the last ones predicts anything where the scores are low."""
    generator = torch.Generator().manual_seed(2)
    target = (torch.rand(30_000, generator=generator) < 0.02).long()
    p = (1.5 * torch.randn(30_000, generator=generator) + 3 * target - 3 + shift).sigmoid()
    counts = [torch.bincount(pr_bin(p[target == label]), minlength=PR_BINS) for label in (0, 1)]
    points = []
    for step in range(33):
        above = p > step / 32
        if above.any():
            hits = target[above].double().sum()
            points.append((hits / target.sum(), hits / above.sum()))
    points.append((torch.zeros(()).double(), points[-1][1]))
    recall, precision = (torch.stack(axis).flip(0) for axis in zip(*points, strict=True))
    expected = torch.trapezoid(precision, recall)
    assert_close(average_precision_of_33(*counts), expected, rtol=1e-12, atol=0)
    assert average_precision_of_33(counts[0], torch.zeros(PR_BINS)).isnan()


def test_the_33_thresholds_miss_what_lies_below_the_first():
    """Scores that all lie below 1/32 make one point: the prevalence."""
    p, target = torch.tensor([0.01, 0.02, 0.03]), torch.tensor([0, 0, 1])
    counts = [torch.bincount(pr_bin(p[target == label]), minlength=PR_BINS) for label in (0, 1)]
    assert_close(average_precision_of_33(*counts), torch.tensor(1 / 3).double())
    assert average_precision(*counts) == 1
