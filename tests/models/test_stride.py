from __future__ import annotations

import pytest
import torch
from monai.networks.nets import AttentionUnet, UNet
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet, SmpNetwork, crop_to, head_width, pad_to_multiple, size_divisor


class Shrinks(nn.Module):
    def forward(self, images):
        return images[..., 1:]


class Touchy(nn.Module):
    def __init__(self, unit):
        super().__init__()
        self.unit = unit

    def forward(self, images):
        if any(size % self.unit for size in images.shape[2:]):
            raise RuntimeError(f"sizes must be multiples of {self.unit}")
        return images


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_monai_unet(levels):
    network = UNet(2, 1, 2, channels=[8] * levels, strides=[2] * (levels - 1), norm="batch")
    assert size_divisor(network, in_channels=1) == 2 ** (levels - 1)


def test_monai_unet_in_3d_with_instance_norm():
    network = UNet(3, 1, 2, channels=(4, 8, 8), strides=(2, 2))
    assert size_divisor(network, in_channels=1, spatial_dims=3) == 4


def test_monai_attention_unet():
    network = AttentionUnet(2, 1, 2, channels=(4, 8, 8), strides=(2, 2))
    assert size_divisor(network, in_channels=1) == 4


def test_smp_unet():
    assert size_divisor(SmpNetwork(3, 2), in_channels=3) == 32
    shallow = SmpNetwork(3, 2, options={"encoder_depth": 3, "decoder_channels": [32, 16, 8]})
    assert size_divisor(shallow, in_channels=3) == 8


@pytest.mark.parametrize("unit", [1, 2, 8, 14, 28, 64, 112])
def test_any_unit_is_found(unit):
    assert size_divisor(Touchy(unit), in_channels=1) == unit


def test_the_users_divisor_is_believed():
    assert size_divisor(Touchy(48), in_channels=1, divisor=48) == 48
    with pytest.raises(SegfocalError, match="divisor must be"):
        size_divisor(Touchy(48), in_channels=1, divisor=0)


def test_a_network_that_never_fits_is_quoted():
    with pytest.raises(SegfocalError, match="Give the multiple as divisor="):
        size_divisor(Shrinks(), in_channels=1)
    with pytest.raises(SegfocalError, match="sizes must be multiples of 48"):
        size_divisor(Touchy(48), in_channels=1)


@pytest.mark.parametrize(
    "network", [nn.Conv2d(3, 1, 1), nn.Conv3d(3, 1, 1), SmpNetwork(3, 1), SmallUNet(3, 1)]
)
def test_other_channels_are_named_with_the_remedy(network):
    dims = 3 if isinstance(network, nn.Conv3d) else 2
    said = r"takes images of 3 channel\(s\), but they have 4\. Set the network's in_channels to 4.*preprocess"
    with pytest.raises(SegfocalError, match=said):
        size_divisor(network, in_channels=4, spatial_dims=dims)
    with pytest.raises(SegfocalError, match=said):  # nothing is run to find a divisor that is given
        head_width(network, in_channels=4, spatial_dims=dims, divisor=32)


def test_probing_leaves_no_trace():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout())
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    size_divisor(network, in_channels=1)
    assert [module.training for module in network] == [True, False, True]
    assert torch.equal(state, torch.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (16, 16), (31, 33), (5, 6, 7)])
def test_padding_repeats_the_border_and_cropping_undoes_it(size):
    image = torch.randn(2, 3, *size)
    padded = pad_to_multiple(image, 16)
    assert all(length % 16 == 0 for length in padded.shape[2:])
    assert torch.equal(crop_to(padded, size), image)
    assert_close(padded[(0, 0, *[-1] * len(size))], image[(0, 0, *[-1] * len(size))])
