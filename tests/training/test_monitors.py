"""What a monitored score sees is said before training, and a score of nothing decides nothing."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from pytorch_lightning.callbacks import EarlyStopping

from segfocal.__main__ import main
from segfocal.runs import read_info
from segfocal.training.checkpoints import RunCheckpoints
from segfocal.training.monitors import ScoreEarlyStopping, passes_nan

CONFIG = """\
model:
  network: {{class_path: segfocal.models.SmallUNet, init_args: {{in_channels: 1, num_classes: {channels}, channels: [4, 8]}}}}
  loss: {{class_path: segfocal.losses.FocalLoss, init_args: {{task: {task}, ignore_index: 255}}}}
data:
  class_path: segfocal.data.FolderData
  init_args: {{root: {root}, task: {task}, class_names: {names}, batch_size: 2, patch_size: 16, patches_per_epoch: 4,
    preprocess: {{in_channels: 1}}}}
trainer: {{max_steps: 6, accelerator: cpu}}
"""  # noqa: E501


@pytest.fixture
def folder(tmp_path):
    """Return what writes pictures of squares, by split the classes of each picture, and a configuration."""

    def write(task="binary", names=("foreground",), **splits):
        rng = np.random.default_rng(0)
        for split, pictures in splits.items():
            for kind in ("images", "masks"):
                (tmp_path / "set" / split / kind).mkdir(parents=True)
            for number, classes in enumerate(pictures):
                mask = np.zeros((24, 24), np.uint8)
                for label in classes:
                    mask[2:8, 6 * (label - 1) + 1 : 6 * (label - 1) + 5] = label
                image = (rng.normal(60, 9, mask.shape) + 40 * mask).clip(0, 255).astype(np.uint8)
                name = f"{split}_{number}.png"
                Image.fromarray(image).save(tmp_path / "set" / split / "images" / name)
                Image.fromarray(mask).save(tmp_path / "set" / split / "masks" / name)
        file = tmp_path / "c.yaml"
        settings = {"task": task, "names": list(names), "channels": len(names)}
        text = CONFIG.format(root=tmp_path / "set", **settings)
        file.write_text(text if len(names) > 1 else text.replace("model:", "model:\n  head_prior: 0.001"))
        return ["fit", "--config", str(file), "--run", str(tmp_path / "run")]

    return write


# predicts background everywhere: head_prior says 1 pixel of 1000 is foreground, and nothing is learnt
RESTRAINED = ("--model.learning_rate=1e-12",)
THREE = {"task": "multiclass", "names": ("background", "a", "b", "c")}


def test_a_class_in_no_validation_image_is_named_before_training(folder, capsys):
    words = folder(**THREE, train=[[1, 2, 3]] * 2, val=[[1], [1], [3], []], test=[[1, 2]])
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "val/dice: mean over: a, b, c; without background" in lines
    said = lines.index("class b occurs in none of the 4 validation images: val/dice does not see it")
    assert said < next(place for place, line in enumerate(lines) if line.startswith("epoch"))


@pytest.mark.parametrize(
    ("monitor", "named"),
    [("val/dice", "classes a, b"), ("val/iou", "classes a, b"), ("val/dice/b", "class b")],
)
def test_a_monitor_that_sees_nothing_ends_the_run_before_it_begins(folder, tmp_path, capsys, monitor, named):
    names = ("background", "a", "b")
    val = [[], [1]] if monitor == "val/dice/b" else [[], []]
    words = folder("multiclass", names, train=[[1, 2]] * 2, val=val, test=[[1]])
    assert main([*words, "--checkpoint.monitor", monitor]) == 2
    shown = capsys.readouterr().err
    assert f"{monitor} is monitored, but {named} occur" in shown
    assert "--checkpoint.monitor val/dataset_dice" in shown
    assert not (tmp_path / "run").exists()


def test_early_stopping_is_a_monitor_too(folder, tmp_path, capsys):
    words = folder(**THREE, train=[[1, 2, 3]] * 2, val=[[1], [3]], test=[[1]])
    stop = "--trainer.callbacks=[{class_path: EarlyStopping, init_args: {monitor: val/dice/b, mode: max}}]"
    assert main([*words, stop]) == 2
    assert "val/dice/b is monitored, but class b occurs in none of the 2" in capsys.readouterr().err


def test_without_a_background_every_class_is_watched(folder, capsys):
    words = folder("multiclass", ("road", "sky"), train=[[1]] * 2, val=[[], []], test=[[1]])
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "val/dice: mean over: road, sky\n" in shown
    assert "class sky occurs in none of the 2 validation images: val/dice does not see it" in shown


def test_scores_of_nothing_neither_stop_nor_count(folder, tmp_path, capsys):
    """No validation image has foreground: the way out trains to the end, early stopping or not."""
    words = folder(train=[[1]] * 4, val=[[], []], test=[[], []])
    stop = "{class_path: EarlyStopping, init_args: {monitor: val/dataset_dice, patience: 1, mode: max}}"
    monitor = ["--checkpoint.monitor", "val/dataset_dice", f"--trainer.callbacks=[{stop}]"]
    assert main([*words, *monitor, *RESTRAINED]) == 0
    info = read_info(tmp_path / "run")
    assert info["checkpoints"]["last"]["step"] == 6
    assert "score" not in info["checkpoints"]["best"]
    assert "val/dataset_dice was nan at every validation" in capsys.readouterr().out
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
    table = capsys.readouterr().out
    assert "1.0000" not in table
    assert "nan" not in table
    cases = pl.read_parquet(tmp_path / "run/cases.parquet").filter(pl.col("stage") == "test")
    assert cases["dice"].null_count() == cases["hd95"].null_count() == cases.height


def test_early_stopping_waits_through_nan_and_keeps_its_count():
    given = EarlyStopping("val/dice", mode="max", patience=2)
    stop = passes_nan(given)
    assert isinstance(stop, ScoreEarlyStopping)
    assert stop.state_key == given.state_key
    scores = [0.5, 0.4, math.nan, math.nan, 0.3]
    assert [stop._evaluate_stopping_criteria(torch.tensor(score))[0] for score in scores] == [False] * 4 + [
        True
    ]
    assert passes_nan(EarlyStopping("val/loss")).__class__ is EarlyStopping  # a loss of nan does stop


def test_of_equal_scores_the_later_weights_are_kept(folder, tmp_path):
    words = folder(train=[[1]] * 4, val=[[1], [1]], test=[[1]])
    assert main([*words, *RESTRAINED]) == 0
    best = read_info(tmp_path / "run")["checkpoints"]["best"]
    assert (best["score"], best["step"]) == (0.0, 6)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_nan_is_never_better(mode):
    keeper = RunCheckpoints(mode=mode)
    assert not keeper._improves(math.nan)
    keeper.best_score = 0.5
    assert not keeper._improves(math.nan)
    assert keeper._improves(0.5)
    assert keeper._improves(0.6) is (mode == "max")


def test_lightning_still_asks_where_we_answer():
    """The hook that lets nan pass is one that Lightning calls."""
    assert "_evaluate_stopping_criteria" in EarlyStopping._run_early_stopping_check.__code__.co_names


def test_a_class_in_no_test_image_has_a_dash(folder, tmp_path, capsys):
    words = folder(**THREE, train=[[1, 2, 3]] * 2, val=[[1, 2, 3]], test=[[1], [1, 3]])
    assert main(words) == 0
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert 'in none of the test images: b; "-" where nothing can be scored' in shown
    assert "mean over: a, b, c; without background (nor has it distances" in shown
    row = next(line for line in shown.splitlines() if line.startswith("│ b "))
    assert [cell.strip() for cell in row.split("│")][3] == "-"
    assert "b - / -" in next(line for line in shown.splitlines() if line.startswith("HD95"))
    log = pl.read_csv(tmp_path / "run/metrics.csv").filter(pl.col("name").str.starts_with("test/"))
    values = dict(zip(log["name"], log["value"].cast(pl.Float64), strict=True))
    assert values["test/dice"] == pytest.approx((values["test/dice/a"] + values["test/dice/c"]) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "said"),
    [("other", "auto takes class 0, 'other', by its name"), ("road", "auto found none, as class 0, 'road'")],
)
def test_what_auto_takes_for_the_background_is_said(folder, tmp_path, capsys, first, said):
    words = folder("multiclass", (first, "sky"), train=[[1]] * 3, val=[[1]], test=[[1]])
    assert main(words) == 0
    assert said in capsys.readouterr().out
    for verb in ("validate", "test"):
        assert main([verb, "--run", str(tmp_path / "run")]) == 0
        assert said in capsys.readouterr().out
    assert main([*words[:-1], str(tmp_path / "chosen"), "--data.init_args.background", "null"]) == 0
    shown = capsys.readouterr().out
    assert "background: auto" not in shown
    assert f"mean over: {first}, sky\n" in shown


def test_scores_are_in_the_precision_of_predict(folder, tmp_path, capsys):
    """Trained in bf16, where scores have three digits: counts are those of the masks that are written."""
    words = folder("multiclass", ("background", "a"), train=[[1]] * 3, val=[[1]], test=[[1], [1, 1], []])
    assert main([*words, "--trainer.precision", "bf16-mixed", "--model.learning_rate", "0.03"]) == 0
    run, out, images = str(tmp_path / "run"), tmp_path / "out", str(tmp_path / "set/test/images")
    assert main(["test", "--run", run]) == 0
    assert "scored in float32, as `predict` computes (trained in bf16-mixed)" in capsys.readouterr().out
    assert main(["predict", "--run", run, "--images", images, "--out", str(out), "--overlay"]) == 0
    assert "overlays leave class 0 (background) without a colour" in capsys.readouterr().out
    rows = pl.read_parquet(tmp_path / "run/cases.parquet").filter(stage="test", class_index=1)
    for row in rows.iter_rows(named=True):
        mask = np.asarray(Image.open(out / "masks" / f"{row['name']}.png")) == 1
        known = np.asarray(Image.open(tmp_path / "set/test/masks" / f"{row['name']}.png")) == 1
        counts = (int((mask & known).sum()), int((mask & ~known).sum()), int((known & ~mask).sum()))
        assert (row["tp"], row["fp"], row["fn"]) == counts
    assert rows["tp"].sum() + rows["fp"].sum() > 0
    assert main(["test", "--run", run, "--trainer.precision", "bf16-mixed"]) == 0
    assert "scored in bf16-mixed; `predict` computes in float32" in capsys.readouterr().out


def test_test_images_without_a_label_that_counts(folder, tmp_path, capsys):
    words = folder(train=[[1]] * 3, val=[[1]], test=[[], [1]])
    for path in (tmp_path / "set/test/masks").iterdir():
        Image.fromarray(np.full((24, 24), 255, np.uint8)).save(path)
    assert main([*words, "--data.init_args.ignore_values", "[255]"]) == 0
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "no pixel of the test images has a label that counts; see `segfocal validate --run" in shown
    assert "nan" not in shown


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_what_is_too_small_for_the_network_is_in_the_files(folder, tmp_path, capsys, scale):
    """Two single pixels are gone at a quarter of the size, but scores are of the files."""
    words = folder(train=[[1]] * 3, val=[[]], test=[[1]])
    mask = np.zeros((24, 24), np.uint8)
    mask[9, 10] = mask[17, 3] = 1
    Image.fromarray(mask).save(tmp_path / "set/val/masks/val_0.png")
    size = ["--data.init_args.preprocess.scale", f"{scale}", "--data.init_args.patch_size", "8"]
    assert main([*words, *size, *RESTRAINED]) == 0
    assert "does not see" not in capsys.readouterr().out
    rows = pl.read_parquet(tmp_path / "run/cases.parquet")
    assert (rows["tp"] + rows["fn"]).to_list() == [2] * rows.height


def test_another_policy_for_empty_masks_is_said(folder, tmp_path, capsys):
    words = folder(train=[[1]] * 3, val=[[1]], test=[[1], []])
    for policy in ("nan", "one"):
        run = str(tmp_path / "runs" / policy)
        assert main([*words[:-1], run, "--model.empty", policy]) == 0
        assert main(["test", "--run", run]) == 0
        said = "empty: one: where prediction and reference are empty, an image scores 1"
        assert (said in capsys.readouterr().out) is (policy == "one")
    assert main(["report", str(tmp_path / "runs"), "--terminal"]) == 0
    assert "1 of 2 runs are scored with empty: one, which is another Dice" in capsys.readouterr().out
