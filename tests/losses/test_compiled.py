"""The compiled backend against the naive formulas and the eager backend."""

import random

import pytest
import torch
from sums_cases import (
    INFINITE,
    LAYOUTS,
    WANT,
    compare,
    confident_gradients,
    sample_case,
    without_weight,
)

from segfocal.losses.compiled.building import library
from segfocal.losses.primitive.fields import FIELDS
from segfocal.losses.primitive.sums import pixel_map, pixel_sums

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")


def both(logits, target, options, want=WANT):
    """Sums and gradient of both backends."""
    found = []
    for backend in ("compiled", "eager"):
        x = logits.detach().requires_grad_()
        sums = pixel_sums(x, target, want=want, backend=backend, **options)
        loss = sums.loss.sum() + (sums.prediction**2).sum() / 1e4 + sums.intersection.sum()
        found.append((sums, torch.autograd.grad(loss, x)[0]))
    return found


def agree(found, tolerance=None):
    """The two backends agree, and the gradient has the layout that torch expects."""
    (first, grad), (second, expected) = found
    for name in WANT:
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=2e-6, atol=2e-6)
    assert grad.stride() == expected.stride()
    assert grad.dtype == expected.dtype
    torch.testing.assert_close(grad, expected, **(tolerance or {"rtol": 1e-5, "atol": 1e-6}))


@pytest.mark.parametrize("seed", range(10))
def test_a_sample_of_options_agrees_with_the_naive_formulas(seed):
    rng = random.Random(seed)
    for _ in range(25):
        logits, target, options = sample_case(rng, spaces=((37,), (5, 6), (3, 4, 5), (26, 27)))
        compare(logits.float(), target, options, backend="compiled", rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("classes", [2, 7, 32, 33, 256])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_any_number_of_classes(classes, smoothing):
    torch.manual_seed(0)
    logits, target = 3 * torch.randn(2, classes, 40, 41), torch.randint(0, classes, (2, 40, 41))
    target[torch.rand(target.shape) < 0.1] = 255 + classes
    options = {"activation": "softmax", "gamma": 2.0, "ignore_index": 255 + classes}
    agree(both(logits, target, {**options, "label_smoothing": smoothing, "alpha": torch.rand(classes)}))


ONE_UNIT = {torch.float32: None, torch.bfloat16: {"rtol": 2**-7, "atol": 1e-6}}
ONE_UNIT[torch.float16] = {"rtol": 2**-10, "atol": 2**-24}


@pytest.mark.parametrize("dtype", ONE_UNIT)
@pytest.mark.parametrize("labels", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_dtypes_and_layouts(dtype, labels, layout, activation):
    torch.manual_seed(0)
    logits = LAYOUTS[layout](torch.randn(2, 5, 66, 70)).to(dtype)
    assert logits.stride() == LAYOUTS[layout](torch.randn(2, 5, 66, 70)).stride() or dtype != torch.float32
    shape = (2, 66, 70) if activation == "softmax" else (2, 5, 66, 70)
    target = torch.randint(0, 5 if activation == "softmax" else 2, shape).to(labels)
    target = LAYOUTS[layout](target) if activation == "sigmoid" else target.mT.contiguous().mT
    options = {
        "activation": activation,
        "gamma": 0.5,
        "alpha": torch.rand(5),
        "weight": torch.rand(2, 66, 70),
    }
    agree(both(logits, target, options), ONE_UNIT[dtype])


@pytest.mark.parametrize("dtype", [torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_masks_of_any_dtype(dtype, activation):
    torch.manual_seed(0)
    masks = torch.rand(2, 3, 20, 30)
    masks = masks > 0.5 if activation == "sigmoid" and dtype == torch.bool else masks.softmax(1)
    if activation == "softmax" and dtype == torch.bool:
        masks = torch.nn.functional.one_hot(torch.randint(0, 3, (2, 20, 30)), 3).movedim(-1, 1)
    agree(both(torch.randn(2, 3, 20, 30), masks.to(dtype), {"activation": activation, "gamma": 2.0}))


def test_halves_of_every_size_are_read_and_rounded_as_torch_does():
    for dtype in (torch.float16, torch.bfloat16):
        every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
        logits = every[every.isfinite()].view(1, 1, 1, -1).clone().requires_grad_()
        found = pixel_map(logits, torch.zeros_like(logits).bool(), activation="sigmoid", backend="compiled")
        torch.testing.assert_close(
            found[..., 0, :], torch.nn.functional.softplus(logits.detach().float())[..., 0, :]
        )
        (grad,) = torch.autograd.grad(found, logits, torch.full_like(found, 1e-3))
        exact = 1e-3 * logits.detach().double().sigmoid()
        unit = torch.finfo(dtype).eps * exact.abs().clamp(min=torch.finfo(dtype).tiny)
        assert ((grad.double() - exact).abs() <= 0.51 * unit).all()


def test_binary_agrees_with_eager_on_saturated_logits():
    logits = 30 * torch.randn(1, 1, 80, 80)
    logits[..., 0, :4] = torch.tensor([torch.inf, -torch.inf, 1e4, -1e4])
    target = torch.randint(0, 2, (1, 80, 80)).byte()
    target[..., 0, :4] = torch.tensor([1, 0, 1, 0])
    agree(both(logits, target, {"activation": "sigmoid", "gamma": torch.tensor(2.0), "alpha": 0.25}))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_agrees_with_eager_on_saturated_logits(smoothing):
    logits = 30 * torch.randn(1, 4, 40, 41)
    logits[:, 1:, 0, 0] = -torch.inf  # wrong classes masked out
    logits[:, 1, 0, 1], logits[:, 2, 0, 2] = 1e4, -1e4
    target = torch.randint(1, 4, (1, 40, 41))
    target[:, 0, 0] = 0
    agree(both(logits, target, {"activation": "softmax", "gamma": 2.0, "label_smoothing": smoothing}))


def test_a_wrong_class_at_infinity_leaves_no_nan():
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    with torch.no_grad():
        logits[0, 1, 0, 0] = torch.inf
    sums = pixel_sums(
        logits, torch.zeros(1, 2, 2).long(), activation="softmax", want=["loss"], backend="compiled"
    )
    (grad,) = torch.autograd.grad(sums.loss.sum(), logits)
    assert grad.isfinite().all()
    assert grad[0, :, 0, 0].tolist() == [-1.0, 1.0, 0.0]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("at", [(0, 0), (1, 5)])
def test_nan_stays_nan_except_where_ignored(activation, smoothing, at):
    logits, target = torch.randn(1, 3, 8, 9), torch.zeros(1, 8, 9).long()
    logits[0, at[0], 0, at[1]] = torch.nan
    options = {"activation": activation, "label_smoothing": smoothing, "backend": "compiled", "gamma": 2.0}
    assert pixel_sums(logits, target, want=["loss"], **options).loss.isnan().any()
    target[0, 0, at[1]] = 255
    logits.requires_grad_()
    sums = pixel_sums(logits, target, want=["loss", "prediction"], ignore_index=255, **options)
    (grad,) = torch.autograd.grad(sums.loss.sum() + sums.prediction.sum(), logits)
    assert sums.loss.isfinite().all()
    assert grad.isfinite().all()
    assert (grad[:, :, 0, at[1]] == 0).all()


def test_invalid_labels_are_counted_and_their_image_has_no_sums():
    logits, target = torch.randn(2, 1, 64, 64), torch.zeros(2, 64, 64, dtype=torch.uint8)
    target[0, 0, 0], target[1, 0, 0], logits[1, 0, 0, 0] = 7, 255, torch.nan
    one, two = (
        pixel_sums(
            logits, target, activation="sigmoid", want=["loss", "invalid"], ignore_index=255, backend=backend,
            validate=False,
        )
        for backend in ("compiled", "eager")
    )  # fmt: skip
    assert one.invalid.tolist() == [1, 0]
    assert one.loss[0].isnan().all()
    torch.testing.assert_close(one.loss[1], two.loss[1])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_number_of_threads_changes_no_bit(activation):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 200, 201), torch.randint(0, 2, (2, 3, 200, 201))
    target = target[:, 0] if activation == "softmax" else target
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            x = logits.clone().requires_grad_()
            sums = pixel_sums(x, target, activation=activation, want=WANT, gamma=2.0, backend="compiled")
            found.append((*[getattr(sums, name) for name in WANT], *torch.autograd.grad(sums.loss.sum(), x)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_a_million_equal_values_add_up():
    sums = pixel_sums(
        torch.full((1, 1, 1024, 1024), 0.3), torch.zeros(1, 1024, 1024).byte(), activation="sigmoid",
        want=["loss"], backend="compiled",
    )  # fmt: skip
    expected = 2**20 * torch.nn.functional.softplus(torch.tensor(0.3, dtype=torch.float32).double())
    assert sums.loss[0, 0, 0].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("logits", [torch.randn(1, 2, 8, 8).double(), torch.randn(0, 2, 8, 8)])
def test_what_it_does_not_cover_is_eager(logits):
    one, two = (
        pixel_sums(
            logits, torch.zeros(len(logits), 8, 8).long(), activation="softmax", want=FIELDS, backend=backend
        )
        for backend in ("compiled", "eager")
    )
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in FIELDS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_changes_nothing(dtype):
    logits, target = torch.randn(1, 2, 30, 40), torch.zeros(1, 30, 40).long()
    expected = pixel_map(logits, target, activation="softmax", backend="compiled")
    torch.set_default_dtype(dtype)
    try:
        found = pixel_map(logits, target, activation="softmax", backend="compiled")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("backend", ["eager", "compiled"])
@pytest.mark.parametrize(("dtype", "classes"), [(torch.uint8, 256), (torch.int8, 150)])
def test_more_classes_than_the_labels_dtype_can_count(backend, dtype, classes):
    target = torch.arange(100, dtype=dtype).view(1, 100)
    sums = pixel_sums(
        torch.zeros(1, classes, 100), target, activation="softmax", want=["loss"], backend=backend
    )
    assert sums.loss.sum().item() == pytest.approx(100 * torch.tensor(classes).log().item())


@pytest.mark.parametrize("backend", ["eager", "compiled"])
def test_masks_under_softmax_keep_nan_and_leave_out_ignored_pixels(backend):
    options = {"activation": "softmax", "want": ["loss"], "backend": backend, "validate": False}
    logits = torch.zeros(1, 3, 1)
    logits[0, 1, 0] = torch.nan
    assert pixel_sums(logits, torch.tensor([[[0], [0], [1]]]), **options).loss.isnan().any()
    masks = torch.tensor([[[255, 1], [7, 0], [0, 0]]])  # what stands beside an ignored value is ignored too
    sums = pixel_sums(torch.zeros(1, 3, 2), masks, ignore_index=255, **options)
    assert sums.loss.sum().item() == pytest.approx(1.0986123)


def test_a_gradient_that_lies_in_many_pieces():
    logits, target = torch.randn(1, 2, 2, 3, 4, 5, 3), torch.randint(0, 2, (1, 2, 3, 4, 5, 3))
    pull = torch.randn(1, 3, 5, 4, 3, 2).permute(0, 5, 4, 3, 2, 1)
    found = []
    for backend in ("compiled", "eager"):
        x = logits.clone().requires_grad_()
        values = pixel_map(x, target, activation="softmax", backend=backend)
        found += torch.autograd.grad(values, x, pull)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("backend", ["eager", "compiled"])
def test_what_has_no_weight_may_be_infinite(backend):
    logits = torch.tensor([[[-torch.inf, torch.inf]]])
    options = {"activation": "sigmoid", "gamma": 2.0, "backend": backend}
    for form, parameter in (("convex", (1.0, 0.0)), ("tail", 0.0), ("tail", 1.0)):
        values = pixel_map(
            logits, torch.tensor([[[1, 0]]]), form=form, parameter=torch.tensor(parameter), **options
        )
        assert values.flatten().tolist() == [torch.inf, torch.inf]
    found = pixel_map(
        torch.zeros(1, 3, 2), torch.tensor([[255, 1]]), activation="softmax", form="convex",
        parameter=torch.tensor([1.0, 0.2]), gamma=[2.0, 2.0, 2.0], ignore_index=255, backend=backend,
    )  # fmt: skip
    assert found.isfinite().all()


@pytest.mark.parametrize("backend", ["eager", "compiled"])
@pytest.mark.parametrize("by", ["weight", "alpha"])
@pytest.mark.parametrize("kind", INFINITE)
def test_an_infinite_loss_without_weight_is_none(kind, by, backend):
    total, values, grads = without_weight(kind, by, backend=backend)
    assert values[0] == 0.0
    assert 0 < values[1] < torch.inf
    assert values[1] == pytest.approx(total)
    assert (grads[..., 0] == 0).all()
    assert grads.isfinite().all()
    assert torch.tensor(without_weight(kind, by, backend=backend, value=torch.nan)[0]).isnan()


@pytest.mark.parametrize("backend", ["eager", "compiled"])
@pytest.mark.parametrize(
    ("form", "parameter", "gamma"),
    [("convex", (0.5, 0.0), 0.2), ("convex", (1.0, 0.1), 0.5), ("focal", None, 0.3), ("focal", None, 2.0)],
)
def test_masks_pull_confident_pixels_as_labels_do(form, parameter, gamma, backend):
    parameter = None if parameter is None else torch.tensor(parameter)
    by_masks, by_labels, exact = confident_gradients(form, parameter, gamma, backend=backend)
    torch.testing.assert_close(by_masks, exact, rtol=2e-5, atol=1e-36)
    torch.testing.assert_close(by_labels, exact, rtol=2e-5, atol=1e-36)


@pytest.mark.parametrize("backend", ["eager", "compiled"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_masks_are_judged_in_their_own_precision(activation, backend):
    masks = torch.tensor([[[1.0 + 1e-12, 1.0], [0.0, 0.0]]], dtype=torch.float64)
    options = {"activation": activation, "validate": False, "backend": backend}
    for shift, count in ((0.0, 1), (-1e-12, 0)):
        sums = pixel_sums(torch.zeros(1, 2, 2), masks + shift * (masks > 1), want=["invalid"], **options)
        assert sums.invalid.tolist() == [count]
    ignored = torch.tensor([[[255.0 + 1e-12, 255.0], [255.0, 255.0]]], dtype=torch.float64)
    sums = pixel_sums(torch.zeros(1, 2, 2), ignored, want=["invalid"], ignore_index=255, **options)
    assert sums.invalid.tolist() == [0 if activation == "softmax" else 1]
