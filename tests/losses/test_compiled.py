"""The compiled backend against the naive formulas and the eager backend."""

import random

import pytest
import torch
from sums_cases import compare, sample_case
from torch._dynamo.utils import counters

from segfocal.losses import compiled, compiling, views
from segfocal.losses.fields import FIELDS
from segfocal.losses.sums import pixel_sums

WANT = ["loss", "intersection", "prediction", "target", "count"]


@pytest.fixture
def small(monkeypatch):
    """Let the compiled backend take images of a few pixels, in chunks of sixteen."""
    monkeypatch.setattr(compiled, "LEAST_SPACE", 16)
    monkeypatch.setattr(views, "CHUNK", 16)
    compiling.build.cache_clear()


def start_afresh():
    """Forget all compiled functions."""
    torch._dynamo.reset()
    compiling.build.cache_clear()
    counters.clear()


def both(logits, target, options, want=WANT):
    """Sums and gradient of both backends."""
    found = []
    for backend in ("compiled", "eager"):
        x = logits.detach().requires_grad_()
        sums = pixel_sums(x, target, want=want, backend=backend, **options)
        loss = sums.loss.sum() + (sums.prediction**2).sum() / 1e4 + sums.intersection.sum()
        found.append((sums, torch.autograd.grad(loss, x)[0]))
    return found


def agree(found, rtol=1e-6):
    """The two backends agree, and the gradient has the layout that torch expects."""
    (first, grad), (second, expected) = found
    for name in WANT:
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=rtol, atol=1e-6)
    assert grad.stride() == expected.stride()
    assert grad.dtype == expected.dtype
    torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_sample_of_options_agrees_with_the_naive_formulas(seed, small):
    rng = random.Random(seed)
    for _ in range(2):
        logits, target, options = sample_case(rng, spaces=((37,), (5, 6), (3, 4, 5)))
        compare(logits.float(), target, options, backend="compiled", rtol=1e-5, atol=3e-6)


@pytest.mark.slow
def test_softmax_agrees_with_eager_whatever_the_size_compiled_once():
    start_afresh()
    options = {"activation": "softmax", "gamma": 2.0, "ignore_index": 255}
    for n, size in ((2, (64, 64)), (3, (80, 64)), (3, (70, 71)), (2, (17, 19, 23))):
        torch.manual_seed(0)
        target = torch.randint(0, 3, (n, *size)).byte()
        target[torch.rand(target.shape) < 0.1] = 255
        agree(both(3 * torch.randn(n, 3, *size), target, options))
    # sums of whole chunks, sums with pixels left over, gradient
    assert compiling.build.cache_info().misses == 3
    assert counters["stats"]["unique_graphs"] == 3


@pytest.mark.slow
def test_binary_agrees_with_eager_on_saturated_and_masked_logits():
    logits = 30 * torch.randn(1, 1, 80, 80)
    logits[..., 0, :4] = torch.tensor([torch.inf, -torch.inf, 1e4, -1e4])
    target = torch.randint(0, 2, (1, 80, 80)).byte()
    target[..., 0, :4] = torch.tensor([1, 0, 1, 0])
    options = {"activation": "sigmoid", "gamma": torch.tensor(2.0), "alpha": 0.25}
    agree(both(logits, target, options))


def test_invalid_labels_and_nan_at_ignored_pixels():
    logits, target = torch.randn(2, 1, 64, 64), torch.zeros(2, 64, 64, dtype=torch.uint8)
    target[0, 0, 0], target[1, 0, 0], logits[1, 0, 0, 0] = 7, 255, torch.nan
    sums = pixel_sums(
        logits, target, activation="sigmoid", want=["loss", "invalid"], ignore_index=255, backend="compiled",
        validate=False,
    )  # fmt: skip
    assert sums.invalid.tolist() == [1, 0]
    assert sums.loss[0].isnan().all()
    others = pixel_sums(
        logits, target, activation="sigmoid", want=["loss", "invalid"], ignore_index=255, backend="eager",
        validate=False,
    )  # fmt: skip
    torch.testing.assert_close(sums.loss[1], others.loss[1])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("target", [torch.uint8, torch.int64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dtypes_and_layouts(dtype, target, layout):
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 66, 70).to(dtype).contiguous(memory_format=layout)
    options = {"activation": "softmax", "gamma": 0.5, "alpha": torch.rand(5)}
    found = both(logits, torch.randint(0, 5, (2, 66, 70)).to(target), options)
    if dtype == torch.float32:
        return agree(found)
    torch.testing.assert_close(found[0][0].loss, found[1][0].loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=8e-3, atol=1e-6)
    return None


@pytest.mark.slow
def test_a_schedule_of_gamma_compiles_once():
    start_afresh()
    logits, target = torch.randn(1, 2, 64, 64), torch.randint(0, 2, (1, 64, 64))
    for gamma in (0.5, 0.7, 1.3, 1.9):
        agree(both(logits, target, {"activation": "softmax", "gamma": torch.tensor(gamma)}))
    assert counters["stats"]["unique_graphs"] == 2


@pytest.mark.slow
def test_a_million_equal_values_add_up():
    sums = pixel_sums(
        torch.full((1, 1, 1024, 1024), 0.3), torch.zeros(1, 1024, 1024).byte(), activation="sigmoid",
        want=["loss"], backend="compiled",
    )  # fmt: skip
    expected = 2**20 * torch.nn.functional.softplus(torch.tensor(0.3, dtype=torch.float32).double())
    assert sums.loss[0, 0, 0].item() == pytest.approx(expected.item(), rel=1e-6)


def test_what_it_does_not_cover_is_eager():
    logits = torch.randn(1, 2, 8, 8, requires_grad=True)
    one, two = (
        pixel_sums(logits, torch.zeros(1, 8, 8).long(), activation="softmax", want=FIELDS, backend=backend)
        for backend in ("compiled", "eager")
    )
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in FIELDS)
