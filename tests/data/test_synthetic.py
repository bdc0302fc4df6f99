from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from segfocal.data.sampling import sample_rng
from segfocal.data.synthetic import SyntheticData
from segfocal.data.synthetic.source import PARTS
from segfocal.errors import SegfocalError

KINDS = ["vessels", "lesions", "lanes"]
TASKS = ["binary", "multiclass", "multilabel"]


def small(**settings):
    return SyntheticData(
        **{"image_size": 48, "patch_size": 32, "val_images": 3, "test_images": 3, **settings}
    )


def case(data, index, split="train"):
    source = data.source(split)
    return source.image(index), source.mask(index)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_equal_pictures_in_any_order(kind):
    first, second = small(kind=kind, seed=5).source("train"), small(kind=kind, seed=5).source("train")
    backwards = {index: (second.mask(index), second.image(index)) for index in (3, 1, 0)}
    for index in (0, 1, 3):
        assert_array_equal(first.image(index), backwards[index][1])
        assert_array_equal(first.mask(index), backwards[index][0])


def test_other_index_split_and_seed_give_other_pictures():
    pictures = [
        case(small(), 0)[0],
        case(small(), 1)[0],
        case(small(), 0, "val")[0],
        case(small(), 0, "test")[0],
        case(small(seed=1), 0)[0],
    ]
    assert len({picture.tobytes() for picture in pictures}) == 5


def test_every_case_and_part_has_its_own_randomness():
    firsts = []
    for seed, split in itertools.product(range(3), ["train", "val", "test"]):
        source = small(seed=seed).source(split)
        firsts += [source._rng(index, part).random() for index in range(20) for part in PARTS]
        firsts.append(sample_rng(seed, 0, 0).random())
    assert len(set(firsts)) == 9 * 80 + 3


def test_number_of_pictures_does_not_change_the_pictures():
    few, many = small(train_images=2), small(train_images=9)
    assert_array_equal(case(few, 1)[0], case(many, 1)[0])


def test_number_of_workers_does_not_matter():
    settings = {"train_images": 4, "patches_per_epoch": 8, "batch_size": 4}
    for loader in ("train_dataloader", "test_dataloader"):
        batches = [list(getattr(small(num_workers=n, **settings), loader)()) for n in (0, 2)]
        for alone, helped in zip(*batches, strict=True):
            assert torch.equal(alone["image"], helped["image"])
            assert torch.equal(alone["mask"], helped["mask"])


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("task", TASKS)
def test_shapes_types_and_ranges(task, channels):
    data = small(task=task, channels=channels, foreground=0.1, image_size=[40, 56])
    picture, mask = case(data, 0)
    assert picture.shape == (40, 56, channels)
    assert picture.dtype == mask.dtype == np.uint8
    assert mask.shape == ((3, 40, 56) if task == "multilabel" else (40, 56))
    assert mask.max() == (3 if task == "multiclass" else 1)
    assert data.num_classes == len(data.class_names) == {"binary": 1, "multiclass": 4, "multilabel": 3}[task]
    assert data.in_channels == channels
    sample = next(iter(data.test_dataloader()))
    assert sample["image"].shape == (1, channels, 40, 56)
    assert sample["image"].dtype == torch.float32
    assert sample["mask"].dtype == torch.uint8


def test_pictures_use_the_range_of_uint8_without_saturating():
    pictures = np.stack([case(small(kind=kind, foreground=0.2), i)[0] for kind in KINDS for i in range(5)])
    assert pictures.max() - pictures.min() > 150
    assert np.isin(pictures, [0, 255]).mean() < 0.001


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("foreground", [0.0005, 0.01, 0.05, 0.2])
def test_measured_foreground_meets_the_request(kind, foreground):
    source = SyntheticData(kind=kind, foreground=foreground, image_size=128).source("train")
    measured = np.mean([source.mask(index).mean() for index in range(50)])
    assert measured == pytest.approx(foreground, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_foreground_is_the_union_of_all_classes(kind, task):
    source = SyntheticData(kind=kind, task=task, foreground=0.05, image_size=96).source("train")
    masks = [source.mask(index) for index in range(50)]
    union = np.mean([(mask.any(axis=0) if task == "multilabel" else mask > 0).mean() for mask in masks])
    assert union == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_later_classes_are_rarer(kind):
    _, first, second, third = small(
        kind=kind, task="multiclass", image_size=96, train_images=12
    ).class_counts()
    assert first > 1.3 * second > 1.3**2 * third > 0


def test_class_counts_are_those_of_the_training_masks():
    data = small(task="multilabel", train_images=3)
    masks = np.stack([data.source("train").mask(index) for index in range(3)])
    positives = masks.sum(axis=(0, 2, 3), dtype=np.int64)
    assert_array_equal(data.class_counts(), np.stack([masks[:, 0].size - positives, positives], axis=1))


@pytest.mark.parametrize("kind", KINDS)
def test_labels_overlap_in_multilabel(kind):
    source = small(kind=kind, task="multilabel", foreground=0.1, image_size=96).source("train")
    overlapping = [(source.mask(index).sum(axis=0) > 1).sum() for index in range(10)]
    assert np.mean(overlapping) > 20


def test_foreground_classes_may_be_fewer():
    data = small(task="multiclass", foreground_classes=1, foreground=0.1)
    assert data.class_names == ["background", "plain"]
    assert case(data, 0)[1].max() == 1


def test_fingerprint_depends_on_what_changes_the_pictures():
    first, again, other = (small(seed=seed, train_images=2).fingerprint() for seed in (0, 0, 1))
    assert first == again
    assert first["sha256"] != other["sha256"]
    assert first["images"] == {"train": 2, "val": 3, "test": 3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "vesels"}, "Did you mean 'vessels'"),
        ({"task": "binery"}, "Did you mean 'binary'"),
        ({"foreground": 0.3}, r"foreground must lie in \[0.0005, 0.2\]"),
        ({"foreground": 0.0001}, "foreground"),
        ({"image_size": 16}, "at least 32 px, got 16"),
        ({"image_size": [64]}, "one or two numbers"),
        ({"foreground_classes": 2}, "foreground_classes must lie in 1 to 1 for binary, got 2"),
        ({"task": "multilabel", "foreground_classes": 4}, "1 to 3"),
        ({"channels": 0}, "channels"),
        ({"seed": -1}, "seed"),
        ({"test_images": -1}, "test_images"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(SegfocalError, match=message):
        SyntheticData(**settings)


def test_posterior_of_a_case_that_does_not_exist():
    with pytest.raises(SegfocalError, match=r"index must lie in \[0, 2\]"):
        small().posterior("test", 3)
