"""TuSimple's score against a plain transcription of its rules, and against the published number."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from segfocal.errors import SegfocalError
from segfocal.metrics.lanes import FrameScore, score_frame
from segfocal.metrics.lanes.tusimple_files import mean_score, score_files

ROWS = list(range(160, 720, 10))
DATA = Path(os.environ.get("SEGFOCAL_DATA", "absent")) / "tusimple"


def straight(start, slope):
    return [start + slope * (row - 160) for row in ROWS]


def plain_score(predicted, lanes):
    """Row by row, lane by lane, with a least-squares line from numpy."""
    if len(predicted) > len(lanes) + 2:
        return 0.0, 0.0, 1.0
    best = []
    for lane in lanes:
        known = [(y, x) for y, x in zip(ROWS, lane, strict=True) if x >= 0]
        slope = np.polyfit(*np.array(known, float).T, 1)[0] if len(known) > 1 else 0.0
        allowed = 20 / math.cos(math.atan(slope))
        shares = [0.0]
        for guess in predicted:
            right = [
                abs((g if g >= 0 else -100) - (x if x >= 0 else -100)) < allowed
                for g, x in zip(guess, lane, strict=True)
            ]
            shares.append(sum(right) / len(right))
        best.append(max(shares))
    matched = sum(share >= 0.85 for share in best)
    missed = len(lanes) - matched
    total = sum(best)
    if len(lanes) > 4:
        total -= min(best)
        missed -= missed > 0
    divisor = max(min(4, len(lanes)), 1)
    wrong = (len(predicted) - matched) / len(predicted) if predicted else 0.0
    return total / divisor, wrong, missed / divisor


def test_random_frames_score_as_the_rules_say():
    rng = np.random.default_rng(0)
    for _ in range(200):
        lanes = [straight(rng.uniform(100, 1100), rng.uniform(-2, 2)) for _ in range(rng.integers(0, 6))]
        lanes = [[-2 if rng.random() < 0.2 else x for x in lane] for lane in lanes]
        predicted = [[x + rng.normal(0, 15) for x in lane] for lane in lanes if rng.random() < 0.8]
        predicted += [straight(rng.uniform(100, 1100), 0.3) for _ in range(rng.integers(0, 4))]
        assert score_frame(predicted, lanes, rows=ROWS) == pytest.approx(
            plain_score(predicted, lanes), abs=1e-12
        )


def test_a_point_at_the_tolerance_is_wrong():
    assert score_frame([straight(500, 0)], [straight(480.0, 0)], rows=ROWS).accuracy == 0
    assert score_frame([straight(500, 0)], [straight(480.1, 0)], rows=ROWS).accuracy == 1


def test_a_slanted_lane_is_given_more_room():
    off = [x + 28 for x in straight(100, 1)]  # 28 px across is 20 px at right angles, just below the limit
    assert score_frame([off], [straight(100, 1)], rows=ROWS).accuracy == 1


def test_tolerance_scales_with_the_width():
    assert score_frame([straight(510, 0)], [straight(500, 0)], rows=ROWS, width_px=640).accuracy == 0
    assert score_frame([straight(509, 0)], [straight(500, 0)], rows=ROWS, width_px=640).accuracy == 1


def test_too_slow_or_too_many_lanes_lose_the_frame():
    lane = straight(500, 0)
    assert score_frame([lane], [lane], rows=ROWS, run_time_ms=200.0).accuracy == 1
    assert score_frame([lane], [lane], rows=ROWS, run_time_ms=200.1) == FrameScore(0.0, 0.0, 1.0)
    assert score_frame([lane] * 4, [lane], rows=ROWS) == FrameScore(0.0, 0.0, 1.0)
    assert score_frame([lane] * 3, [lane], rows=ROWS) == FrameScore(1.0, pytest.approx(2 / 3), 0.0)


def test_with_five_lanes_the_worst_is_forgiven():
    lanes = [straight(100 + 200 * k, 0) for k in range(5)]
    assert score_frame(lanes[:4], lanes, rows=ROWS) == FrameScore(1.0, 0.0, 0.0)
    assert score_frame(lanes[:3], lanes, rows=ROWS) == FrameScore(0.75, 0.0, 0.25)


def test_absent_lanes_agree_and_no_lane_at_all_scores():
    absent = [-2] * len(ROWS)
    assert score_frame([absent], [absent], rows=ROWS) == FrameScore(1.0, 0.0, 0.0)
    assert score_frame([], [], rows=ROWS) == FrameScore(0.0, 0.0, 0.0)
    assert score_frame([], [absent], rows=ROWS) == FrameScore(0.0, 0.0, 1.0)


def test_one_point_and_unsorted_rows():
    lane = [-2] * len(ROWS)
    lane[7] = 640
    assert score_frame([lane], [lane], rows=ROWS[::-1]).accuracy == 1


@pytest.mark.parametrize(
    "lane", [[1, 2], [math.nan] * len(ROWS), [[1.0] * len(ROWS)]], ids=["short", "nan", "nested"]
)
def test_broken_lanes_are_named(lane):
    with pytest.raises(SegfocalError, match="a predicted lane must"):
        score_frame([lane], [], rows=ROWS)


def write(path, frames):
    path.write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    return path


@pytest.fixture
def files(tmp_path):
    lane = [500] * len(ROWS)
    frames = [{"raw_file": f"clips/{n}/20.jpg", "lanes": [lane], "h_samples": ROWS} for n in range(3)]
    guesses = [{"raw_file": frame["raw_file"], "lanes": [lane], "run_time": 10} for frame in reversed(frames)]
    return tmp_path, frames, guesses


def test_files_are_joined_by_name(files):
    folder, frames, guesses = files
    guesses[0]["lanes"] = []
    scores = score_files(write(folder / "p.json", guesses), write(folder / "l.json", frames))
    assert scores["clips/2/20.jpg"] == FrameScore(0.0, 0.0, 1.0)
    assert mean_score(scores) == pytest.approx((2 / 3, 0.0, 1 / 3))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda guesses: guesses.pop(), "lacks 1 of the 3 frames .*: clips/0/20.jpg"),
        (
            lambda guesses: guesses[0].update(raw_file="clips/9/20.jpg"),
            "does not label: clips/9/20.jpg",
        ),
        (lambda guesses: guesses.append(guesses[0]), "line 4: the frame clips/2/20.jpg is there twice"),
        (lambda guesses: guesses[1].pop("run_time"), "line 2 must have the keys .* run_time is missing"),
        (lambda guesses: guesses[1].update(lanes=[3]), "line 2: lanes must be a list of lists"),
        (lambda guesses: guesses[1].update(run_time="fast"), "line 2: run_time must be a number, got 'fast'"),
        (lambda guesses: guesses[1].update(lanes=[[5, 6]]), "clips/1/20.jpg in .* one position per row, 56"),
        (lambda guesses: guesses.clear(), "got an empty file"),
    ],
    ids=["missing", "unknown", "twice", "no-time", "no-lanes", "word-time", "short", "empty"],
)
def test_wrong_files_are_named(files, spoil, message):
    folder, frames, guesses = files
    spoil(guesses)
    with pytest.raises(SegfocalError, match=message):
        score_files(write(folder / "p.json", guesses), write(folder / "l.json", frames))


def test_damaged_line_is_named(files):
    folder, frames, _ = files
    (folder / "p.json").write_text('{"raw_file": \n')
    with pytest.raises(SegfocalError, match=r"p.json, line 1 must be a JSON object"):
        score_files(folder / "p.json", write(folder / "l.json", frames))


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="SEGFOCAL_DATA names no folder with tusimple/")
def test_published_baseline_gets_its_official_score():
    scores = score_files(DATA / "predictions/test_baseline.json", DATA / "labels_full/test_label.json")
    official = (0.6534776068946627, 0.6965312724658519, 0.647705487658762)
    assert len(scores) == 2782
    assert mean_score(scores) == pytest.approx(official, abs=1e-9)
