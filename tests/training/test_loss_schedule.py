"""gamma and alpha that move with the epochs."""

import polars as pl
import pytest
import torch

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalDiceLoss,
    FocalLoss,
    ReducedFocalLoss,
    UnifiedFocalLoss,
)
from segfocal.training.checkpoints import RunCheckpoints
from segfocal.training.loss_schedule import LossSchedule


def test_values_lie_on_lines_between_the_given_epochs():
    schedule = LossSchedule({"gamma": {10: 2.0, 0: 0.0, 12: 1.0}, "alpha": {2: [0.5, 1.0], 4: [1.0, 3.0]}})
    assert [schedule.values(epoch=e)["gamma"] for e in (0, 5, 10, 11, 99)] == [0.0, 1.0, 2.0, 1.5, 1.0]
    assert [schedule.values(epoch=e)["alpha"] for e in (0, 3, 9)] == [[0.5, 1.0], [0.75, 2.0], [1.0, 3.0]]


@pytest.mark.parametrize(
    ("loss", "same"),
    [
        (FocalDiceLoss("binary", gamma=3.0), FocalDiceLoss("binary", gamma=1.0)),
        (FocalLoss("binary", gamma=0.0, knee=0.75), FocalLoss("binary", gamma=1.0, knee=0.75)),
        (FocalLoss("multilabel", gamma=[3.0, 3.0]), FocalLoss("multilabel", gamma=[1.0, 1.0])),
        (
            FocalLoss("binary") + 0.5 * ReducedFocalLoss("binary", threshold=0.5),
            FocalLoss("binary", 1.0) + 0.5 * ReducedFocalLoss("binary", 1.0, threshold=0.5),
        ),
    ],
    ids=["compound", "knee", "per class", "two terms"],
)
def test_the_loss_is_the_one_built_with_that_gamma(loss, same):
    schedule = LossSchedule({"gamma": {0: 0.0, 10: 2.0}})
    schedule.check(loss)
    schedule.apply(loss, epoch=5)
    channels = 2 if "multilabel" in repr(loss) else 1
    logits, target = torch.randn(2, channels, 5), torch.randint(0, 2, (2, channels, 5))
    assert torch.equal(loss(logits, target), same(logits, target))
    assert repr(loss) == repr(same)


def test_nothing_is_replaced_so_that_nothing_is_compiled_anew():
    loss = FocalDiceLoss("multiclass", alpha=[1.0, 1.0, 1.0])
    before = dict(loss.named_buffers())
    schedule = LossSchedule({"gamma": {0: 1.0, 2: 3.0}, "alpha": {0: [1.0, 2.0, 3.0]}})
    schedule.apply(loss, epoch=1)
    assert all(value is before[name] for name, value in loss.named_buffers())
    focal = next(term for term in loss.modules() if isinstance(term, FocalLoss))
    assert (focal.gamma.item(), focal.alpha.tolist()) == (2.0, [1.0, 2.0, 3.0])


def test_alpha_is_scheduled_where_it_is_a_number():
    loss = CrossEntropyLoss("binary", alpha=0.5) + DiceLoss("binary")
    schedule = LossSchedule({"alpha": {0: 0.25, 2: 0.75}})
    schedule.check(loss)
    schedule.apply(loss, epoch=2)
    assert repr(loss) == repr(CrossEntropyLoss("binary", alpha=0.75) + DiceLoss("binary"))


@pytest.mark.parametrize(
    ("settings", "loss", "message"),
    [
        ({"gama": {0: 1.0}}, None, "Did you mean 'gamma'"),
        ({"gamma": {}}, None, "must map epochs"),
        ({"gamma": {-1: 1.0}}, None, "must map epochs"),
        ({"alpha": {0: 1.0, 3: [1.0, 2.0]}}, None, "equally many"),
        ({"gamma": {0: 1.0}}, DiceLoss("binary"), "loss_schedule.gamma needs a loss with gamma"),
        ({"gamma": {0: 1.0}}, CrossEntropyLoss("binary"), "needs a loss with gamma"),
        ({"gamma": {0: 1.0}}, torch.nn.MSELoss(), "needs a loss with gamma"),
        ({"alpha": {0: 0.5}}, FocalLoss("binary"), "with alpha with a number to begin with"),
        ({"gamma": {0: 1.0, 5: -1.0}}, FocalLoss("binary"), "loss_schedule.gamma: gamma"),
        ({"gamma": {0: 0.5, 5: 1.0}}, UnifiedFocalLoss("binary"), "loss_schedule.gamma: gamma"),
        ({"gamma": {0: [1.0, 2.0]}}, FocalLoss("binary"), r"numbers of shape \(\)"),
        ({"alpha": {0: 0.5}}, FocalLoss("multiclass", alpha=[1.0, 2.0]), "one weight per class"),
    ],
)  # fmt: skip
def test_what_cannot_be_scheduled_is_refused(settings, loss, message):
    with pytest.raises(SegfocalError, match=message):
        LossSchedule(settings).check(loss)


def test_runs_log_it_and_resume_in_it(config, tmp_path, monkeypatch):
    words = ["fit", "--config", str(config), "--trainer.max_epochs", "3", "--trainer.max_steps", "-1"]
    words += ["--model.loss_schedule={gamma: {0: 0.0, 2: 3.0}}", "--data.init_args.patches_per_epoch", "4"]
    assert main([*words, "--run", str(tmp_path / "whole")]) == 0
    batch_end = RunCheckpoints.on_train_batch_end

    def stop_at_three(callback, trainer, *args):
        if trainer.global_step == 3:
            callback.stop.name = "SIGINT"
        batch_end(callback, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpoints, "on_train_batch_end", stop_at_three)
        assert main([*words, "--run", str(tmp_path / "run")]) == 130
    assert main(["fit", "--resume", str(tmp_path / "run")]) == 0
    found = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "run")]
    assert found[0] == found[1]
    rows = pl.read_csv(tmp_path / "run" / "metrics.csv").filter(pl.col("name") == "train/gamma")
    assert rows["value"].to_list() == [0.0, 1.5, 3.0]
    assert main(["test", "--run", str(tmp_path / "run")]) == 0


def test_errors_come_before_anything_is_written(config, tmp_path, capsys):
    words = ["fit", "--config", str(config), "--run", str(tmp_path / "run")]
    assert main([*words, "--model.loss_schedule={alpha: {0: 0.5}}"]) == 2
    assert "loss_schedule.alpha needs a loss with alpha" in capsys.readouterr().err
    assert main([*words, "--model.loss_schedule={gamma: {first: 0.5}}"]) == 2
    assert "loss_schedule" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
