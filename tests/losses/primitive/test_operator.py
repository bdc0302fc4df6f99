"""The primitive as an operator of torch: compile, export, autocast, second derivatives, memory."""

import pytest
import torch
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses.eager import backend as eager
from segfocal.losses.primitive.curve import curve
from segfocal.losses.primitive.sums import pixel_map, pixel_sums

WANT = ["loss", "intersection", "prediction", "target"]


def arguments(activation="softmax", dtype=torch.float32, classes=3, joined=False):
    """The arguments of an operator, with everything given."""
    logits = torch.randn(2, classes, 4, 5, dtype=dtype, requires_grad=True)
    target = torch.randint(0, classes, (2, 4, 5))
    rates = curve("focal", [0.5] * classes, None, logits.device)
    alpha, weight = torch.rand(classes, dtype=torch.float64), torch.rand(2, 1, 4, 5)
    want = "count intersection loss prediction tp"
    return (
        logits,
        target,
        weight,
        rates,
        alpha,
        torch.tensor(0.1),
        activation,
        "focal",
        want,
        255,
        joined,
        "eager",
    )


# the check itself reads .grad of tensors that are no leaves
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("name", ["pixel_sums", "pixel_map"])
def test_the_operators_pass_torchs_own_check(name, joined, activation):
    torch.library.opcheck(getattr(torch.ops.segfocal, name).default, arguments(activation, joined=joined))


def focal_and_dice(logits, target, **options):
    """A loss with a pixel and a region part."""
    sums = pixel_sums(logits, target, activation="softmax", want=WANT, gamma=2.0, **options)
    dice = 1 - (2 * sums.intersection + 1) / (sums.prediction + sums.target + 1)
    return sums.loss.sum() / target.numel() + dice.mean()


def test_no_graph_break_and_the_same_result_under_compile():
    logits, target = torch.randn(2, 4, 6, 6, requires_grad=True), torch.randint(0, 4, (2, 6, 6))
    compiled = torch.compile(focal_and_dice, fullgraph=True, backend="aot_eager")
    found, expected = compiled(logits, target), focal_and_dice(logits, target)
    assert_close(found, expected)
    assert_close(*(torch.autograd.grad(value, logits)[0] for value in (found, expected)))


def test_export_keeps_the_operator_whole():
    class Loss(torch.nn.Module):
        def forward(self, logits, target):
            return focal_and_dice(logits, target)

    logits, target = torch.randn(2, 4, 6, 6), torch.randint(0, 4, (2, 6, 6))
    program = torch.export.export(Loss(), (logits, target))
    assert any("segfocal.pixel_sums" in str(node.target) for node in program.graph.nodes)
    assert_close(program.module()(logits, target), focal_and_dice(logits, target))


def test_autocast_does_not_touch_the_precision():
    logits, target = torch.randn(2, 4, 6, 6, requires_grad=True), torch.randint(0, 4, (2, 6, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = focal_and_dice(logits, target)
    assert torch.equal(found, focal_and_dice(logits, target))
    assert torch.autograd.grad(found, logits)[0].dtype == torch.float32


def test_a_retained_graph_gives_the_same_gradient_twice():
    logits, target = torch.randn(2, 4, 6, requires_grad=True), torch.randint(0, 4, (2, 6))
    loss = focal_and_dice(logits, target)
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "function", [focal_and_dice, lambda x, t: pixel_map(x, t, activation="softmax").sum()]
)
def test_a_second_derivative_is_refused(function):
    logits, target = torch.randn(2, 4, 6, requires_grad=True), torch.randint(0, 4, (2, 6))
    (grad,) = torch.autograd.grad(function(logits, target), logits, create_graph=True)
    with pytest.raises(SegfocalError, match="cannot be differentiated again"):
        torch.autograd.grad(grad.sum(), logits)


@pytest.mark.parametrize("name", ["target", "weight", "gamma", "alpha"])
def test_nothing_but_the_logits_may_require_grad(name):
    tensors = {
        "target": torch.rand(2, 3, 4),
        "weight": torch.rand(2, 4),
        "gamma": torch.tensor(2.0),
        "alpha": torch.rand(3),
    }
    tensors[name].requires_grad_()
    with pytest.raises(SegfocalError, match=rf"{name} requires a gradient.*{name}\.detach"):
        pixel_sums(torch.randn(2, 3, 4), activation="softmax", want=["loss"], **tensors)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nothing_of_the_size_of_the_logits_is_kept_for_the_gradient(activation, smoothing):
    logits, target = torch.randn(2, 4, 32, 32, requires_grad=True), torch.randint(0, 4, (2, 32, 32))
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        sums = pixel_sums(
            logits,
            target,
            activation=activation,
            want=["loss", "prediction"],
            gamma=2.0,
            label_smoothing=smoothing,
        )
        (sums.loss.sum() + sums.prediction.sum()).backward()
    large = [tensor for tensor in kept if tensor.numel() >= target.numel()]
    assert {tensor.data_ptr() for tensor in large} == {logits.data_ptr(), target.data_ptr()}


@pytest.mark.parametrize("shape", [(3, 2, 700, 600), (2, 5, 300_000), (5000, 90), (1, 70, 16, 16, 20)])
def test_blocks_cover_every_pixel_once(shape):
    logits = torch.zeros(shape)
    for span in eager.spans(logits):
        eager.cut(logits, span, True).add_(1)
        assert eager.cut(logits, span, True).numel() <= eager.BLOCK_CPU
    assert logits.min() == logits.max() == 1


def test_blocks_do_not_change_the_result(monkeypatch):
    logits, target = torch.randn(3, 4, 9, 7, requires_grad=True), torch.randint(0, 4, (3, 9, 7))
    whole = focal_and_dice(logits, target, weight=torch.ones(3, 9, 7))
    (grad,) = torch.autograd.grad(whole, logits)
    monkeypatch.setattr(eager, "BLOCK_CPU", 60)
    assert len(list(eager.spans(logits))) > 3
    parts = focal_and_dice(logits, target, weight=torch.ones(3, 9, 7))
    assert_close(parts, whole)
    assert_close(torch.autograd.grad(parts, logits)[0], grad)
