"""Histograms of the margin: what is summed from bins is what is summed over the pixels."""

import math

import numpy as np
import pytest
import torch

from segfocal.metrics.diagnosis import BINS, WIDTH, MarginHistograms, bin_at


def random_nll(count, seed=0):
    margin = torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 6
    return torch.nn.functional.softplus(margin)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_a_slope_summed_over_bins_is_that_over_pixels(gamma):
    nll = random_nll(50_000)
    p = (-nll).exp()
    exact = ((1 - p) ** gamma * (1 - p + gamma * p * nll)).sum().item()
    found = MarginHistograms(1)
    found.update(nll, torch.zeros_like(nll))
    elements, margins = found.histograms()
    q = 1 / (1 + np.exp(margins))
    binned = (elements * (1 - q) ** gamma * (1 - q - gamma * q * np.log(q))).sum()
    assert binned == pytest.approx(exact, rel=2e-5)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_edges_lie_at_the_stated_probabilities(p):
    found = MarginHistograms(1)
    near = torch.tensor([p * (1 - 1e-4), p * (1 + 1e-4)], dtype=torch.float64)
    found.update(-near.log(), torch.zeros(2))
    harder, easier = bin_at(p), bin_at(p) - 1
    assert np.flatnonzero(found.histograms().elements[0]).tolist() == [easier, harder]


def test_groups_and_batches_add_up():
    nll, group = random_nll(600), torch.arange(600) % 3
    whole, parts = MarginHistograms(3), MarginHistograms(3)
    whole.update(nll, group)
    for some, own in zip(nll.split(70), group.split(70), strict=True):
        parts.update(some, own)
    assert whole.compute().tolist() == [200, 200, 200]
    for one, other in zip(whole.histograms(), parts.histograms(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_saturated_pixels_keep_their_loss():
    found = MarginHistograms(1)
    found.update(torch.tensor([0.0, 1e-30, 1e-5, 500.0, 1500.0]), torch.zeros(5))
    elements, margins = found.histograms()
    assert elements[0, 0] == 2  # the two that are certain
    assert elements[0, -1] == 2
    assert margins[0, -1] == pytest.approx(1000.0)  # the mean: above 64 nats the loss is linear
    at = int((math.log(math.expm1(1e-5)) / WIDTH) // 1) + BINS // 2
    assert elements[0, at] == 1


def test_the_state_does_not_grow():
    found = MarginHistograms(2)
    before = [tensor.numel() for tensor in (found.elements, found.sums)]
    for seed in range(5):
        found.update(random_nll(1000, seed), torch.ones(1000))
    assert [tensor.numel() for tensor in (found.elements, found.sums)] == before
