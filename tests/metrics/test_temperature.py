"""TemperatureFit against scipy.optimize on the whole likelihood."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.metrics import TemperatureFit
from segfocal.metrics.temperature import COLDEST, HOTTEST


def forecast(task, classes, *, temperature, images=3, ignore=None, space=(40, 50)):
    """Logits that are right at a temperature: labels are drawn from them, then they are multiplied by it."""
    generator = torch.Generator().manual_seed(classes)
    logits = 2 * torch.randn(images, classes, *space, generator=generator) - 1
    if task == "multiclass":
        p = logits.softmax(1).movedim(1, -1).reshape(-1, classes)
        target = torch.multinomial(p, 1, generator=generator).view(images, *space)
    else:
        target = (torch.rand(logits.shape, generator=generator) < logits.sigmoid()).long()
    if ignore is not None:
        gone = torch.rand(target.shape, generator=generator) < 0.3
        target[gone] = ignore
        if task != "multiclass":
            logits[gone] = 50.0  # would spoil the fit
    return logits * temperature, target, [f"image{index}" for index in range(images)]


def likelihood(task, logits, target, ignore):
    """Mean -log likelihood as a function of the temperature, in float64 numpy."""
    z, y = logits.double().numpy(), target.numpy()
    if task == "multiclass":
        z, y = np.moveaxis(z, 1, -1).reshape(-1, z.shape[1]), y.reshape(-1)
        z, y = (z[y != ignore], y[y != ignore]) if ignore is not None else (z, y)
        own = z[np.arange(len(y)), y]
        return lambda t: np.mean(logsumexp(z / t, axis=1) - own / t)
    z, y = z.reshape(-1), y.reshape(-1)
    z, y = (z[y != ignore], y[y != ignore]) if ignore is not None else (z, y)
    return lambda t: np.mean(np.logaddexp(0, z / t) - y * z / t)


@pytest.mark.parametrize("ignore", [None, 255])
@pytest.mark.parametrize("temperature", [0.15, 0.37, 1.0, 2.6, 9.0])
@pytest.mark.parametrize(("task", "classes"), [("binary", 1), ("multiclass", 4), ("multilabel", 2)])
def test_the_temperature_is_scipys(task, classes, temperature, ignore):
    logits, target, names = forecast(task, classes, temperature=temperature, ignore=ignore)
    fit = TemperatureFit(task, classes, ignore_index=ignore)
    fit.update(logits, target, names)
    loss = likelihood(task, logits, target, ignore)
    best = minimize_scalar(loss, bounds=(COLDEST, HOTTEST), method="bounded", options={"xatol": 1e-9})
    found = fit.compute().item()
    assert found == pytest.approx(best.x, rel=2e-4)
    assert loss(found) - best.fun < 1e-7 * best.fun
    assert found == pytest.approx(temperature, rel=0.1)


def test_batches_pieces_and_volumes_change_nothing(monkeypatch):
    logits, target, names = forecast("multiclass", 3, temperature=2.0, images=4)
    whole, single = (TemperatureFit("multiclass", 3) for _ in range(2))
    whole.update(logits, target, names)
    monkeypatch.setattr("segfocal.metrics.temperature._PIECE_CPU", 77)
    for index in (2, 0, 3, 1):
        volume = (
            logits[index : index + 1].unflatten(2, (4, 10)),
            target[index : index + 1].unflatten(1, (4, 10)),
        )
        single.update(*volume, [names[index]])
    assert_close(single.compute(), whole.compute(), rtol=1e-6, atol=0)


def test_labels_without_a_mistake_give_the_coldest_and_guesses_the_hottest():
    target = torch.tensor([[0, 1, 0, 1]])
    sure, wrong, blank = (TemperatureFit("binary", 1) for _ in range(3))
    sure.update(torch.tensor([[[-1.0, 1.0, -2.0, 2.0]]]), target, ["a"])
    wrong.update(torch.tensor([[[1.0, -1.0, 2.0, -2.0]]]), target, ["a"])
    blank.update(torch.zeros(1, 1, 4), target, ["a"])
    assert [each.compute().item() for each in (sure, wrong, blank)] == [COLDEST, HOTTEST, 1.0]


def test_nothing_labelled_has_no_temperature():
    fit = TemperatureFit("binary", 1, ignore_index=255)
    fit.update(torch.zeros(1, 1, 4), torch.full((1, 4), 255), ["a"])
    assert fit.compute().isnan()


def test_saturated_logits_stay_finite():
    logits = torch.tensor([[[3e4, -3e4, 3e4, 200.0]]])
    fit = TemperatureFit("binary", 1)
    fit.update(logits, torch.tensor([[1, 0, 0, 1]]), ["a"])
    assert fit.compute().item() == HOTTEST
    fit = TemperatureFit("multiclass", 2)
    fit.update(torch.cat([logits, -logits], 1), torch.tensor([[0, 1, 1, 0]]), ["a"])
    assert fit.compute().item() == HOTTEST


@pytest.mark.parametrize(
    ("logits", "target", "words"),
    [
        (torch.tensor([[[float("nan"), 0.0]]]), torch.tensor([[0, 1]]), "NaN comes from the network"),
        (torch.zeros(1, 1, 2), torch.tensor([[0, 2]]), "labels must lie in 0..1"),
        (torch.zeros(1, 2, 2), torch.tensor([[0, 1]]), "1, \\*S"),
    ],
)
def test_what_cannot_be_fitted_is_named(logits, target, words):
    with pytest.raises(SegfocalError, match=words):
        TemperatureFit("binary", 1).update(logits, target, ["a"])


def test_sums_stay_in_double_where_a_network_goes_to_half_precision():
    rng = torch.Generator().manual_seed(0)
    logits, labels = 3 * torch.randn(2, 1, 64, 64, generator=rng), None
    labels = (torch.rand(2, 64, 64, generator=rng) < logits[:, 0].sigmoid()).long()
    fits = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        module = torch.nn.Module()
        module.fit = TemperatureFit("binary", 1)
        module.to(dtype)
        module.fit.update(logits, labels, ["a", "b"])
        fits.append(module.fit.compute().item())
    assert fits[0] == fits[1] == fits[2]
