"""TuSimpleData and CULaneData read the official files, draw masks and keep drives apart."""

import json

import numpy as np
import pytest

from segfocal.data import CULaneData, Split, TuSimpleData
from segfocal.errors import SegfocalError

SMALL = {"patch_size": 32, "batch_size": 2, "width_px": 3.0}


def test_tusimple_keeps_drives_apart(tusimple):
    split = Split(train=0.5, val=0.5, group="clips/([^/]+)/")
    data = TuSimpleData(str(tusimple), ["labels.json"], split=split, **SMALL)
    drives = [{name.split("/")[1] for name in data.source(part).names} for part in ("train", "val")]
    assert sorted(map(len, drives)) == [1, 1]
    assert not drives[0] & drives[1]


def test_tusimple_mask_lies_on_the_lanes(tusimple):
    source = TuSimpleData(str(tusimple), ["labels.json"], **SMALL).source("train")
    image, mask = source.image(0), source.mask(0)
    assert mask.shape == image.shape[:2]
    assert image[mask == 1].mean() > 150 > 60 > image[mask == 0].mean()


def test_positions_make_classes(tusimple):
    data = TuSimpleData(str(tusimple), ["labels.json"], positions=4, **SMALL)
    assert data.class_names == ["background", "lane 1", "lane 2", "lane 3", "lane 4"]
    index = data.source("train").names.index("clips/drive0/0/20")
    assert set(np.unique(data.source("train").mask(index))) == {0, 1, 2, 3}


def test_points_of_another_size_are_scaled(tusimple):
    plain = TuSimpleData(str(tusimple), ["labels.json"], **SMALL).source("train")
    for line in (lines := [json.loads(text) for text in (tusimple / "labels.json").read_text().splitlines()]):
        line["lanes"] = [[2 * x if x >= 0 else -2 for x in lane] for lane in line["lanes"]]
        line["h_samples"] = [2 * y for y in line["h_samples"]]
    (tusimple / "double.json").write_text("\n".join(map(json.dumps, lines)))
    settings = SMALL | {"width_px": 6.0, "labelled_px": [192, 320]}
    double = TuSimpleData(str(tusimple), ["double.json"], **settings).source("train")
    assert all(np.array_equal(plain.mask(k), double.mask(k)) for k in range(len(plain)))


def test_test_labels_are_the_test_split(tusimple):
    lines = (tusimple / "labels.json").read_text().splitlines(keepends=True)
    (tusimple / "train.json").write_text("".join(lines[:6]))
    (tusimple / "test.json").write_text("".join(lines[6:]))
    data = TuSimpleData(str(tusimple), ["train.json"], test_labels=["test.json"], **SMALL)
    assert [len(data.source(part)) for part in ("train", "val", "test")] == [5, 1, 2]
    batch = next(iter(data.train_dataloader()))
    assert tuple(batch["image"].shape) == (2, 3, 32, 32)
    assert {0, 1} <= set(batch["mask"].unique().tolist()) <= {0, 1, 255}  # warps bring in unknown pixels


def test_frames_without_lanes_are_background(tusimple):
    lines = [json.loads(text) for text in (tusimple / "labels.json").read_text().splitlines()]
    lines[0]["lanes"] = [[-2] * len(lines[0]["h_samples"])]
    lines[1]["lanes"] = []
    (tusimple / "labels.json").write_text("\n".join(map(json.dumps, lines[:2])))
    split = Split(train=1, test=1)
    data = TuSimpleData(str(tusimple), ["labels.json"], split=split, **SMALL)
    assert not data.source("train").mask(0).any()
    assert not data.source("test").mask(0).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h_samples": [1, 2]}, r"line 1: a lane has 14 positions for 2 h_samples"),
        ({"raw_file": 3}, r"line 1: raw_file must be the path of an image, got 3"),
        ({"lanes": [[float("nan")] * 14]}, r"line 1: lanes and h_samples must be finite"),
        ({"h_samples": [float("nan")] * 14}, r"line 1: lanes and h_samples must be finite"),
        ({"raw_file": "clips/none.jpg"}, r"line 1: the image .*none.jpg is missing"),
        ({"lanes": "x"}, r"line 1 must be a JSON object with raw_file, lanes and h_samples"),
    ],
    ids=["rows", "raw", "nan", "nan-rows", "image", "lanes"],
)
def test_wrong_label_lines_are_named(tusimple, change, message):
    line = json.loads((tusimple / "labels.json").read_text().splitlines()[0]) | change
    (tusimple / "wrong.json").write_text(json.dumps(line))
    with pytest.raises(SegfocalError, match=message):
        TuSimpleData(str(tusimple), ["wrong.json"], **SMALL).source("train")


def test_a_frame_labelled_twice_is_named(tusimple):
    with pytest.raises(SegfocalError, match=r"clips/drive0/0/20 is labelled twice"):
        TuSimpleData(str(tusimple), ["labels.json", "labels.json"], **SMALL).source("train")
    with pytest.raises(SegfocalError, match="there is no such label file"):
        TuSimpleData(str(tusimple), ["absent.json"], **SMALL).source("train")


def test_odd_positions_are_refused(tusimple):
    with pytest.raises(SegfocalError, match="positions must be an even number"):
        TuSimpleData(str(tusimple), ["labels.json"], positions=3, **SMALL)


def test_culane_lists(culane):
    data = CULaneData(str(culane), lists={"train": "train.txt", "test": "test.txt"}, **SMALL)
    assert [data.source(part).names for part in ("train", "val", "test")] == [
        ["clip0.MP4/00000", "clip0.MP4/00002"],
        [],
        ["clip1.MP4/00001"],
    ]
    image, mask = data.source("test").image(0), data.source("test").mask(0)
    assert image[mask == 1].mean() > 150 > 60 > image[mask == 0].mean()


def test_culane_lists_with_a_share_for_validation(culane):
    lists = {"train": "train.txt", "test": "test.txt"}
    data = CULaneData(str(culane), lists=lists, split=Split(train=["*"], val_share=0.5), **SMALL)
    assert [len(data.source(part)) for part in ("train", "val", "test")] == [1, 1, 1]


def test_culane_by_clip(culane):
    split = Split(train=0.5, test=0.5, group="([^/]+)/[^/]+$")
    data = CULaneData(str(culane), split=split, **SMALL)
    assert {name.split("/")[0] for name in data.source("train").names} == set(data.source("train").groups)
    assert not set(data.source("train").groups) & set(data.source("test").groups)


def test_culane_files_must_lie_together(culane):
    (culane / "clip0.MP4/00002.lines.txt").unlink()
    with pytest.raises(SegfocalError, match=r"00002.lines.txt is missing"):
        CULaneData(str(culane), lists={"train": "train.txt"}, **SMALL).source("train")
    with pytest.raises(SegfocalError, match="there is no such list file"):
        CULaneData(str(culane), lists={"train": "none.txt"}, **SMALL).source("train")
    with pytest.raises(SegfocalError, match="needs lists"):
        CULaneData(str(culane), **SMALL)
    with pytest.raises(SegfocalError, match="lists takes train, val and test, got 'dev'"):
        CULaneData(str(culane), lists={"dev": "train.txt"}, **SMALL)


def test_fingerprint_follows_points_and_width(tusimple):
    prints = [
        TuSimpleData(str(tusimple), ["labels.json"], **SMALL | change).fingerprint()["sha256"]
        for change in ({}, {}, {"width_px": 4.0}, {"positions": 2})
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
