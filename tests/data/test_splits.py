import pytest

from segfocal.data.splits import Split
from segfocal.errors import SegfocalError

NAMES = [f"p{patient:02d}_{eye}" for patient in range(10) for eye in "LR"]


def divide(split, names=NAMES, root=None):
    return split.finish(split.divide(names, root=root))


def patients(names):
    return {name[:3] for name in names}


def test_numbers_take_the_first_and_the_last():
    parts = divide(Split(train=12, val=2, test=4))
    assert parts == {"train": NAMES[:12], "val": NAMES[12:14], "test": NAMES[-4:]}


def test_shares_keep_groups_together_and_use_every_image():
    parts = divide(Split(train=0.6, val=0.2, test=0.2, group=r"p\d+"))
    assert sorted(name for part in parts.values() for name in part) == NAMES
    assert [len(parts[s]) for s in ("train", "val", "test")] == [12, 4, 4]
    assert not patients(parts["train"]) & patients(parts["val"] + parts["test"])


def test_shares_follow_the_seed_alone():
    assert divide(Split(train=0.5, test=0.5)) == divide(Split(train=0.5, test=0.5), names=list(NAMES))
    assert divide(Split(train=0.5, test=0.5)) != divide(Split(train=0.5, test=0.5, seed=1))


def test_a_smaller_train_share_is_nested_and_leaves_the_test_images():
    whole, half = (divide(Split(train=share, val=0.2, test=0.2, group=r"p\d+")) for share in (0.6, 0.3))
    assert set(half["train"]) < set(whole["train"])
    assert (half["val"], half["test"]) == (whole["val"], whole["test"])


def test_val_share_comes_out_of_train_by_group():
    parts = divide(Split(train=16, test=4, val_share=0.25, group=r"(p\d+)_"))
    assert len(parts["val"]) == 4
    assert sorted(parts["train"] + parts["val"]) == NAMES[:16]
    assert not patients(parts["train"]) & patients(parts["val"])


def test_lists_take_names_wildcards_and_files(tmp_path):
    (tmp_path / "val.txt").write_text("images/p09_L.png masks/p09_L.png\n\np09_R\n")
    parts = divide(Split(train=["p0[0-7]_*"], val="val.txt", test=["p08_L"]), root=tmp_path)
    assert parts == {"train": NAMES[:16], "val": NAMES[18:], "test": ["p08_L"]}


def test_listed_names_may_hold_spaces(tmp_path):
    names = ["left eye 1", "left eye 2", "right"]
    (tmp_path / "train.txt").write_text("left eye 1\nleft eye 2.png\n")
    parts = divide(Split(train="train.txt", test=["right"]), names=names, root=tmp_path)
    assert parts["train"] == names[:2]
    (tmp_path / "train.txt").write_text("right side\n")  # no image is called so, not even "right"
    with pytest.raises(SegfocalError, match="'right side'"):
        divide(Split(train="train.txt"), names=names, root=tmp_path)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"train": 16, "test": 5}, "at most 20"),
        ({"train": 0.9, "test": 0.2}, "at most 1"),
        ({"train": 7, "test": 13, "group": r"p\d+"}, "group 'p03'"),
        ({"train": ["p00_L"], "test": ["p00_*"]}, "in train and in test"),
        ({"train": ["p99_L"]}, "'p99_L'"),
        ({"train": "none.txt"}, "none.txt"),
        ({"train": 20, "group": r"q\d+"}, "does not occur"),
        ({"train": 0.5, "test": 0.5, "group": "_"}, "too few"),
    ],
)
def test_rules_that_cannot_be_met(rules, words, tmp_path):
    with pytest.raises(SegfocalError, match=words):
        divide(Split(**rules), root=tmp_path)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "at least one"),
        ({"train": 5, "test": 0.5}, "one kind"),
        ({"train": 5, "val": 2, "val_share": 0.2}, "val_share"),
        ({"test": 5, "val_share": 0.2}, "no rule"),
        ({"train": 5, "val_share": 1.5}, "val_share"),
        ({"train": 5, "group": "("}, "no regular expression"),
    ],
)
def test_rules_that_contradict_each_other(rules, words):
    with pytest.raises(SegfocalError, match=words):
        Split(**rules)
