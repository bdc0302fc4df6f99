"""model.test_scores: what validate and test record of masks, and how it travels to rows and reports."""

import math

import polars as pl
import pytest
import torch

from segfocal.__main__ import main
from segfocal.data.preprocess import Preprocess
from segfocal.errors import SegfocalError
from segfocal.losses import FocalLoss
from segfocal.models import SmallUNet
from segfocal.report.tables.leaderboard import class_board, leaderboard, run_board
from segfocal.report.tables.runs import runs_table
from segfocal.report.tables.scalars import last_scalars
from segfocal.report.tables.scores import gather, pick
from segfocal.training.evaluation import StageScores
from segfocal.training.final_scores import FinalScores
from segfocal.training.prediction.predictor import Predictor
from segfocal.training.steps import whole_scores
from segfocal.training.task import SegmentationTask

CONFIG = """\
model:
  network:
    class_path: segfocal.models.SmallUNet
    init_args: {{in_channels: 1, num_classes: 1, channels: [4, 8]}}
  loss:
    class_path: segfocal.losses.FocalDiceLoss
    init_args: {{task: binary, ignore_index: 255}}
data:
  class_path: segfocal.data.FolderData
  init_args: {{root: {root}, task: binary, class_names: [spot], preprocess: {{in_channels: 1}},
              split: {{train: 3, val: 1, test: 2}}, batch_size: 2, patch_size: 16, patches_per_epoch: 4}}
trainer: {{max_steps: 2, accelerator: cpu}}
"""
ALL = "{lesions: true, centreline: true, min_lesion_px: 2}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run without test scores."""
    folder = tmp_path_factory.mktemp("scores")
    root = folder / "set"
    assert main(["generate", "--out", str(root), "--count", "6", "--size", "32", "--foreground", "0.1"]) == 0
    (folder / "c.yaml").write_text(CONFIG.format(root=root))
    assert main(["fit", "--config", str(folder / "c.yaml"), "--run", str(folder / "run")]) == 0
    return folder / "run"


def scores_of(run, *options):
    assert main(["test", "--run", str(run), *options]) == 0
    return pl.read_parquet(run / "cases.parquet").filter(pl.col("stage") == "test")


def test_hd95_and_nsd_are_recorded_by_default_and_the_others_not(run, capsys):
    cases = scores_of(run)
    assert cases["hd95"].is_not_null().all()
    for column in ("lesion_tp", "lesion_f1", "cldice"):
        assert cases[column].is_null().all()
    shown = capsys.readouterr().out
    assert "HD95 / NSD at 1 px: spot" in shown
    assert "lesion F1" not in shown
    assert "clDice" not in shown


def test_an_override_records_lesions_and_centrelines(run, capsys):
    cases = scores_of(run, "--model.test_scores", ALL)
    shown = capsys.readouterr().out
    assert "lesion F1, data set / FROC: spot" in shown
    assert "clDice: spot" in shown
    assert set(cases["threshold_kind"]) == {"fixed", "tuned"}
    for row in cases.iter_rows(named=True):
        tp, fp, fn = row["lesion_tp"], row["lesion_fp"], row["lesion_fn"]
        expected = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0
        assert row["lesion_f1"] == pytest.approx(expected)
        assert 0 <= row["cldice"] <= 1
    lesions = cases.group_by("name").agg((pl.col("lesion_tp") + pl.col("lesion_fn")).n_unique())
    assert lesions["lesion_tp"].to_list() == [1, 1]  # at both thresholds the same lesions


def test_they_travel_to_the_report(run):
    cases = scores_of(run, "--model.test_scores", ALL).filter(pl.col("threshold_kind") == "fixed")
    table = runs_table([run])
    scores = pick(gather([run]).table, table, stage="test")
    assert class_board(scores)["lesion_f1"].item() == pytest.approx(cases["lesion_f1"].mean())
    scalars = last_scalars([run], stage="test")
    ranked = leaderboard(run_board(scores, table, scalars=scalars))
    assert ranked["cldice"].item() == pytest.approx(cases["cldice"].mean())
    logged = pl.read_csv(run / "metrics.csv").filter(pl.col("name") == "test/froc")["value"].to_list()
    assert ranked["froc"].item() == logged[-1]
    assert main(["report", str(run), "--out", str(run.parent / "page")]) == 0
    page = "".join(path.read_text() for path in (run.parent / "page").rglob("*.html"))
    assert "Lesion F1" in page
    assert "FROC" in page


def test_surfaces_can_be_left_out(run, capsys):
    cases = scores_of(run, "--model.test_scores.surface", "false", "--model.test_scores.centreline", "[spot]")
    assert cases["hd95"].is_null().all()
    assert cases["cldice"].is_not_null().all()
    assert "HD95" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.test_scores.lesion", "true"], "has no argument 'lesion'. Did you mean 'lesions'?"),
        (["--model.test_scores.lesions", "[spto]"], "got 'spto'. Did you mean 'spot'?"),
        (["--model.test_scores.lesions", "spot"], "must be bool or list, got 'spot'"),
        (["--model.test_scores.min_lesion_px", "0"], "test_scores.min_lesion_px must lie in"),
    ],
)
def test_wrong_settings_name_the_nearest(run, words, message, capsys):
    assert main(["test", "--run", str(run), *words]) == 2
    assert message in capsys.readouterr().err


def test_unknown_classes_are_refused_before_training(memory_data):
    scores = FinalScores(lesions=["disk"])
    task = SegmentationTask(
        SmallUNet(1, 1, channels=(4, 8)), FocalLoss("binary", ignore_index=255), test_scores=scores
    )
    with pytest.raises(SegfocalError, match=r"classes of test_scores.lesions must be one of 'disc'"):
        task.prepare(memory_data(), "fit")


def test_the_background_is_no_class_to_score():
    with pytest.raises(SegfocalError, match=r"must be one of 'a', 'b', got 'background'"):
        FinalScores(surface=["background"]).check(["background", "a", "b"], background=0)


def test_a_stage_of_training_records_none_of_them():
    scores = StageScores(task="binary", class_names=["disc"], ignore_index=None, empty="one", search=True)
    assert scores.fixed_masks() == scores.tuned_masks() == []
    assert scores.froc is None


def test_settings_are_kept_with_the_checkpoint():
    task = SegmentationTask(
        SmallUNet(1, 1, channels=(4, 8)),
        FocalLoss("binary", ignore_index=255),
        test_scores=FinalScores(centreline=True),
    )
    assert task.hparams["test_scores"]["centreline"] is True


@torch.no_grad()
def test_large_images_are_scored_in_the_tiles_of_prediction(memory_data):
    torch.manual_seed(0)
    network = SmallUNet(1, 1, channels=(4, 8)).eval()
    task = SegmentationTask(network, FocalLoss("binary", ignore_index=255), channels_last=True)
    task.prepare(memory_data(), "fit")
    facts, image = task.facts, torch.rand(1, 1, 1300, 40)
    predictor = Predictor(
        network,
        task="binary",
        preprocess=Preprocess(in_channels=1, normalize="none"),
        class_names=["disc"],
        device="cpu",
    )
    assert facts.tiling == predictor.tiling
    assert not facts.tiling.covers(image.shape[2:])
    formatted = image.contiguous(memory_format=torch.channels_last)
    logits, found = whole_scores(
        network, formatted, task="binary", multiple=facts.divisor, tiling=facts.tiling
    )
    expected = torch.from_numpy(predictor(image[0, 0].numpy()).probabilities)
    assert torch.equal(found[0], expected)
    assert math.isclose((logits.sigmoid() - found).abs().max(), 0, abs_tol=1e-6)
