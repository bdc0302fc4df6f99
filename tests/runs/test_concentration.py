"""concentration.parquet: histograms give the shares that sorting every element gives."""

import polars as pl
import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss, FocalLoss
from segfocal.losses.pixel_part import pixel_losses
from segfocal.metrics.concentration import BINS, LossConcentration
from segfocal.runs import RunPaths
from segfocal.runs.concentration import CONCENTRATION_SCHEMA, loss_shares, write_concentration
from segfocal.runs.read import scan_concentration

FRACTIONS = [0.001, 0.01, 0.1, 0.5, 1.0]


def batch(task, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 1 if task == "binary" else 3, 50, 60, generator=generator)
    if task == "multiclass":
        target = torch.randint(0, 3, (2, 50, 60), generator=generator)
    else:
        target = (torch.rand(logits.shape, generator=generator) < 0.1).int()
        target = target[:, 0] if task == "binary" else target
    target[..., :7] = 255
    return logits, target


def gathered(loss, *batches):
    metric = LossConcentration()
    for logits, target in batches:
        found = pixel_losses(loss, logits, target)
        metric.update(found.values, found.foreground, found.kept)
    return metric


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("gamma", [0.0, 2.0, 5.0])
def test_shares_are_those_of_sorting_all_elements(task, gamma):
    loss, data = FocalLoss(task, gamma=gamma, alpha=None, ignore_index=255), batch(task)
    exact = loss.explain(*data, FRACTIONS)
    found = loss_shares(pl.DataFrame(gathered(loss, data).histograms()), fractions=FRACTIONS)
    for side, wanted, elements in (
        ("positive", exact.foreground, exact.foreground_elements),
        ("negative", exact.background, exact.background_elements),
    ):
        rows = found.filter(pl.col("side") == side)
        assert rows["share"].to_list() == pytest.approx(wanted.tolist(), rel=0.01)
        assert rows["share"][-1] == pytest.approx(1.0, rel=1e-12)
        assert rows["elements"].to_list() == [elements] * len(FRACTIONS)
    whole = found.filter(pl.col("side") == "positive", pl.col("fraction") == 1.0)["share_of_all"][0]
    assert whole == pytest.approx(exact.foreground_share.item(), rel=1e-6)
    assert gathered(loss, data).compute().item() == pytest.approx(whole, rel=1e-6)


def test_batches_add_up_in_any_order():
    loss = CrossEntropyLoss("binary", ignore_index=255)
    first, second = batch("binary"), batch("binary", seed=1)
    one, other = (gathered(loss, *order).histograms() for order in ((first, second), (second, first)))
    assert one["elements"].tolist() == other["elements"].tolist()
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-12)


def test_bins_hold_what_they_say_down_to_nothing_and_up_to_infinity():
    values = torch.tensor([0.0, 1e-38, 0.5, 0.54, 1e9])
    metric = LossConcentration()
    metric.update(values, torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool))
    found = metric.histograms()
    assert found["elements"].tolist() == [2, 1, 1, 1]
    assert found["low"].tolist() == [0.0, 0.5, 0.53125, 2.0**28]
    assert found["high"][1:3].tolist() == [0.53125, 0.5625]
    assert found["high"][-1] == float("inf")
    assert metric.sums.shape == (2 * BINS,)


def test_the_same_evaluation_is_replaced(tmp_path):
    paths, data = RunPaths(tmp_path), batch("binary")
    columns = gathered(FocalLoss("binary", ignore_index=255), data).histograms()
    for stage in ("val", "test", "test"):
        write_concentration(paths, columns, stage=stage, checkpoint="c" * 64, loss_name="FocalLoss")
    table = scan_concentration([tmp_path, tmp_path / "none"]).collect()
    assert table.drop("run").schema == CONCENTRATION_SCHEMA
    assert table.height == 2 * len(columns["low"])
    assert set(table["checkpoint"]) == {"c" * 12}
    del columns["loss"]
    with pytest.raises(SegfocalError, match="lack loss"):
        write_concentration(paths, columns, stage="test", checkpoint="", loss_name="FocalLoss")


def test_a_side_without_loss_has_no_shares():
    bins = {"side": ["negative"], "low": [0.0], "elements": [5], "loss": [0.0]}
    assert loss_shares(pl.DataFrame(bins), fractions=[0.1]).is_empty()
    with pytest.raises(SegfocalError, match="fractions must lie in"):
        loss_shares(pl.DataFrame(bins), fractions=[0.0])
