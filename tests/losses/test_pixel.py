"""Pixel losses against mpmath at 50 digits."""

import mpmath as mp
import pytest
import torch

from segfocal.losses.curve import curve
from segfocal.losses.fastmath import exp, log1p
from segfocal.losses.pixel import cross_entropy, focal, pixel_loss, split
from segfocal.losses.planes import Math

GAMMAS = [0.0, 0.3, 0.5, 1.0, 2.0, 5.0]
MARGINS = [*range(-100, 101, 4), -87.25, -17.3, -0.5, -1e-3, 1e-3, 0.7, 13.9]
SMALLEST = mp.mpf(2) ** -126
SPLITS = {"library": split, "fast": Math(exp, log1p).split}


def exact(form, z, gamma, parameter):
    """Loss at margin z."""
    u = 1 / (1 + mp.e**-z)
    nll = mp.log1p(mp.e**z)
    loss = u**gamma * nll
    if form == "poly":
        return loss + parameter * u ** (gamma + 1)
    if form == "tail":
        return parameter * nll + (1 - parameter) * loss
    if form == "knee":
        k = mp.mpf(parameter)
        tau = (1 - k) ** gamma - gamma * k * (1 - k) ** (gamma - 1) * mp.log(k)
        return loss + (tau - (1 - k) ** gamma) * -mp.log(k) if 1 - u < k else tau * nll
    if form == "reduced":
        return nll if 1 - u < parameter else (u / mp.mpf(parameter)) ** gamma * nll
    if form == "convex":
        return mp.log1p(mp.e ** (gamma * z - parameter)) / gamma
    return loss


def check(found, margins, form, gamma, parameter):
    """Relative error 1e-5 above 2^-126, absolute 1e-37 below."""
    with mp.workdps(50):
        g, extra = mp.mpf(gamma), parameter if parameter is None else mp.mpf(parameter)
        for i, z in enumerate(margins.tolist()):
            functions = {"loss": exact(form, mp.mpf(z), g, extra)}
            functions["slope"] = mp.diff(lambda v: exact(form, v, g, extra), mp.mpf(z), h=mp.mpf(10) ** -20)
            for name, true in functions.items():
                got = mp.mpf(getattr(found, name)[i].item())
                error = abs(got - true)
                bound = abs(true) * mp.mpf("1e-5") if abs(true) > SMALLEST else mp.mpf("1e-37")
                assert error <= bound, (form, gamma, z, name, got, true)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("name", SPLITS)
def test_focal_is_exact_to_1e_5_at_margins_up_to_100(gamma, name):
    margins = torch.tensor(MARGINS, dtype=torch.float32)
    rates = tuple(curve("focal", float(torch.tensor(gamma)), None, margins.device).float())
    check(pixel_loss("focal", SPLITS[name](margins), rates), margins, "focal", rates[0].item(), None)


@pytest.mark.parametrize(
    ("form", "gamma", "parameter"),
    [
        ("poly", 2.0, 0.5),
        ("tail", 2.0, 0.125),
        ("knee", 2.0, 0.75),
        ("reduced", 2.0, 0.5),
        ("convex", 4.0, 0.0),
    ],
)
@pytest.mark.parametrize("name", SPLITS)
def test_other_forms_are_exact_to_1e_5(form, gamma, parameter, name):
    margins = torch.tensor([z for z in MARGINS if z], dtype=torch.float32)  # the reduced form jumps at 0
    rates = tuple(row.float() for row in curve(form, gamma, parameter, margins.device))
    check(pixel_loss(form, SPLITS[name](margins), rates), margins, form, gamma, parameter)


@pytest.mark.parametrize("gamma", [0, 1, 2, 3])
def test_whole_gamma_by_multiplication_is_the_same(gamma):
    margins = torch.linspace(-40, 100, 500)
    multiplied = split(margins)._replace(power=gamma)
    for got, expected in zip(
        focal(multiplied, float(gamma)), focal(split(margins), float(gamma)), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("name", SPLITS)
def test_infinite_margins_give_no_nan(gamma, name):
    loss, slope = focal(SPLITS[name](torch.tensor([-torch.inf, torch.inf])), gamma)
    assert loss.tolist() == [0.0, torch.inf]
    assert slope.tolist() == [0.0, 1.0]


def test_gamma_zero_is_cross_entropy():
    parts = split(torch.linspace(-120, 120, 999))
    for got, expected in zip(focal(parts, 0.0), cross_entropy(parts), strict=True):
        assert torch.equal(got, expected)


def test_slope_is_the_derivative_of_the_loss():
    margin = torch.linspace(-20, 20, 101, dtype=torch.float64, requires_grad=True)
    rates = tuple(curve("knee", 1.5, 0.8, margin.device))
    loss, slope = pixel_loss("knee", split(margin), rates)
    (derivative,) = torch.autograd.grad(loss.sum(), margin)
    torch.testing.assert_close(slope, derivative)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_knee_is_continuous_in_loss_and_slope(gamma):
    rates = curve("knee", gamma, 0.75, torch.device("cpu"))
    at = rates[1]
    around = split(torch.cat([at - 1e-9, at + 1e-9]))
    for value in pixel_loss("knee", around, tuple(rates)):
        torch.testing.assert_close(value[0], value[1], rtol=1e-7, atol=1e-8)


def test_knee_numbers_are_the_derived_ones():
    _, _, tau, offset = curve("knee", 2.0, 0.75, torch.device("cpu"))[:, 0].tolist()
    assert tau == pytest.approx(0.170381, abs=1e-6)
    assert offset == pytest.approx(0.03104, abs=1e-5)


@pytest.mark.parametrize(("p", "ratio"), [(0.75, 0.170), (0.9, 0.029), (0.99, 0.0003)])
def test_focal_slope_flattens_as_published(p, ratio):
    margin = torch.tensor([p], dtype=torch.float64).logit().neg()
    found = focal(split(margin), 2.0).slope / cross_entropy(split(margin)).slope
    assert found.item() == pytest.approx(ratio, abs=5e-4)


def test_fast_functions_are_exact_to_1e_6():
    x = -torch.rand(100_000) * 90
    true = x.double().exp()
    normal = true > 2.0**-126
    assert ((exp(x).double() - true) / true)[normal].abs().max() < 1e-6
    assert exp(x)[~normal].max() < 1e-37
    x = torch.rand(100_000).clamp(min=1e-30)
    assert ((log1p(x).double() - x.double().log1p()) / x.double().log1p()).abs().max() < 5e-7
