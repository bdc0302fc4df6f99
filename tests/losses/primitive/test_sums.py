"""The primitive against formulas written out naively, torch's own losses, and its own promises."""

import random

import pytest
import torch
import torch.nn.functional as F
from sums_cases import compare, sample_case
from torch.testing import assert_close

from segfocal.losses.primitive.fields import FIELDS
from segfocal.losses.primitive.sums import PixelSums, backend_for, pixel_map, pixel_sums

FLOATS = [name for name in FIELDS if name not in ("count", "tp", "fp", "fn", "invalid")]


@pytest.mark.parametrize("seed", range(8))
def test_sums_and_gradients_are_those_of_the_naive_formulas(seed):
    rng = random.Random(seed)
    for _ in range(12):
        compare(*sample_case(rng), backend="eager", rtol=1e-9, atol=1e-10)


def test_float32_agrees_with_the_naive_formulas_in_float64():
    rng = random.Random(99)
    for _ in range(40):
        logits, target, options = sample_case(rng)
        compare(logits.float(), target, options, backend="eager", rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("space", [(), (6,), (5, 7), (3, 4, 5)])
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16]
)
def test_gamma_zero_is_cross_entropy(space, dtype):
    logits, other = (torch.randn(3, 5, *space, requires_grad=True) for _ in range(2))
    other.data.copy_(logits.data)
    target = torch.randint(0, 5, (3, *space))
    sums = pixel_sums(logits, target.to(dtype), activation="softmax", want=["loss", "count"])
    loss, expected = sums.loss.sum() / sums.count.sum(), F.cross_entropy(other, target)
    assert_close(loss.float(), expected)
    loss.backward()
    expected.backward()
    assert_close(logits.grad, other.grad)


def test_gamma_zero_is_binary_cross_entropy_with_logits():
    logits = torch.randn(2, 1, 9, requires_grad=True)
    target = torch.randint(0, 2, (2, 9), dtype=torch.bool)
    loss = pixel_sums(logits, target, activation="sigmoid", want=["loss"]).loss.sum() / 18
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], target.float())
    assert_close(loss.float(), expected)
    assert_close(*(torch.autograd.grad(value, logits)[0] for value in (loss, expected)))


def test_class_weights_and_smoothing_are_those_of_cross_entropy():
    logits, target, weight = (
        torch.randn(2, 4, 6, dtype=torch.float64),
        torch.randint(0, 4, (2, 6)),
        torch.rand(4),
    )
    found = pixel_sums(logits, target, activation="softmax", want=["loss"], alpha=weight, label_smoothing=0.1)
    expected = F.cross_entropy(logits, target, weight.double(), label_smoothing=0.1, reduction="sum")
    assert_close(found.loss.sum(), expected)


@pytest.mark.parametrize("kind", ["labels", "hard", "soft"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradcheck(activation, kind, smoothing):
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 4))
    if kind != "labels":
        target = F.one_hot(target, 3).movedim(-1, 1)
    if kind == "soft":
        target = torch.rand(2, 3, 4, dtype=torch.float64).softmax(1)
    want = ["loss", "intersection", "prediction", "prediction_squared"]

    def run(x):
        options = {"activation": activation, "gamma": [0.5, 1.0, 2.0], "alpha": [0.2, 0.5, 0.9]}
        sums = pixel_sums(x, target, want=want, label_smoothing=smoothing, **options)
        return tuple(getattr(sums, name) for name in want)

    assert torch.autograd.gradcheck(run, (logits,))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_saturated_logits_stay_finite(gamma, dtype, activation):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 1e4]], dtype=dtype).unsqueeze(-1).requires_grad_()
    sums = pixel_sums(
        logits,
        torch.tensor([[0], [0], [1]]),
        activation=activation,
        want=FLOATS,
        gamma=gamma,
        label_smoothing=0.0,
    )
    assert all(getattr(sums, name).isfinite().all() for name in FLOATS)
    sum(getattr(sums, name).sum() for name in FLOATS if getattr(sums, name).requires_grad).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [None, "soft"])
def test_masked_out_wrong_classes_stay_finite(gamma, smoothing):
    logits = torch.tensor([[1.0, -torch.inf, 0.5], [2.0, -torch.inf, -torch.inf]]).requires_grad_()
    target = torch.tensor([0, 0])
    if smoothing:
        target = F.one_hot(target, 3).float()
    sums = pixel_sums(logits, target, activation="softmax", want=["loss", "prediction"], gamma=gamma)
    assert sums.loss[1, 0] == 0
    kept = logits.detach()[:1, [0, 2]]
    alone = pixel_sums(kept, torch.tensor([0]), activation="softmax", want=["loss"], gamma=gamma)
    assert_close(sums.loss[0, 0], alone.loss[0, 0])
    (sums.loss.sum() + sums.prediction.sum()).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().max() == 0


def test_a_masked_out_true_class_costs_infinity():
    logits = torch.tensor([[-torch.inf, 0.0, 1.0]]).requires_grad_()
    loss = pixel_sums(logits, torch.tensor([0]), activation="softmax", want=["loss"], gamma=2.0).loss.sum()
    assert loss == torch.inf
    loss.backward()
    assert logits.grad[0, 0] == -1
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("soft", [False, True])
def test_nan_at_an_ignored_pixel_changes_nothing(activation, soft):
    logits, weight = torch.randn(2, 3, 5), torch.rand(2, 5)
    target = torch.randint(0, 3, (2, 5))
    if soft:
        target = F.one_hot(target, 3).movedim(-1, 1).float()
    target[..., 2] = 255
    broken, broken_weight = logits.clone(), weight.clone()
    broken[..., 2], broken_weight[..., 2] = torch.nan, torch.nan
    grads = []
    for x, w in ((logits, weight), (broken, broken_weight)):
        x.requires_grad_()
        sums = pixel_sums(
            x,
            target,
            activation=activation,
            want=FIELDS,
            gamma=2.0,
            ignore_index=255,
            weight=w,
            validate=False,
        )
        value = sum(getattr(sums, name).double().sum() for name in FIELDS)
        grads.append((value, torch.autograd.grad(value, x)[0]))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.equal(grads[0][1], grads[1][1])
    assert grads[1][1][..., 2].abs().max() == 0


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_all_ignored_gives_zeros(activation):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    sums = pixel_sums(
        logits, torch.full((2, 4, 4), 255), activation=activation, want=FIELDS, gamma=0.5, ignore_index=255
    )
    assert all(getattr(sums, name).abs().sum() == 0 for name in FIELDS)
    sums.loss.sum().backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0), (0, 3)])
def test_an_empty_batch_gives_zeros(shape):
    logits = torch.zeros(shape, requires_grad=True)
    target = torch.zeros((shape[0], *shape[2:]), dtype=torch.int64)
    sums = pixel_sums(logits, target, activation="softmax", want=["loss", "count"])
    assert sums.loss.shape == shape[:2]
    assert sums.loss.sum() == 0
    sums.loss.sum().backward()
    assert logits.grad.shape == shape
    assert pixel_map(logits, target, activation="softmax").shape == target.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_half_precision_is_that_of_the_rounded_logits(dtype, gamma, activation):
    logits = (4 * torch.randn(2, 5, 400)).to(dtype).requires_grad_()
    exact = logits.detach().double().requires_grad_()
    target = torch.randint(0, 5, (2, 400))
    values, grads = [], []
    for x in (logits, exact):
        loss = pixel_sums(x, target, activation=activation, want=["loss"], gamma=gamma).loss.sum()
        values.append(loss.item())
        grads.append(torch.autograd.grad(loss, x)[0])
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert grads[0].dtype == dtype
    rounded = grads[1].to(dtype)
    above = torch.nextafter(rounded.float().abs(), torch.tensor(torch.inf)).to(torch.float32)
    unit = torch.maximum(above * torch.finfo(dtype).eps, torch.tensor(torch.finfo(dtype).tiny))
    assert ((grads[0].float() - rounded.float()).abs() <= unit).all()


def test_layout_of_the_logits_does_not_matter_and_the_gradient_keeps_it():
    base = torch.randn(2, 6, 8, 10)
    target = torch.randint(0, 6, (2, 8, 10))
    expected = None
    wide = torch.randn(2, 6, 16, 12)
    wide[:, :, ::2, 1:11] = base
    layouts = [base, base.contiguous(memory_format=torch.channels_last), wide[:, :, ::2, 1:11]]
    for logits in layouts:
        x = logits.requires_grad_() if logits.is_leaf else logits.detach().requires_grad_()
        sums = pixel_sums(x, target, activation="softmax", want=["loss", "prediction"], gamma=2.0)
        (grad,) = torch.autograd.grad(sums.loss.sum() + (sums.prediction**2).sum(), x)
        assert grad.stride() == torch.empty_like(x).stride()
        expected = (sums.loss, grad) if expected is None else expected
        assert_close(sums.loss, expected[0])
        assert_close(grad, expected[1])


def test_a_non_contiguous_target_is_read_as_it_is():
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (8, 8, 2)).permute(2, 0, 1)
    found = pixel_sums(logits, target, activation="softmax", want=["loss"]).loss
    assert torch.equal(
        found, pixel_sums(logits, target.contiguous(), activation="softmax", want=["loss"]).loss
    )


@pytest.mark.parametrize("shape", [(64, 27), (4, 27, 50)])
def test_token_like_input_with_one_dominant_class(shape):
    torch.manual_seed(0)
    logits = torch.randn(shape)
    labels = torch.randint(0, 27, (shape[0], *shape[2:]))
    target = torch.where(torch.rand(labels.shape) < 0.78, 0, labels)
    sums = pixel_sums(logits, target, activation="softmax", want=["loss", "count"], gamma=2.0)
    p = logits.double().softmax(1).gather(1, target.unsqueeze(1))
    assert_close(sums.loss.sum(), ((1 - p) ** 2 * -p.log()).sum(), rtol=1e-6, atol=0)
    assert torch.equal(sums.count.sum(0), torch.bincount(target.flatten(), minlength=27))


def test_unvalidated_invalid_labels_make_the_image_nan_and_are_counted():
    logits, target = torch.randn(2, 3, 4), torch.tensor([[0, 1, 2, 1], [7, -3, 2, 255]])
    sums = pixel_sums(
        logits, target, activation="softmax", want=["loss", "invalid"], ignore_index=255, validate=False
    )
    assert sums.invalid.tolist() == [0, 2]
    assert sums.loss[0].isfinite().all()
    assert sums.loss[1].isnan().all()
    found = pixel_map(logits, target, activation="softmax", ignore_index=255, validate=False)
    assert found.isnan().tolist() == [[False] * 4, [True, True, False, False]]


def test_counts_are_exact_beyond_float32():
    logits = torch.zeros(1, 1, 2**24 + 3, dtype=torch.bfloat16)
    target = torch.zeros(1, 2**24 + 3, dtype=torch.uint8)
    target[0, :5] = 1
    sums = pixel_sums(logits, target, activation="sigmoid", want=["count", "fn", "weight"], backend="eager")
    assert sums.count.tolist() == [[[2**24 - 2, 5]]]
    assert sums.weight.tolist() == [[[2**24 - 2, 5]]]
    assert sums.fn.tolist() == [[5]]


def test_what_was_not_wanted_is_none_and_masses_carry_no_gradient():
    sums = pixel_sums(
        torch.randn(1, 2, 3, requires_grad=True), torch.zeros(1, 3, dtype=torch.uint8), activation="softmax",
        want=["target", "loss"],
    )  # fmt: skip
    assert isinstance(sums, PixelSums)
    assert sums.loss.requires_grad
    assert not sums.target.requires_grad
    assert all(getattr(sums, name) is None for name in FIELDS if name not in ("target", "loss"))


def test_small_inputs_are_computed_eagerly():
    assert backend_for(torch.zeros(1, 2, 8, 8)) == "eager"
