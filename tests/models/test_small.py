from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet, size_divisor


@pytest.mark.parametrize(("dims", "size"), [(2, (32, 48)), (3, (16, 32, 16))])
@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_logits_have_the_size_of_the_image(dims, size, norm):
    network = SmallUNet(2, 5, channels=(8, 16, 24), spatial_dims=dims, norm=norm)
    assert network(torch.randn(2, 2, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("channels", [(8,), (8, 16), (16, 32, 64, 128)])
def test_stride_is_the_smallest_multiple_that_works(channels):
    network = SmallUNet(3, 1, channels=channels)
    assert size_divisor(network, in_channels=3) == network.stride == 2 ** len(channels)


def test_every_pixel_reaches_its_own_logit():
    network = SmallUNet(1, 1, channels=(4, 8)).double().eval()
    image = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    for row, column in [(0, 0), (0, 1), (3, 4), (7, 7)]:
        gradient = torch.autograd.grad(logits[0, 0, row, column], image, retain_graph=True)[0]
        assert gradient[0, 0, row, column] != 0


def test_channels_last_gives_the_same_logits():
    torch.manual_seed(0)
    network = SmallUNet(3, 2).eval()
    image = torch.randn(1, 3, 32, 32)
    expected = network(image)
    other = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert_close(other(image.contiguous(memory_format=torch.channels_last)), expected, atol=1e-5, rtol=1e-4)


def test_dropout_drops_whole_maps_in_training_only():
    torch.manual_seed(0)
    network = SmallUNet(1, 1, channels=(8, 8), dropout=0.5)
    image = torch.randn(1, 1, 8, 8)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


@pytest.mark.parametrize("seed", [0, 1])
def test_learns_lines_of_one_pixel(seed):
    torch.manual_seed(seed)
    network = SmallUNet(1, 1, channels=(8, 16))
    target = torch.zeros(4, 1, 32, 32)
    for number in range(4):
        target[number, 0, :, 3 + 7 * number] = 1
    image = target + 0.3 * torch.randn_like(target)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = network.eval()(image) > 0
    assert (found == target.bool()).float().mean() > 0.999


def test_survives_pickle():
    network = SmallUNet(1, 2, channels=(4, 8), dropout=0.1).eval()
    image = torch.randn(1, 1, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(network))(image), network(image))


def test_exports():
    network = SmallUNet(1, 2, channels=(4, 8)).eval()
    image = torch.randn(1, 1, 8, 8)
    exported = torch.export.export(network, (image,)).module()
    assert_close(exported(image), network(image))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "bacth"}, "Did you mean 'batch'"),
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3"),
        ({"channels": ()}, "channels must be positive"),
        ({"channels": (8, 0)}, "channels must be positive"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"norm": "group", "channels": (8, 12)}, "8 divides"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(SegfocalError, match=message):
        SmallUNet(3, 1, **settings)


def test_needs_classes():
    with pytest.raises(SegfocalError, match="num_classes must lie in"):
        SmallUNet(3, 0)
