"""Which class the means leave out, from names as published data sets have them."""

import polars as pl
import pytest

from segfocal.errors import SegfocalError
from segfocal.imbalance.background import BACKGROUND_NAME, background_class, covered

BACKGROUNDS = [
    "background", "Background", "_background_", "BG", "bg", "background/clutter", "Unlabeled",
    "unlabelled",
    "none", "void", "Other", "class 0", "class_0", "0", "label 0", "not_road", "non-lesion",
    "back ground 0 bg",
]  # fmt: skip
THINGS = [
    "road", "backpack", "Sky", "class 1", "nose", "notebook", "another", "nonesuch", "bgr", "no2", "10",
    "mother",
]  # fmt: skip


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_name_that_says_background_is_left_out(name):
    assert background_class("auto", task="multiclass", class_names=[name, "a"]) == 0


@pytest.mark.parametrize("name", THINGS)
def test_any_other_class_0_counts(name):
    assert background_class("auto", task="multiclass", class_names=[name, "a"]) is None


def test_polars_reads_the_pattern_alike():
    names = [*BACKGROUNDS, *THINGS]
    found = pl.Series(names).str.contains(BACKGROUND_NAME).to_list()
    assert found == [True] * len(BACKGROUNDS) + [False] * len(THINGS)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_without_a_softmax_no_class_is_the_background(task):
    names = ["background"] if task == "binary" else ["background", "a"]
    assert background_class("auto", task=task, class_names=names) is None


def test_a_number_or_null_is_taken_as_it_is():
    names = ["road", "sky", "void"]
    assert background_class(2, task="multiclass", class_names=names) == 2
    assert background_class(None, task="multiclass", class_names=["background", "a"]) is None


@pytest.mark.parametrize(
    ("background", "task", "message"),
    [(3, "multiclass", "0 to 2"), (-1, "multiclass", "0 to 2"), (True, "multiclass", "0 to 2"),
     (0, "binary", "null")],
)  # fmt: skip
def test_a_number_that_is_no_background_is_refused(background, task, message):
    names = ["lesion"] if task == "binary" else ["a", "b", "c"]
    with pytest.raises(SegfocalError, match=message):
        background_class(background, task=task, class_names=names)


def test_the_line_names_at_most_a_dozen():
    line = covered([f"c{number}" for number in range(20)], 3)
    assert line.startswith("mean over: c0, c1, c2, c4,")
    assert line.endswith("and 7 more; without c3")
