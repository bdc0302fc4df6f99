from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet, SegResNet, UNet
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.imbalance import bias_prior
from segfocal.models import SmallUNet, SmpNetwork, find_head, head_width, set_head_bias

NETWORKS = {
    "small": lambda classes: SmallUNet(3, classes, channels=(4, 8)),
    "small 3d": lambda classes: SmallUNet(3, classes, channels=(4, 8), spatial_dims=3),
    "smp unet": lambda classes: SmpNetwork(3, classes),
    "smp fpn": lambda classes: SmpNetwork(3, classes, architecture="fpn", encoder="mobilenet_v2"),
    "monai unet": lambda classes: UNet(2, 3, classes, channels=(4, 8, 8), strides=(2, 2), num_res_units=2),
    "monai basic": lambda classes: BasicUNet(2, 3, classes, features=(8, 8, 8, 8, 8, 8)),
    "monai segresnet": lambda classes: SegResNet(2, 8, 3, classes),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("classes", [1, 3])
def test_the_prior_shifts_every_logit(name, classes):
    torch.manual_seed(0)
    network = NETWORKS[name](classes).eval()
    dims = 3 if name.endswith("3d") else 2
    arguments = {"in_channels": 3, "spatial_dims": dims}
    prior = torch.linspace(-4.0, -2.0, classes)
    set_head_bias(network, torch.zeros(classes), **arguments)
    image = torch.randn(1, 3, *[64] * dims) if dims == 2 else torch.randn(1, 3, 8, 8, 8)
    with torch.no_grad():
        before = network(image)
        set_head_bias(network, prior, **arguments)
        shift = network(image) - before
    assert head_width(network, **arguments) == classes
    assert_close(shift, prior.view(1, -1, *[1] * dims).expand_as(shift), atol=1e-4, rtol=1e-4)


def test_an_untrained_head_then_predicts_the_frequencies():
    network = nn.Conv2d(1, 3, 1)
    nn.init.zeros_(network.weight)
    set_head_bias(network, bias_prior([900, 90, 10], "multiclass"), in_channels=1)
    scores = network(torch.randn(1, 1, 2, 2)).softmax(dim=1)
    assert_close(scores[0, :, 0, 0], torch.tensor([0.9, 0.09, 0.01]))


def test_a_wider_layer_after_or_a_norm_behind_does_not_mislead():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.Upsample(scale_factor=1))
    assert find_head(network, in_channels=1) is network[2]
    normed = nn.Sequential(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2))
    with pytest.raises(SegfocalError, match="whose bias adds to the logits"):
        find_head(normed, in_channels=1)


def test_no_bias_is_an_error_with_its_remedy():
    network = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 1, bias=False))
    with pytest.raises(SegfocalError, match=r"bias=True"):
        set_head_bias(network, [-3.0], in_channels=1)


def test_finding_leaves_the_weights_alone():
    network = SmallUNet(1, 2, channels=(4, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    find_head(network, in_channels=1)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("prior", "message"), [([1.0, 2.0], "must have 1 values"), ([float("-inf")], "must be finite")]
)
def test_a_prior_that_does_not_fit_is_refused(prior, message):
    with pytest.raises(SegfocalError, match=message):
        set_head_bias(nn.Conv2d(1, 1, 1), prior, in_channels=1)
