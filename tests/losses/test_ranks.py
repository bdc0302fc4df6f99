"""Losses over several ranks give value and gradient of the whole batch."""

import copy
import pickle

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from segfocal.losses import (
    ConvexFocalLoss,
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    FocalDiceLoss,
    FocalLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    LogCoshDiceLoss,
    TverskyLoss,
    UnifiedFocalLoss,
)
from segfocal.losses.ranks import Ranks
from segfocal.losses.reduction import SUMS_OF_REDUCTION

REDUCTIONS = [name for name in SUMS_OF_REDUCTION if name != "none"]


def losses(task):
    """Every loss that the task has, with every reduction and both kinds of region."""
    alpha = 0.3 if task != "multiclass" else [0.5, 1.0, 2.0]
    found = [FocalLoss(task, 2.0, alpha, reduction=name, ignore_index=255) for name in REDUCTIONS]
    found += [FocalLoss(task, 1.5, label_smoothing=0.1, ignore_index=255)]
    for per_image in (False, True):
        same = {"per_image": per_image, "ignore_index": 255}
        found += [DiceLoss(task, absent=absent, squared=True, **same) for absent in ("include", "skip")]
        found += [JaccardLoss(task, **same), TverskyLoss(task, 0.3, 0.7, **same)]
        found += [FocalTverskyLoss(task, **same), GeneralizedDiceLoss(task, **same)]
        found += [LogCoshDiceLoss(task, **same), FocalDiceLoss(task, **same)]
        if task != "multilabel":
            found += [UnifiedFocalLoss(task, symmetric=s, **same) for s in (True, False)]
    if task == "binary":
        found.append(ConvexFocalLoss(task, ignore_index=255))
    both = FocalLoss(task, 2.0, ignore_index=255) + 0.5 * CrossEntropyLoss(task, ignore_index=255)
    return [*found, both + DiceLoss(task, per_image=True, ignore_index=255)]


def batch(task):
    """Six images, the last without a label; ranks hold unequal parts, one of three just that image."""
    torch.manual_seed(0)
    channels = {"binary": 1, "multilabel": 2, "multiclass": 3}[task]
    shape = (6, channels, 8, 8) if task == "multilabel" else (6, 8, 8)
    target = torch.randint(0, 3 if task == "multiclass" else 2, shape)
    target[torch.rand(target.shape) < 0.2] = 255
    target[-1] = 255
    return 2 * torch.randn(6, channels, 8, 8, dtype=torch.float64), target


def cuts(ranks):
    return [(0, 1), (1, 6)] if ranks == 2 else [(0, 2), (2, 5), (5, 6)]


def compare(rank, ranks, folder):
    """Run every loss on this rank's images and on the whole batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
    begin, end = cuts(ranks)[rank]
    collectives = 0
    reduce_all = dist.all_reduce

    def counted(*arguments, **options):
        nonlocal collectives
        collectives += 1
        return reduce_all(*arguments, **options)

    dist.all_reduce = counted
    for task in ("binary", "multilabel", "multiclass"):
        logits, target = batch(task)
        for loss in losses(task):
            whole, own = logits.clone().requires_grad_(), logits[begin:end].clone().requires_grad_()
            expected = loss(whole, target)
            (grad,) = torch.autograd.grad(expected, whole)
            assert collectives == 0
            synced = copy.deepcopy(loss)
            synced.synchronize()
            assert repr(synced) != repr(loss)
            value = synced(own, target[begin:end])
            assert collectives == 1, repr(loss)
            (found,) = torch.autograd.grad(value, own)
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12, msg=repr(loss))
            torch.testing.assert_close(found / ranks, grad[begin:end], rtol=1e-6, atol=1e-12, msg=repr(loss))
            collectives = 0
    several_outputs(begin, end, ranks)
    alone(rank, logits, target)
    dist.destroy_process_group()


def several_outputs(begin, end, ranks):
    """Deep supervision sends everything at once."""
    logits, target = batch("binary")
    outputs = [logits, logits[..., ::2, ::2]]
    loss = DeepSupervision(FocalDiceLoss("binary", ignore_index=255, sync=True))
    expected = DeepSupervision(FocalDiceLoss("binary", ignore_index=255))(outputs, target)
    own = [output[begin:end].clone().requires_grad_() for output in outputs]
    torch.testing.assert_close(loss(own, target[begin:end]), expected)


def alone(rank, logits, target):
    """One rank may evaluate by itself."""
    loss = FocalLoss("multiclass", ignore_index=255, sync=True)
    if rank == 0:
        with torch.no_grad():
            assert loss(logits, target).isfinite()
        assert loss.eval()(logits.requires_grad_(), target).isfinite()


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_loss_over_ranks_is_that_of_the_whole_batch(ranks, tmp_path):
    mp.spawn(compare, (ranks, str(tmp_path)), nprocs=ranks)


def test_without_a_process_group_sync_changes_nothing():
    logits, target = batch("binary")
    logits.requires_grad_()
    one = FocalDiceLoss("binary", ignore_index=255, sync=True)
    assert torch.equal(one(logits, target), FocalDiceLoss("binary", ignore_index=255)(logits, target))


def test_sums_synchronise_where_a_term_does():
    loss = FocalLoss("binary", sync=True) + DiceLoss("binary")
    assert loss.sync
    loss.synchronize(False)
    assert not loss.sync
    assert not any(term.sync for term in loss.terms)
    assert DeepSupervision(DiceLoss("binary", sync=True)).sync


def test_a_group_is_shared_by_copies_and_forgotten_by_pickles():
    loss = DiceLoss("binary")
    group = object()
    loss.synchronize(process_group=group)
    assert copy.deepcopy(loss).ranks.group is group
    assert pickle.loads(pickle.dumps(loss)).ranks.group is None
    assert not Ranks().several()
