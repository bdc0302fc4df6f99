"""A picture that is trained on is not scored: refused by content, by name, by group; allowed by name."""

import gzip
import shutil

import numpy as np
import pytest
from volume_files import write_decathlon

from segfocal.__main__ import main
from segfocal.data import FolderData, NiftiData, Split, TableData
from segfocal.data.leaks import Member, check_leaks, find_leaks
from segfocal.errors import SegfocalError

SMALL = {"patch_size": 16, "batch_size": 2}
FOLDERS = Split(train="train", val="val", test="test")


@pytest.fixture
def leaking(write_set):
    """Folders train, val and test; the first image of train lies in test under another name."""
    names = {"train": ["a0", "a1", "a2"], "val": ["b0"], "test": ["c0", "c1"]}
    for part, chosen in names.items():
        root = write_set(folder=part, names=chosen)
        for number, name in enumerate(chosen):  # every picture its own: one pixel says which
            stamp(root / part / "images" / f"{name}.png", ord(name[0]) + number)
    shutil.copy(root / "train/images/a0.png", root / "test/images/c1.png")
    return root


def stamp(path, value):
    from PIL import Image

    pixels = np.array(Image.open(path))
    pixels[0, 0] = value
    Image.fromarray(pixels).save(path)


def members(paths):
    return [Member(split, path.stem, path.stem, (path,)) for split, path in paths]


def test_copies_are_found_whatever_they_are_called(tmp_path):
    content = {"a": b"x" * 300_000, "b": b"x" * 299_999 + b"y", "c": b"x" * 300_000, "d": b"x"}
    content["e"] = content["a"][:150_000] + b"z" + content["a"][150_001:]  # differs in the middle alone
    content["f"] = content["a"][:90_000] + b"z" + content["a"][90_001:]  # differs between the blocks
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    parts = dict(zip("abcdef", ("train", "val", "test", "test", "val", "test"), strict=True))
    found = find_leaks(members([(split, tmp_path / name) for name, split in parts.items()]))
    assert [[str(member) for member in group] for group in found] == [["train: a", "test: c"]]


def test_copies_within_a_split_are_no_leaks(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"same")
    assert find_leaks(members([("train", tmp_path / "a"), ("train", tmp_path / "b")])) == []


def test_packed_copies_are_found_by_what_is_packed(tmp_path):
    for name, level, content in (
        ("a.nii.gz", 1, b"v" * 9000),
        ("b.nii.gz", 9, b"v" * 9000),
        ("c.nii.gz", 9, b"w"),
    ):
        (tmp_path / name).write_bytes(gzip.compress(content, level, mtime=level))
    sizes = {path.stat().st_size for path in (tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")}
    assert len(sizes) == 2  # told apart by size, they would not be found
    parts = zip(("train", "val", "val"), sorted(tmp_path.iterdir()), strict=True)
    (found,) = find_leaks(members(parts))
    assert [member.name for member in found] == ["a.nii", "b.nii"]


def test_training_refuses_a_picture_of_two_splits(leaking):
    data = FolderData(str(leaking), "binary", split=FOLDERS, **SMALL)
    with pytest.raises(SegfocalError, match=r"1 image.*: train: a0 = test: c1\..*allow_leaks: \[a0\]"):
        data.setup("fit")
    data.setup("test")  # whoever only scores has nothing to refuse


@pytest.mark.parametrize("allowed", ["a0", "c1", "c*"])
def test_either_name_allows_it(leaking, allowed):
    FolderData(str(leaking), "binary", split=FOLDERS, allow_leaks=[allowed], **SMALL).setup("fit")


def test_other_names_do_not_allow_it_and_unknown_ones_are_named(leaking):
    with pytest.raises(SegfocalError, match="lie in two splits"):
        FolderData(str(leaking), "binary", split=FOLDERS, allow_leaks=["a1", "b*"], **SMALL).setup("fit")
    with pytest.raises(SegfocalError, match=r"allow_leaks names 'a9', and no image has that name\."):
        FolderData(str(leaking), "binary", split=FOLDERS, allow_leaks=["a9"], **SMALL).setup("fit")


def test_fit_refuses_before_it_trains(leaking, tmp_path, capsys):
    config = tmp_path / "leaking.yaml"
    config.write_text(
        f"""\
model:
  network: {{class_path: segfocal.models.SmallUNet, init_args: {{in_channels: 3, num_classes: 1}}}}
  loss: {{class_path: segfocal.losses.FocalLoss, init_args: {{task: binary, ignore_index: 255}}}}
data:
  class_path: segfocal.data.FolderData
  init_args: {{root: {leaking}, task: binary, patch_size: 16, batch_size: 2}}
trainer: {{max_steps: 1, accelerator: cpu}}
"""
    )
    words = ["fit", "--config", str(config), "--run", str(tmp_path / "run")]
    assert main(words) == 2
    assert "train: a0 = test: c1" in capsys.readouterr().err
    assert not (tmp_path / "run/checkpoints").exists()
    assert main([*words, "--data.init_args.allow_leaks", "[c1]"]) == 0


def test_a_table_with_a_column_for_splits_is_checked(leaking):
    rows = ["image,mask,split"]
    for part in ("train", "val", "test"):
        for image in sorted((leaking / part / "images").iterdir()):
            rows.append(f"{part}/images/{image.name},{part}/masks/{image.name},{part}")
    (leaking / "t.csv").write_text("\n".join(rows))
    with pytest.raises(SegfocalError, match="train: train/images/a0 = test: test/images/c1"):
        TableData(str(leaking), "t.csv", "binary", **SMALL).setup("fit")
    TableData(str(leaking), "t.csv", "binary", allow_leaks=["*/c1"], **SMALL).setup("fit")


def test_a_group_of_two_splits_is_allowed_by_name(leaking):
    split = Split(train="train", val="val", test="test", group=r"^[a-c](\d)")
    with pytest.raises(SegfocalError, match=r"group '0' \(b0\) is in train and in val.*allow_leaks"):
        FolderData(str(leaking), "binary", split=split, **SMALL).setup("fit")
    FolderData(str(leaking), "binary", split=split, allow_leaks=["0", "1"], **SMALL).setup("fit")


def test_volumes_packed_anew_are_refused(tmp_path):
    write_decathlon(tmp_path, count=5)
    images = sorted((tmp_path / "imagesTr").iterdir())
    raw = gzip.decompress(images[0].read_bytes())
    images[4].write_bytes(gzip.compress(raw, 1, mtime=7))
    names = [path.name.removesuffix(".nii.gz") for path in images]
    split = Split(train=names[:4], test=names[4:])
    with pytest.raises(SegfocalError, match=f"train: {names[0]} = test: {names[4]}"):
        NiftiData(str(tmp_path), split=split, patch_size=8).setup("fit")


def test_generated_pictures_lie_in_no_file():
    check_leaks([Member("train", "a", "a", ()), Member("test", "a", "a", ())], allowed=[])
