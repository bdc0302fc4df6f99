"""Folders as people have them: what is found, and a configuration that trains as it is written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main
from segfocal.data.fingerprint.classes import judge_classes
from segfocal.data.fingerprint.groups import guess_groups
from segfocal.data.fingerprint.listing import list_folders
from segfocal.data.fingerprint.pairing import find_match
from segfocal.data.fingerprint.pool import each
from segfocal.data.fingerprint.scan import scan
from segfocal.errors import SegfocalError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(seed, size=(40, 48)):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)


def mask(seed, value=255, size=(40, 48)):
    plane = np.zeros(size, np.uint8)
    plane[5 : 12 + seed % 5, 8:20] = value
    return plane


def found(root):
    match = find_match(list_folders(root))
    totals = scan(match.files(), processes=1)
    return match, totals, judge_classes(totals, folders=match.classes)


def write_pairs(root, *, image="images/{}.png", label="masks/{}.png", count=6, make=mask, first=0):
    for number in range(count):
        save(root / image.format(f"eye{number:02}"), picture(first + number))
        save(root / label.format(f"eye{number:02}"), make(number))


@pytest.mark.parametrize(
    ("image", "label", "expected"),
    [
        ("images/{}.png", "masks/{}.png", ("images", "masks")),
        ("imgs/{}.png", "gt/{}_1stHO.png", ("imgs", "gt")),
        ("train/images/{}.png", "train/labels/{}.png", ("{split}/images", "{split}/labels")),
        ("images/training/{}.png", "annotations/training/{}.png", ("images/{split}", "annotations/{split}")),
        ("data/{}.png", "data_y/seg_{}.png", ("data", "data_y")),
        ("a/{}.jpg", "b/{}.png", ("a", "b")),
    ],
    ids=["plain", "suffix", "inside", "outside", "prefix", "nameless"],
)
def test_folders_are_told_apart(tmp_path, image, label, expected):
    write_pairs(tmp_path, image=image, label=label)
    match, totals, classes = found(tmp_path)
    # where names say nothing, what they look like says which is which
    assert (match.image_setting(), match.mask_setting()) == expected
    assert (len(totals.names), classes.task) == (6, "binary")


def test_masks_of_a_second_observer_are_no_classes(tmp_path):
    write_pairs(tmp_path, label="masks/{}_1.png")
    write_pairs(tmp_path, label="masks_2nd/{}_2.png")
    match, _, classes = found(tmp_path)
    assert classes.task == "binary"
    assert match.classes == ()


def test_folders_side_by_side_are_classes(tmp_path):
    write_pairs(tmp_path, label="masks/MA/{}_MA.png")
    write_pairs(tmp_path, label="masks/HE/{}_HE.png", count=3)
    match, totals, classes = found(tmp_path)
    assert match.mask_setting() == "masks/HE, masks/MA"
    assert (classes.task, classes.names, classes.images) == ("multilabel", ("HE", "MA"), (3, 6))
    assert totals.masks == [3, 6]


def test_values_zero_one_and_255_leave_unlabelled_pixels(tmp_path):
    def make(seed):
        plane = mask(seed, value=1)
        plane[0] = 255
        return plane

    write_pairs(tmp_path, make=make)
    _, _, classes = found(tmp_path)
    assert (classes.task, classes.values, classes.ignore_values) == ("binary", {0: 0, 1: 1}, (255,))
    assert classes.ignored_px == 6 * 48


def test_two_odd_values_make_the_rarer_one_foreground(tmp_path):
    write_pairs(tmp_path, make=lambda seed: np.where(mask(seed) > 0, 7, 200).astype(np.uint8))
    _, _, classes = found(tmp_path)
    assert classes.values == {7: 1, 200: 0}


def test_gaps_between_class_numbers_are_closed(tmp_path):
    def make(seed):
        plane = mask(seed, value=10)
        plane[30:34] = 40
        return plane

    write_pairs(tmp_path, make=make)
    _, _, classes = found(tmp_path)
    assert (classes.task, classes.values) == ("multiclass", {0: 0, 10: 1, 40: 2})
    assert sum(classes.shares()) == pytest.approx(1)


def test_colours_become_classes(tmp_path):
    def make(seed):
        plane = np.full((40, 48, 3), (64, 32, 32), np.uint8)
        plane[4:8] = (255, 0, 0)
        return plane

    write_pairs(tmp_path, make=make)
    _, _, classes = found(tmp_path)
    assert (classes.task, classes.colors, classes.other) == ("binary", {"foreground": "#ff0000"}, 0)


def test_lossy_masks_and_empty_ones_are_refused(tmp_path, capsys):
    write_pairs(tmp_path / "lossy", make=lambda seed: picture(seed)[..., 0])
    write_pairs(tmp_path / "empty", make=lambda seed: np.zeros((40, 48), np.uint8))
    assert main(["fingerprint", str(tmp_path / "lossy")]) == 2
    assert main(["fingerprint", str(tmp_path / "empty")]) == 2
    error = capsys.readouterr().err
    assert "too many for classes" in error
    assert "nothing but 0" in error


def test_no_masks_no_folder_no_pictures(tmp_path, capsys):
    save(tmp_path / "images/a.png", picture(0))
    (tmp_path / "nothing").mkdir()
    for path in (tmp_path / "images", tmp_path / "absent", tmp_path / "nothing"):
        assert main(["fingerprint", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("no masks found") == 2
    assert "nothing of that name" in error


def test_damaged_and_misfitting_files_are_named(tmp_path, capsys):
    write_pairs(tmp_path)
    (tmp_path / "images/eye03.png").write_bytes(b"no picture")
    save(tmp_path / "masks/eye04.png", mask(0, size=(20, 20)))
    assert main(["fingerprint", str(tmp_path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "eye03.png: expected an image" in text
    assert "eye04.png: the mask is (20, 20) px, its image (40, 48)" in text


def test_the_same_picture_in_two_splits_is_reported(tmp_path, capsys):
    for split in ("train", "test"):
        write_pairs(tmp_path, image=f"{split}/images/{{}}.png", label=f"{split}/masks/{{}}.png")
    save(tmp_path / "test/images/eye05.png", picture(77))
    assert main(["fingerprint", str(tmp_path)]) == 0
    assert "the same picture in two splits, 5 times" in capsys.readouterr().out


def test_names_of_both_eyes_are_groups():
    assert guess_groups([f"Image_{n:02}{side}" for n in range(14) for side in "LR"]).enough
    assert guess_groups([f"IDRiD_{n:02}" for n in range(40)]) is None
    drives = guess_groups([f"drive{n % 3}_{n:05}" for n in range(30)])
    assert (drives.count, drives.enough) == (3, False)
    names, folders = ["1", "2"] * 4, [(f"patient{n // 2}",) for n in range(8)]
    assert guess_groups(names, folders).enough
    assert not guess_groups(names[:4], folders[:4]).enough


def test_processes_do_not_change_the_totals(tmp_path, monkeypatch):
    write_pairs(tmp_path)
    monkeypatch.setattr("segfocal.data.fingerprint.scan._POOL_FROM", 1)
    match = find_match(list_folders(tmp_path))
    assert scan(match.files(), processes=2) == scan(match.files(), processes=1)


def layouts(root):
    """Folders that data modules read by different settings."""
    write_pairs(root / "plain", count=9)
    write_pairs(root / "beside", image="all/{}.png", label="all/{}_mask.png", count=9)
    for part in ("train", "test"):
        paths = {"image": f"{part}/images/{{}}.png", "label": f"{part}/masks/{{}}.png"}
        write_pairs(root / "split", **paths, first=10 * len(part))
        write_pairs(root / "leaking", **paths)  # all pictures of train but two are those of test
        save(root / "leaking/train/images/eye00.png", picture(77))
        save(root / "leaking/train/images/eye01.png", picture(78))
    write_pairs(root / "twice", count=9)
    shutil.copy(root / "twice/images/eye00.png", root / "twice/images/eye07.png")
    for name in ("MA", "HE"):
        write_pairs(root / "classes", label=f"masks/{name}/{{}}.png", count=9)
    write_pairs(root / "gaps", count=9, make=lambda seed: mask(seed, value=4) + mask(seed + 1, value=4))
    return sorted(path.name for path in root.iterdir())


def test_every_written_config_is_read_by_its_data_module(tmp_path):
    from segfocal.training.cli import SegfocalCLI

    for name in layouts(tmp_path / "sets"):
        out = tmp_path / f"{name}.yaml"
        assert (
            main(["fingerprint", str(tmp_path / "sets" / name), "--out", str(out), "--processes", "1"]) == 0
        )
        assert yaml.safe_load(out.read_text())["data"]["class_path"] == (
            "segfocal.data.TableData"
            if name in ("beside", "leaking", "twice")
            else "segfocal.data.FolderData"
        )
        cli = SegfocalCLI(["--config", str(out), "--trainer.accelerator", "cpu"])
        cli.datamodule.setup("fit")
        cli.model.prepare(cli.datamodule, "fit")
        batch = next(iter(cli.datamodule.train_dataloader()))
        assert batch["mask"].max() >= 1
        assert len(cli.datamodule.cases("val"))


def test_equal_pictures_are_trained_on_or_scored(tmp_path):
    layouts(tmp_path / "sets")
    rows = {}
    for name in ("leaking", "twice"):
        out = tmp_path / f"{name}.yaml"
        assert (
            main(["fingerprint", str(tmp_path / "sets" / name), "--out", str(out), "--processes", "1"]) == 0
        )
        rows[name] = [line.split(",") for line in out.with_suffix(".csv").read_text().splitlines()]
    assert rows["leaking"][0] == ["image", "mask", "split"]
    assert sorted(row[2] for row in rows["leaking"][1:]) == ["test"] * 6 + ["train", "val"]
    groups = {row[0]: row[2] for row in rows["twice"][1:]}
    assert groups["images/eye00.png"] == groups["images/eye07.png"]
    assert len(set(groups.values())) == 8
    assert (
        "4 images of train or val that also lie in a later split" in (tmp_path / "leaking.yaml").read_text()
    )


def test_looking_needs_no_torch(tmp_path):
    write_pairs(tmp_path)
    words = ["fingerprint", str(tmp_path), "--out", str(tmp_path / "x.yaml")]
    code = (
        f"import sys; from segfocal.__main__ import main; main({words!r}); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _die(number):
    os._exit(9)


def test_a_killed_reader_ends_in_one_line():
    with pytest.raises(SegfocalError, match=r"a process that reads the images was killed .out of memory"):
        list(each(_die, range(4), processes=2, what="images", pool_from=1))
