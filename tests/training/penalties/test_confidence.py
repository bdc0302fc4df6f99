"""The confidence penalty against torch's distributions."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.training.penalties import ConfidencePenalty
from segfocal.training.penalties.confidence import entropy


def logits_of(channels):
    return 3 * torch.randn(
        2, channels, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(channels)
    )


def test_entropy_is_that_of_torch():
    logits = logits_of(3)
    expected = Categorical(logits=logits.movedim(1, -1)).entropy()
    assert_close(entropy(logits, task="multiclass"), expected)
    assert_close(entropy(logits, task="multilabel"), Bernoulli(logits=logits).entropy())


@pytest.mark.parametrize(("task", "channels"), [("binary", 1), ("multiclass", 3), ("multilabel", 3)])
def test_ignored_pixels_count_nowhere(task, channels):
    logits = logits_of(channels)
    target = torch.zeros((2, 3, 5, 4) if task == "multilabel" else (2, 5, 4), dtype=torch.uint8)
    target[..., :2] = 255
    found = ConfidencePenalty(0.5).value(logits, target, task=task, ignore_index=255)
    assert_close(found, -0.5 * entropy(logits[..., 2:], task=task).mean())


def test_masks_of_a_softmax_ignore_the_pixel():
    logits, target = logits_of(3), torch.zeros(2, 3, 5, 4, dtype=torch.uint8)
    target[:, :, 0] = 255
    found = ConfidencePenalty(1.0).value(logits, target, task="multiclass", ignore_index=255)
    assert_close(found, -entropy(logits[:, :, 1:], task="multiclass").mean())


@pytest.mark.parametrize(("task", "channels"), [("binary", 1), ("multiclass", 3)])
def test_gradient_is_exact(task, channels):
    target = torch.zeros(2, 5, 4, dtype=torch.uint8)
    logits = logits_of(channels).requires_grad_()
    penalty = ConfidencePenalty(2.0)
    assert torch.autograd.gradcheck(
        lambda x: penalty.value(x, target, task=task, ignore_index=None), (logits,)
    )


def test_unlabelled_batches_cost_nothing():
    logits = logits_of(1).requires_grad_()
    target = torch.full((2, 5, 4), 255)
    found = ConfidencePenalty(1.0).value(logits, target, task="binary", ignore_index=255)
    found.backward()
    assert found.item() == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_saturated_half_precision_stays_finite(task):
    logits = torch.tensor([60000.0, -60000.0, 0.0], dtype=torch.float16).view(1, 3, 1).requires_grad_()
    target = torch.zeros(1, 1, dtype=torch.uint8)
    found = ConfidencePenalty(1.0).value(
        logits, target, task="multilabel" if task == "binary" else task, ignore_index=None
    )
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(logits.grad).all()


def test_negative_strength_is_refused():
    with pytest.raises(SegfocalError, match="strength must lie in"):
        ConfidencePenalty(-1)
