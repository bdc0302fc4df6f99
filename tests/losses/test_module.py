"""What a loss is as a module: many kinds of it compile in one process, and copies are whole."""

import copy
import gc
import io
import itertools
import pickle
import weakref

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.testing import assert_close

from segfocal.losses import (
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
from segfocal.losses.compat import monai

CLASSES = [
    CrossEntropyLoss("multiclass"),
    FocalDiceLoss("multiclass"),
    FocalTverskyLoss("multiclass", 0.3, 0.7),
    GeneralizedDiceLoss("multiclass"),
    JaccardLoss("multiclass"),
    LogCoshDiceLoss("multiclass"),
    UnifiedFocalLoss("multiclass"),
    DiceLoss("multiclass", per_image=True),
    TverskyLoss("multiclass", 0.3, 0.7),
    FocalLoss("multiclass") + 0.5 * DiceLoss("multiclass"),
    DeepSupervision(CrossEntropyLoss("multiclass")),
]
SETTINGS = [
    FocalLoss(task, gamma, alpha, reduction=reduction)
    for task, gamma, alpha, reduction in itertools.product(
        ("multiclass", "multilabel"),
        (1.0, [1.0, 2.0, 3.0]),
        (None, [0.2, 0.3, 0.5]),
        ("mean", "class_sum", "none"),
    )
]


def batch(task):
    torch.manual_seed(3)
    target = torch.randint(0, 3, (2, 4, 4))
    return torch.randn(2, 3, 4, 4), target if task == "multiclass" else torch.randint(0, 2, (2, 3, 4, 4))


def gradient(call, logits, target):
    leaf = logits.clone().requires_grad_()
    value = call(leaf, target).sum()
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.fixture
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("losses", [CLASSES, SETTINGS[::2]], ids=["classes", "settings"])
def test_more_kinds_of_loss_than_the_recompile_limit_compile(losses):
    assert len(losses) > torch._dynamo.config.recompile_limit
    with torch.no_grad():
        for loss in losses:
            compiled = torch.compile(copy.deepcopy(loss), fullgraph=True, backend="eager")
            logits, target = batch(loss.task)
            assert_close(compiled(logits, target), loss(logits, target))


@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
def test_thirty_five_kinds_of_loss_compile_in_one_process_with_their_gradients():
    losses = [*CLASSES, *SETTINGS]
    assert len(losses) == 35
    for loss in losses:
        compiled = torch.compile(copy.deepcopy(loss), fullgraph=True, backend="aot_eager")
        logits, target = batch(loss.task)
        assert_close(gradient(compiled, logits, target), gradient(loss, logits, target))


@pytest.mark.usefixtures("fresh")
def test_a_loss_may_be_made_inside_a_graph():
    @torch.compile(fullgraph=True, backend="eager")
    def step(logits, target):
        return DiceLoss("multiclass")(logits, target)

    logits, target = batch("multiclass")
    assert_close(step(logits, target), DiceLoss("multiclass")(logits, target))


@pytest.mark.usefixtures("fresh")
def test_one_class_of_peers_compiles_with_more_settings_than_the_limit():
    losses = [
        monai.DiceLoss(sigmoid=True, batch=batch, jaccard=jaccard, squared_pred=squared, reduction=reduction)
        for batch, jaccard, squared in itertools.product((True, False), repeat=3)
        for reduction in ("mean", "sum")
    ]
    logits, target = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 1, 4, 4)).float()
    with torch.no_grad():
        for loss in losses:
            compiled = torch.compile(loss, fullgraph=True, backend="eager")
            assert_close(compiled(logits, target), loss(logits, target))


class Task(LightningModule):
    """A user's own module around a loss."""

    def __init__(self, loss):
        super().__init__()
        self.network, self.loss = nn.Conv2d(3, 3, 1), loss

    def forward(self, images, target):
        return self.loss(self.network(images), target).mean()


@pytest.mark.usefixtures("fresh")
@torch.no_grad()
def test_losses_inside_a_module_compile_and_those_compiled_alone_are_counted_alone():
    for loss in SETTINGS[:12]:
        task = Task(copy.deepcopy(loss))
        images, target = batch(loss.task)
        expected = task(images, target)
        task.loss.compile(fullgraph=True, backend="eager")
        assert_close(task(images, target), expected)
    for loss in CLASSES[:4]:  # one piece of code of the user's: its own limit
        task = Task(copy.deepcopy(loss))
        images, target = batch(loss.task)
        compiled = torch.compile(task, fullgraph=True, backend="aot_eager")
        assert_close(compiled(images, target), task(images, target))


@pytest.mark.parametrize(
    "loss", [*CLASSES, SETTINGS[0], monai.DiceLoss(softmax=True, to_onehot_y=True)], ids=repr
)
def test_a_copy_is_a_loss_of_its_own(loss):
    logits, target = batch("multiclass")
    target = target if loss in CLASSES or loss is SETTINGS[0] else target.unsqueeze(1)
    file = io.BytesIO()
    torch.save(loss, file)
    file.seek(0)
    copies = [
        copy.copy(loss),
        copy.deepcopy(loss),
        pickle.loads(pickle.dumps(loss)),
        torch.load(file, weights_only=False),
        loss._replicate_for_data_parallel(),
    ]
    for other in copies:
        assert other.forward.__self__ is other
        assert other.forward.__code__ is not loss.forward.__code__
        assert_close(other(logits, target), loss(logits, target))


def test_a_copy_follows_its_own_gamma():
    loss = FocalLoss("multiclass", 2.0)
    other = pickle.loads(pickle.dumps(loss))
    other.set_gamma(0.0)
    logits, target = batch("multiclass")
    assert_close(other(logits, target), CrossEntropyLoss("multiclass")(logits, target))
    assert_close(loss(logits, target), FocalLoss("multiclass", 2.0)(logits, target))


def test_a_forward_of_a_class_of_ones_own_is_called():
    class Doubled(FocalLoss):
        def forward(self, logits, target, weight=None, *, factor=2.0):
            return factor * super().forward(logits, target, weight)

    class Quiet(FocalLoss):
        @torch.no_grad()
        def forward(self, logits, target, weight=None):
            return super().forward(logits, target, weight)

    logits, target = batch("multiclass")
    logits.requires_grad_()
    expected = FocalLoss("multiclass")(logits, target)
    assert_close(Doubled("multiclass")(logits, target), 2 * expected)
    assert_close(Doubled("multiclass")(logits, target, factor=3.0), 3 * expected)
    quiet = Quiet("multiclass")(logits, target)
    assert_close(quiet, expected.detach())
    assert not quiet.requires_grad


def test_a_loss_that_nobody_holds_is_freed():
    loss = FocalLoss("multiclass")
    gone = weakref.ref(loss)
    del loss
    gc.collect()
    assert gone() is None
