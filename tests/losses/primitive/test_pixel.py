"""Pixel losses against mpmath at 50 digits."""

import mpmath as mp
import pytest
import torch

from segfocal.losses.primitive.curve import curve
from segfocal.losses.primitive.pixel import PixelLoss, cross_entropy, focal, pixel_loss, split
from segfocal.losses.primitive.sums import pixel_map

GAMMAS = [0.0, 0.3, 0.5, 1.0, 2.0, 5.0]
MARGINS = [*range(-100, 101, 4), -87.25, -17.3, -0.5, -1e-3, 1e-3, 0.7, 13.9]
SMALLEST = mp.mpf(2) ** -126


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


def in_torch(form, margins, gamma, parameter):
    """The definition."""
    rates = tuple(row.float() for row in curve(form, gamma, parameter, margins.device))
    return pixel_loss(form, split(margins), rates)


def in_kernels(form, margins, gamma, parameter):
    """The CPU kernels: a negative's logit is its margin."""
    logits = margins.view(1, 1, -1).clone().requires_grad_()
    options = {"activation": "sigmoid", "form": form, "gamma": gamma, "parameter": parameter}
    loss = pixel_map(logits, torch.zeros_like(logits).bool(), backend="compiled", **options)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    return PixelLoss(loss.detach().flatten(), slope.flatten())


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
@pytest.mark.parametrize("compute", [in_torch, in_kernels])
def test_focal_is_exact_to_1e_5_at_margins_up_to_100(gamma, compute):
    margins, gamma = torch.tensor(MARGINS, dtype=torch.float32), torch.tensor(gamma).item()
    check(compute("focal", margins, gamma, None), margins, "focal", gamma, None)


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
@pytest.mark.parametrize("compute", [in_torch, in_kernels])
def test_other_forms_are_exact_to_1e_5(form, gamma, parameter, compute):
    margins = torch.tensor([z for z in MARGINS if z], dtype=torch.float32)  # the reduced form jumps at 0
    check(compute(form, margins, gamma, parameter), margins, form, gamma, parameter)


@pytest.mark.parametrize("gamma", [0, 1, 2, 3])
def test_whole_gamma_by_multiplication_is_the_same(gamma):
    margins = torch.linspace(-40, 100, 500)
    multiplied = split(margins)._replace(power=gamma)
    for got, expected in zip(
        focal(multiplied, float(gamma)), focal(split(margins), float(gamma)), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("compute", [in_torch, in_kernels])
def test_infinite_margins_give_no_nan(gamma, compute):
    loss, slope = compute("focal", torch.tensor([-torch.inf, torch.inf]), gamma, None)
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
