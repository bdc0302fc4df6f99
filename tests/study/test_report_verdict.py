"""The verdict and its sentence claim no more than the numbers."""

import numpy as np
import pytest

from segfocal.runs.comparison import compare
from segfocal.study.report_schema import complete
from segfocal.study.report_verdict import sentence, signed, verdict

RNG = np.random.default_rng(0)
CLEAR = 0.02 + 0.002 * RNG.normal(size=(3, 8))
EMPTY = compare(np.full((2, 2), np.nan))


def test_better_needs_the_adjusted_p_and_the_interval():
    found = compare(CLEAR)
    assert found.interval.excludes_zero
    assert verdict(found, p_value=0.04, contrasts=1) == "better"
    assert verdict(found, p_value=0.06, contrasts=1) == "not resolved"
    assert verdict(compare(-CLEAR), p_value=0.04, contrasts=1) == "worse"
    wide = compare(CLEAR + np.array([[0.1], [-0.1], [0.0]]))
    assert not wide.interval.excludes_zero
    assert verdict(wide, p_value=0.001, contrasts=1) == "not resolved"


def test_exploration_only_suggests():
    assert verdict(compare(CLEAR), p_value=0.01, contrasts=0) == "suggests better"
    assert verdict(compare(-CLEAR), p_value=0.01, contrasts=0) == "suggests worse"
    assert verdict(compare(CLEAR), p_value=0.2, contrasts=0) == "not resolved"


def test_what_cannot_pass_is_undecidable_before_its_p_is_looked_at():
    found = compare(CLEAR)
    assert verdict(found, p_value=0.0078, contrasts=7) == "undecidable"
    assert verdict(found, p_value=0.0078, contrasts=6) == "better"
    assert verdict(EMPTY, p_value=None, contrasts=1) == "no data"


def row(**changes):
    """The example of the project's brief: eight clusters, focal2 against ce."""
    known = {"arm": "focal2", "baseline": "ce", "dataset": "vessels", "fraction": 1.0, "metric": "dice"}
    known |= {"difference": 0.008, "low": 0.001, "high": 0.015, "p": 0.03, "p_holm": 0.06, "seeds": 3}
    known |= {"clusters": 8, "verdict": "not resolved", "clusters_needed": 20, "seeds_needed": None}
    return complete([known | changes], "comparisons")[0]


def test_the_sentence_of_an_open_question():
    assert sentence(row()) == (
        "focal2 - ce on vessels: +0.8 Dice points [0.1, 1.5], p = .03 (Holm .06): not resolved with 8 "
        "clusters and 3 seeds; about 20 clusters would be needed."
    )
    assert "about 20 clusters would be needed, 31 after correction." in sentence(
        row(clusters_needed_corrected=31)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"p": 1e-5, "p_holm": 1e-4}, "p < .001 (Holm < .001)"),
        ({"p_holm": None}, "p = .03: not"),
        (
            {"clusters_needed": None, "seeds_needed": 12},
            "the seeds differ too much, about 12 would be needed",
        ),
        ({"clusters_needed": None}, "neither more clusters nor more seeds alone"),
        ({"clusters_needed": 6, "seeds_needed": 2}, "more seeds would be needed"),
        ({"clusters_needed": 6, "clusters_needed_corrected": 15}, "about 15 clusters would be needed after"),
        ({"clusters_needed": 12345}, "about 13,000 clusters"),
        ({"difference": 0.0, "low": 0.0, "high": 0.0}, "+0.0 Dice points [0.0, 0.0]"),
        ({"difference": 0.0, "low": 0.0, "high": 0.0}, "no difference was seen"),
        ({"metric": "iou"}, "IoU points"),
        ({"low": None, "high": None, "seeds": 1}, "points, p = .03"),
        ({"seeds": 1}, "with 8 clusters and 1 seed; about 20"),
        ({"seeds": 1}, "One seed only"),
        ({"fraction": 0.25}, "on vessels (25 % of the training groups):"),
    ],
)
def test_the_sentence_says_what_stands_in_the_way(changes, said):
    assert said in sentence(row(**changes))


def test_small_differences_keep_a_digit():
    assert [signed(value) for value in (0.02, -0.0005, 0.0, -0.01)] == ["+2.0", "-0.05", "+0.0", "-1.0"]
