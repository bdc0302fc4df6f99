"""CULane's score on constructed lanes, and on shifted copies of real label files."""

import json
import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from segfocal.__main__ import main
from segfocal.data.lanes.lines import read_lines
from segfocal.errors import SegfocalError
from segfocal.metrics.lanes import CULaneCounts, lane_iou, match_lanes
from segfocal.metrics.lanes.culane_files import count_files, label_names

DATA = Path(os.environ.get("SEGFOCAL_DATA", "absent")) / "culane_sample/images"


def vertical(x):
    """A lane over the whole height and beyond, so that its round ends lie outside."""
    return [[x, y] for y in range(650, -70, -10)]


def test_lines_of_thirty_are_drawn_31_wide():
    iou = [lane_iou([vertical(500)], [vertical(500 + shift)])[0, 0] for shift in (0, 10, 11, 40)]
    assert iou == pytest.approx([1.0, 21 / 41, 20 / 42, 0.0], abs=1e-12)


def test_ten_pixels_match_and_eleven_do_not():
    assert match_lanes([vertical(500)], [vertical(510)]) == CULaneCounts(1, 0, 0)
    assert match_lanes([vertical(500)], [vertical(511)]) == CULaneCounts(0, 1, 1)


def test_threshold_is_strict():
    half = lane_iou([vertical(500)], [vertical(510)])[0, 0]
    assert match_lanes([vertical(500)], [vertical(510)], iou=half) == CULaneCounts(0, 1, 1)


def test_pairs_are_chosen_together():
    # greedily the first prediction would take the lane that only the second one can match
    predicted, lanes = [vertical(508), vertical(500)], [vertical(504), vertical(513)]
    assert match_lanes(predicted, lanes) == CULaneCounts(2, 0, 0)


def test_curve_is_the_natural_spline_over_chords():
    points = np.array([[100.0, 500], [140, 400], [300, 300], [310, 100]])
    picture = np.zeros((590, 1640), np.uint8)
    t = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    # second derivatives of the natural spline, solved by hand
    h = np.diff(t)
    system = np.array([[2 * (h[0] + h[1]), h[1]], [h[1], 2 * (h[1] + h[2])]])
    jumps = np.diff(np.diff(points, axis=0) / h[:, None], axis=0) * 6
    bend = np.zeros_like(points)
    bend[1:3] = np.linalg.solve(system, jumps)
    curve = []
    for i in range(3):
        for s in h[i] * np.arange(50) / 50:
            rise = (points[i + 1] - points[i]) / h[i] - h[i] * (2 * bend[i] + bend[i + 1]) / 6
            curve.append(
                points[i] + s * rise + s**2 * bend[i] / 2 + s**3 * (bend[i + 1] - bend[i]) / (6 * h[i])
            )
    curve.append(points[-1])
    corners = [np.rint(point.astype(np.float32)).astype(int).tolist() for point in curve]
    for start, end in pairwise(corners):
        cv2.line(picture, start, end, 1, 30)
    ours = lane_iou([points], [[[float(x), float(y)] for x, y in points]])
    assert ours[0, 0] == 1.0
    from segfocal.metrics.lanes.culane import _drawn

    assert np.array_equal(_drawn(points, size_px=(590, 1640), width_px=30), picture)


def test_points_given_twice_count_once():
    lane = vertical(500)
    assert lane_iou([[lane[0], *lane]], [lane])[0, 0] == 1.0


@pytest.mark.parametrize("lane", [[], [[5.0, 5.0]]], ids=["empty", "one-point"])
def test_a_lane_without_length_matches_nothing(lane):
    assert match_lanes([lane], [vertical(500)]) == CULaneCounts(0, 1, 1)


def test_no_lanes_on_either_side():
    assert match_lanes([], [vertical(5)]) == CULaneCounts(0, 0, 1)
    assert match_lanes([vertical(5)], []) == CULaneCounts(0, 1, 0)
    assert CULaneCounts(0, 0, 0).scores() == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "lane", [[[1, 2, 3]], [1, 2], [[1, float("nan")], [2, 3]]], ids=["three", "flat", "nan"]
)
def test_broken_points_are_named(lane):
    with pytest.raises(SegfocalError, match="a lane must be finite points"):
        match_lanes([lane], [])


def write_lanes(path, lanes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(" ".join(f"{x} {y}" for x, y in lane) + "\n" for lane in lanes))


@pytest.fixture
def folders(tmp_path):
    for number in range(3):
        write_lanes(tmp_path / f"labels/clip/{number:05}.lines.txt", [vertical(400), vertical(800)])
        write_lanes(tmp_path / f"guesses/clip/{number:05}.lines.txt", [vertical(405), vertical(820)])
    (tmp_path / "guesses/clip/00002.lines.txt").unlink()
    return tmp_path


def test_folders_are_counted(folders):
    names = label_names(folders / "labels")
    assert names == ["clip/00000", "clip/00001", "clip/00002"]
    assert count_files(folders / "guesses", folders / "labels", names) == CULaneCounts(2, 2, 4)


def test_processes_do_not_change_the_counts(folders, monkeypatch):
    monkeypatch.setattr("segfocal.metrics.lanes.culane_files._POOL_FROM", 1)
    names = label_names(folders / "labels")
    assert count_files(folders / "guesses", folders / "labels", names, processes=2) == CULaneCounts(2, 2, 4)


def test_categories_from_lists(folders, capsys):
    (folders / "test0_normal.txt").write_text("/clip/00000.jpg\nclip/00002.jpg\n")
    (folders / "test6_cross.txt").write_text("clip/00001.jpg\n")
    write_lanes(folders / "labels/clip/00001.lines.txt", [])
    words = [
        "--predictions",
        str(folders / "guesses"),
        "--labels",
        str(folders / "labels"),
        "--json",
        "--list",
    ]
    words += [str(folders / "test0_normal.txt"), str(folders / "test6_cross.txt")]
    assert main(["evaluate", "culane", *words]) == 0
    normal, cross = json.loads(capsys.readouterr().out)["categories"]
    assert normal == {
        "category": "test0_normal", "images": 2, "tp": 1, "fp": 1, "fn": 3, "precision": 0.5, "recall": 0.25,
        "f1": pytest.approx(1 / 3),
    }  # fmt: skip
    assert (cross["fp"], cross["f1"]) == (2, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", "line 1 must be pairs x y, got 3"),
        ("1 2\n3 x\n", "line 2 must be numbers"),
        ("1 inf\n", "line 1"),
    ],
    ids=["odd", "word", "infinite"],
)
def test_broken_files_are_named(tmp_path, text, message):
    (tmp_path / "a.lines.txt").write_text(text)
    with pytest.raises(SegfocalError, match=message):
        read_lines(tmp_path / "a.lines.txt")


def test_wrong_folders_are_named(folders):
    with pytest.raises(SegfocalError, match=r"must hold files that end in .lines.txt"):
        label_names(folders / "nowhere")
    with pytest.raises(SegfocalError, match="it holds none of the 3 files"):
        count_files(folders / "nowhere", folders / "labels", label_names(folders / "labels"))
    (folders / "list.txt").write_text("clip/7.jpg\n")
    with pytest.raises(SegfocalError, match=r"1 images without labels .* the first is clip/7"):
        label_names(folders / "labels", only=folders / "list.txt")


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="SEGFOCAL_DATA names no folder with culane_sample/")
def test_shifted_copies_of_real_labels(tmp_path):
    names = label_names(DATA)
    total = sum(len(read_lines(DATA / f"{name}.lines.txt")) for name in names)
    for shift, found in ((0, total), (8, total), (60, 0)):
        for name in names:
            lanes = [lane + np.array([shift, 0]) for lane in read_lines(DATA / f"{name}.lines.txt")]
            write_lanes(tmp_path / f"{shift}/{name}.lines.txt", lanes)
        assert count_files(tmp_path / str(shift), DATA, names) == CULaneCounts(
            found, total - found, total - found
        )
