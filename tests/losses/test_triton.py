"""The Triton kernels against the naive formulas and the eager backend.

On a CUDA device the tests run as they are, under the marker gpu. Without one they run in Triton's
interpreter, which has to be chosen before Triton is imported: in a process that the last two tests start.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

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

from segfocal.losses.primitive import backends
from segfocal.losses.primitive.fields import FIELDS
from segfocal.losses.primitive.sums import pixel_map, pixel_sums

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
HERE = Path(__file__)

on_device = [] if INTERPRETED else [pytest.mark.gpu]
if not INTERPRETED:
    on_device.append(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))
kernels = pytest.mark.usefixtures("_empty_is_nan")


def runs(test):
    """Mark a test that runs kernels."""
    for mark in (*on_device, kernels):
        test = mark(test)
    return test


@pytest.fixture
def _empty_is_nan(monkeypatch):
    """Fill what the kernels write into with NaN, or a large count, so that nothing left out goes unseen."""

    def filled(make):
        def made(*args, **options):
            found = make(*args, **options)
            return found.fill_(float("nan") if found.is_floating_point() else 10**6)

        return made

    from segfocal.losses.triton import backend as module

    class Filled:
        empty, empty_like = staticmethod(filled(torch.empty)), staticmethod(filled(torch.empty_like))

        def __getattr__(self, name):
            return getattr(torch, name)

    monkeypatch.setattr(module, "torch", Filled())


def moved(value):
    """Move tensors among options to the device."""
    return value.to(DEVICE) if isinstance(value, torch.Tensor) else value


def both(logits, target, options, want=WANT):
    """Sums, map and gradients of both backends."""
    found = []
    options = {name: moved(value) for name, value in options.items()}
    for backend in ("triton", "eager"):
        x = logits.detach().to(DEVICE).requires_grad_()
        assert x.stride() == logits.stride() or DEVICE == "cuda"
        torch.manual_seed(1)
        sums = pixel_sums(x, target.to(DEVICE), want=want, backend=backend, **options)
        parts = {name: getattr(sums, name) for name in want}
        pulls = [(part * torch.rand_like(part)).sum() for part in parts.values() if part.requires_grad]
        parts["gradient"] = torch.autograd.grad(sum(pulls), x)[0]
        parts["map"] = pixel_map(x, target.to(DEVICE), backend=backend, **options)
        seed = torch.rand_like(parts["map"])
        parts["map gradient"] = torch.autograd.grad(parts["map"], x, seed)[0]
        parts["map"] = parts["map"].detach()
        found.append({name: part.detach() for name, part in parts.items()})
    return found


def agree(found, gradient=None):
    """Assert that two backends found the same; gradients are rounded to the logits' dtype."""
    one, two = found
    for name in two:
        loose = gradient if "gradient" in name and gradient else {"rtol": 1e-4, "atol": 1e-5}
        if "gradient" not in name:
            loose = {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(
            one[name], two[name], **loose, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def on_the_device(case):
    logits, target, options = case
    return logits.float().to(DEVICE), target.to(DEVICE), {k: moved(v) for k, v in options.items()}


@runs
@pytest.mark.parametrize("seed", range(4))
def test_every_option_matches_the_naive_formulas(seed):
    rng = random.Random(seed)
    for _ in range(4):
        compare(*on_the_device(sample_case(rng)), backend="triton", rtol=1e-5, atol=3e-6)


@runs
def test_joined_images_have_the_sums_of_all():
    rng = random.Random(1)
    for _ in range(3):
        case = on_the_device(sample_case(rng, spaces=((), (7,))))
        compare(*case, backend="triton", rtol=1e-5, atol=3e-6, joined=True)


@runs
@pytest.mark.parametrize("classes", [27, 40])
def test_joined_rows_agree_with_eager(classes):
    logits, target, options = many_classes(classes, ())
    options["joined"] = True
    agree(both(logits.repeat(70, 1), target.repeat(70), options, ["loss", "count", "prediction", "tp"]))


@runs
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_more_options_match_the_naive_formulas(seed):
    rng = random.Random(seed)
    for _ in range(11):
        case = sample_case(rng, spaces=((), (37,), (5, 6), (3, 4, 5), (2, 1, 3, 2, 2), (17, 19)))
        compare(*on_the_device(case), backend="triton", rtol=1e-5, atol=3e-6)


def many_classes(classes, shape, ignore=True):
    torch.manual_seed(classes)
    logits, target = 3 * torch.randn(2, classes, *shape), torch.randint(0, classes, (2, *shape))
    if ignore:
        target[torch.rand(target.shape) < 0.1] = 1000
    return logits, target, {"activation": "softmax", "gamma": 2.0, "ignore_index": 1000}


@runs
@pytest.mark.parametrize("classes", [2, 7, 17, 33])
def test_any_number_of_classes(classes):
    logits, target, options = many_classes(classes, (7, 9))
    options["alpha"] = torch.rand(classes)
    agree(both(logits, target, options, [name for name in FIELDS if name != "invalid"]))
    if classes > 2:
        options["weight"], options["gamma"] = torch.rand(2, 7, 9), torch.rand(classes)
        agree(both(logits, target, options, ["loss", "weight", "prediction", "prediction_squared", "fp"]))


@runs
@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 5, 16, 31, 32, 34, 64, 100, 255, 256])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_up_to_256_classes_smoothed_or_not(classes, smoothing):
    logits, target, options = many_classes(classes, (13, 11))
    agree(both(logits, target, options | {"label_smoothing": smoothing, "alpha": torch.rand(classes)}))


@runs
@pytest.mark.parametrize(
    "want", [["loss"], ["prediction"], ["tp", "fp"], ["target"], ["weight", "fn"], ["count"]]
)
@pytest.mark.parametrize("kind", ["few", "many", "soft", "sigmoid"])
def test_any_single_field(want, kind):
    classes = {"few": 3, "many": 34}.get(kind, 2)
    logits, target, options = many_classes(classes, (5, 6))
    if kind == "soft":
        options["label_smoothing"] = 0.2
    if kind == "sigmoid":
        options["activation"] = "sigmoid"
    one, two = (
        pixel_sums(logits.to(DEVICE), target.to(DEVICE), want=want, backend=backend, **options)
        for backend in ("triton", "eager")
    )
    for name in want:
        torch.testing.assert_close(getattr(one, name), getattr(two, name), rtol=1e-5, atol=1e-5)


ONE_UNIT = {torch.float32: None, torch.bfloat16: {"rtol": 2**-7, "atol": 1e-6}}
ONE_UNIT[torch.float16] = {"rtol": 2**-10, "atol": 2**-23}


@runs
@pytest.mark.parametrize("kind", ["few", "many", "soft", "sigmoid"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ONE_UNIT)
@pytest.mark.slow
def test_dtypes_and_layouts(dtype, layout, kind):
    layouts_and_dtypes_agree(dtype, layout, kind)


@runs
@pytest.mark.parametrize("kind", ["few", "many", "soft", "sigmoid"])
def test_a_dtype_in_another_layout(kind):
    layout, dtype = {
        "few": ("channels last", torch.bfloat16),
        "many": ("transposed", torch.float16),
        "soft": ("channels last", torch.float16),
        "sigmoid": ("cut out", torch.bfloat16),
    }[kind]
    layouts_and_dtypes_agree(dtype, layout, kind)


def layouts_and_dtypes_agree(dtype, layout, kind):
    torch.manual_seed(0)
    classes = 35 if kind == "many" else 3
    logits = LAYOUTS[layout](torch.randn(2, classes, 6, 7)).to(dtype)
    labels = random.Random(f"{dtype}{layout}{kind}").choice(
        [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
    )
    shape = (2, 6, 7) if kind in ("few", "many") else (2, classes, 6, 7)
    target = torch.randint(0, 2, shape)
    target = LAYOUTS[layout](target.to(labels)) if kind == "sigmoid" else target.mT.contiguous().mT.to(labels)
    if kind == "soft":
        target = LAYOUTS[layout](torch.rand(shape).softmax(1))
    options = {"activation": "sigmoid" if kind == "sigmoid" else "softmax", "gamma": 0.5}
    options |= {"alpha": torch.rand(classes), "weight": torch.rand(2, 6, 7)}
    found = both(logits, target, options)
    assert found[0]["gradient"].stride() == found[1]["gradient"].stride()
    agree(found, ONE_UNIT[dtype])


@runs
@pytest.mark.parametrize("dtype", [torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_masks_of_any_dtype(dtype, activation):
    torch.manual_seed(0)
    masks = torch.rand(2, 3, 5, 6)
    masks = masks > 0.5 if activation == "sigmoid" and dtype == torch.bool else masks.softmax(1)
    if activation == "softmax" and dtype == torch.bool:
        masks = torch.nn.functional.one_hot(torch.randint(0, 3, (2, 5, 6)), 3).movedim(-1, 1)
    agree(both(torch.randn(2, 3, 5, 6), masks.to(dtype), {"activation": activation, "gamma": 2.0}))


@runs
def test_the_loss_keeps_its_relative_precision_far_from_the_boundary():
    logits = torch.tensor([-100.0, -60.0, -30.0, -16.0, -5.0, 0.0, 5.0, 16.0, 30.0, 100.0], device=DEVICE)
    x = logits.view(1, 1, -1).requires_grad_()
    for gamma in (0.0, 0.5, 1.0, 2.0):
        target = torch.zeros(1, 1, 10, device=DEVICE).byte()
        found = pixel_map(x, target, activation="sigmoid", gamma=gamma, backend="triton")
        (grad,) = torch.autograd.grad(found.sum(), x)
        z = logits.detach().double().requires_grad_()
        loss = torch.exp(gamma * (z - torch.nn.functional.softplus(z))) * torch.nn.functional.softplus(z)
        (slope,) = torch.autograd.grad(loss.sum(), z)
        normal = loss.detach() > 1e-37  # smaller ones are 0 in float32
        torch.testing.assert_close(found.flatten()[normal].double(), loss.detach()[normal], rtol=2e-5, atol=0)
        torch.testing.assert_close(grad.flatten()[normal].double(), slope[normal], rtol=2e-5, atol=0)


@runs
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_binary_agrees_with_eager_on_saturated_logits(gamma):
    torch.manual_seed(0)
    logits = 30 * torch.randn(1, 1, 9, 10)
    logits[..., 0, :4] = torch.tensor([torch.inf, -torch.inf, 1e4, -1e4])
    target = torch.randint(0, 2, (1, 9, 10)).byte()
    target[..., 0, :4] = torch.tensor([1, 0, 1, 0])
    agree(both(logits, target, {"activation": "sigmoid", "gamma": gamma, "alpha": 0.25}))


@runs
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [4, 40])
def test_softmax_agrees_with_eager_on_saturated_logits(smoothing, classes):
    torch.manual_seed(0)
    logits, target = 30 * torch.randn(1, classes, 6, 7), torch.randint(1, 4, (1, 6, 7))
    logits[:, 1:, 0, 0] = -torch.inf  # wrong classes masked out
    logits[:, 1, 0, 1], logits[:, 2, 0, 2] = 1e4, -1e4
    target[:, 0, 0] = 0
    agree(both(logits, target, {"activation": "softmax", "gamma": 2.0, "label_smoothing": smoothing}))


@runs
@pytest.mark.parametrize(("form", "parameter"), [("convex", (1.0, 0.0)), ("tail", 0.0), ("tail", 1.0)])
def test_what_has_no_weight_may_be_infinite(form, parameter):
    logits = torch.tensor([[[-torch.inf, torch.inf]]], device=DEVICE)
    values = pixel_map(
        logits, torch.tensor([[[1, 0]]], device=DEVICE), activation="sigmoid", gamma=2.0, form=form,
        parameter=torch.tensor(parameter, device=DEVICE), backend="triton",
    )  # fmt: skip
    assert values.flatten().tolist() == [torch.inf, torch.inf]


@runs
@pytest.mark.parametrize("by", ["weight", "alpha"])
@pytest.mark.parametrize("kind", INFINITE)
def test_an_infinite_loss_without_weight_is_none(kind, by):
    total, values, grads = without_weight(kind, by, backend="triton", device=DEVICE)
    assert values[0] == 0.0
    assert 0 < values[1] < torch.inf
    assert values[1] == pytest.approx(total)
    assert (grads[..., 0] == 0).all()
    assert grads.isfinite().all()
    found = without_weight(kind, by, backend="triton", device=DEVICE, value=torch.nan)
    assert torch.tensor(found[0]).isnan()


@runs
@pytest.mark.parametrize(("form", "parameter", "gamma"), [("convex", (0.5, 0.0), 0.2), ("focal", None, 2.0)])
def test_masks_pull_confident_pixels_as_labels_do(form, parameter, gamma):
    parameter = None if parameter is None else torch.tensor(parameter, device=DEVICE)
    by_masks, by_labels, exact = confident_gradients(form, parameter, gamma, backend="triton", device=DEVICE)
    # what the device flushes to 0, and the hardware's exponential of shares, which are compared in sum
    torch.testing.assert_close(by_masks, exact, rtol=5e-5, atol=1e-36)
    torch.testing.assert_close(by_labels, exact, rtol=5e-5, atol=1e-36)


@runs
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_masks_are_judged_in_their_own_precision(activation):
    masks = torch.tensor([[[1.0 + 1e-12, 1.0], [0.0, 0.0]]], dtype=torch.float64, device=DEVICE)
    options = {"activation": activation, "validate": False, "backend": "triton"}
    for shift, count in ((0.0, 1), (-1e-12, 0)):
        changed = masks + shift * (masks > 1)
        sums = pixel_sums(torch.zeros(1, 2, 2, device=DEVICE), changed, want=["invalid"], **options)
        assert sums.invalid.tolist() == [count]


@runs
@pytest.mark.parametrize("classes", [3, 36])
def test_a_wrong_class_at_infinity_leaves_no_nan(classes):
    logits = torch.zeros(1, classes, 2, 2, device=DEVICE)
    logits[0, 1, 0, 0] = torch.inf
    logits.requires_grad_()
    target = torch.zeros(1, 2, 2, device=DEVICE).long()
    sums = pixel_sums(logits, target, activation="softmax", want=["loss"], backend="triton")
    (grad,) = torch.autograd.grad(sums.loss.sum(), logits)
    assert grad.isfinite().all()
    assert grad[0, :3, 0, 0].tolist() == [-1.0, 1.0, 0.0]


@runs
@pytest.mark.parametrize("kind", ["few", "many", "soft", "sigmoid", "smoothed sigmoid"])
@pytest.mark.parametrize("at", [(0, 0), (1, 5)])
def test_nan_stays_nan_except_where_ignored(kind, at):
    torch.manual_seed(0)
    classes = 33 if kind == "many" else 3
    logits, target = torch.randn(1, classes, 4, 9, device=DEVICE), torch.zeros(1, 4, 9, device=DEVICE).long()
    logits[0, at[0], 0, at[1]] = torch.nan
    options = {"activation": "sigmoid" if "sigmoid" in kind else "softmax", "backend": "triton", "gamma": 2.0}
    options["label_smoothing"] = 0.1 if kind.startswith("s") and kind != "sigmoid" else 0.0
    assert pixel_sums(logits, target, want=["loss"], **options).loss.isnan().any()
    target[0, 0, at[1]] = 255
    logits.requires_grad_()
    sums = pixel_sums(logits, target, want=["loss", "prediction"], ignore_index=255, **options)
    (grad,) = torch.autograd.grad(sums.loss.sum() + sums.prediction.sum(), logits)
    assert sums.loss.isfinite().all()
    assert sums.prediction.isfinite().all()
    assert grad.isfinite().all()
    assert (grad[:, :, 0, at[1]] == 0).all()


@runs
@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")  # the interpreter's maximum
@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("labels", 3),
        ("labels", 40),
        ("smoothed", 5),
        ("masks", 6),
        ("sigmoid labels", 3),
        ("sigmoid masks", 3),
    ],
)
def test_invalid_labels_are_counted_and_their_image_has_no_sums(kind, classes):
    torch.manual_seed(0)
    logits, target = torch.randn(2, classes, 5, 6), torch.zeros(2, 5, 6, dtype=torch.int16)
    if "masks" in kind:
        target = torch.nn.functional.one_hot(target.long(), classes).movedim(-1, 1).short()
    target[0, ..., 0, 1], target[1, ..., 0, 0] = -7, 255
    if "masks" in kind:
        target[0, :-1, 0, 1] = 0
    else:
        target[0, 4, 5] = 4000
    logits[1, :, 0, 0] = torch.nan
    options = {"activation": "sigmoid" if "sigmoid" in kind else "softmax", "ignore_index": 255}
    options |= {"label_smoothing": 0.1} if kind == "smoothed" else {}
    want = ["loss", "prediction", "tp", "count", "invalid"]
    one, two = (
        pixel_sums(
            logits.to(DEVICE), target.to(DEVICE), want=want, backend=backend, validate=False, **options
        )
        for backend in ("triton", "eager")
    )
    assert one.invalid.tolist() == [1 if "masks" in kind else 2, 0]
    assert one.loss[0].isnan().all()
    assert one.prediction[0].isnan().all()
    torch.testing.assert_close(one.loss[1], two.loss[1], rtol=1e-5, atol=1e-6)
    assert torch.equal(one.tp[1], two.tp[1])
    assert torch.equal(one.count[1], two.count[1])
    found = pixel_map(logits.to(DEVICE), target.to(DEVICE), backend="triton", validate=False, **options)
    shown = found.isnan().nonzero().tolist()
    assert [0, 0, 1] in [[at[0], *at[-2:]] for at in shown]
    assert all(at[0] == 0 for at in shown)


@runs
@pytest.mark.parametrize("kind", ["few", "many", "soft", "sigmoid"])
def test_two_runs_give_the_same_bits_however_many_programs_share_an_image(kind, monkeypatch):
    from segfocal.losses.triton import call

    monkeypatch.setattr(call, "PROGRAMS", 3)
    call.plan.cache_clear()
    torch.manual_seed(0)
    space = (11, 101) if kind == "many" else (43, 61)  # more tiles than programs
    logits = torch.randn(1, 33 if kind == "many" else 2, *space)
    target = torch.randint(0, 2, (1, *space))
    options = {"activation": "sigmoid" if kind == "sigmoid" else "softmax", "gamma": 2.0}
    options |= {"label_smoothing": 0.1} if kind == "soft" else {}
    first, second = (both(logits, target, options, WANT)[0] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    agree(both(logits, target, options))
    call.plan.cache_clear()


@runs
def test_sums_of_many_tiles_lose_no_count():
    logits = torch.full((1, 2, 150, 200), 0.3, device=DEVICE)
    target = torch.zeros(1, 150, 200, device=DEVICE).byte()
    sums = pixel_sums(logits, target, activation="softmax", want=["loss", "count", "tp"], backend="triton")
    assert sums.count.tolist() == sums.tp.tolist() == [[30000, 0]]
    assert sums.loss[0, 0].item() == pytest.approx(30000 * 0.6931471805599453, rel=1e-6)


@runs
@pytest.mark.parametrize("logits", [torch.randn(1, 2, 4, 5).double(), torch.randn(0, 2, 4, 5)])
def test_what_it_does_not_cover_is_eager(logits):
    target = torch.zeros(len(logits), 4, 5, device=DEVICE).long()
    one, two = (
        pixel_sums(logits.to(DEVICE), target, activation="softmax", want=FIELDS, backend=backend)
        for backend in ("triton", "eager")
    )
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in FIELDS)


@runs
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the check reads it of tensors that are no leaves
@pytest.mark.parametrize("name", ["pixel_sums", "pixel_map"])
def test_the_operators_pass_torchs_own_check(name):
    logits = torch.randn(2, 3, 4, 5, device=DEVICE, requires_grad=True)
    target, rates = (
        torch.randint(0, 3, (2, 4, 5), device=DEVICE),
        torch.full((1, 1), 2.0, dtype=torch.float64),
    )
    arguments = (
        logits,
        target,
        None,
        rates.to(DEVICE),
        None,
        None,
        "softmax",
        "focal",
        "loss",
        255,
        False,
        "triton",
    )
    torch.library.opcheck(getattr(torch.ops.segfocal, name).default, arguments)


@runs
def test_the_variable_chooses_the_kernels(monkeypatch):
    monkeypatch.setenv("SEGFOCAL_BACKEND", "triton")
    assert backends.backend_for(torch.zeros(1, 2, 4, device=DEVICE)) == "triton"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("classes", [1, 8, 104])
def test_a_graph_replays_forward_and_backward_without_waiting(classes):
    activation = "sigmoid" if classes == 1 else "softmax"
    logits = torch.randn(2, classes, 64, 65, device="cuda", requires_grad=True)
    target = torch.randint(0, max(2, classes), (2, 64, 65), device="cuda")
    gamma, alpha = torch.tensor(2.0, device="cuda"), None

    def step():
        sums = pixel_sums(
            logits, target, activation=activation, want=["loss", "prediction"], gamma=gamma, alpha=alpha
        )
        value = sums.loss.sum() + sums.prediction.square().sum()
        return value, torch.autograd.grad(value, logits)[0]

    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        expected = step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_of_over_two_billion_elements():
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GiB")
    logits = torch.zeros(1, 5, 2**29, device="cuda", dtype=torch.bfloat16)
    logits[0, 4, -1] = 3.0
    target = torch.zeros(1, 2**29, device="cuda", dtype=torch.uint8)
    target[0, -1] = 4
    logits.requires_grad_()
    sums = pixel_sums(logits, target, activation="softmax", want=["loss", "count"])
    assert sums.count.tolist() == [[2**29 - 1, 0, 0, 0, 1]]
    (grad,) = torch.autograd.grad(sums.loss.sum(), logits)
    assert grad[0, 4, -1].item() == pytest.approx(20.0855 / 24.0855 - 1, rel=1e-2)


def in_the_interpreter(marks):
    """Run this file in a process that imports Triton's interpreter."""
    variables = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    variables.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider", "-m", marks]
    done = subprocess.run(
        command, env=variables, cwd=HERE.parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


if not INTERPRETED:

    def test_the_interpreter_agrees():
        in_the_interpreter("not slow and not gpu")

    @pytest.mark.slow
    def test_the_interpreter_agrees_on_many_more():
        in_the_interpreter("slow and not gpu")
