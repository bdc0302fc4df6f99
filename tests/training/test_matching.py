"""Gradient matching: equal norms at the logits, whatever the loss."""

import logging

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss, DeepSupervision, DiceLoss, FocalLoss
from segfocal.training.matching import GradientMatch, matching_factor, reference_loss

CHANNELS = {"binary": 1, "multiclass": 3, "multilabel": 3}


def batch(task, size=(6, 5)):
    generator = torch.Generator().manual_seed(4)
    logits = 2 * torch.randn(2, CHANNELS[task], *size, dtype=torch.float64, generator=generator)
    shape = (2, 3, *size) if task == "multilabel" else (2, *size)
    target = torch.randint(0, 2 if task != "multiclass" else 3, shape, generator=generator)
    target[0, ..., 0] = 255
    return logits, target


def gradient(loss, logits, target):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, target), leaf)[0]


def torch_gradient(task, logits, target):
    """Plain cross-entropy of torch: the mean over what is not ignored."""
    if task == "multiclass":
        return gradient(lambda x, t: nn.functional.cross_entropy(x, t, ignore_index=255), logits, target)
    masks = target if task == "multilabel" else target.unsqueeze(1)
    kept = masks != 255
    return gradient(
        lambda x, t: nn.functional.binary_cross_entropy_with_logits(x[kept], t[kept].double()), logits, masks
    )


@pytest.mark.parametrize("task", CHANNELS)
@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_rescaled_gradient_has_the_norm_of_cross_entropy(task, gamma):
    logits, target = batch(task)
    loss = FocalLoss(task, gamma=gamma, ignore_index=255) + 0.5 * DiceLoss(task, ignore_index=255)
    match = GradientMatch("cross_entropy")
    factor = match.factor(loss, logits, target, task=task, ignore_index=255)
    found = (factor * gradient(loss, logits, target)).norm()
    assert found.item() == pytest.approx(torch_gradient(task, logits, target).norm().item(), rel=1e-10)


def test_cross_entropy_itself_stays():
    logits, target = batch("multiclass")
    loss = CrossEntropyLoss("multiclass", ignore_index=255)
    assert matching_factor(loss, loss, logits, target).item() == 1.0


def test_foreign_losses_are_matched():
    logits, target = batch("binary")
    target[target == 255] = 0

    class Foreign(nn.Module):
        def forward(self, logits, target):
            return 7 * nn.functional.binary_cross_entropy_with_logits(logits[:, 0], target.double())

    factor = GradientMatch("cross_entropy").factor(
        Foreign(), logits, target, task="binary", ignore_index=None
    )
    assert factor.item() == pytest.approx(1 / 7, rel=1e-10)


def test_first_output_of_several_is_matched():
    logits, target = batch("multiclass")
    outputs = [logits, logits[..., ::2, ::2]]
    loss = DeepSupervision(FocalLoss("multiclass", ignore_index=255), weights=[0.7, 0.4])
    factor = matching_factor(loss, reference_loss(loss, task="multiclass", ignore_index=255), outputs, target)
    alone = gradient(lambda x, t: loss([x, outputs[1]], t), logits, target)
    wanted = 0.7 * torch_gradient("multiclass", logits, target)
    assert (factor * alone).norm().item() == pytest.approx(wanted.norm().item(), rel=1e-10)


def test_lists_without_deep_supervision_are_refused():
    logits, target = batch("binary")
    with pytest.raises(SegfocalError, match=r"got a list of 2 outputs and FocalLoss. Wrap the loss"):
        matching_factor(FocalLoss("binary"), CrossEntropyLoss("binary"), [logits, logits], target)


def test_half_precision_is_measured_in_single():
    """A mean over many pixels has gradients that float16 would round to 0."""
    logits = torch.full((1, 1, 256, 256), 6.0, dtype=torch.float16)
    target = torch.ones(1, 256, 256, dtype=torch.uint8)
    loss, reference = FocalLoss("binary"), CrossEntropyLoss("binary")
    assert float(gradient(loss, logits, target).abs().max()) == 0
    factor = matching_factor(loss, reference, logits, target)
    assert_close(factor, matching_factor(loss, reference, logits.double(), target), rtol=5e-5, atol=0)


def test_a_loss_without_gradient_stays():
    logits, target = batch("binary")
    loss = CrossEntropyLoss("binary", ignore_index=255)
    assert matching_factor(loss, loss, logits, torch.full_like(target, 255)).item() == 1.0


@pytest.mark.parametrize(
    ("kind", "rank", "said"), [("AdamW", 0, True), ("AdamW", 1, False), ("SGD", 0, False)]
)
def test_adaptive_optimizers_are_told(kind, rank, said, caplog):
    optimizer = getattr(torch.optim, kind)([nn.Parameter(torch.zeros(1))], lr=0.1)
    with caplog.at_level(logging.WARNING):
        GradientMatch("cross_entropy").announce(optimizer, rank=rank)
        GradientMatch(None).announce(optimizer, rank=rank)
    assert [record.getMessage()[:51] for record in caplog.records] == (
        ["model.match_gradient means something beside SGD onl"] if said else []
    )
