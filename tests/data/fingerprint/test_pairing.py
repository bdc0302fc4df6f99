"""How folders are read: kinds of layouts beside the published ones, choices, copies, groups."""

import numpy as np
import pytest
import yaml
from layouts.layout import blob, photo, save
from PIL import Image

from segfocal.__main__ import main
from segfocal.data.fingerprint.folders import read_folder
from segfocal.data.fingerprint.groups import guess_groups
from segfocal.data.fingerprint.twins import near_copies

# image and mask of number n (0 to 7); what the images' folders say of their split
KINDS = {
    "numbers": ("raw/IMG_{n:04}.png", "annot/seg{n}.png"),
    "words": ("images/image_{n}.png", "masks/mask_{n}.png"),
    "suffixes": ("{n:03}.bmp", "{n:03}.png"),
    "letters": ("train_x/{n}.png", "train_y/{n}.png"),
    "one word of two": ("train/{n}_sat.jpg", "train/{n}_mask.png"),
    "folders of slides": ("Slide_{p}/{p}_{n}.png", "GT_{p}/{p}_{n}.png"),
    "folders in folders": ("I{n}/I{n}_Dermoscopic_Image/I{n}.bmp", "I{n}/I{n}_lesion/I{n}_lesion.bmp"),
    "patients of equal names": ("p{n}/img.png", "p{n}/seg.png"),
    "classes on both sides": ("images/kind{p}/{n}.png", "masks/kind{p}/{n}.png"),
    "parts of images": ("images_part_{p}/ISIC_{n}.jpg", "segmentations/ISIC_{n}_segmentation.png"),
    "siblings": ("imgs{p}/{n}.png", "masks{p}/{n}.png"),
}


def write(root, image, mask, **words):
    photo(root / image.format(**words))
    save(blob(mask.format(**words)), root / mask.format(**words))


@pytest.mark.parametrize("kind", KINDS)
def test_unpublished_layouts(tmp_path, kind):
    image, mask = KINDS[kind]
    for number in range(8):
        write(tmp_path, image, mask, n=number, p=number // 4)
    found = {c.image.place: c.masks[0][0].place for c in read_folder(tmp_path, processes=1).cases}
    assert found == {image.format(n=n, p=n // 4): mask.format(n=n, p=n // 4) for n in range(8)}


def test_masks_of_equal_right_are_asked_for(tmp_path, capsys):
    for number in range(6):
        photo(tmp_path / f"set/images/{number}.png")
        for observer in "AB":
            save(blob(observer + str(number)), tmp_path / f"set/masks_{observer}/{number}.png")
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(tmp_path / "set"), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "--masks 'masks_A' (6 images); --masks 'masks_B' (6 images)" in error
    assert not out.exists()
    words = ["fingerprint", str(tmp_path / "set"), "--out", str(out), "--masks", "masks_B"]
    assert main(words) == 0
    assert yaml.safe_load(out.read_text())["data"]["init_args"]["masks"] == "masks_B"
    assert main([*words[:-1], "masks_C", "--overwrite"]) == 2
    assert "--masks masks_C: no picture fits this pattern" in capsys.readouterr().err


def test_images_of_equal_right_are_asked_for(tmp_path, capsys):
    for number in range(6):
        for kind in ("images", "images_enhanced"):
            photo(tmp_path / f"{kind}/{number}.png")
        save(blob(str(number)), tmp_path / f"masks/{number}.png")
    assert main(["fingerprint", str(tmp_path)]) == 2
    assert "choose with --images" in capsys.readouterr().err
    assert main(["fingerprint", str(tmp_path), "--images", "images_enhanced"]) == 0
    assert "images_enhanced" in capsys.readouterr().out


def test_what_is_not_used_is_said(tmp_path, capsys):
    """Orphans, second pictures of a name, damaged and hidden files, masks of another size."""
    for number in range(9):
        write(tmp_path, "images/{n}.png", "masks/{n}.png", n=number)
    photo(tmp_path / "images/3.jpg")
    photo(tmp_path / "images/alone.png")
    save(blob("o"), tmp_path / "masks/orphan.png")
    save(blob("s", size=(40, 40)), tmp_path / "masks/5.png")
    (tmp_path / "images/6.png").write_bytes(b"nothing")
    (tmp_path / "images/._7.png").write_bytes(b"mac")
    (tmp_path / "notes.txt").write_text("words")
    out = tmp_path.parent / "account.yaml"
    assert main(["fingerprint", str(tmp_path), "--out", str(out), "--list"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    lines = out.with_suffix(".files.csv").read_text().splitlines()
    why = {line.split(",")[0]: line.split(",", 3)[3].strip('"') for line in lines[1:]}
    assert len(why) == 23
    unused = {place: reason for place, reason in why.items() if reason}
    assert set(unused) == {
        *("images/3.jpg", "images/alone.png", "masks/orphan.png", "images/._7.png", "notes.txt"),
        *("images/5.png", "masks/5.png", "images/6.png", "masks/6.png"),
    }
    assert "files: 23, used 14" in text
    assert "images/0.png: image" in text
    for place, word in (
        ("images/3.jpg", "second"),
        ("images/6.png", "damaged"),
        ("images/._7.png", "hidden"),
    ):
        assert word in unused[place]


def test_images_and_masks_are_not_swapped_where_test_has_none(tmp_path):
    for split, count in (("train", 6), ("test", 5)):
        for number in range(count):
            photo(tmp_path / f"{split}/a/{number}.png")
            if split == "train":
                save(blob(str(number)), tmp_path / f"{split}/b/{number}.png")
    look = read_folder(tmp_path, processes=1)
    assert look.match.image_setting() == "{split}/a"
    assert len(look.cases) == 6
    assert sum("without mask" in entry.why for entry in look.accounts) == 5


def test_a_linked_folder_is_read_once(tmp_path):
    for number in range(6):
        write(tmp_path / "real", "images/{n}.png", "masks/{n}.png", n=number)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/data").symlink_to(tmp_path / "real")
    (tmp_path / "real/again").symlink_to(tmp_path / "real")
    look = read_folder(tmp_path / "set", processes=1)
    assert [case.image.place for case in look.cases] == [f"data/images/{n}.png" for n in range(6)]
    assert len(look.accounts) == 12


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_turned_and_stored_anew_copies_stay_in_one_split(tmp_path, turns, mirror):
    for number in range(12):
        write(tmp_path, "images/{n}.png", "masks/{n}.png", n=f"{'abcdefghijkl'[number]}x")
    source = np.asarray(Image.open(tmp_path / "images/bx.png"))
    copy = np.rot90(source[:, ::-1] if mirror else source, turns)
    Image.fromarray(np.ascontiguousarray(copy)).save(tmp_path / "images/gx.jpg", quality=85)
    (tmp_path / "images/gx.png").unlink()
    look = read_folder(tmp_path, processes=1)
    groups = dict(zip([case.image.stem for case in look.cases], look.groups(), strict=True))
    assert groups["bx"] == groups["gx"]
    assert len(set(groups.values())) == 11


def test_flat_and_other_pictures_are_no_copies():
    rng = np.random.default_rng(0)
    others = [rng.integers(0, 255, (32, 32)).astype(np.uint8).tobytes() for _ in range(50)]
    flat = [np.full((32, 32), n, np.uint8).tobytes() for n in range(5)]
    assert near_copies(others + flat) == []
    assert near_copies([*others, others[7]]) == [[7, 50]]


def test_groups_found_are_active_and_few_ones_warned_of(tmp_path, capsys):
    for number in range(24):
        write(tmp_path / "many", "images/{n}.png", "masks/{n}.png", n=f"p{number // 3:02}_{number % 3}")
        write(tmp_path / "few", "images/{n}.png", "masks/{n}.png", n=f"drive{number % 2}_{number:05}")
        write(tmp_path / "film", "images/{n}.png", "masks/{n}.png", n=f"frame_{number:05}")
    for name in ("many", "few", "film"):
        assert main(["fingerprint", str(tmp_path / name), "--out", str(tmp_path / f"{name}.yaml")]) == 0
        split = yaml.safe_load((tmp_path / f"{name}.yaml").read_text())["data"]["init_args"]["split"]
        text = " ".join(capsys.readouterr().out.split())
        assert ("group" in split) is (name == "many")
        assert ("! names look like" in text) is (name != "many")
    assert guess_groups(["x-0003", "x-0003_1"]) is None


def test_a_copy_by_name_is_in_the_group_of_the_first(tmp_path):
    for number in range(10):
        write(tmp_path, "images/{n}.png", "masks/{n}.png", n=f"{'abcdefghij'[number]}q")
    write(tmp_path, "images/{n}.png", "masks/{n}.png", n="cq_1")
    look = read_folder(tmp_path, processes=1)
    groups = dict(zip([case.image.stem for case in look.cases], look.groups(), strict=True))
    assert groups["cq"] == groups["cq_1"]
    assert len(set(groups.values())) == 10
