"""Lanes drawn and decoded come back."""

import os
from pathlib import Path

import numpy as np
import pytest

from segfocal.data import CULaneData, Split
from segfocal.data.lanes.decoding import Decoding, at_rows, decode_lanes
from segfocal.data.lanes.drawing import draw_lanes
from segfocal.errors import SegfocalError
from segfocal.metrics.lanes import CULaneCounts, match_lanes

SIZE = (288, 512)
DATA = Path(os.environ.get("SEGFOCAL_DATA", "absent")) / "culane_sample/images"


def road(shift=0.0):
    """Four lanes from a vanishing point, the outer ones flat, the inner ones bent a little."""
    y = np.arange(90.0, 280.0, 10.0)
    slopes = (-2.4, -0.7, 0.6, 2.1)
    return [np.stack([256 + shift + s * (y - 80) + 0.0008 * (y - 80) ** 2, y], axis=1) for s in slopes]


def distance(found, lane):
    rows = np.arange(max(found[0, 1], lane[0, 1]), min(found[-1, 1], lane[-1, 1]))
    return np.abs(at_rows(found, rows) - np.interp(rows, lane[:, 1], lane[:, 0])).max()


def test_a_drawn_road_comes_back_in_order():
    lanes = [lane[(lane[:, 0] > 0) & (lane[:, 0] < 511)] for lane in road()]
    found = decode_lanes(draw_lanes(lanes, size_px=SIZE, width_px=6))
    assert len(found) == 4
    assert all(distance(one, other) < 4 for one, other in zip(found, lanes, strict=True))


def test_positions_are_read_one_by_one():
    lanes = road()
    mask = draw_lanes(lanes, size_px=SIZE, width_px=6, labels=[1, 2, 3, 4])
    assert len(decode_lanes(mask, positions=4)) == 4
    assert len(decode_lanes(np.where(mask == 3, 0, mask), positions=4)) == 3


def test_dashes_are_one_lane_and_long_gaps_are_not():
    lane = [np.array([[200.0, 20.0], [240.0, 270.0]])]
    mask = draw_lanes(lane, size_px=SIZE, width_px=6)
    mask[np.arange(288) % 40 < 20] = 0
    (found,) = decode_lanes(mask)
    assert distance(found, lane[0]) < 2
    assert len(decode_lanes(mask, decoding=Decoding(gap=0.02, shortest=0.04))) == 6


def test_specks_are_no_lanes():
    mask = np.zeros(SIZE, np.uint8)
    mask[np.random.default_rng(0).random(SIZE) < 0.001] = 1
    assert decode_lanes(mask) == []
    assert decode_lanes(np.zeros(SIZE, np.uint8)) == []


def test_at_most_so_many_lanes():
    lanes = [np.array([[x, 20.0 + x / 4], [x, 280.0]]) for x in range(40, 500, 50)]
    found = decode_lanes(draw_lanes(lanes, size_px=SIZE, width_px=5), decoding=Decoding(most=3))
    assert [round(lane[0, 0]) for lane in found] == [40, 90, 140]  # the highest


def test_rows_outside_a_lane_are_minus_two():
    lane = np.array([[5.0, 10.0], [7.0, 12.0]])
    assert at_rows(lane, [9, 10, 11, 12, 13]).tolist() == [-2, 5, 6, 7, -2]


def test_masks_are_two_dimensional():
    with pytest.raises(SegfocalError, match=r"\(H, W\)"):
        decode_lanes(np.zeros((1, 4, 4), np.uint8))


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="SEGFOCAL_DATA names no folder with culane_sample/")
def test_real_lanes_drawn_and_decoded_all_match():
    source = CULaneData(str(DATA), split=Split(train=1.0)).source("train")
    total = CULaneCounts(0, 0, 0)
    for index in range(len(source)):
        total = total.plus(match_lanes(decode_lanes(source.mask(index)), source.lanes(index)))
    assert total == CULaneCounts(33, 0, 0)
