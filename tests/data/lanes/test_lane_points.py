"""Points go where the mask goes: crops, reduction, mirrors and warps; positions count from the left again."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from segfocal.data import CULaneData, Preprocess, Split, TuSimpleData
from segfocal.data.lanes.drawing import draw_lanes, foot, lane_positions
from segfocal.data.transforms import Augmentation
from segfocal.errors import SegfocalError

WHOLE = {"patch_size": [96, 160], "batch_size": 2, "width_px": 9.0, "foreground_share": 0.0}
MIRROR = [{"class_path": "HorizontalFlip", "init_args": {"p": 1.0}}]
WARPS = [
    {"class_path": "Affine", "init_args": {"scale": [0.8, 1.2], "rotate": [-10, 10], "p": 1.0}},
    {"class_path": "Perspective", "init_args": {"scale": [0.02, 0.08], "p": 1.0}},
]
SPLIT = Split(train=7, test=1)


def tusimple_data(root, **settings):
    return TuSimpleData(str(root), ["labels.json"], split=SPLIT, **WHOLE | settings)


def overlap(sample, width_px):
    """IoU of the augmented mask and one drawn from the augmented points, where the mask is known."""
    mask = sample["mask"].numpy()
    drawn = draw_lanes(sample["lanes"], size_px=mask.shape, width_px=width_px, labels=sample["lane_labels"])
    known = mask != 255
    both = (mask == drawn) & (mask > 0) & known
    return both.sum() / (((mask > 0) | (drawn > 0)) & known).sum()


@pytest.mark.parametrize("positions", [0, 4])
@pytest.mark.parametrize("augment", ["none", "road", MIRROR, WARPS], ids=["none", "road", "mirror", "warps"])
def test_masks_drawn_from_augmented_points_are_the_augmented_masks(tusimple, augment, positions):
    data = tusimple_data(tusimple, points=True, augment=augment, positions=positions)
    patches = data.patches(16)
    found = [overlap(patches[0, index], 9.0) for index in range(16)]
    # edges are rounded twice, and a road that is scaled by up to 1.2 has wider lanes
    assert min(found) > (0.95 if augment in ("none", MIRROR) else 0.7)


def test_quarter_turns_of_one_class_take_the_points_along(tusimple):
    patches = tusimple_data(tusimple, points=True, augment="flips", patch_size=64).patches(24)
    found = [overlap(sample, 9.0) for sample in (patches[0, k] for k in range(24)) if sample["mask"].any()]
    assert len(found) > 12
    assert min(found) > 0.85


def test_crops_and_reduction_take_the_points_along(tusimple):
    half = tusimple_data(
        tusimple, points=True, augment="none", preprocess=Preprocess(scale=0.5), patch_size=32
    ).patches(12)
    samples = [half[0, index] for index in range(12)]
    found = [overlap(sample, 4.5) for sample in samples if sample["mask"].sum() > 20]
    assert len(found) > 4
    assert min(found) > 0.6  # 9 px, halved


def test_a_mirrored_road_counts_from_the_left_again(tusimple):
    plain = tusimple_data(tusimple, positions=4, augment="none").patches(1)[0, 0]["mask"].numpy()
    mirrored = tusimple_data(tusimple, positions=4, augment=MIRROR).patches(1)[0, 0]["mask"].numpy()
    assert set(np.unique(plain)) == {0, 1, 2, 3}
    assert set(np.unique(mirrored)) == {0, 2, 3, 4}
    assert_array_equal(mirrored, np.where(plain > 0, 5 - plain, 0)[:, ::-1])


@pytest.mark.parametrize("augment", [["mirror"], "road", MIRROR], ids=["mirror", "road", "albumentations"])
def test_lanes_stay_in_order_and_positions_follow_the_mirror(tusimple, augment):
    settings = {"positions": 4, "points": True}
    plain = tusimple_data(tusimple, augment="none", **settings).patches(14)
    changed = tusimple_data(tusimple, augment=augment, **settings).patches(14)
    mirrored = []
    for index in range(14):
        before, after = plain[0, index], changed[0, index]
        feet = [foot(lane, 96) for lane in after["lanes"]]
        assert feet == sorted(feet)
        assert before["lane_labels"] == lane_positions(before["lanes"], size_px=(96, 160), count=4)
        turned = [5 - label for label in reversed(before["lane_labels"])]
        assert after["lane_labels"] in (before["lane_labels"], turned)
        mirrored.append(after["lane_labels"] == turned)
    assert all(mirrored) if augment is MIRROR else len(set(mirrored)) == 2


def test_points_change_nothing_else(tusimple):
    with_points, without = (tusimple_data(tusimple, points=points).patches(6) for points in (True, False))
    for index in range(6):
        one, other = with_points[2, index], without[2, index]
        assert_array_equal(one["image"], other["image"])
        assert_array_equal(one["mask"], other["mask"])
        assert "lanes" not in other


def test_lane_boundaries_outside_the_patch_stay(tusimple):
    data = tusimple_data(tusimple, points=True, augment="none", patch_size=32)
    sample = data.patches(4)[0, 3]
    assert len(sample["lanes"]) == 3
    assert all(len(lane) > 10 for lane in sample["lanes"])


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_batches_hold_a_list_of_lanes_per_image(tusimple, workers):
    data = tusimple_data(tusimple, points=True, patches_per_epoch=4, num_workers=workers)
    batch = next(iter(data.train_dataloader()))
    assert tuple(batch["image"].shape) == (2, 3, 96, 160)
    assert [len(lanes) for lanes in batch["lanes"]] == [3, 3]
    assert all(lane.dtype == np.float32 and lane.shape[1] == 2 for lanes in batch["lanes"] for lane in lanes)
    assert batch["lane_labels"] == [[1, 1, 1], [1, 1, 1]]


def test_whole_images_carry_their_lanes(culane):
    data = CULaneData(str(culane), split=Split(train=4, test=2), points=True, **WHOLE)
    sample = next(iter(data.test_dataloader()))
    source = data.source("test")
    for lane, stored in zip(sample["lanes"][0], source.lanes(0), strict=True):
        assert_allclose(lane, stored, atol=1e-4)
    assert "lanes" not in next(iter(data.predict_dataloader()))


def test_positions_refuse_to_stand_on_their_head(tusimple):
    with pytest.raises(SegfocalError, match=r"positions have no left and right\. Set augment: road"):
        tusimple_data(tusimple, positions=4, augment="flips")


def test_a_transform_that_loses_points_is_named():
    away = {"class_path": "Affine", "init_args": {"translate_percent": [0.5, 0.5], "p": 1.0}}
    augmentation = Augmentation([away], ignore_index=255, points=True)
    augmentation.compose.processors["keypoints"].params.remove_invisible = True
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    with pytest.raises(SegfocalError, match="augment must keep all 2 points"):
        augmentation.with_points(image, mask, np.array([[2.0, 2.0], [7.0, 7.0]]), np.random.default_rng(0))
