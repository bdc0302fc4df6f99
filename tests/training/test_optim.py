"""Groups, optimizers and schedules."""

import math

import pytest
import torch
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.training.optim import (
    apply_settings,
    build_optimizer,
    build_schedule,
    parameter_groups,
    rate_factor,
)


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


def names_of(groups, module):
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [{names[id(parameter)] for parameter in group["params"]} for group in groups]


def test_norm_and_bias_are_exempt_from_decay():
    module = network()
    groups = parameter_groups(module, weight_decay=0.1)
    decayed, exempt = names_of(groups, module)
    assert decayed == {"0.weight", "2.weight"}
    assert exempt == {"0.bias", "1.weight", "1.bias", "2.bias"}
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


def test_decay_norm_and_bias_leaves_one_group():
    assert len(parameter_groups(network(), weight_decay=0.1, decay_norm_and_bias=True)) == 1


def test_frozen_parameters_are_left_out():
    module = network()
    module[0].requires_grad_(False)
    assert "0.weight" not in set.union(*names_of(parameter_groups(module, weight_decay=0.1), module))


def test_cosine_equals_torch():
    optimizer = torch.optim.SGD(network().parameters(), lr=0.4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        ours = 0.4 * rate_factor(step, schedule="cosine", warmup_steps=0, total_steps=20)
        assert math.isclose(optimizer.param_groups[0]["lr"], ours, abs_tol=1e-12)
        optimizer.step()
        scheduler.step()


def test_poly_equals_torch():
    optimizer = torch.optim.SGD(network().parameters(), lr=0.4)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=20, power=0.9)
    for step in range(20):
        ours = 0.4 * rate_factor(step, schedule="poly", warmup_steps=0, total_steps=20)
        assert math.isclose(optimizer.param_groups[0]["lr"], ours, abs_tol=1e-12)
        optimizer.step()
        scheduler.step()


def test_warm_up_rises_to_the_peak_and_joins_the_schedule():
    factors = [rate_factor(s, schedule="cosine", warmup_steps=4, total_steps=12) for s in range(5)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_constant_schedule_needs_no_end():
    optimizer = build_optimizer(parameter_groups(network(), weight_decay=0.0), name="sgd", learning_rate=0.1)
    build_schedule(optimizer, schedule="constant", warmup_steps=0, total_steps=math.inf)
    with pytest.raises(SegfocalError, match="max_steps"):
        build_schedule(optimizer, schedule="cosine", warmup_steps=0, total_steps=math.inf)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adam", "learning_rate": 1.0}, "Did you mean 'adamw'"),
        ({"name": "adamw", "learning_rate": 0.0}, "learning_rate"),
        ({"name": "sgd", "learning_rate": 0.1, "momentum": 1.0}, "momentum"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(SegfocalError, match=message):
        build_optimizer(parameter_groups(network(), weight_decay=0.0), **settings)


def optimizer_with(rate, decay, steps):
    module = network()
    groups = parameter_groups(module, weight_decay=decay)
    optimizer = build_optimizer(groups, name="adamw", learning_rate=rate)
    scheduler = build_schedule(optimizer, schedule="cosine", warmup_steps=0, total_steps=10)
    for _ in range(steps):
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler


def test_flags_win_over_the_checkpoint():
    stored, stored_scheduler = optimizer_with(0.5, 0.3, steps=4)
    optimizer, scheduler = optimizer_with(0.001, 0.1, steps=0)
    fresh, _ = optimizer_with(0.001, 0.1, steps=0)
    optimizer.load_state_dict(stored.state_dict())
    scheduler.load_state_dict(stored_scheduler.state_dict())
    for group in fresh.param_groups:
        group["lr"] = group.pop("initial_lr")
    apply_settings(optimizer, fresh, scheduler)
    expected = 0.001 * rate_factor(4, schedule="cosine", warmup_steps=0, total_steps=10)
    assert [group["lr"] for group in optimizer.param_groups] == [expected, expected]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    scheduler.step()
    expected = 0.001 * rate_factor(5, schedule="cosine", warmup_steps=0, total_steps=10)
    assert optimizer.param_groups[0]["lr"] == expected


def test_unchanged_settings_keep_every_bit():
    optimizer, scheduler = optimizer_with(0.123, 0.3, steps=3)
    before = [group["lr"] for group in optimizer.param_groups]
    fresh = build_optimizer(parameter_groups(network(), weight_decay=0.3), name="adamw", learning_rate=0.123)
    apply_settings(optimizer, fresh, scheduler)
    assert [group["lr"] for group in optimizer.param_groups] == before
