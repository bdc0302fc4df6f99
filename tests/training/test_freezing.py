"""Which parameters a part names, and what is frozen with the others."""

import pytest
import torch
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet, SmpNetwork
from segfocal.training.phases.freezing import (
    KeepFrozen,
    depth_of_match,
    freeze_all_but,
    kept_in_evaluation,
    most_exact,
    trained_parameters,
)
from segfocal.training.phases.settings import ActivePhase, Phase


def names_of(network):
    return [name for name, _ in network.named_parameters()]


def chosen(network, *train, batch_norm="train"):
    names = names_of(network)
    return trained_parameters(network, train, batch_norm=batch_norm, trainable=names, option="train")


@pytest.fixture(scope="module")
def network():
    return SmallUNet(1, 1, channels=(4, 8))


@pytest.mark.parametrize(
    ("part", "depth"),
    [
        ("all", 0),
        ("decoder", 1),
        ("decoder.blocks.4", 3),
        ("decoder.blocks.*", 3),
        ("decoder.blocks.[34].conv?", 4),
        ("decoder.blocks.4.conv1.0.weight", 6),
        ("decoder.blocks.4.conv1.0.weight.more", None),
        ("blocks", None),
        ("deco", None),
        ("decoder.*.conv1", None),  # a wildcard stays between two dots
    ],
)
def test_a_part_names_a_parameter(part, depth):
    assert depth_of_match("decoder.blocks.4.conv1.0.weight", part) == depth


def test_a_wrapped_network_is_named_with_and_without_its_wrapper():
    smp = SmpNetwork(1, 1, encoder="resnet18", options={"encoder_depth": 3, "decoder_channels": [8, 8, 8]})
    head = {"network.segmentation_head.0.weight", "network.segmentation_head.0.bias"}
    assert chosen(smp, "segmentation_head") == chosen(smp, "network.segmentation_head") == head


def test_the_longest_part_wins(network):
    parts = {"all": 1, "decoder": 2, "decoder.0.body.0": 3}
    found = most_exact(network, parts, among=names_of(network), option="rates")
    assert found["decoder.0.body.0.weight"] == "decoder.0.body.0"
    assert found["decoder.0.body.1.weight"] == "decoder"
    assert found["head.bias"] == "all"


def test_a_part_that_names_nothing_is_refused_with_the_nearest(network):
    with pytest.raises(
        SegfocalError, match=r"got 'decodr'\. Did you mean 'decoder'\? Its parts are stem, enc"
    ):
        chosen(network, "head", "decodr")
    with pytest.raises(SegfocalError, match=r"Did you mean 'decoder\.0\.body\.0'"):
        chosen(network, "decoder.0.boody.0")
    with pytest.raises(SegfocalError, match=r"nothing is left to train in encoder\.0\.body\.1"):
        chosen(network, "encoder.0.body.1", batch_norm="frozen")


def test_frozen_batch_norm_leaves_out_its_scale_and_shift(network):
    norms = {
        f"{path}.{own}"
        for path, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for own in ("weight", "bias")
    }
    assert norms
    assert chosen(network, "all", batch_norm="frozen") == set(names_of(network)) - norms
    assert chosen(network, "all", batch_norm="eval") == set(names_of(network))


def modes_in_training(network, batch_norm):
    """Return the modes of the modules while a batch is trained."""
    active = ActivePhase(Phase("p", batch_norm=batch_norm), 1, 0, 0)
    callback = KeepFrozen(active)
    task = nn.Module()
    task.network = network.train()
    callback.on_train_start(None, task)
    callback.on_train_batch_start(None, task, None, 0)
    return {name: module.training for name, module in network.named_modules()}


def test_frozen_parts_are_in_evaluation_with_their_dropout():
    network = SmallUNet(1, 1, channels=(4, 8), dropout=0.2)
    freeze_all_but(network, chosen(network, "head", "decoder"))
    modes = modes_in_training(network, "train")
    assert not any(mode for name, mode in modes.items() if name.startswith("encoder."))
    assert all(mode for name, mode in modes.items() if name.startswith(("decoder", "head")))
    dropouts = [
        name for name, module in network.named_modules() if isinstance(module, nn.Dropout2d | nn.Dropout)
    ]
    assert {name: modes[name] for name in dropouts} == {
        name: not name.startswith("encoder") for name in dropouts
    }
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(2, 1, 16, 16))
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("decoder") for name in moved)  # running means of the trained part alone


@pytest.mark.parametrize("batch_norm", ["eval", "frozen"])
def test_every_batch_norm_keeps_its_statistics(batch_norm):
    network = SmallUNet(1, 1, channels=(4, 8))
    freeze_all_but(network, chosen(network, "all", batch_norm=batch_norm))
    modes = modes_in_training(network, batch_norm)
    kinds = {name: isinstance(module, nn.BatchNorm2d) for name, module in network.named_modules()}
    frozen = {name for name, mode in modes.items() if not mode}
    assert frozen == {name for name, is_norm in kinds.items() if is_norm}
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.randn(2, 1, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_the_outermost_frozen_module_is_kept():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Dropout()), nn.Conv2d(1, 1, 1), nn.Dropout())
    freeze_all_but(network, {"1.weight"})
    assert kept_in_evaluation(network, batch_norm="train") == [network[0]]
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, False]
