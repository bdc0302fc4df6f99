"""calibration.parquet: sums per image give the scores of numpy back, whatever is pooled."""

import numpy as np
import polars as pl
import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.metrics import PixelCurves
from segfocal.runs import RunPaths
from segfocal.runs.calibration import CALIBRATION_SCHEMA, image_likelihoods, write_calibration
from segfocal.runs.read import scan_calibration


def batch(task, classes, ignore):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, classes, 20, 30, generator=generator)
    if task == "multiclass":
        p, target = logits.softmax(1), torch.randint(0, classes, (3, 20, 30), generator=generator)
    else:
        p, target = logits.sigmoid(), torch.randint(0, 2, logits.shape, generator=generator)
    target[:, ..., :7] = ignore
    return p, target, ["b", "c", "a"]


def naive(task, p, target, ignore):
    """Likelihood and Brier score of one image by their definitions."""
    p, y = p.double().numpy(), target.numpy()
    if task == "multiclass":
        p, y = np.moveaxis(p, 0, -1)[y != ignore], y[y != ignore]
        one_hot = np.eye(p.shape[1])[y]
        return -np.log(p[np.arange(len(y)), y]).mean(), ((p - one_hot) ** 2).sum(1).mean()
    p, y = p[y != ignore], y[y != ignore]
    return -np.log(np.where(y == 1, p, 1 - p)).mean(), ((p - y) ** 2).mean()


@pytest.mark.parametrize(("task", "classes"), [("binary", 1), ("multiclass", 3), ("multilabel", 2)])
def test_sums_give_the_scores_of_each_image(tmp_path, task, classes):
    p, target, names = batch(task, classes, ignore=255)
    metric = PixelCurves(task, classes, ignore_index=255, precision_recall=False)
    metric.update(p, target, names)
    for run in ("first", "second"):
        paths = RunPaths(tmp_path / run)
        write_calibration(
            paths, metric.likelihoods(), stage="test", checkpoint="c" * 64, kind="raw", temperature=1.0
        )
    table = scan_calibration([tmp_path / "first", tmp_path / "second"])
    scores = image_likelihoods(table, task=task).collect()
    assert scores.height == 6
    for row in scores.iter_rows(named=True):
        image = names.index(row["name"])
        nll, brier = naive(task, p[image], target[image], 255)
        assert row["nll"] == pytest.approx(nll, rel=1e-5)
        assert row["brier"] == pytest.approx(brier, rel=1e-5)


def test_regions_add_up_like_the_metric(tmp_path):
    p, target, names = batch("multilabel", 2, ignore=255)
    metric = PixelCurves("multilabel", 2, class_names=["x", "y"], ignore_index=255, precision_recall=False)
    metric.update(p, target, names)
    found = metric.compute()
    paths = RunPaths(tmp_path)
    write_calibration(
        paths, metric.likelihoods(), stage="val", checkpoint="", kind="posterior", temperature=None
    )
    table = pl.read_parquet(paths.calibration)
    assert table.schema == CALIBRATION_SCHEMA
    for region, suffix in (("all", ""), ("foreground", "_foreground"), ("band", "_band")):
        rows = table.filter(pl.col("region") == region, pl.col("class_name") == "y")
        for name, column in (("nll", "nll"), ("brier", "squared_error")):
            pooled = rows[column].sum() / rows["pixels"].sum()
            assert pooled == pytest.approx(found[f"{name}{suffix}/y"].item(), rel=1e-6)


def test_without_precision_recall_the_rest_stays(tmp_path):
    p, target, names = batch("binary", 1, ignore=255)
    whole, part = (
        PixelCurves("binary", 1, ignore_index=255, precision_recall=wanted) for wanted in (True, False)
    )
    for metric in (whole, part):
        metric.update(p, target, names)
    first, second = whole.compute(), part.compute()
    assert {name: first[name].item() for name in second} == {n: v.item() for n, v in second.items()}
    assert set(first) - set(second) == {"aupr", "aupr/0", "aupr33", "aupr33/0"}
    assert set(part.curves()["curve"]) == {"reliability"}


def test_the_same_evaluation_replaces_and_other_kinds_stay(tmp_path):
    p, target, names = batch("binary", 1, ignore=255)
    metric = PixelCurves("binary", 1, ignore_index=255, precision_recall=False)
    metric.update(p, target, names)
    for kind, temperature in (("raw", 1.0), ("temperature", 0.5), ("temperature", 0.4)):
        write_calibration(
            RunPaths(tmp_path),
            metric.likelihoods(),
            stage="test",
            checkpoint="c" * 64,
            kind=kind,
            temperature=temperature,
        )
    table = pl.read_parquet(RunPaths(tmp_path).calibration)
    kinds = table.select("kind", "temperature").unique().sort("kind").rows()
    assert kinds == [("raw", 1.0), ("temperature", 0.4)]
    with pytest.raises(SegfocalError, match="lack nll_positive"):
        write_calibration(
            RunPaths(tmp_path),
            {k: v for k, v in metric.likelihoods().items() if k != "nll_positive"},
            stage="test",
            checkpoint="",
            kind="raw",
            temperature=1.0,
        )
