"""torch.func on the losses: gradients per sample work, forward derivatives are refused."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import DiceLoss, FocalDiceLoss, FocalLoss

LOSSES = [
    FocalLoss("multiclass", ignore_index=-100),
    FocalLoss("multiclass", reduction="class_mean"),
    DiceLoss("multiclass", per_image=True),
    FocalDiceLoss("multiclass"),
]


def batch(*space):
    torch.manual_seed(2)
    return torch.randn(4, 5, *space), torch.randint(5, (4, *space))


@pytest.mark.parametrize("space", [(), (7,), (6, 6)])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_per_sample_are_those_of_single_samples(loss, space):
    logits, target = batch(*space)

    def of_sample(x, y):
        return loss(x.unsqueeze(0), y.unsqueeze(0))

    found = torch.func.vmap(torch.func.grad(of_sample))(logits, target)
    for x, y, grad in zip(logits, target, found, strict=True):
        x = x.clone().requires_grad_()
        assert_close(grad, torch.autograd.grad(of_sample(x, y), x)[0])
    assert_close(torch.func.vmap(of_sample)(logits, target)[1], of_sample(logits[1], target[1]))


@pytest.mark.parametrize("space", [(), (7,), (6, 6)])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_gradient_may_go_through_a_map_over_samples(loss, space):
    logits, target = batch(*space)

    def mapped(x):
        return torch.func.vmap(lambda a, b: loss(a.unsqueeze(0), b.unsqueeze(0)))(x, target).pow(2).sum()

    leaf = logits.clone().requires_grad_()
    singly = torch.stack([loss(a.unsqueeze(0), b.unsqueeze(0)) for a, b in zip(leaf, target, strict=True)])
    expected = torch.autograd.grad(singly.pow(2).sum(), leaf)[0]
    assert_close(torch.func.grad(mapped)(logits), expected)
    assert_close(torch.func.jacrev(mapped)(logits), expected)
    assert_close(torch.autograd.grad(mapped(leaf), leaf)[0], expected)


def test_second_derivatives_are_refused_under_every_transform():
    logits, target = batch(6)

    def gradient(x):
        return torch.func.grad(lambda z: LOSSES[0](z, target))(x).sum()

    with pytest.raises(SegfocalError, match="cannot be differentiated again"):
        torch.func.grad(gradient)(logits)
    with pytest.raises(SegfocalError, match="no forward derivative"):
        torch.func.hessian(lambda z: LOSSES[0](z, target))(logits)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev])
def test_gradients_of_the_batch(loss, transform):
    logits, target = batch(6)
    leaf = logits.clone().requires_grad_()
    assert_close(
        transform(lambda x: loss(x, target))(logits), torch.autograd.grad(loss(leaf, target), leaf)[0]
    )


def test_a_forward_derivative_is_refused():
    logits, target = batch(6)
    with pytest.raises(SegfocalError, match=r"no forward derivative.*jacrev"):
        torch.func.jvp(lambda x: LOSSES[0](x, target), (logits,), (logits,))
    with forward_ad.dual_level(), pytest.raises(SegfocalError, match="no forward derivative"):
        LOSSES[0](forward_ad.make_dual(logits, logits), target)


def test_settings_are_not_mapped_over():
    logits, target = batch(6)

    def of_gamma(gamma):
        return torch.func.functional_call(LOSSES[1], {"gamma": gamma}, (logits, target))

    with pytest.raises(SegfocalError, match="once per setting"):
        torch.func.vmap(of_gamma)(torch.tensor([1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize("loss", [FocalLoss("binary"), FocalDiceLoss("multiclass"), DiceLoss("multiclass")])
def test_fake_tensors_have_shapes_and_no_values(loss):
    channels = 1 if loss.task == "binary" else 3
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits = torch.randn(2, channels, 8, 8, requires_grad=True)
        value = loss(logits, torch.randint(2, (2, 8, 8)))
        (gradient,) = torch.autograd.grad(value, logits)
    assert isinstance(value, FakeTensor)
    assert value.shape == ()
    assert gradient.shape == (2, channels, 8, 8)
