"""Seeds that changed nothing count once, and the report says so."""

import numpy as np
import pytest
from report_studies import FakeStudy, only, table

from segfocal.study.equal_seeds import distinct_seeds, equal_seeds
from segfocal.study.report import build_report
from segfocal.study.report_markdown import markdown

GAIN = np.round(np.random.default_rng(1).normal(size=(3, 8)) * 0.02 + 0.01, 4)
NOTE = "Seeds changed nothing for "


def written(root, moves, **settings):
    """Report of a study in which the seeds move the arms that ``moves`` names."""

    def score(arm, seed, cluster, image, label):
        own = seed if arm in moves else 0
        return 0.5 + 0.02 * cluster + 0.004 * own + (GAIN[own, cluster] if arm == "focal2" else 0.0)

    return build_report(FakeStudy(score=score, **settings).write(root))


def test_equal_seeds_are_one_seed(tmp_path):
    report = written(tmp_path / "three", moves=())
    one = written(tmp_path / "one", moves=(), seeds=(0,))
    row, alone = (only(found, "comparisons", role="primary") for found in (report, one))
    assert (row.pop("seeds_equal"), alone.pop("seeds_equal")) == (2, 0)
    assert row == alone
    assert (row["seeds"], row["covers"], row["seeds_left_out"]) == (1, "clusters", 0)
    assert "One seed only" in row["sentence"]
    means = [[{**mean, "seeds_equal": 0} for mean in table(found, "scores")] for found in (report, one)]
    assert means[0] == means[1]
    assert {row["seeds_equal"] for row in table(report, "scores")} == {2}
    assert {row["seeds"] for row in table(report, "training")} == {1}
    assert {row["seeds"] for row in table(report, "ranking")} == {1}
    text = markdown(report)
    assert f"{NOTE}ce on vessels, focal2 on vessels:" in text
    assert "seed_keys: [seed_everything, data.init_args.seed]" in text
    assert NOTE not in markdown(one)


def test_an_arm_that_moves_keeps_its_seeds_beside_one_that_does_not(tmp_path):
    report = written(tmp_path, moves=("focal2",))
    row = only(report, "comparisons", role="primary")
    assert (row["seeds"], row["seeds_equal"]) == (3, 0)
    shown = {"metric": "dice", "threshold": "fixed", "class": "foreground"}
    assert only(report, "scores", arm="ce", **shown)["seeds"] == 1
    assert only(report, "scores", arm="focal2", **shown)["seeds"] == 3
    assert f"{NOTE}ce on vessels:" in markdown(report)


def test_networks_that_find_nothing_are_no_repeats(tmp_path):
    report = build_report(FakeStudy(score=lambda *_: 0.0).write(tmp_path))
    assert {row["seeds_equal"] for row in table(report, "scores")} == {0}
    assert {row["seeds"] for row in table(report, "scores", metric="dice")} == {3}
    assert NOTE not in markdown(report)


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([[0.5, 0.6], [0.5, 0.6], [0.5, 0.7]], [0, 0, 2]),
        ([[0.5, np.nan], [0.5, 0.6], [np.nan, np.nan]], [1, 1, 2]),
        ([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]], [0, 1, 2]),
    ],
)
def test_the_fullest_of_equal_seeds_is_the_one_that_is_repeated(dice, expected):
    table = np.broadcast_to(np.asarray(dice)[None, None, None, :, :, None], (1, 4, 1, 3, 2, 1))
    found = equal_seeds(table)
    assert found.tolist() == [expected]
    assert distinct_seeds(found).tolist() == sorted(set(expected))
