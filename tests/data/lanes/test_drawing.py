import numpy as np
import pytest

from segfocal.data.lanes.drawing import draw_lanes, lane_positions
from segfocal.errors import SegfocalError


def upright(x, top=0.0, bottom=99.0):
    return np.array([[x, top], [x, bottom]])


def test_a_lane_has_its_width_and_label():
    mask = draw_lanes([upright(30), upright(70)], size_px=(100, 100), width_px=5, labels=[2, 3])
    assert {int(label): int((mask[50] == label).sum()) for label in np.unique(mask)} == {0: 90, 2: 5, 3: 5}


@pytest.mark.parametrize(("width_px", "drawn"), [(1, 1), (2, 3), (3, 3), (5.9, 5), (16, 17), (30, 31)])
def test_drawn_widths_are_odd(width_px, drawn):
    assert draw_lanes([upright(50)], size_px=(100, 100), width_px=width_px)[50].sum() == drawn


def test_points_far_outside_do_no_harm():
    lane = np.array([[-1e9, 50.0], [1e9, 50.0]])
    assert draw_lanes([lane], size_px=(100, 100), width_px=1)[50].all()


def test_short_lanes_draw_nothing():
    lanes = [np.zeros((0, 2)), np.array([[5.0, 5.0]])]
    assert not draw_lanes(lanes, size_px=(10, 10), width_px=3).any()


def test_positions_count_from_the_camera():
    lanes = [upright(x) for x in (90, 45, 20, 60)]
    assert lane_positions(lanes, size_px=(100, 100), count=4) == [4, 2, 1, 3]
    assert lane_positions(lanes[:2], size_px=(100, 100), count=4) == [3, 2]


def test_lanes_further_out_have_no_position():
    lanes = [upright(x) for x in (5, 20, 45, 60)]
    assert lane_positions(lanes, size_px=(100, 100), count=4) == [0, 1, 2, 3]
    assert lane_positions([*lanes, np.zeros((1, 2))], size_px=(100, 100), count=2) == [0, 0, 1, 2, 0]


def test_slanted_lanes_are_ordered_where_they_meet_the_lower_edge():
    falling = np.array([[60.0, 0.0], [40.0, 40.0]])  # reaches x = 10 at the lower edge
    assert lane_positions([upright(30), falling], size_px=(100, 100), count=4) == [2, 1]


def test_width_must_be_positive():
    with pytest.raises(SegfocalError, match="lane width"):
        draw_lanes([], size_px=(4, 4), width_px=0)
