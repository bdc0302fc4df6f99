from __future__ import annotations

import pytest
import torch
from monai.networks.nets import SegResNet
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet
from segfocal.models.weights_adapt import adapt_channels, image_convolution, plan_values, tensors_of


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("mode", ["sum", "cycle"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_grey_image_is_answered_as_before(mode, channels, dims):
    torch.manual_seed(0)
    weight = torch.randn(5, 3, *[3] * dims, dtype=torch.float64)
    new = adapt_channels(weight, channels, mode=mode)
    assert new.shape == (5, channels, *[3] * dims)
    if mode == "sum" or channels % 3 == 0:
        assert_close(new.sum(dim=1), weight.sum(dim=1))


def test_cycle_takes_the_channels_in_turn_and_scales():
    weight = torch.tensor([[1.0, 2.0, 4.0]])
    assert adapt_channels(weight, 2, mode="cycle").tolist() == [[1.5, 3.0]]
    assert adapt_channels(weight, 6, mode="cycle").tolist() == [[0.5, 1.0, 2.0, 0.5, 1.0, 2.0]]
    assert adapt_channels(weight, 1).tolist() == [[7.0]]


def test_half_precision_is_summed_exactly():
    weight = torch.full((1, 4096, 1, 1), 1.0, dtype=torch.float16)
    assert adapt_channels(weight, 4).flatten().tolist() == [1024.0] * 4
    with pytest.raises(SegfocalError, match="first_conv must be one of 'sum', 'cycle'"):
        adapt_channels(weight, 2, mode="mean")


def plan(network, old, **settings):
    return plan_values(network, tensors_of(old), **settings)


@pytest.mark.parametrize("dims", [2, 3])
def test_first_convolution_and_head_and_nothing_else(dims):
    old = SmallUNet(3, 4, channels=(4, 8), spatial_dims=dims)
    network = SmallUNet(2, 1, channels=(4, 8), spatial_dims=dims)
    found = plan(network, old)
    assert list(found.adapted) == ["stem.weight"]
    assert found.reinitialised == ["head.weight", "head.bias"]
    assert found.values.keys() | set(found.reinitialised) == tensors_of(network).keys()


def test_a_layer_is_new_as_a_whole():
    old, network = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 3)
    assert plan(network, old).reinitialised == ["weight", "bias"]


def test_another_width_is_no_image_channel():
    old = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3))
    found = plan(network, old)
    assert (found.adapted, found.loaded) == ({}, {})
    wide = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(8, 3, 1))
    assert list(plan(nn.Sequential(nn.Conv2d(4, 3, 3), nn.Conv2d(4, 3, 1)), wide).adapted) == ["0.weight"]


def test_grouped_convolutions_are_not_summed():
    old, network = nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, groups=4)
    assert plan(network, old).reinitialised == ["weight", "bias"]


def test_channels_can_be_said_where_the_first_convolution_reads_no_image():
    class Odd(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.late, self.early = nn.Conv2d(6, 2, 1), nn.Conv2d(channels, 6, 1)

    assert plan(Odd(1), Odd(3)).adapted == {}
    assert list(plan(Odd(1), Odd(3), in_channels=1).adapted) == ["early.weight"]


def test_the_first_convolution_of_monai_and_of_nothing():
    assert image_convolution(SegResNet(3, 8, 4, 2)).in_channels == 4
    assert image_convolution(nn.Linear(1, 1)) is None


def test_infinite_values_are_refused():
    old, network = nn.Linear(1, 1), nn.Linear(1, 1).half()
    nn.init.constant_(old.weight, 1e6)  # past the largest half
    with pytest.raises(SegfocalError, match="first weight"):
        plan(network, old)
