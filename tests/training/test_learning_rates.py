"""Rates by part and by layer, and the groups an optimizer gets."""

import pytest
import torch
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet
from segfocal.models.layers import layer_of_parameters
from segfocal.training import optim
from segfocal.training.phases.learning_rates import optimizer_of, rate_groups, schedule_of
from segfocal.training.phases.settings import ActivePhase, Phase

SETTINGS = {
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "momentum": 0.9,
    "decay_norm_and_bias": False,
    "schedule": "cosine",
    "warmup_steps": 3,
}


def rates(network, phase):
    return {
        name: (group.learning_rate, group.weight_decay)
        for group in rate_groups(network, phase, SETTINGS)
        for name in group.names
    }


def test_one_rate_makes_the_groups_of_a_plain_training():
    network = SmallUNet(1, 1, channels=(4, 8))
    plain = optim.optimizer_from(network, SETTINGS)
    phased = optimizer_of(network, SETTINGS, ActivePhase(Phase("all"), 1, 0, 0))
    for one, other in zip(plain.param_groups, phased.param_groups, strict=True):
        assert [id(p) for p in one.pop("params")] == [id(p) for p in other.pop("params")]
        assert one == other


def test_rates_by_part():
    network = SmallUNet(1, 1, channels=(4, 8))
    found = rates(network, Phase("p", learning_rate={"encoder": 1e-4, "encoder.1": 1e-3, "head": 0.5}))
    assert found["encoder.0.body.0.weight"] == (1e-4, 0.1)
    assert found["encoder.1.body.1.weight"] == (1e-3, 0.0)
    assert found["head.weight"] == (0.5, 0.1)
    assert found["head.bias"] == (0.5, 0.0)
    assert found["decoder.0.body.0.weight"] == (0.01, 0.1)  # model.learning_rate
    assert set(found) == {name for name, _ in network.named_parameters()}
    assert rates(network, Phase("p", learning_rate={"all": 0.2, "head": 0.5}))["stem.weight"][0] == 0.2


def test_rates_decay_with_the_distance_from_the_head():
    network = SmallUNet(1, 1, channels=(4, 8, 16))
    layers = layer_of_parameters(network)
    found = rates(network, Phase("p", learning_rate={"all": 1.0, "stem": 2.0}, layer_decay=0.5))
    last = layers["head.weight"]
    assert (layers["stem.weight"], last) == (0, len(set(layers.values())) - 1)
    for name, (rate, _) in found.items():
        assert rate == (2.0 if name.startswith("stem") else 1.0) * 0.5 ** (last - layers[name])


def test_a_rate_for_what_is_not_trained_is_refused():
    network = SmallUNet(1, 1, channels=(4, 8))
    network.encoder.requires_grad_(False)
    with pytest.raises(SegfocalError, match=r"phase 'p': learning_rate must name parts .* got 'encoder'"):
        rate_groups(network, Phase("p", learning_rate={"encoder": 0.1}), SETTINGS)


def test_every_phase_has_a_schedule_of_its_own():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    active = ActivePhase(Phase("p", schedule="poly", warmup_steps=0), 2, first_step=100, first_epoch=3)
    factor = schedule_of(optimizer, SETTINGS, active, last_step=110.0).lr_lambdas[0]
    wanted = [optim.rate_factor(s, schedule="poly", warmup_steps=0, total_steps=10) for s in range(11)]
    assert [factor(step) for step in range(11)] == wanted
    follows = ActivePhase(Phase("p"), 2, first_step=100, first_epoch=3)
    factor = schedule_of(optimizer, SETTINGS, follows, last_step=110.0).lr_lambdas[0]
    wanted = [optim.rate_factor(s, schedule="cosine", warmup_steps=3, total_steps=10) for s in range(11)]
    assert [factor(step) for step in range(11)] == wanted
