"""PixelCurves against torchmetrics, torch and loops over pixels."""

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from torchmetrics.functional.classification import binary_average_precision, binary_calibration_error

from segfocal.metrics import PixelCurves
from segfocal.metrics.band import boundary_band
from segfocal.runs import RunPaths
from segfocal.runs.curves import write_curves


def batch(task, classes, space=(40, 50), *, images=3, ignore=None):
    generator = torch.Generator().manual_seed(classes)
    scores = 2 * torch.randn(images, classes, *space, generator=generator) - 1
    p = scores.softmax(1) if task == "multiclass" else scores.sigmoid()
    if task == "multiclass":
        target = torch.randint(0, classes, (images, *space), generator=generator)
    else:
        target = (torch.rand(p.shape, generator=generator) < p.sqrt() * 0.3).long()
    target[..., :9] = 0
    if ignore is not None:
        target[torch.rand(target.shape, generator=generator) < 0.2] = ignore
    return p, target, [f"image{index}" for index in range(images)]


def pixels(task, p, target, *, ignore, class_index):
    """Flat probabilities, labels, band and kept mask of one class over all images."""
    parts = []
    for image in range(len(p)):
        labels = target[image] if task == "multiclass" else target[image, class_index]
        kept = labels != ignore if ignore is not None else torch.ones_like(labels, dtype=torch.bool)
        truth = (labels == class_index) if task == "multiclass" else (labels == 1)
        band = boundary_band(truth & kept, ~truth & kept)
        parts.append((p[image, class_index][kept], truth[kept].long(), band[kept]))
    return [torch.cat(column) for column in zip(*parts, strict=True)]


@pytest.mark.parametrize("ignore", [None, 255])
@pytest.mark.parametrize(("task", "classes"), [("binary", 1), ("multiclass", 3), ("multilabel", 2)])
def test_each_class_and_region_equals_the_peers(task, classes, ignore):
    p, target, names = batch(task, classes, ignore=ignore)
    metric = PixelCurves(task, classes, ignore_index=ignore)
    metric.update(p, target, names)
    found = metric.compute()
    for index in range(classes):
        scores, truth, band = pixels(task, p, target, ignore=ignore, class_index=index)
        assert_close(found[f"aupr/{index}"], binary_average_precision(scores, truth), rtol=1e-3, atol=0)
        for suffix, inside in {"": truth >= 0, "_foreground": truth == 1, "_band": band}.items():
            q, y = scores[inside], truth[inside]
            expected = {
                "ece": binary_calibration_error(q, y, n_bins=15),
                "brier": F.mse_loss(q.double(), y.double()).float(),
                "nll": F.binary_cross_entropy(q.double(), y.double()).float(),
            }
            for name, value in expected.items():
                assert_close(found[f"{name}{suffix}/{index}"], value, rtol=1e-5, atol=1e-6)


def test_the_multiclass_likelihood_is_cross_entropy():
    p, target, names = batch("multiclass", 4, ignore=255)
    metric = PixelCurves("multiclass", 4, ignore_index=255)
    metric.update(p, target, names)
    found = metric.compute()
    assert_close(found["nll"], F.nll_loss(p.log(), target, ignore_index=255), rtol=1e-5, atol=0)
    foreground = F.nll_loss(p.log(), target.masked_fill(target == 0, 255), ignore_index=255)
    assert_close(found["nll_foreground"], foreground, rtol=1e-5, atol=0)
    assert_close(found["ece"].item(), np.mean([found[f"ece/{index}"] for index in (1, 2, 3)]))


def test_a_calibrated_forecast_has_no_calibration_error():
    """Labels in the exact proportion of the forecast, one value per bin."""
    values = (torch.arange(15) + 0.5) / 15
    p = values.repeat_interleave(30)
    positives = (values * 30).round().long()
    target = torch.cat([(torch.arange(30) < count).long() for count in positives])
    metric = PixelCurves("binary", 1)
    metric.update(p[None, None], target[None], ["a"])
    assert metric.compute()["ece"] < 1e-6


def test_saturated_mistakes_cost_much_but_not_infinity():
    metric = PixelCurves("binary", 1)
    metric.update(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[1, 0]]), ["a"])
    assert_close(metric.compute()["nll"].item(), 23 * np.log(2), rtol=1e-6, atol=0)


def test_order_batches_and_pieces_change_nothing(monkeypatch):
    p, target, names = batch("multilabel", 2, images=5, ignore=255)
    whole, single = (PixelCurves("multilabel", 2, ignore_index=255) for _ in range(2))
    whole.update(p, target, names)
    for index in (4, 1, 0, 3, 2):
        single.update(p[index : index + 1], target[index : index + 1], names[index : index + 1])
    first, second = whole.compute(), single.compute()
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in second.items()}
    monkeypatch.setattr("segfocal.metrics.batch._PIECE_CPU", 77)
    pieces = PixelCurves("multilabel", 2, ignore_index=255)
    pieces.update(p, target, names)
    for name, value in pieces.compute().items():
        assert_close(value, first[name], rtol=1e-6, atol=0)


def test_a_volume_counts_like_its_pixels():
    p, target, names = batch("binary", 1, (8, 10, 12))
    metric = PixelCurves("binary", 1)
    metric.update(p, target, names)
    expected = binary_average_precision(p.flatten(), target.flatten())
    assert_close(metric.compute()["aupr"], expected, rtol=1e-3, atol=0)


def test_an_absent_class_is_left_out_of_the_means():
    metric = PixelCurves("multilabel", 2)
    target = torch.tensor([[[0, 1, 1], [0, 0, 0]]])
    metric.update(torch.tensor([[[0.1, 0.8, 0.7], [0.1, 0.1, 0.1]]]), target, ["a"])
    found = metric.compute()
    assert found["aupr/1"].isnan()
    assert found["nll_foreground/1"].isnan()
    assert found["aupr"] == 1
    assert_close(found["nll_foreground"].item(), -(np.log(0.8) + np.log(0.7)) / 2, rtol=1e-6, atol=0)


def test_bins_in_a_run_give_the_scores_back(tmp_path):
    p, target, names = batch("binary", 1, ignore=255)
    metric = PixelCurves("binary", 1, class_names=["vessel"], ignore_index=255)
    metric.update(p, target, names)
    paths, found = RunPaths(tmp_path), metric.compute()
    write_curves(paths, metric.curves(), stage="test", checkpoint="", kind="raw")
    table = pl.read_parquet(paths.curves)
    kept = (target != 255).sum().item()
    for region, suffix in {"all": "", "foreground": "_foreground", "band": "_band"}.items():
        bins = table.filter(pl.col("curve") == "reliability", pl.col("region") == region)
        sums = bins.group_by("low").agg(pl.col("pixels", "positives", "probability_sum").sum())
        ece = (sums["probability_sum"] - sums["positives"]).abs().sum() / sums["pixels"].sum()
        assert ece == pytest.approx(found[f"ece{suffix}"].item(), rel=1e-6)
    curve = table.filter(pl.col("curve") == "pr")
    assert curve["pixels"].sum() == kept
    assert set(table["name"]) == set(names)
    assert curve["probability_sum"].null_count() == curve.height


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_gpu_scores_like_a_processor(deterministic):
    p, target, names = batch("multilabel", 2, ignore=255)
    here, there = (
        PixelCurves("multilabel", 2, ignore_index=255),
        PixelCurves("multilabel", 2, ignore_index=255),
    )
    here.update(p, target, names)
    torch.use_deterministic_algorithms(deterministic)
    try:
        there.to("cuda").update(p.cuda(), target.cuda(), names)
    finally:
        torch.use_deterministic_algorithms(False)
    found = there.compute()
    for name, value in here.compute().items():
        assert_close(found[name].cpu(), value, rtol=1e-5, atol=1e-6, equal_nan=True)
