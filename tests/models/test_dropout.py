"""Dropout in networks of three makers: same keys, right places, right probabilities."""

import copy
import pickle

import monai
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.models import Dropout, SmallUNet, SmpNetwork
from segfocal.models.dropout import drop_blocks

NETWORKS = {
    "small": lambda: SmallUNet(1, 1, channels=(4, 8, 16)),
    "small 3D": lambda: SmallUNet(1, 2, channels=(4, 8), spatial_dims=3),
    "smp": lambda: SmpNetwork(1, 2),
    "monai": lambda: monai.networks.nets.UNet(
        2, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=1, norm="batch"
    ),
}
IMAGES = {name: torch.ones(2, 1, *[32] * (3 if "3D" in name else 2)) for name in NETWORKS}


def build(name):
    torch.manual_seed(0)
    return NETWORKS[name]()


def run(network, images, seed=1):
    torch.manual_seed(seed)
    return network(images)


def hooked(network):
    names = [name for name, module in network.named_modules() if module._forward_hooks]
    return names + [f"before {name}" for name, module in network.named_modules() if module._forward_pre_hooks]


@pytest.mark.parametrize("where", ["encoder", "decoder", "head"])
@pytest.mark.parametrize("name", NETWORKS)
def test_only_training_drops_and_keys_stay(name, where):
    plain, changed = build(name), build(name)
    Dropout(0.5, where=where).apply(changed)
    assert list(changed.state_dict()) == list(plain.state_dict())
    changed.load_state_dict(plain.state_dict())
    images = IMAGES[name]
    assert torch.equal(plain.eval()(images), changed.eval()(images))
    assert not torch.equal(run(plain.train(), images), run(changed.train(), images))


@pytest.mark.parametrize("name", NETWORKS)
def test_zero_is_the_plain_network_bit_for_bit(name):
    plain, changed = build(name), build(name)
    state = torch.random.get_rng_state()
    Dropout(0.0).apply(changed)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(run(plain.train(), IMAGES[name]), run(changed.train(), IMAGES[name]))


@pytest.mark.parametrize(
    ("name", "where", "expected"),
    [
        ("small", "encoder", ["encoder.0", "encoder.1", "encoder.2"]),
        ("small", "decoder", ["decoder.0", "decoder.1"]),
        ("small", "head", ["before head"]),
        ("smp", "encoder", [f"network.encoder.layer{n}" for n in (1, 2, 3, 4)]),
        ("smp", "decoder", [f"network.decoder.blocks.{n}" for n in range(5)]),
        ("smp", "head", ["before network.segmentation_head.0"]),
        ("monai", "encoder", ["model.0", "model.1.submodule.0", "model.1.submodule.1.submodule"]),
        ("monai", "decoder", ["model.1.submodule.2"]),
    ],
)
def test_places_are_those_of_the_architecture(name, where, expected):
    network = build(name)
    Dropout(0.1, where=where).apply(network)
    assert hooked(network) == expected


@pytest.mark.parametrize("kind", ["spatial", "element", "block"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies_and_pickles_drop_alike(kind, copied):
    network = build("small")
    Dropout(0.3, where="decoder", kind=kind).apply(network)
    twin = copied(network)
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(run(network, images), run(twin, images))
    assert not torch.equal(run(twin, images, seed=1), run(twin, images, seed=2))


def test_copy_has_a_mode_of_its_own():
    network = build("small")
    Dropout(0.5).apply(network)
    copy.deepcopy(network).eval()
    images = torch.randn(2, 1, 32, 32)
    assert not torch.equal(run(network, images, seed=1), run(network, images, seed=2))


@pytest.mark.parametrize("kind", ["spatial", "block"])
def test_compiled_network_drops(kind):
    network = build("small")
    Dropout(0.5, kind=kind).apply(network)
    network.compile(backend="eager", fullgraph=True)
    images = torch.randn(2, 1, 32, 32)
    assert not torch.equal(run(network, images, seed=1), run(network, images, seed=2))
    network.eval()
    assert torch.equal(run(network, images, seed=1), run(network, images, seed=2))


def test_encoder_weights_load_from_the_plain_network():
    network = smp.Unet("resnet18", encoder_weights=None)
    Dropout(0.2, where="encoder").apply(network)
    network.load_state_dict(smp.Unet("resnet18", encoder_weights=None).state_dict())


@pytest.mark.parametrize("kind", ["spatial", "element", "block"])
def test_share_and_mean_are_as_asked(kind):
    layer = nn.Conv2d(8, 1, 1)
    Dropout(0.3, kind=kind, block_size=5, where="head").apply(layer)
    hook = next(iter(layer._forward_pre_hooks.values()))
    torch.manual_seed(0)
    (dropped,) = hook(layer, (torch.ones(400, 8, 24, 24),))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.015)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)


def test_whole_maps_or_single_values():
    torch.manual_seed(0)
    spatial, element = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    Dropout(0.5, where="head", kind="spatial").apply(spatial)
    Dropout(0.5, where="head", kind="element").apply(element)
    found = []
    for layer in (spatial, element):
        (dropped,) = next(iter(layer._forward_pre_hooks.values()))(layer, (torch.ones(64, 4, 6, 6),))
        found.append(dropped.flatten(2).std(2).max().item())
    assert found[0] == 0
    assert found[1] > 0


@pytest.mark.parametrize("size", [(9, 12), (6, 7, 8)])
def test_blocks_are_dropped_with_equal_probability_everywhere(size):
    """Also at the border, where fewer blocks of the published method reach."""
    torch.manual_seed(0)
    dropped = drop_blocks(torch.ones(6000, 2, *size), 0.25, block_size=3) == 0
    share = dropped.float().mean((0, 1))
    assert_close(share, torch.full(size, 0.25), atol=0.03, rtol=0)


def test_every_hole_is_made_of_whole_squares():
    """Opening by the square (erosion, then dilation) changes nothing; beyond the border all is hole."""
    torch.manual_seed(3)
    holes = (drop_blocks(torch.ones(50, 1, 20, 20), 0.1, block_size=4) == 0).float()
    padded = nn.functional.pad(holes, (3, 3, 3, 3), value=1.0)
    eroded = -nn.functional.max_pool2d(-padded, 4, stride=1)
    opened = nn.functional.max_pool2d(eroded, 4, stride=1)
    assert 0 < holes.mean() < 0.2
    assert torch.equal(opened, holes)


def test_blocks_keep_half_precision_and_gradients():
    features = torch.ones(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    dropped = drop_blocks(features, 0.5, block_size=20)
    assert dropped.dtype == torch.bfloat16
    dropped.sum().backward()
    assert torch.equal(features.grad, dropped.detach())


@pytest.mark.parametrize(
    ("build_it", "message"),
    [
        (lambda: Dropout(1.0), r"p must lie in \[0, 1\), got 1.0"),
        (lambda: Dropout(0.1, where="decode"), "Did you mean 'decoder'"),
        (lambda: Dropout(0.1, kind="spacial"), "Did you mean 'spatial'"),
        (
            lambda: Dropout(0.1).apply(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1))),
            r"a part named decoder, found none in Sequential. Its parts: 0 \(Conv2d\), 1 \(Conv2d\)",
        ),
        (
            lambda: Dropout(0.1, where="head").apply(nn.Conv2d(1, 1, 1, bias=False)),
            "a last layer with a bias that adds to the logits, found none in Conv2d",
        ),
        (lambda: Dropout(0.1).apply(nn.Flatten()), "Expected a network with convolutions, got Flatten"),
    ],
)
def test_mistakes_are_named(build_it, message):
    with pytest.raises(SegfocalError, match=message):
        build_it()
