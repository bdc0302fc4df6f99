"""One definition of Dice: what validation logs is what every table shows."""

import numpy as np
import polars as pl
import pytest
import torch
from fake_runs import fake_run

from segfocal.__main__ import main
from segfocal.metrics import SegmentationScores
from segfocal.report.tables.leaderboard import class_board, covered, leaderboard, run_board
from segfocal.report.tables.paired import image_scores
from segfocal.report.tables.runs import runs_table
from segfocal.report.tables.scalars import last_scalars
from segfocal.report.tables.scores import gather, pick
from segfocal.runs.cases import write_cases
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths
from segfocal.study.collect_scores import Scores

NAMES = ["background", "MA", "HE", "EX"]
IMAGES = 7


@pytest.fixture(scope="module")
def metric():
    """Random masks; EX is found in vain and occurs nowhere, other classes in some images."""
    generator = torch.Generator().manual_seed(4)
    target = torch.randint(0, 3, (IMAGES, 40), generator=generator)
    found = torch.where(torch.rand(target.shape, generator=generator) < 0.7, target, 3)
    target[:3][target[:3] == 1] = 0
    found[:2][found[:2] == 1] = 0
    scores = SegmentationScores("multiclass", 4, class_names=NAMES)
    one_hot = torch.nn.functional.one_hot(found, 4).movedim(-1, 1).float()
    scores.update(one_hot, target, [f"i{number}" for number in range(IMAGES)])
    return scores


def board_of(root):
    runs = runs_table([root])
    scores = pick(gather([root]).table, runs, stage="test")
    return runs, scores, leaderboard(run_board(scores, runs, scalars=last_scalars([root], stage="test")))


def written(root, rows):
    run = fake_run(root, class_names=NAMES)
    run.cases.unlink()
    sha = read_info(run)["checkpoints"]["best"]["sha256"]
    write_cases(RunPaths(root), rows, stage="test", checkpoint=sha, epoch=1, threshold_kind="argmax")
    return root


def by_hand(rows, *, score="dice"):
    """Mean over classes but the background of the mean over images, without what is None."""
    means = []
    for label in NAMES[1:]:
        own = [row for row in rows if row["class_name"] == label]
        if sum(row["tp"] + row["fn"] for row in own):
            means.append(np.mean([row[score] for row in own if row[score] is not None]))
    return np.mean(means)


def test_tables_show_what_validation_logs(metric, tmp_path):
    rows = metric.cases()
    logged = metric.compute()
    assert logged["dice"].item() == pytest.approx(by_hand(rows))
    _, scores, board = board_of(written(tmp_path / "run", rows))
    for name in ("dice", "iou", "precision", "recall", "dataset_dice", "dataset_iou"):
        assert board[name][0] == pytest.approx(logged[name].item(), abs=1e-6), name
    classes = dict(class_board(scores).select("class_name", "dice").iter_rows())
    assert classes["EX"] is None
    assert classes["MA"] == pytest.approx(logged["dice/MA"].item(), abs=1e-6)
    assert covered(scores) == "mean over: MA, HE, EX; without background"


def test_runs_from_before_are_read_under_the_same_definition(metric, tmp_path):
    rows = metric.cases()
    _, _, today = board_of(written(tmp_path / "new", rows))
    for row in rows:  # as they were written once: both empty is 1, and no columns that say how
        if row["tp"] + row["fp"] + row["fn"] == 0:
            row.update(dict.fromkeys(("dice", "iou", "precision", "recall"), 1.0))
        row.update(hd95=0.0, nsd=1.0, distance_unit="px")
    root = written(tmp_path / "old", rows)
    pl.read_parquet(root / "cases.parquet").drop("empty", "background").write_parquet(root / "cases.parquet")
    _, scores, board = board_of(root)
    for name in ("dice", "iou", "dataset_dice"):
        assert board[name][0] == pytest.approx(today[name][0])
    assert "1 runs are from before that definition" in covered(scores)


def test_the_mean_of_a_study_is_the_same(metric):
    rows = metric.cases()
    table = np.array([[row["dice"] for row in rows]], float).reshape(1, IMAGES, 4)
    table[..., 3] = np.nan  # `collect_scores` leaves out a class in no image
    nothing = {"values": {}, "counts": {}, "arms": ("a",), "seeds": (0,), "clusters": ()}
    study = Scores(starts=np.arange(1), classes=tuple(NAMES), foreground=(1, 2, 3), **nothing)
    assert study.mean(table, None)[0] == pytest.approx(metric.compute()["dice"].item(), abs=1e-6)
    assert study.covers == "mean over: MA, HE, EX; without background"


def test_pairs_leave_out_background_and_absent_classes(metric, tmp_path):
    rows = metric.cases()
    values = image_scores(runs_table([written(tmp_path / "run", rows)]), stage="test")
    for name, value in values.select("name", "value").iter_rows():
        own = [row["dice"] for row in rows if row["name"] == name and row["class_name"] in ("MA", "HE")]
        assert value == pytest.approx(np.mean([score for score in own if score is not None]))


def test_the_terminal_names_the_classes(metric, tmp_path, capsys):
    written(tmp_path / "run", metric.cases())
    assert main(["report", str(tmp_path / "run"), "--terminal"]) == 0
    assert "mean over: MA, HE, EX; without background" in capsys.readouterr().out
