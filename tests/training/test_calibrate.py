"""Calibration before and after, through the commands that people type."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from fake_runs import fake_run
from torch import nn

from segfocal import load
from segfocal.__main__ import main
from segfocal.data import SyntheticData
from segfocal.losses import CrossEntropyLoss, DiceLoss, FocalLoss
from segfocal.losses.posterior import focal_posterior
from segfocal.runs import RunPaths, file_sha256, read_info
from segfocal.runs.calibration import image_likelihoods
from segfocal.runs.read import scan_calibration, scan_concentration, scan_curves, scan_metrics
from segfocal.training.concentration import note_absence
from segfocal.training.penalties import ConfidencePenalty
from segfocal.training.posterior import has_posterior
from segfocal.training.table import calibration_line


@pytest.fixture(scope="module", params=["binary", "multiclass"])
def run(request, tmp_path_factory, config_text):
    """Return a run trained with focal loss alone, its validation scored and then its test images."""
    folder = tmp_path_factory.mktemp("calibrated")
    text = config_text.replace("FocalDiceLoss", "FocalLoss").replace(
        "binary,", f"{request.param}, gamma: 2.0,"
    )
    if request.param == "multiclass":
        text = text.replace("num_classes: 1", "num_classes: 3")
        text = text.replace("kind: lesions,", "kind: lesions, task: multiclass, foreground_classes: 2,")
    text = text.replace("max_steps: 9", "max_steps: 60")
    text = text.replace("every_n_steps: 2}", "monitor: val/loss, mode: min}")
    (folder / "focal.yaml").write_text(text)
    paths = RunPaths(folder / "run")
    for words in (
        ["fit", "--config", str(folder / "focal.yaml"), "--run", str(paths.root)],
        ["validate", "--run", str(paths.root)],
        ["test", "--run", str(paths.root)],
    ):
        assert main(words) == 0
    return paths


def scores(paths, stage):
    task = json.loads(paths.info.read_text())["task"]
    table = image_likelihoods(scan_calibration([paths.root]), task=task).collect()
    table = table.filter(pl.col("stage") == stage).group_by("kind").agg(pl.col("nll", "brier").mean())
    return {row["kind"]: row for row in table.iter_rows(named=True)}


def test_every_kind_is_written_for_both_stages(run):
    curves = scan_curves([run.root]).select("stage", "kind", "curve").unique().collect()
    kinds = {"raw", "temperature", "posterior"}
    expected = {(stage, kind, "reliability") for stage in ("val", "test") for kind in kinds}
    assert set(curves.rows()) == expected | {("val", "raw", "pr"), ("test", "raw", "pr")}
    assert set(scores(run, "val")) == set(scores(run, "test")) == kinds


def test_the_temperature_is_of_the_checkpoint_and_of_validation(run):
    info = json.loads(run.info.read_text())
    sha256 = file_sha256(run.checkpoints / "best.ckpt")
    assert list(info["temperatures"]) == [sha256[:12]]
    # the images have one size, so that the mean over them is that over pixels, which the fit minimises
    found = scores(run, "val")
    assert found["temperature"]["nll"] < found["raw"]["nll"]
    table = scan_calibration([run.root]).select("kind", "temperature").unique().collect()
    known = dict(table.iter_rows())
    assert known == {"raw": 1.0, "temperature": info["temperatures"][sha256[:12]], "posterior": None}


def test_the_table_holds_what_numpy_makes_of_the_predictions(run):
    """The temperature is where the likelihood is best, and the likelihoods are those of the probabilities."""
    info, predictor = json.loads(run.info.read_text()), load(run.root)
    (best,) = info["temperatures"].values()
    settings = {"task": info["task"], "foreground_classes": max(1, info["num_classes"] - 1)}
    source = SyntheticData(kind="lesions", foreground=0.1, image_size=32, val_images=2, **settings).source(
        "val"
    )
    p = np.stack([predictor(source.image(case)).probabilities for case in range(2)]).astype(np.float64)
    y = np.stack([source.mask(case) for case in range(2)])[:, None].astype(int)
    p = np.concatenate([1 - p, p], axis=1) if info["task"] == "binary" else p

    def likelihood(temperature):
        z = np.log(p) / temperature
        q = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return -np.log(np.take_along_axis(q, y, axis=1)).mean()

    assert likelihood(best) < min(likelihood(0.95 * best), likelihood(1.05 * best))
    found = scores(run, "val")
    assert found["temperature"]["nll"] == pytest.approx(likelihood(best), rel=1e-4)
    assert found["raw"]["nll"] == pytest.approx(likelihood(1.0), rel=1e-4)
    stack = torch.from_numpy(p[:, 1:] if info["task"] == "binary" else p)
    posterior = focal_posterior(stack, 2.0, info["task"]).numpy()
    own = np.concatenate([1 - posterior, posterior], axis=1) if info["task"] == "binary" else posterior
    expected = -np.log(np.take_along_axis(own, y, axis=1)).mean()
    assert found["posterior"]["nll"] == pytest.approx(expected, rel=1e-4)


def test_a_test_alone_fits_the_temperature_first(finished_run, tmp_path, capsys):
    shutil.copytree(finished_run, tmp_path / "run")
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    (value,) = info["temperatures"].values()
    shown = capsys.readouterr().out
    assert f"temperature (T = {value:.3f})" in shown
    assert "posterior" not in shown  # a sum with Dice has none that is exact
    kinds = scan_calibration([tmp_path / "run"]).select("stage", "kind").unique().collect()
    assert set(kinds.rows()) == {("test", "raw"), ("test", "temperature")}


def test_other_data_never_give_the_run_its_temperature(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    words = ["test", "--run", str(tmp_path / "run"), "--data.init_args.seed", "5"]
    assert main(words) == 0
    assert "temperatures" not in json.loads((tmp_path / "run" / "run.json").read_text())
    assert main([*words[:3], "--data.init_args.val_batch_size", "2"]) == 0
    assert "temperatures" in json.loads((tmp_path / "run" / "run.json").read_text())


@pytest.mark.parametrize(
    ("loss", "penalties", "expected"),
    [
        (FocalLoss("binary", gamma=2.0), [], True),
        (CrossEntropyLoss("binary"), [], True),
        (FocalLoss("binary") + DiceLoss("binary"), [], False),
        (FocalLoss("binary", alpha="balanced"), [], False),
        (FocalLoss("binary"), [ConfidencePenalty(0.1)], False),
        (nn.BCEWithLogitsLoss(), [], False),
    ],
    ids=["focal", "cross entropy", "with dice", "unresolved", "penalty", "foreign"],
)
def test_only_an_exact_posterior_counts(loss, penalties, expected):
    assert has_posterior(loss, num_classes=1, penalties=penalties) is expected


def test_a_line_shows_what_there_is():
    assert calibration_line({"ece": 0.5, "nll": 1.0}) == "ECE / NLL: raw 0.5000 / 1.0000"
    values = {"ece": 0.5, "nll": 1.0, "posterior_ece": 0.25, "posterior_nll": 0.5}
    assert calibration_line(values).endswith(", posterior 0.2500 / 0.5000")


def test_the_spread_of_the_loss_adds_up_to_the_loss(run):
    spread = scan_concentration([run.root]).collect()
    logged = scan_metrics([run.root]).collect()
    for stage in ("val", "test"):
        rows = spread.filter(pl.col("stage") == stage)
        assert set(rows["loss_name"]) == {"FocalLoss"}
        assert set(rows["side"]) == {"positive", "negative"}
        loss = logged.filter(pl.col("name") == f"{stage}/loss")["value"][-1]
        assert rows["loss"].sum() / rows["elements"].sum() == pytest.approx(loss, rel=1e-4)
    assert "absent" not in json.loads(run.info.read_text())


def test_a_loss_without_pixels_says_why_its_run_has_no_spread(tmp_path):
    paths = fake_run(tmp_path / "run")
    for loss, expected in ((DiceLoss("binary"), "DiceLoss has no loss per pixel"), (FocalLoss("binary"), "")):
        assert (note_absence(paths, loss) or "").startswith(expected)
        assert (read_info(paths)["absent"]["concentration"] or "").startswith(expected)
