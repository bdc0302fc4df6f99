"""L1, L2 and L2-SP against closed forms and autograd."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.training.penalties import L1, L2, L2SP

TARGET = torch.tensor([[0.8, -0.05, 0.3, -2.0, 0.1]], dtype=torch.float64)
CURVATURE = torch.tensor([[1.0, 2.0, 0.5, 1.0, 4.0]], dtype=torch.float64)


class Weights(nn.Module):
    def __init__(self, values):
        super().__init__()
        self.weight = nn.Parameter(values.clone())


def minimise(penalty, make_optimizer, steps=4000):
    """Minimise sum h / 2 (w - t)^2 + penalty in the order of a training step."""
    module = Weights(torch.full_like(TARGET, 0.5))
    start = {"weight": torch.full_like(TARGET, 0.5)}
    optimizer = make_optimizer([module.weight])
    weights = penalty.select(module)
    for step in range(steps):
        if step == steps * 3 // 4:
            optimizer.param_groups[0]["lr"] *= 0.01
        module.weight.grad = CURVATURE * (module.weight.detach() - TARGET)
        for weight, gradient in zip(weights.values(), penalty.gradients(weights, start), strict=False):
            weight.grad += gradient
        optimizer.step()
        penalty.step(optimizer, weights)
    return module.weight.detach()


OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.05),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.02, momentum=0.9),
    "nesterov": lambda weights: torch.optim.SGD(weights, lr=0.02, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_proximal_l1_ends_in_the_soft_threshold(optimizer):
    """The minimum of h / 2 (w - t)^2 + s |w| is sign(t) max(|t| - s / h, 0)."""
    found = minimise(L1(0.2), OPTIMIZERS[optimizer])
    expected = TARGET.sign() * (TARGET.abs() - 0.2 / CURVATURE).clamp(min=0)
    assert_close(found, expected, atol=1e-9, rtol=0)
    assert torch.equal(found == 0, expected == 0)


def test_proximal_l1_beside_adamw_ends_near_the_soft_threshold():
    found = minimise(L1(0.2), lambda weights: torch.optim.AdamW(weights, lr=3e-3, weight_decay=0.0))
    expected = TARGET.sign() * (TARGET.abs() - 0.2 / CURVATURE).clamp(min=0)
    assert_close(found, expected, atol=1e-3, rtol=0)
    assert torch.equal(found == 0, expected == 0)


def test_subgradient_l1_comes_near_and_has_no_zeros():
    found = minimise(L1(0.2, proximal=False), OPTIMIZERS["sgd"])
    expected = TARGET.sign() * (TARGET.abs() - 0.2 / CURVATURE).clamp(min=0)
    assert_close(found, expected, atol=1e-3, rtol=0)
    assert int((found == 0).sum()) == 0


def test_l2_ends_in_the_shrunken_target():
    assert_close(minimise(L2(0.5), OPTIMIZERS["sgd"]), CURVATURE * TARGET / (CURVATURE + 0.5))


def test_l2_is_the_weight_decay_of_sgd():
    decayed = Weights(TARGET)
    optimizer = torch.optim.SGD([decayed.weight], lr=0.1, weight_decay=0.3)
    decayed.weight.grad = torch.zeros_like(TARGET)
    optimizer.step()
    ours = Weights(TARGET)
    ours.weight.grad = L2(0.3).gradients({"weight": ours.weight}, {})[0]
    torch.optim.SGD([ours.weight], lr=0.1).step()
    assert torch.equal(ours.weight, decayed.weight)


def test_l2sp_ends_between_start_and_target():
    found = minimise(L2SP(0.5, 0.1), OPTIMIZERS["sgd"])
    assert_close(found, (CURVATURE * TARGET + 0.5 * 0.5) / (CURVATURE + 0.5))


@pytest.mark.parametrize("penalty", [L1(0.3, proximal=False), L2(0.3), L2SP(0.3, 0.7)])
def test_gradient_is_that_of_the_logged_value(penalty):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)).double()
    start = {"0.weight": torch.randn(3, 1, 3, 3, dtype=torch.float64)}  # 2.weight is new
    weights = penalty.select(module)
    assert list(weights) == ["0.weight", "2.weight"]
    numbers = {name: weight.detach().clone() for name, weight in weights.items()}
    for name, gradient in zip(weights, penalty.gradients(weights, start), strict=True):
        for index in [(0, 0, 0, 0), (1, 0, 0, 0)]:
            values = []
            for shift in (1e-6, -1e-6):
                moved = numbers[name].clone()
                moved[index] += shift
                values.append(penalty.value(numbers | {name: moved}, start).double())
            assert gradient[index].item() == pytest.approx(float(values[0] - values[1]) / 2e-6, abs=1e-6)


def test_l2sp_pulls_new_weights_to_zero():
    weight = nn.Parameter(torch.ones(2, 2))
    (loaded,) = L2SP(0.5, 0.25).gradients({"a": weight}, {"a": torch.zeros(2, 2)})
    (new,) = L2SP(0.5, 0.25).gradients({"a": weight}, {})
    assert (loaded[0, 0].item(), new[0, 0].item()) == (0.5, 0.25)


@pytest.mark.parametrize("norm_and_bias", [False, True])
def test_norm_and_bias_are_exempt_and_listed(norm_and_bias):
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.PReLU(), nn.Conv2d(3, 2, 1))
    module[3].bias.requires_grad_(False)
    penalty = L2(0.1, norm_and_bias=norm_and_bias)
    vectors = ["0.bias", "1.weight", "1.bias", "2.weight"]
    assert penalty.exempt(module) == ([] if norm_and_bias else vectors)
    assert set(penalty.select(module)) == {"0.weight", "3.weight"} | (
        set(vectors) if norm_and_bias else set()
    )


def test_sparsity_counts_exact_zeros():
    weights = {"a": torch.tensor([[0.0, 1.0, 1e-30, 0.0]]), "b": torch.zeros(2, 2)}
    assert L1(1.0).details(weights)["sparsity"].item() == pytest.approx(6 / 8)


def test_half_precision_weights_are_measured_in_single():
    weight = torch.full((300, 300), 1.0, dtype=torch.bfloat16)
    assert L2(2.0).value({"a": weight}, {}).item() == pytest.approx(90_000, rel=1e-2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: L1(-1.0), r"strength must lie in \[0, inf\), got -1.0"),
        (lambda: L1(float("inf")), r"strength must be finite and lie in \[0, inf\), got inf"),
        (lambda: L2(float("nan")), "strength must lie in"),
        (lambda: L2SP(0.1, -0.1), "beta must lie in"),
        (
            lambda: minimise(L1(0.1), torch.optim.Adagrad, 1),
            "knows the steps of SGD, Adam and AdamW, got Adagrad. Use proximal=False",
        ),
        (
            lambda: L2SP(0.1, 0).gradients({"a": torch.zeros(2, 2)}, {"a": torch.zeros(3, 2)}),
            r"got \(3, 2\) for a of shape \(2, 2\)",
        ),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(SegfocalError, match=message):
        build()
