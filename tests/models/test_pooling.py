"""Other down-sampling in existing encoders: sizes and weights stay, shifts change less."""

import copy
import pickle

import monai
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.models import Pooling, SmallUNet, SmpNetwork
from segfocal.models.pooling import blur_half

NETWORKS = {
    "small": lambda: SmallUNet(1, 1, channels=(4, 8, 16)),
    "small 3D": lambda: SmallUNet(1, 1, channels=(4, 8), spatial_dims=3),
    "smp": lambda: SmpNetwork(1, 2),
    "efficientnet": lambda: SmpNetwork(1, 2, encoder="efficientnet-b0"),
    "monai": lambda: monai.networks.nets.UNet(2, 1, 2, channels=(4, 8, 16), strides=(2, 2)),
}


def build(name):
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "blur") for name in NETWORKS] + [(n, k) for n in ("small", "smp") for k in ("max", "average")],
)
def test_weights_and_sizes_stay(name, kind):
    plain, changed = build(name), build(name)
    Pooling(kind).apply(changed)
    changed.load_state_dict(plain.state_dict())
    assert list(changed.state_dict()) == list(plain.state_dict())
    images = torch.randn(1, 1, *[64] * (3 if "3D" in name else 2))
    before, after = plain(images), changed(images)
    assert before.shape == after.shape
    assert torch.equal(before, after) == (kind == "max")  # these networks pool by their maximum already


@pytest.mark.parametrize("size", [16, 17])
def test_blurred_pool_is_the_published_one(size):
    """Maximum of stride 1, then the binomial filter of stride 2 (as one depthwise convolution)."""
    network = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 1, 1), nn.Upsample(scale_factor=2))
    Pooling("blur").apply(network)
    images = torch.randn(2, 2, size, size)
    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = (row[:, None] * row).expand(2, 1, 3, 3)
    padded = nn.functional.pad(nn.functional.max_pool2d(images, 3, 1, 1), (1, 1, 1, 1), mode="replicate")
    expected = nn.functional.conv2d(padded, kernel, stride=2, groups=2)
    assert_close(network[0](images), expected)


def test_strided_convolution_is_computed_everywhere_then_blurred():
    layer = nn.Conv2d(1, 3, 3, stride=2, padding=1)
    network = nn.Sequential(layer, nn.Upsample(scale_factor=2))
    images = torch.randn(1, 1, 8, 8)
    everywhere = nn.functional.conv2d(images, layer.weight, layer.bias, padding=1)
    Pooling("blur").apply(network)
    assert_close(layer(images), blur_half(blur_half(everywhere, 2), 3))


def test_average_takes_the_place_of_the_maximum():
    network = build("smp")
    Pooling("average").apply(network)
    pool = network.network.encoder.maxpool
    images = torch.randn(1, 2, 9, 9)
    expected = nn.functional.avg_pool2d(images, 3, 2, 1, count_include_pad=False)
    assert_close(pool(images), expected)


def test_blur_makes_outputs_steadier_under_shifts():
    """A shift of the image by one pixel moves the output by one pixel, more nearly."""
    torch.manual_seed(0)
    changes = {}
    images = torch.nn.functional.interpolate(torch.randn(4, 1, 24, 24), scale_factor=4, mode="nearest")
    for kind in ("max", "blur"):
        network = nn.Sequential(
            nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Conv2d(1, 1, 1), nn.Upsample(scale_factor=4)
        )
        Pooling(kind).apply(network)
        with torch.no_grad():
            moved = network(images.roll(1, dims=3)).roll(-1, dims=3)
            changes[kind] = (moved - network(images))[..., 8:-8, 8:-8].abs().mean().item()
    assert changes["blur"] < 0.8 * changes["max"]


@pytest.mark.parametrize("length", [1, 2, 5, 8])
@pytest.mark.parametrize("ceil", [False, True])
def test_halved_lengths_are_those_of_pooling(length, ceil):
    pool = nn.MaxPool1d(1, 2)
    expected = pool(torch.zeros(1, 1, length)).shape[-1] if not ceil else length // 2 + 1
    assert blur_half(torch.zeros(1, 1, length), 2, ceil=ceil).shape[-1] == expected


def test_constant_maps_stay():
    assert_close(blur_half(torch.full((1, 1, 7, 6), 3.0), 2), torch.full((1, 1, 4, 6), 3.0))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_and_pickles_pool_alike(copied):
    network = build("small")
    Pooling("blur").apply(network)
    images = torch.randn(1, 1, 32, 32)
    assert torch.equal(network(images), copied(network)(images))


@pytest.mark.parametrize(
    ("build_it", "message"),
    [
        (lambda: Pooling("blurr"), "Did you mean 'blur'"),
        (
            lambda: Pooling("max").apply(build("monai")),
            r"found none in UNet.*kind='blur' only",
        ),
        (lambda: Pooling("blur").apply(nn.Conv2d(1, 1, 1)), "convolutions of stride 2, found none in Conv2d"),
    ],
)
def test_mistakes_are_named(build_it, message):
    with pytest.raises(SegfocalError, match=message):
        build_it()
