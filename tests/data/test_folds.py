import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from segfocal.data.folder import FolderData
from segfocal.data.folds import deal, keep
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError

NAMES = [f"p{patient:02d}_{eye}" for patient in range(11) for eye in "LR"]
GROUP = r"p\d+"


def divide(names=NAMES, **rules):
    split = Split(**rules)
    return split.finish(split.divide(names, root=None))


def patients(names):
    return {name[:3] for name in names}


def test_folds_hold_every_name_once_and_keep_groups_whole():
    folds = deal(NAMES, folds=4, group_of=lambda name: name[:3], seed=3)
    assert sorted(name for fold in folds for name in fold) == NAMES
    homes = [patients(fold) for fold in folds]
    assert sum(map(len, homes)) == len(patients(NAMES))
    assert sorted(map(len, folds)) == [4, 6, 6, 6]


def test_folds_of_unequal_groups_are_balanced():
    sizes = [9, 5, 4, 3, 3, 2, 2, 1, 1]
    names = [f"{group}-{index}" for group, size in enumerate(sizes) for index in range(size)]
    folds = deal(names, folds=3, group_of=lambda name: name.split("-")[0], seed=0)
    assert [len(fold) for fold in folds] == [10, 10, 10]


def test_folds_depend_on_names_and_seed_alone():
    first, again, other = (
        deal(names, folds=3, group_of=str, seed=seed)
        for names, seed in ((NAMES, 0), (NAMES[::-1], 0), (NAMES, 1))
    )
    assert first == again
    assert first != other


def test_test_folds_visit_every_image_once():
    parts = [divide(test_folds=5, test_fold=fold, group=GROUP) for fold in range(5)]
    assert sorted(name for part in parts for name in part["test"]) == NAMES
    for part in parts:
        assert sorted(part["train"] + part["test"]) == NAMES
        assert not patients(part["train"]) & patients(part["test"])
        assert part["val"] == []


@pytest.mark.parametrize("val", [{"val_share": 0.25}, {"val_folds": 3, "val_fold": 1}])
def test_val_comes_out_of_what_test_leaves(val):
    whole = divide(test_folds=4, test_fold=2, group=GROUP)
    parts = divide(test_folds=4, test_fold=2, group=GROUP, **val)
    assert parts["test"] == whole["test"]
    assert sorted(parts["train"] + parts["val"]) == sorted(whole["train"])
    assert parts["val"]
    assert not patients(parts["val"]) & patients(parts["train"])


def test_val_folds_partition_the_training_images_and_leave_test():
    rules = {"train": 16, "test": 6, "group": GROUP}
    parts = [divide(**rules, val_folds=4, val_fold=fold) for fold in range(4)]
    assert sorted(name for part in parts for name in part["val"]) == NAMES[:16]
    assert all(part["test"] == NAMES[-6:] for part in parts)


def test_a_smaller_fraction_is_nested_and_moves_neither_val_nor_test():
    rules = {"test_folds": 3, "test_fold": 0, "val_share": 0.2, "group": GROUP}
    whole = divide(**rules)
    parts = [divide(**rules, train_fraction=fraction) for fraction in (0.01, 0.25, 0.5, 1.0)]
    sizes = [len(patients(part["train"])) for part in parts]
    count = len(patients(whole["train"]))
    assert sizes == [1, round(count / 4), round(count / 2), count]
    for small, large in pairwise(parts):
        assert set(small["train"]) < set(large["train"])
        assert (small["val"], small["test"]) == (whole["val"], whole["test"])


def test_keep_adds_groups_one_after_the_other():
    kept = [keep("abcdefgh", fraction=count / 8, group_of=str, seed=1) for count in range(1, 9)]
    assert [len(names) for names in kept] == list(range(1, 9))
    assert all(set(a) < set(b) for a, b in pairwise(kept))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"test_folds": 3}, "test_fold .which"),
        ({"test_fold": 1, "train": 3}, "test_folds .how many"),
        ({"train": 3, "val_folds": 3}, "val_fold .which"),
        ({"test_folds": 3, "test_fold": 3}, "0 to 2"),
        ({"test_folds": 1, "test_fold": 0}, "test_folds"),
        ({"test_folds": 3, "test_fold": 0, "test": 4}, "leave out the rules"),
        ({"test_folds": 3, "test_fold": 0, "train": 0.5}, "leave out the rules"),
        ({"train": 9, "val": 2, "val_folds": 2, "val_fold": 0}, "one of val, val_share and val_folds"),
        ({"train": 9, "val_share": 0.2, "val_folds": 2, "val_fold": 0}, "val_share=0.2 and val_folds=2"),
        ({"test": 9, "val_folds": 2, "val_fold": 0}, "no rule"),
        ({"train": 9, "train_fraction": 0.0}, "train_fraction"),
        ({"train": 9, "train_fraction": 1.2}, "train_fraction"),
        ({"train": 9, "train_fraction": float("nan")}, "train_fraction"),
    ],
)
def test_contradictions_are_errors(rules, words):
    with pytest.raises(SegfocalError, match=words):
        Split(**rules)


def test_more_folds_than_groups_is_an_error():
    with pytest.raises(SegfocalError, match=r"11 group.s. are too few for 12 folds"):
        divide(test_folds=12, test_fold=0, group=GROUP)


def test_folds_of_folders_move_pairs_of_the_training_folder(tmp_path):
    for folder, names in (("train", ["a", "b", "c", "d"]), ("test", ["x"])):
        for kind in ("images", "masks"):
            (tmp_path / folder / kind).mkdir(parents=True)
            for name in names:
                Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / folder / kind / f"{name}.png")
    split = Split(train="train", test="test", val_folds=2, val_fold=1, train_fraction=0.5)
    data = FolderData(root=str(tmp_path), task="binary", split=split)
    assert len(data.source("val").names) == 2
    assert len(data.source("train").names) == 1
    assert not set(data.source("val").names) & set(data.source("train").names)
    assert data.source("test").names == ["x"]


def test_splits_need_no_torch():
    code = (
        "import sys, types; room = types.ModuleType('segfocal.data'); room.__path__ = ['segfocal/data'];"
        "sys.modules['segfocal.data'] = room; import segfocal.data.splits, segfocal.data.pairs;"
        "import segfocal.data.lists; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
