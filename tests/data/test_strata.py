"""Splits that hold every class: counted in masks that the test made, over many draws."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from segfocal.data import ForeignData
from segfocal.data.folder import FolderData
from segfocal.data.splits import Split
from segfocal.data.strata import MOST, Presence, ordered, spread

CLASSES = ["a", "b", "c"]


def drawn(split, held, *, classes=CLASSES, notes=None):
    """Divide names by what their masks hold, and return the splits and the names whose masks were read."""
    read = []

    def look(name):
        read.append(name)
        return held[name]

    presence = Presence(look, classes, [] if notes is None else notes)
    parts = split.finish(split.divide(sorted(held), root=None, presence=presence), presence=presence)
    return parts, read


def cases(rng, *, groups, chances):
    """Make groups of one to three images; a class is in an image with its chance."""
    return {
        f"g{group:02d}_{index}": frozenset(np.flatnonzero(rng.random(len(chances)) < chances).tolist())
        for group in range(groups)
        for index in range(rng.integers(1, 4))
    }


def holders(held, number):
    return {name[:3] for name, classes in held.items() if number in classes}


def homes(parts, held, number):
    return {part for part, names in parts.items() if any(number in held[name] for name in names)}


SPLITS = {
    "shares": Split(train=0.6, val=0.2, test=0.2, group=r"g\d+"),
    "val share": Split(train=0.7, test=0.3, val_share=0.3, group=r"g\d+"),
}


@pytest.mark.parametrize("kind", SPLITS)
@pytest.mark.parametrize("seed", range(12))
def test_classes_of_enough_groups_are_in_every_split_and_groups_stay_whole(kind, seed):
    held = cases(np.random.default_rng(seed), groups=24, chances=[1.0, 0.3, 0.1])
    plain = SPLITS[kind].finish(SPLITS[kind].divide(sorted(held), root=None))
    parts, _ = drawn(SPLITS[kind], held)
    assert sorted(name for names in parts.values() for name in names) == sorted(held)
    of = {part: {name[:3] for name in names} for part, names in parts.items()}
    assert sum(map(len, of.values())) == len(set().union(*of.values()))
    if kind == "shares":
        assert all(abs(len(parts[part]) - len(plain[part])) < 6 for part in parts)
        for number in range(3):
            assert len(homes(parts, held, number)) == min(3, len(holders(held, number)))
    assert drawn(SPLITS[kind], held)[0] == parts


@pytest.mark.parametrize("seed", range(20))
def test_two_of_24_images_are_in_as_many_splits_as_they_can(seed):
    rng = np.random.default_rng(seed)
    positive = rng.permutation(24)[:2]
    held = {f"{index:02d}": frozenset([0] if index in positive else []) for index in range(24)}
    notes = []
    split = Split(train=0.6, val=0.2, test=0.2, seed=seed)
    parts, _ = drawn(split, held, classes=["lesion"], notes=notes)
    assert len(homes(parts, held, 0)) == 2
    assert "train" in homes(parts, held, 0)
    assert any("lesion is in 2 of 24" in note and "too few for every split" in note for note in notes)


@pytest.mark.parametrize("seed", range(6))
def test_each_fold_holds_a_class_of_as_many_groups_and_is_the_same_in_each_call(seed):
    rng = np.random.default_rng(seed)
    positive = rng.permutation(20)[:4]
    held = {f"g{index:02d}_0": frozenset([0, 1] if index in positive else [0]) for index in range(20)}
    folds = [
        drawn(Split(test_folds=4, test_fold=fold, seed=seed), held, classes=["a", "b"])[0]
        for fold in range(4)
    ]
    tests = [set(parts["test"]) for parts in folds]
    assert sorted(name for names in tests for name in names) == sorted(held)
    assert all(any(1 in held[name] for name in names) for names in tests)
    inner = [
        drawn(Split(train=1.0, val_folds=4, val_fold=fold, seed=seed), held, classes=["a", "b"])[0]
        for fold in range(4)
    ]
    assert all(any(1 in held[name] for name in parts["val"]) for parts in inner)


def test_where_chance_did_it_nothing_changes_and_few_masks_are_read():
    held = {f"{index:03d}": frozenset([0, 1]) for index in range(300)}
    split = Split(train=0.6, val=0.2, test=0.2)
    parts, read = drawn(split, held, classes=["a", "b"])
    assert parts == split.finish(split.divide(sorted(held), root=None))
    assert len(read) <= 30


def test_the_users_own_splits_and_stratify_false_read_nothing():
    held = {f"{index:02d}": frozenset([0] if index == 3 else []) for index in range(20)}
    for split in (
        Split(train=12, val=4, test=4),
        Split(train=["0*"], test=["1*"]),
        Split(train=0.6, val=0.4, stratify=False),
    ):
        parts, read = drawn(split, held, classes=["a"])
        assert read == []
        assert parts == split.finish(split.divide(sorted(held), root=None))


@pytest.mark.parametrize("seed", range(8))
def test_shares_of_train_stay_nested_and_hold_the_rare_class_early(seed):
    held = cases(np.random.default_rng(seed), groups=30, chances=[1.0, 0.12, 0.3])
    group = {"group": r"g\d+", "seed": seed}
    parts = [drawn(Split(train=share, val=0.2, test=0.2, **group), held)[0] for share in (0.2, 0.4, 0.6)]
    for small, large in pairwise(parts):
        assert set(small["train"]) <= set(large["train"])
        assert (small["val"], small["test"]) == (large["val"], large["test"])
    fractions = [
        drawn(Split(train=0.8, test=0.2, train_fraction=part, **group), held)[0] for part in (0.15, 0.5, 1.0)
    ]
    for small, large in pairwise(fractions):
        assert set(small["train"]) <= set(large["train"])
        assert small["test"] == large["test"]
    assert homes({"train": fractions[0]["train"]}, held, 1) == homes(
        {"train": fractions[2]["train"]}, held, 1
    )


def test_more_masks_than_are_read_are_said():
    held = {str(index): frozenset([0]) for index in range(MOST + 1)}
    presence = Presence(held.__getitem__, ["a", "b"], [])
    groups = sorted(held)
    parts = {"train": groups[:-3], "val": groups[-3:]}
    assert spread(parts, {name: [name] for name in held}, presence) == parts
    assert "more than 5000 masks are not read" in presence.notes[0]
    assert ordered(groups, {name: [name] for name in held}, presence) == groups


def folder(root, positives, *, count=24, task="binary"):
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for index in range(count):
        rng = np.random.default_rng(index)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(
            root / f"images/{index:02d}.png"
        )
        mask = np.zeros((16, 16), np.uint8)
        if index in positives:
            mask[2:6, 3:9] = 255 if task == "binary" else 2
        Image.fromarray(mask).save(root / f"masks/{index:02d}.png")
    return root


@pytest.mark.parametrize("seed", range(5))
def test_folders_hold_the_lesion_in_every_split(seed, tmp_path):
    positives = np.random.default_rng(seed).permutation(24)[:3]
    split = Split(train=0.6, val=0.2, test=0.2, seed=seed)
    data = FolderData(str(folder(tmp_path / "set", positives)), "binary", split=split)
    for part in ("train", "val", "test"):
        assert data.cases(part).counts()[0][1] > 0
    other = FolderData(str(tmp_path / "set"), "binary", split=split)
    assert other.fingerprint() == data.fingerprint()


def test_a_damaged_mask_is_told_where_it_is_read_and_not_by_the_split(tmp_path):
    root = folder(tmp_path / "set", [1, 2, 3])
    (root / "masks/05.png").write_bytes(b"no picture")
    data = FolderData(str(root), "binary", split=Split(train=0.6, val=0.2, test=0.2))
    assert sum(len(data.cases(part)) for part in ("train", "val", "test")) == 24


def voc(root, positives, *, count=24):
    """Write Pascal VOC's folders; class 2 is in the positives alone."""
    base = root / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / name).mkdir(parents=True)
    names = [f"2007_{index:06d}" for index in range(count)]
    (base / "ImageSets/Segmentation/train.txt").write_text("\n".join(names) + "\n")
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(base / f"JPEGImages/{name}.jpg")
        mask = np.zeros((16, 16), np.uint8)
        mask[:4] = 1
        if index in positives:
            mask[6:9, 3:9] = 2
        Image.fromarray(mask).save(base / f"SegmentationClass/{name}.png")
    return root


@pytest.mark.parametrize("seed", range(4))
def test_data_sets_by_class_path_hold_the_rare_class_in_every_split(seed, tmp_path):
    positives = np.random.default_rng(seed).permutation(24)[:3]
    root = str(voc(tmp_path, positives))
    train = {"class_path": "torchvision.datasets.VOCSegmentation"}
    train["init_args"] = {"root": root, "image_set": "train"}

    def divided(**given):
        split = Split(train=0.6, val=0.2, test=0.2, seed=seed, **given)
        data = ForeignData({"train": train}, "multiclass", list("abc"), split=split, image_files="images")
        return {part: data.source(part).names for part in ("train", "val", "test")}

    parts = divided()
    rare = {f"2007_{index:06d}" for index in positives}
    assert all(len(rare & set(names)) == 1 for names in parts.values())
    assert sorted(name for names in parts.values() for name in names) == sorted(
        name for names in divided(stratify=False).values() for name in names
    )
