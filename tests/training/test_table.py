"""The printed table: which number stands in which row."""

import io

from rich.console import Console

from segfocal.training.table import score_table

NAMES = ("dice", "dataset_dice", "iou", "dataset_iou")
FREE = {"aupr": 0.7, "ece": 0.01}
OVERLAPS = dict(zip(NAMES, (0.5, 0.6, 0.3, 0.4), strict=True))
TUNED = {f"tuned_{name}": value + 0.05 for name, value in OVERLAPS.items()}
SCORES = {**OVERLAPS, **TUNED, **FREE}
VALUES = {f"{name}/a": value for name, value in SCORES.items()}
VALUES |= {f"{name}/b": value + 0.1 for name, value in SCORES.items()}
VALUES |= {name: value + 0.05 for name, value in SCORES.items() if not name.startswith("tuned_")}


def rows(table):
    file = io.StringIO()
    Console(file=file, width=120).print(table)
    lines = [line for line in file.getvalue().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_each_class_has_a_row_at_each_threshold():
    table = score_table(VALUES, ["a", "b"], title="t", thresholds=[0.25, 0.75])
    found = rows(table)
    assert found[0] == ["a", "0.5", "0.5000", "0.6000", "0.3000", "0.4000", "0.7000", "0.0100"]
    assert found[1] == ["", "0.250", "0.5500", "0.6500", "0.3500", "0.4500", "", ""]
    assert found[4][:3] == ["mean", "0.5", "0.5500"]


def test_multiclass_shows_the_argmax_alone():
    found = rows(score_table(VALUES, ["a", "b"], title="t", thresholds=None, argmax=True))
    assert [row[1] for row in found] == ["argmax"] * 3


def test_bayes_dice_stands_beside_the_model():
    found = rows(score_table(VALUES, ["a", "b"], title="t", thresholds=None, bayes_dice=[0.9, 0.8]))
    assert [row[-1] for row in found] == ["0.9000", "0.8000", "0.8500"]
