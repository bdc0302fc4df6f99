"""Networks of every make at patches and batches, and what they return: the truth is what they do when run."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from monai.networks.nets import UNETR, BasicUNetPlusPlus, DynUNet, SegResNetVAE, UNet
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.losses import DeepSupervision, FocalLoss
from segfocal.models import TakeOutput
from segfocal.models.outputs import as_supervised
from segfocal.models.probe import try_out
from segfocal.models.stride import size_divisor
from segfocal.models.trainable import check_activation, check_training, check_weights


def check(network, size, *, batch=2, divisor=4, outputs=1, channels=1):
    return check_training(
        network, size=size, batch=batch, in_channels=channels, divisor=divisor, outputs=outputs
    )


def made(name, **settings):
    defaults = {"encoder_weights": None, "in_channels": 1, "classes": 1}
    return getattr(smp, name)("resnet18", **(defaults | settings))


def dynamic(**settings):
    shape = {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    return DynUNet(2, 1, 1, **shape, filters=[4, 8, 8], **settings)


@pytest.mark.parametrize(
    ("size", "fits"), [((32, 48), True), ((4, 8), True), ((17, 32), False), ((6, 8), False)]
)
def test_patches_that_do_not_suit_are_named(size, fits):
    network = UNet(2, 1, 1, channels=(4, 8, 16), strides=(2, 2))
    if fits:
        check(network, size)
        assert network(torch.zeros(1, 1, *size)).shape[2:] == size
    else:
        with pytest.raises(SegfocalError, match=rf"patch_size \[{size[0]}, {size[1]}\] does not suit UNet"):
            check(network, size)


def test_patches_with_one_voxel_at_the_bottom_are_tried():
    network = UNet(3, 1, 1, channels=(4, 8, 16), strides=(2, 2), norm="instance")
    with pytest.raises(
        SegfocalError, match=r"got: Expected more than 1 spatial.*takes .*patch_size \[8, 8, 8\]"
    ):
        check(network, (4, 4, 4))
    check(network, (4, 4, 8))


@pytest.mark.parametrize("name", ["DeepLabV3", "DeepLabV3Plus", "UPerNet"])
def test_one_image_in_a_batch_is_refused_where_training_refuses_it(name):
    network = made(name)
    with pytest.raises(ValueError, match="more than 1 value"):
        network.train()(torch.zeros(1, 1, 64, 64))
    with pytest.raises(SegfocalError, match=r"batch_size 1 does not suit .*batch_size to 2 or more"):
        check(network, (64, 64), batch=1, divisor=16)
    check(network, (64, 64), batch=2, divisor=16)


def test_the_next_patch_that_a_pyramid_takes_is_named():
    with pytest.raises(
        SegfocalError, match=r"patch_size \[64, 64\] does not suit PAN.*patch_size \[128, 128\]"
    ):
        check(made("PAN"), (64, 64), divisor=16)
    check(made("PAN"), (128, 128), divisor=16)


def test_a_try_leaves_no_trace_in_network_and_generators():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), dynamic_head())
    network[1].eval()
    for computes in (network, nn.Sequential(network, ReadsValues())):
        before = {name: value.clone() for name, value in computes.state_dict().items()}
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
        try_out(computes, (2, 1, 16, 16), training=True)
        assert torch.equal(states[0], torch.get_rng_state())
        assert states[1] == random.getstate()
        assert (states[2] == np.random.get_state()[1]).all()  # noqa: NPY002
        assert [module.training for module in network] == [True, False, True, True]
        assert all(torch.equal(value, before[name]) for name, value in computes.state_dict().items())
        assert not any(value.is_meta for value in computes.state_dict().values())


def dynamic_head():
    return nn.Conv2d(4, 1, 1)


class ReadsValues(nn.Module):
    def forward(self, images):
        random.random(), np.random.rand(), float(images.sum())  # noqa: NPY002 - nothing without content
        return images


def test_what_a_network_notes_in_itself_is_put_back():
    network = dynamic(deep_supervision=True, deep_supr_num=1)
    check(network, (32, 32), outputs=None)
    assert not any(parameter.is_meta for parameter in network.parameters())
    assert not any(head.is_meta for head in network.heads)
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 2, 1, 32, 32)


@pytest.mark.parametrize(
    "network",
    [
        dynamic(deep_supervision=True, deep_supr_num=1),
        BasicUNetPlusPlus(2, 1, 1, features=(4, 4, 8, 8, 8, 4), deep_supervision=True),
    ],
)
def test_deep_supervision_stacked_or_listed(network):
    with pytest.raises(SegfocalError, match=r"outputs in training.*DeepSupervision.*TakeOutput"):
        check(network, (32, 32))
    assert "the first is scored" in check(network, (32, 32), outputs=None)
    images, target = torch.randn(2, 1, 32, 32), torch.randint(0, 2, (2, 32, 32))
    outputs = as_supervised(network.train()(images), axes=2)
    loss = FocalLoss("binary")
    assert DeepSupervision(loss, weights=[1.0] + [0.0] * (len(outputs) - 1))(outputs, target) == loss(
        outputs[0], target
    )
    assert TakeOutput(network, key=0)(images).shape == (2, 1, 32, 32)
    check(TakeOutput(network, key=0), (32, 32))


def test_a_list_of_one_output_trains_as_it_is():
    assert check(BasicUNetPlusPlus(2, 1, 1, features=(4, 4, 8, 8, 8, 4)), (32, 32)) is None


@pytest.mark.parametrize(
    "network",
    [made("Unet", aux_params={"classes": 2}), SegResNetVAE((32, 32), spatial_dims=2, out_channels=1)],
)
def test_labels_and_losses_beside_the_logits_are_refused_and_can_be_taken_out(network):
    with pytest.raises(SegfocalError, match=r"more than logits.*TakeOutput"):
        check(network, (32, 32), divisor=32)
    check(TakeOutput(network, key=0), (32, 32), divisor=32)


ENDS = {
    "sigmoid": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid()),
    "softmax": lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Softmax(dim=1)),
    "hard": lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Hardsigmoid()),
    "smp": lambda: made("Unet", activation="sigmoid"),
    "smp softmax": lambda: smp.FPN(
        "resnet18", encoder_weights=None, in_channels=1, classes=3, activation="softmax2d"
    ),
    "function": lambda: Squashes(),
    "upsampled": lambda: nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sigmoid(), nn.Upsample(scale_factor=1.0)),
}


class Squashes(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)

    def forward(self, images):
        return torch.sigmoid(self.layer(images))


@pytest.mark.parametrize("name", ENDS)
def test_probabilities_are_refused(name):
    with pytest.raises(SegfocalError, match=r"returns probabilities.*Take it out"):
        check_activation(ENDS[name](), in_channels=1, size=(32, 32))


def at_prior(value):
    layer = nn.Conv2d(1, 1, 1)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, value)
    return layer


LOGITS = {
    "none": lambda: nn.Conv2d(1, 1, 3, padding=1),
    "relu": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()),
    "zeros": lambda: at_prior(0.0),
    "within": lambda: at_prior(0.4),
    "no bias": lambda: nn.Sequential(nn.Conv2d(1, 4, 1), nn.Sigmoid(), nn.Conv2d(4, 1, 1, bias=False)),
    "sigmoid inside": lambda: nn.Sequential(nn.Sigmoid(), nn.Conv2d(1, 1, 1)),
    "identity": nn.Identity,
    "smp": lambda: made("Unet"),
    "attention": lambda: made("MAnet"),
}


@pytest.mark.parametrize("name", LOGITS)
def test_logits_raise_no_false_alarm_and_keep_their_weights(name):
    network = LOGITS[name]()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    check_activation(network, in_channels=1, size=(64, 64))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_windows_of_one_size_suit_a_network_that_takes_that_alone():
    network = UNETR(1, 1, (32, 32, 32), feature_size=4, hidden_size=24, mlp_dim=24, num_heads=2)
    with pytest.raises(SegfocalError, match="No input size"):
        size_divisor(network, in_channels=1, spatial_dims=3)
    assert size_divisor(network, in_channels=1, spatial_dims=3, window=(32, 32, 32)) == 16
    with pytest.raises(SegfocalError, match="No input size"):
        size_divisor(network, in_channels=1, spatial_dims=3, window=(48, 48, 48))


class Wrapped(nn.Module):
    """One convolution, and what a test does with its logits."""

    def __init__(self, change, *, trained=True):
        super().__init__()
        self.conv, self.change = nn.Conv2d(1, 1, 3, padding=1).requires_grad_(trained), change

    def forward(self, images):
        return self.change(self.conv(images))


@pytest.mark.parametrize(
    ("network", "shown"),
    [
        (nn.Identity(), "Identity has no weights"),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.MaxPool2d(2)), "Sequential has no weights"),
        (Wrapped(nn.Identity(), trained=False), "All 2 tensors of Wrapped are frozen"),
        (Wrapped(nn.Identity()).half(), "Wrapped has weights of float16, but images are float32"),
        (Wrapped(nn.Identity()).double(), "weights of float64"),
        (Wrapped(nn.Conv2d(1, 1, 1, dtype=torch.bfloat16)), "weights of bfloat16"),
        (Wrapped(nn.LazyConv2d(1, 1)), "layers whose size is not known yet (change)"),
    ],
)
def test_networks_without_weights_to_train_are_refused(network, shown):
    with pytest.raises(SegfocalError, match=re.escape(shown)):
        check_weights(network)


def test_a_network_with_one_weight_to_train_passes():
    network = Wrapped(nn.Conv2d(1, 1, 1), trained=False)
    assert check_weights(network) is None


@pytest.mark.parametrize(
    "kind", [KeyError, TypeError, AttributeError, NotImplementedError, ZeroDivisionError]
)
def test_what_a_forward_raises_for_every_size_is_named_once(kind):
    def broken(_logits):
        raise kind("weights\nand more")

    with pytest.raises(
        SegfocalError, match=f"Wrapped fails on images of 1 channels of any size: {kind.__name__}"
    ) as raised:
        size_divisor(Wrapped(broken), in_channels=1)
    assert "\n" not in str(raised.value)


def test_a_softmax_over_one_channel_is_refused():
    with pytest.raises(SegfocalError, match="softmax over one channel"):
        check_activation(Wrapped(nn.Softmax(dim=1)), in_channels=1, size=(16, 16))
    check_activation(Wrapped(nn.LogSoftmax(dim=1)), in_channels=1, size=(16, 16))
