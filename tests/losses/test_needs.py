"""Tokens and rows of tables: (N, C) and (N, C, L) are computed as one image, and nothing else changes."""

import os
import random
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from sums_cases import compare, sample_case
from torch.testing import assert_close

from segfocal.losses import CrossEntropyLoss, DiceLoss, FocalDiceLoss, FocalLoss, UnifiedFocalLoss
from segfocal.losses import needs as module
from segfocal.losses.compiled.building import library
from segfocal.losses.primitive.sums import pixel_sums

REDUCTIONS = ("mean", "sum", "weighted_mean", "positives", "class_sum", "class_mean", "modulation", "none")
BACKENDS = [
    "eager",
    pytest.param("compiled", marks=pytest.mark.skipif(library() is None, reason="no compiler")),
]


def tokens(*shape, dtype=torch.float32, ignored=True):
    """Logits of these shapes, and labels of which some are -100."""
    torch.manual_seed(sum(shape))
    logits = (2 * torch.randn(shape)).to(dtype)
    target = torch.randint(shape[1], (shape[0], *shape[2:]))
    if ignored:
        target[torch.rand(target.shape) < 0.2] = -100
    return logits.requires_grad_(), target


def one_image(tensor):
    """The same numbers as one image, in memory of their own."""
    return tensor.transpose(0, 1).unsqueeze(0).contiguous()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(6))
def test_joined_images_have_the_sums_of_all(seed, backend):
    rng = random.Random(seed)
    for _ in range(4):
        logits, target, options = sample_case(rng, spaces=((), (), (7,), (5, 6)))
        dtype = torch.float64 if backend == "eager" else torch.float32
        rtol, atol = (1e-9, 1e-10) if backend == "eager" else (1e-5, 3e-6)
        compare(logits.to(dtype), target, options, backend=backend, rtol=rtol, atol=atol, joined=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("classes", [2, 7, 8, 27, 33, 400])
def test_rows_in_memory_give_what_planes_give(classes, dtype, backend):
    logits, target = tokens(700, classes, dtype=dtype)
    options = {"gamma": torch.rand(classes) * 3, "alpha": torch.rand(classes), "ignore_index": -100}
    options |= {"activation": "softmax", "want": ["loss", "count", "modulation", "weight"]}
    rows = pixel_sums(logits, target, joined=True, backend=backend, weight=torch.ones(700), **options)
    planes = one_image(logits.detach()).requires_grad_()
    other = pixel_sums(planes, target.unsqueeze(0), backend="eager", **options)
    assert torch.equal(rows.count, other.count)
    for name in ("loss", "modulation", "weight"):
        assert_close(getattr(rows, name), getattr(other, name), rtol=1e-5, atol=1e-5)
    (grad,) = torch.autograd.grad(rows.loss.sum(), logits)
    (expected,) = torch.autograd.grad(other.loss.sum(), planes)
    assert grad.stride() == logits.stride()
    rtol = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]
    assert_close(one_image(grad), expected, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_keep_infinities_and_nan_apart(backend):
    logits, target = tokens(300, 12, ignored=False)
    with torch.no_grad():
        logits[0, 3], logits[1], logits[2, 5] = -torch.inf, -torch.inf, torch.nan
        logits[1, 4], logits[3], logits[4, 2] = 3.0, torch.nan, 1e38
    target[1], target[3], target[4] = 4, -100, 2
    grads = []
    for joined in (False, True):
        sums = pixel_sums(
            logits,
            target,
            activation="softmax",
            want=["loss"],
            ignore_index=-100,
            joined=joined,
            backend=backend,
        )
        grads.append(torch.autograd.grad(sums.loss, logits, torch.ones_like(sums.loss))[0])
    assert_close(grads[1], grads[0], equal_nan=True)
    assert grads[1][2].isnan().all()
    assert not grads[1][3].any()
    assert grads[1][[0, 1, 4]].isfinite().all()


@pytest.mark.parametrize("shape", [(600, 5), (40, 5, 9)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_reduction_of_rows_is_that_of_one_image(reduction, shape):
    logits, target = tokens(*shape)
    weight, alpha = torch.rand(target.shape), [0.5, 1.0, 2.0, 0.1, 3.0]
    loss = FocalLoss("multiclass", [0.0, 1.0, 2.0, 3.0, 0.5], alpha, reduction=reduction, ignore_index=-100)
    planes = one_image(logits.detach()).requires_grad_()
    found, expected = loss(logits, target, weight), loss(planes, target.unsqueeze(0), weight.unsqueeze(0))
    assert_close(found, expected.squeeze(0) if reduction == "none" else expected)
    seed = torch.rand_like(found)
    (grad,) = torch.autograd.grad(found, logits, seed)
    (other,) = torch.autograd.grad(expected, planes, seed.view_as(expected))
    assert_close(one_image(grad), other)


@pytest.mark.parametrize(("task", "classes"), [("binary", 1), ("multilabel", 6)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_rows_of_masks_are_as_torch_has_them(task, classes, reduction):
    logits, _ = tokens(300, classes)
    target = torch.randint(2, (300, classes))
    surprise = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    expected = {"none": surprise, "sum": surprise.sum(), "mean": surprise.mean()}
    found = CrossEntropyLoss(task, reduction=reduction)(logits, target)
    if reduction in expected:
        assert_close(found, expected[reduction])
        assert_close(*(torch.autograd.grad(each.sum(), logits)[0] for each in (found, expected[reduction])))


def test_tokens_give_the_loss_of_four_lines():
    logits, target = tokens(500, 27, ignored=False)
    surprise = F.cross_entropy(logits, target, reduction="none")
    expected = ((1 - torch.exp(-surprise)) ** 2 * surprise).mean()
    found = FocalLoss("multiclass")(logits, target)
    assert_close(found, expected)
    assert_close(*(torch.autograd.grad(each, logits)[0] for each in (found, expected)))


def test_every_row_is_a_region_where_regions_are_images():
    logits, target = tokens(40, 5, ignored=False)
    single = [DiceLoss("multiclass")(logits[i : i + 1], target[i : i + 1]) for i in range(40)]
    assert_close(DiceLoss("multiclass", per_image=True)(logits, target), torch.stack(single).mean())
    for loss in (FocalDiceLoss("multiclass", per_image=True), UnifiedFocalLoss("multiclass")):
        assert loss.passes(5)[0].per_image
        alone = [loss(logits[i : i + 1], target[i : i + 1]) for i in range(40)]
        assert_close(loss(logits, target), torch.stack(alone).mean())


def test_counts_stay_those_of_every_row():
    logits, target = tokens(40, 5)
    for loss in (FocalLoss("multiclass", ignore_index=-100), FocalDiceLoss("multiclass", ignore_index=-100)):
        counts = loss.evaluate(logits, target, counts=True).counts
        assert counts.tp.shape == (40, 5)
        assert counts.tp.sum() == (logits.argmax(1) == target).sum()


def test_invalid_labels_of_rows_are_named():
    logits, target = tokens(40, 5, ignored=False)
    target[[3, 9]] = 17
    with pytest.raises(ValueError, match=r"got 17 \(2 times\)"):
        FocalLoss("multiclass")(logits, target)


def test_only_rows_and_short_sequences_are_joined():
    assert module.joined(torch.zeros(3, 5))
    assert module.joined(torch.zeros(3, 5, 255))
    assert not module.joined(torch.zeros(3, 5, 256))
    assert not module.joined(torch.zeros(1, 5, 7))
    assert not module.joined(torch.zeros(3, 5, 7, 7))


@pytest.mark.parametrize("layout", ["transposed", "every other row", "expanded"])
def test_rows_of_any_strides(layout):
    logits, target = tokens(60, 9)
    rows = {
        "transposed": logits.detach().t().contiguous().t(),
        "every other row": logits.detach().repeat_interleave(2, 0)[::2],
        "expanded": logits.detach()[:1].expand(60, 9),
    }[layout].requires_grad_()
    same = rows.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    loss = FocalLoss("multiclass", ignore_index=-100)
    (grad,), (expected,) = (torch.autograd.grad(loss(x, target), x) for x in (rows, same))
    assert_close(grad, expected)
    assert grad.stride() == torch.empty_like(rows).stride()


PEAK = """
import resource, sys, torch
from segfocal.losses import FocalLoss
rows, classes = map(int, sys.argv[1:])
loss = FocalLoss("multiclass", ignore_index=-100)
for n in (300, rows):
    logits, target = torch.randn(n, classes, requires_grad=True), torch.randint(classes, (n,))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loss(logits, target).backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 4 * logits.numel() / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in KiB")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("rows", "classes"), [(2**19, 27), (3000, 5000)])
def test_rows_take_the_memory_of_their_gradient_and_little_more(rows, classes, backend):
    variables = os.environ | {"SEGFOCAL_BACKEND": backend, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", PEAK, str(rows), str(classes)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    more, of_logits = map(float, done.stdout.split())
    assert more < 1.6 * of_logits, f"{more / of_logits:.2f} times the logits"
