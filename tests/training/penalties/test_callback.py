"""Penalties in a training: added once per step, logged apart, kept by checkpoints."""

import copy

import pytest
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import FocalLoss
from segfocal.models import Dropout, SmallUNet
from segfocal.training.penalties import L1, L2, L2SP, ConfidencePenalty
from segfocal.training.penalties.callback import Penalties
from segfocal.training.quiet import quiet_lightning
from segfocal.training.task import SegmentationTask

SETTINGS = {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "constant", "weight_decay": 0.0}


def make(penalties, **settings):
    torch.manual_seed(0)
    network = SmallUNet(1, 1, channels=(4, 8))
    loss = FocalLoss("binary", ignore_index=255)
    return SegmentationTask(network, loss, penalties=penalties, **(SETTINGS | settings))


def fit(model, data, **settings):
    defaults = {"max_steps": 4, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    defaults |= {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    with quiet_lightning():
        trainer = lightning.Trainer(**(defaults | {"limit_val_batches": 0} | settings))
        trainer.fit(model, datamodule=data)
    return trainer


def trained_by_hand(penalty, data, *, accumulate, clip):
    """The same training as a bare loop whose loss has the penalty in it, added by autograd."""
    model = make([])
    start = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    model.prepare(data, "fit")
    chosen = [(name, p) for name, p in model.network.named_parameters() if p.ndim > 1]
    optimizer = torch.optim.SGD(model.network.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    data.setup("fit")
    for index, batch in enumerate(data.train_dataloader()):
        (model.loss(model.network(batch["image"]), batch["mask"]) / accumulate).backward()
        if (index + 1) % accumulate == 0:
            penalty(chosen, start).backward()
            nn.utils.clip_grad_norm_(model.network.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return model.network


@pytest.mark.parametrize(
    ("penalty", "formula"),
    [
        (L2(0.3), lambda chosen, start: sum(0.15 * p.square().sum() for _, p in chosen)),
        (L1(0.02, proximal=False), lambda chosen, start: sum(0.02 * p.abs().sum() for _, p in chosen)),
        (
            L2SP(0.3, 0.1),
            lambda chosen, start: sum(0.15 * (p - start[name]).square().sum() for name, p in chosen),
        ),
    ],
)
def test_accumulated_and_clipped_steps_are_those_of_a_bare_loop(penalty, formula, memory_data):
    expected = trained_by_hand(formula, memory_data(), accumulate=2, clip=0.1)
    model = make([penalty])
    fit(model, memory_data(), max_steps=2, accumulate_grad_batches=2, gradient_clip_val=0.1)
    for (name, found), wanted in zip(model.network.named_parameters(), expected.parameters(), strict=True):
        assert_close(found, wanted, msg=name)


def test_confidence_penalty_is_in_the_loss_but_logged_apart(memory_data):
    plain = fit(make([]), memory_data(), max_steps=1).callback_metrics
    model = make([ConfidencePenalty(0.5)])
    logged = fit(model, memory_data(), max_steps=1).callback_metrics
    assert logged["train/loss"] == plain["train/loss"]
    assert -0.5 * 0.6932 <= logged["penalty/ConfidencePenalty"] < -0.1
    assert not torch.equal(*(m.network.head.weight for m in (model, make([]))))


def test_proximal_l1_leaves_exact_zeros(memory_data):
    model = make([L1(0.05)], learning_rate=0.1, momentum=0.0)
    logged = fit(model, memory_data(), max_steps=8, max_epochs=None).callback_metrics
    weights = [p for p in model.network.parameters() if p.ndim > 1]
    share = sum(int((p == 0).sum()) for p in weights) / sum(p.numel() for p in weights)
    assert 0.2 < logged["penalty/L1/sparsity"] < share
    assert all((p != 0).any() for p in model.network.parameters() if p.ndim == 1 and p.abs().max() > 0)


def test_norms_and_distances_are_logged_per_block(memory_data):
    model = make([L2(0.1)])
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    model.penalties.start_from(model.network, new=["head.weight"])
    with torch.no_grad():
        model.network.stem.weight += 1.0
    found = model.penalties.values(model.network)
    decoder = [p for name, p in model.network.named_parameters() if name.startswith("decoder") and p.ndim > 1]
    expected = torch.cat([p.detach().flatten() for p in decoder]).norm()
    assert_close(found["norm/decoder"], expected)
    assert found["distance/start/stem"].item() == pytest.approx(before["stem.weight"].numel() ** 0.5)
    assert found["distance/start/decoder"] == 0
    assert found["distance/start/all"] == found["distance/start/stem"]
    assert "distance/start/head" not in found  # a new weight began nowhere
    matrices = [p.detach().square().sum() for p in model.network.parameters() if p.ndim > 1]
    assert_close(found["penalty/L2"], 0.05 * sum(matrices))


def test_start_outlives_several_trainings(memory_data):
    model = make([L2SP(0.1, 0.1)])
    first = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    fit(model, memory_data(), max_steps=2)
    fit(model, memory_data(), max_steps=2)  # the next phase
    assert all(torch.equal(model.penalties.start[name], value) for name, value in first.items())


def test_frozen_weights_are_left_alone(memory_data):
    model = make([L1(0.5), L2(0.5)])
    model.network.encoder.requires_grad_(False)
    before = copy.deepcopy(model.network.encoder.state_dict())
    fit(model, memory_data(), max_steps=2)
    assert all(torch.equal(value, before[name]) for name, value in model.network.encoder.named_parameters())


def test_half_precision_and_averaged_weights(memory_data):
    model = make([L1(1e-3), L2SP(0.01, 0.01), ConfidencePenalty(0.1)], optimizer="adamw")
    model.prepare(memory_data(), "fit")
    fit(model, memory_data(), precision="bf16-mixed", callbacks=[EMAWeightAveraging(decay=0.5)])
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_matched_gradients_train_and_log_the_factor(memory_data):
    model = make([], match_gradient="cross_entropy")
    logged = fit(model, memory_data(), max_steps=1).callback_metrics
    assert logged["train/gradient_factor"] > 1.5  # focal slopes are smaller
    assert logged["train/loss"] == fit(make([]), memory_data(), max_steps=1).callback_metrics["train/loss"]


def test_python_objects_leave_a_checkpoint_that_loads_safely(memory_data, tmp_path):
    model = make([L1(1e-3)], changes=[Dropout(0.1)])
    fit(model, memory_data()).save_checkpoint(tmp_path / "a.ckpt")
    stored = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["penalties"][0]["class_path"].endswith("L1")
    assert stored["hyper_parameters"]["changes"][0]["repr"] == "Dropout(0.1, where='decoder', kind='spatial')"


@pytest.mark.parametrize(
    ("penalties", "message"),
    [
        ([L2(0.1), L2(0.2)], "each kind once, got L2, L2. Add strengths up"),
        ([nn.L1Loss()], r"list of penalties such as L2\(1e-4\), got L1Loss"),
    ],
)
def test_wrong_lists_are_refused(penalties, message):
    with pytest.raises(SegfocalError, match=message):
        Penalties(penalties)


def test_unknown_new_weights_are_refused():
    model = make([L2SP(0.1, 0.1)])
    with pytest.raises(SegfocalError, match=r"parameters of the network, got heat.weight"):
        model.penalties.start_from(model.network, new=["heat.weight"])
