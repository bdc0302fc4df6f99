from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from segfocal.data.coding import MaskSettings
from segfocal.data.colors import read_class_table
from segfocal.data.masks import color_coding, threshold_coding, value_coding
from segfocal.errors import SegfocalError

RNG = np.random.default_rng(0)
PALETTE = {"road": "#402020", "lane": [255, 0, 0], "sky": "#808060"}


def values(task="binary", num_classes=1, **settings):
    defaults = {"ignore_index": 255, "values": None, "ignore_values": [], "other": None}
    return value_coding(task=task, num_classes=num_classes, **(defaults | settings))


def colours(task="multiclass", class_names=("road", "lane", "sky"), **settings):
    defaults = {"ignore_index": 255, "colors": PALETTE, "ignore_colors": [], "other": None}
    return color_coding(task=task, class_names=class_names, **(defaults | settings))


TRUTH = RNG.integers(0, 2, (6, 7)).astype(np.uint8)


@pytest.mark.parametrize(
    "stored",
    [
        TRUTH,
        TRUTH * 255,
        TRUTH.astype(bool),
        TRUTH.astype(np.uint16),
        TRUTH.astype(np.float32),
        TRUTH.astype(np.int64),
        np.stack([TRUTH * 255] * 3, axis=2),
        np.stack([TRUTH * 255] * 3 + [np.full_like(TRUTH, 255)], axis=2),
        np.stack([TRUTH * 255, np.full_like(TRUTH, 255)], axis=2),
    ],
    ids=["0/1", "0/255", "bool", "uint16", "float", "int64", "grey rgb", "grey rgba", "grey alpha"],
)
def test_binary_masks_in_their_many_forms(stored):
    found = values().decode(stored)
    assert found.dtype == np.uint8
    assert_array_equal(found, TRUTH)


def test_one_value_against_the_rest():
    stored = np.array([[10, 11, 30], [0, 17, 10]], dtype=np.uint8)
    coding = values(values={10: 1, 11: 1}, other=0, ignore_values=[30])
    assert_array_equal(coding.decode(stored), [[1, 1, 255], [0, 0, 1]])


def test_values_become_classes_in_wide_types_too():
    stored = np.array([[7000, 5], [9, 7000]])
    coding = values(task="multiclass", num_classes=3, values={5: 0, 9: 1, 7000: 2})
    for dtype in (np.uint16, np.int32, np.int64):
        assert_array_equal(coding.decode(stored.astype(dtype)), [[2, 0], [1, 2]])


def test_multiclass_masks_hold_class_numbers_and_the_ignore_label():
    stored = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    assert_array_equal(values(task="multiclass", num_classes=3).decode(stored), stored)


def test_many_classes_need_wide_labels():
    found = values(task="multiclass", num_classes=1000, ignore_index=-1).decode(
        np.array([[999, 3]], dtype=np.uint16)
    )
    assert_array_equal(found, [[999, 3]])


def test_unknown_values_are_listed_with_counts():
    stored = np.array([[0, 1, 2, 7, 7, 9]], dtype=np.uint8)
    with pytest.raises(SegfocalError, match=r"7 \(2 pixels\), 9 \(1 pixels\)"):
        values(task="multiclass", num_classes=3).decode(stored)
    with pytest.raises(SegfocalError, match=r"70000 \(1 pixels\)"):
        values(task="multiclass", num_classes=3).decode(np.array([[0, 70000]]))


def test_one_and_255_together_are_ambiguous():
    one, full = np.array([[0, 1]], dtype=np.uint8), np.array([[0, 255]], dtype=np.uint8)
    with pytest.raises(SegfocalError, match="ignore_values"):
        values().decode(np.concatenate([one, full]))
    coding = values()
    coding.decode(one)
    with pytest.raises(SegfocalError, match="ignore_values"):
        coding.decode(full)
    values().decode(full)


def test_saying_what_255_means_settles_it():
    stored = np.array([[0, 1, 255]], dtype=np.uint8)
    assert_array_equal(values(ignore_values=[255]).decode(stored), [[0, 1, 255]])
    assert_array_equal(values(values={0: 0, 1: 1, 255: 1}).decode(stored), [[0, 1, 1]])


def test_fractions_and_colours_are_no_class_numbers():
    with pytest.raises(SegfocalError, match="fractions"):
        values().decode(np.array([[0.5, 1.0]]))
    with pytest.raises(SegfocalError, match=r"#ff0000 \(1 pixels\)"):
        values().decode(np.array([[[255, 0, 0], [0, 0, 0]]], dtype=np.uint8))


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_become_classes(alpha):
    labels = RNG.integers(0, 3, (5, 6))
    stored = np.array([[0x40, 0x20, 0x20], [255, 0, 0], [0x80, 0x80, 0x60]], dtype=np.uint8)[labels]
    if alpha:
        stored = np.concatenate([stored, np.full((5, 6, 1), 255, dtype=np.uint8)], axis=2)
    assert_array_equal(colours().decode(stored), labels)


def test_one_colour_against_the_rest():
    stored = np.array([[[255, 0, 0], [9, 9, 9], [0, 0, 0]]], dtype=np.uint8)
    coding = colours(task="binary", class_names=["lane"], other=0, ignore_colors=["#000000"])
    assert_array_equal(coding.decode(stored), [[1, 0, 255]])


def test_unknown_colours_are_listed_with_counts():
    stored = np.array([[[255, 0, 0], [1, 2, 3], [1, 2, 3]]], dtype=np.uint8)
    with pytest.raises(SegfocalError, match=r"#010203 \(2 pixels\)"):
        colours().decode(stored)


def test_a_class_without_a_colour_names_the_nearest():
    with pytest.raises(SegfocalError, match="Did you mean 'lane'"):
        colours(class_names=("road", "lanes"))


@pytest.mark.parametrize("color", ["#12", "red", [1, 2], [1, 2, 300], "#gg0000"])
def test_what_is_no_colour_is_refused(color):
    with pytest.raises(SegfocalError, match="colour must be"):
        colours(colors={"road": color}, class_names=["road"])


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(SegfocalError, match="labels 0 to 1"):
        values(values={3: 2})
    with pytest.raises(SegfocalError, match="ignore_index"):
        values(ignore_index=None, ignore_values=[3])


def test_multilabel_has_no_palette():
    with pytest.raises(SegfocalError, match="one file per class"):
        colours(task="multilabel")


@pytest.mark.parametrize("row", ["road,4,5.5,6", "road,4,x,6", "road,4,5", "road,4,-1,6", "road,4,5,256"])
def test_a_class_table_names_the_row_that_is_no_colour(row, tmp_path):
    (tmp_path / "t.csv").write_text(f"name,r,g,b\nsky,1,2,3\n{row}\n")
    with pytest.raises(SegfocalError, match=r"t\.csv, row 2 \(road\): r, g and b must be whole numbers"):
        read_class_table(tmp_path / "t.csv")


def test_a_binary_palette_without_background_names_other():
    stored = np.zeros((2, 2, 3), np.uint8)
    stored[0, 0] = (255, 0, 0)
    binary = {"task": "binary", "class_names": ["lane"]}
    with pytest.raises(SegfocalError, match=r"#000000 \(3 pixels\).*the background .*set other: 0"):
        colours(**binary).decode(stored)
    assert colours(**binary, other=0).decode(stored).tolist() == [[1, 0], [0, 0]]


def test_a_class_table_keeps_its_order(tmp_path):
    (tmp_path / "t.csv").write_text("index,Name,r,g,b\n0,sky,1,2,3\n1, road ,4,5,6\n")
    assert read_class_table(tmp_path / "t.csv") == {"sky": [1, 2, 3], "road": [4, 5, 6]}
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SegfocalError, match="name, r, g, b"):
        read_class_table(tmp_path / "bad.csv")
    with pytest.raises(SegfocalError, match="no such class table"):
        read_class_table(tmp_path / "none.csv")


GREY = np.array([[0, 3, 127], [128, 200, 255]], dtype=np.uint8)
ABOVE = [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize(
    "stored",
    [
        GREY,
        GREY.astype(np.uint16),
        GREY.astype(np.float32),
        np.stack([GREY] * 3, axis=2),
        np.stack([GREY, GREY, GREY, np.full_like(GREY, 7)], axis=2),
        np.stack([GREY, GREY - (GREY > 9), GREY], axis=2),  # what JPEG leaves between the channels
        GREY >= 128,
    ],
    ids=["grey", "uint16", "float", "rgb", "rgba", "nearly grey", "bits"],
)
def test_a_threshold_splits_grey_levels(task, stored):
    found = threshold_coding(task=task, threshold=128).decode(stored)
    assert found.dtype == np.uint8
    assert found.tolist() == ABOVE


def test_a_threshold_of_fractions():
    assert threshold_coding(task="binary", threshold=0.5).decode(np.array([[0.2, 0.5, 1.0]])).tolist() == [
        [0, 1, 1]
    ]


def test_what_a_threshold_does_not_fit_is_refused():
    with pytest.raises(SegfocalError, match="binary and multilabel"):
        threshold_coding(task="multiclass", threshold=128)
    with pytest.raises(SegfocalError, match="above 0"):
        threshold_coding(task="binary", threshold=0)
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    with pytest.raises(SegfocalError, match=r"grey levels, got colours: #ff0000"):
        threshold_coding(task="binary", threshold=128).decode(red)
    for other in (
        {"values": {0: 0, 1: 1}},
        {"other": 0},
        {"colors": {"a": "#ff0000"}},
        {"ignore_values": [1]},
    ):
        with pytest.raises(SegfocalError, match="threshold splits all stored values in two"):
            MaskSettings(Path(), **other, threshold=128)
