"""One step for every task and number of axes, and what a task settles with its data."""

import io

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss, DeepSupervision, DiceLoss, FocalLoss
from segfocal.models import SmallUNet
from segfocal.runs.scores import dice
from segfocal.training.phases.settings import Phase
from segfocal.training.quiet import quiet_lightning
from segfocal.training.task import SegmentationTask

CLASSES = {"binary": 1, "multiclass": 3, "multilabel": 2}


def trainer(**settings):
    defaults = {"max_steps": 4, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    defaults |= {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    return pl.Trainer(**(defaults | settings))


def make(kind, loss=None, network=None, **settings):
    network = network or SmallUNet(1, CLASSES[kind], channels=(4, 8))
    loss = loss or FocalLoss(kind, ignore_index=255) + 0.5 * DiceLoss(kind, ignore_index=255)
    return SegmentationTask(network, loss, **settings)


def fit(model, data, **settings):
    with quiet_lightning():
        runner = trainer(**settings)
        runner.fit(model, datamodule=data)
    return runner


@pytest.mark.parametrize("task", CLASSES)
def test_fit_logs_loss_parts_and_scores(task, memory_data):
    torch.manual_seed(0)
    logged = fit(make(task), memory_data(task=task)).callback_metrics
    assert {"train/loss", "train/loss/FocalLoss", "train/loss/DiceLoss", "train/dataset_dice"} <= set(logged)
    assert {"val/loss", "val/dice", "val/iou", "val/dataset_dice"} <= set(logged)
    whole = logged["train/loss/FocalLoss"] + 0.5 * logged["train/loss/DiceLoss"]
    assert_close(logged["train/loss"].double(), whole.double(), atol=1e-6, rtol=1e-5)


def test_fit_takes_three_axes_and_foreign_data(volume_data):
    torch.manual_seed(0)
    network = SmallUNet(1, 1, channels=(4, 8), spatial_dims=3)
    runner = fit(make("binary", FocalLoss("binary"), network), volume_data())
    assert runner.global_step == 4
    assert 0 <= float(runner.callback_metrics["val/dice"]) <= 1


def test_fit_takes_a_foreign_loss(memory_data):
    class Foreign(nn.Module):
        def forward(self, logits, target):
            return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], (target == 1).float())

    logged = fit(make("binary", Foreign()), memory_data()).callback_metrics
    assert {"train/loss", "train/dataset_dice"} <= set(logged)


def test_fit_takes_deep_supervision(memory_data):
    class TwoOutputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = SmallUNet(1, 1, channels=(4, 8))

        def forward(self, images):
            logits = self.inner(images)
            return [logits, logits[..., ::2, ::2]] if self.training else logits

    loss = DeepSupervision(FocalLoss("binary", ignore_index=255))
    assert fit(make("binary", loss, TwoOutputs()), memory_data()).global_step == 4


@pytest.mark.parametrize("task", CLASSES)
def test_validation_scores_equal_those_of_whole_images(task, memory_data):
    """Whole images of three odd sizes, network of multiple 4: padded, cropped, scored one by one."""
    torch.manual_seed(1)
    model, data = make(task), memory_data(task=task)
    with quiet_lightning():
        found = trainer().validate(model, datamodule=data, verbose=False)[0]
    scores = []
    model.eval()
    for batch in data.val_dataloader():
        image, mask = batch["image"], batch["mask"][0].numpy()
        height, width = image.shape[2:]
        padded = nn.functional.pad(image, (0, -width % 4, 0, -height % 4), mode="replicate")
        with torch.no_grad():
            logits = model.network(padded)[0, :, :height, :width]
        masks = logits > 0 if task != "multiclass" else logits.argmax(0) == torch.arange(3)[:, None, None]
        truth = (
            mask == np.arange(3)[:, None, None] if task == "multiclass" else mask.reshape(masks.shape) == 1
        )
        predicted = masks.numpy()
        tp = (predicted & truth).sum((1, 2))
        scores.append(dice(tp, (predicted & ~truth).sum((1, 2)), (~predicted & truth).sum((1, 2))))
    scores = np.asarray(scores)[:, 1 if task == "multiclass" else 0 :]  # means leave out the background
    assert found["val/dice"] == pytest.approx(np.nanmean(scores, axis=0).mean(), abs=1e-6)


def test_balanced_alpha_comes_from_the_training_split_alone(memory_data):
    data = memory_data()
    data.source = lambda split, original=data.source: original(split)
    model = make("binary", FocalLoss("binary", alpha="balanced", ignore_index=255))
    model.prepare(data, "fit")
    negatives, positives = data.class_counts()[0]
    assert float(model.loss.settings()["alpha"]) == pytest.approx(negatives / (negatives + positives))


def test_scoring_never_counts_training_labels(memory_data):
    data = memory_data()
    data.class_counts = lambda: pytest.fail("class_counts was read")
    make("binary").prepare(data, "test")


def test_checkpoint_brings_the_balanced_alpha(memory_data, tmp_path):
    model = make("binary", FocalLoss("binary", alpha="balanced", ignore_index=255))
    runner = fit(model, memory_data())
    runner.save_checkpoint(tmp_path / "a.ckpt")
    fresh = make("binary", FocalLoss("binary", alpha="balanced", ignore_index=255))
    with quiet_lightning():
        trainer().test(fresh, datamodule=memory_data(), ckpt_path=str(tmp_path / "a.ckpt"), verbose=False)
    assert fresh.loss.settings()["alpha"] == model.loss.settings()["alpha"]


def test_checkpoints_load_without_executing_anything(memory_data, tmp_path):
    runner = fit(make("binary"), memory_data())
    runner.save_checkpoint(tmp_path / "a.ckpt")
    loaded = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert loaded["hyper_parameters"]["loss"]["class_path"].endswith("CompoundLoss")
    assert loaded["hyper_parameters"]["learning_rate"] == 1e-3


def test_measured_prior_starts_at_the_foreground_frequency(memory_data):
    model, data = make("binary", head_prior="measured"), memory_data()
    model.prepare(data, "fit")
    negatives, positives = data.class_counts()[0]
    bias = model.network.head.bias.item()
    assert torch.sigmoid(torch.tensor(bias)).item() == pytest.approx(
        positives / (negatives + positives), rel=1e-5
    )


def test_averaged_weights_see_prior_and_alpha(memory_data):
    """The callback copies the task before Lightning's setup hook; prepare comes first."""
    loss = FocalLoss("binary", alpha="balanced", ignore_index=255)
    model, data = make("binary", loss, head_prior="measured"), memory_data()
    model.prepare(data, "fit")
    fit(model, data, callbacks=[EMAWeightAveraging(decay=0.5)])
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_thresholds_are_chosen_on_validation(memory_data):
    model = make("multilabel")
    fit(model, memory_data(task="multilabel"))
    assert len(model.thresholds) == 2
    assert all(0 < threshold < 1 for threshold in model.thresholds)


def test_multiclass_has_no_threshold(memory_data):
    model = make("multiclass")
    fit(model, memory_data(task="multiclass"))
    assert model.thresholds is None


def test_channels_last_and_accumulation(memory_data):
    runner = fit(make("binary", channels_last=True), memory_data(), accumulate_grad_batches=2, max_steps=2)
    assert runner.global_step == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make("multiclass"), "model.loss is set to task 'multiclass', but the data are 'binary'"),
        (lambda: make("binary", task="multilabel"), "model.task is set to task 'multilabel'"),
        (lambda: make("binary", FocalLoss("binary")), "ignore_index=None, but the data mark .* with 255"),
        (lambda: make("binary", network=nn.Conv2d(1, 4, 1)), "makes 4 logit channels, but the data have 1"),
        (lambda: make("binary", head_prior="mesured"), "head_prior must be 'measured'"),
        (lambda: make("binary", schedule="cosin"), "Did you mean 'cosine'"),
    ],
)
def test_contradictions_are_named(build, message, memory_data):
    with pytest.raises(SegfocalError, match=message):
        build().prepare(memory_data(), "fit")


def test_nan_loss_stops_with_batch_and_files(memory_data):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = SmallUNet(1, 1, channels=(4, 8)), 0

        def forward(self, images):
            self.calls += self.training
            return self.inner(images) * (float("nan") if self.calls == 2 else 1.0)

    with pytest.raises(SegfocalError, match=r"became nan at epoch 0, batch 1 \(files 'train_"):
        fit(make("binary", network=Broken()), memory_data())


def test_loaders_instead_of_a_data_module_are_refused(memory_data):
    loader = memory_data().train_dataloader()
    with quiet_lightning(), pytest.raises(SegfocalError, match="needs a data module"):
        trainer().fit(make("binary"), loader)


def test_loss_falls_on_one_batch(memory_data):
    torch.manual_seed(0)
    model, data = (
        make("binary", CrossEntropyLoss("binary", ignore_index=255), learning_rate=0.01),
        memory_data(),
    )
    model.prepare(data, "fit")
    batch = next(iter(data.train_dataloader()))
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = model.loss(model.network(batch["image"]), batch["mask"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_state_dict_holds_the_network_alone(memory_data):
    model = make("binary", FocalLoss("binary", alpha=0.25, ignore_index=255))
    fit(model, memory_data())
    assert all(name.startswith("network.") for name in model.state_dict())
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.1, 0.0])
@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "momentum"])
def test_rates_that_no_training_can_use_are_refused(name, value):
    if value == 0.0 and name != "learning_rate":
        return  # no decay, no momentum
    with pytest.raises(SegfocalError, match=f"model.{name} must"):
        make("binary", **{name: value})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.1])
def test_rates_of_phases_are_finite(value):
    with pytest.raises(SegfocalError, match="learning_rate must"):
        Phase(name="all", max_steps=1, learning_rate=value)
