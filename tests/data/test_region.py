"""Regions: what lies outside of a field of view is ignored wherever pixels are counted."""

import numpy as np
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

from segfocal.data import FolderData, Split, TableData
from segfocal.data.region import read_region
from segfocal.errors import SegfocalError

HALVES = Split(train=4, test=2)
SIZE = (24, 30)  # height, width


def disc():
    rows, columns = np.indices(SIZE)
    return (rows - 11) ** 2 + (columns - 15) ** 2 < 90


@pytest.fixture
def make_set(tmp_path):
    """Six random images with masks and, in ``fov``, the regions as ``save`` writes them."""

    def make(save=lambda inside, path: Image.fromarray(inside).save(path), name="{}.png", values=(0, 1)):
        rng = np.random.default_rng(0)
        for kind in ("images", "masks", "fov"):
            (tmp_path / kind).mkdir(exist_ok=True)
        masks = rng.choice(np.array(values, np.uint8), (6, *SIZE))
        for number, mask in enumerate(masks):
            stored = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            Image.fromarray(stored).save(tmp_path / "images" / f"p{number}.png")
            Image.fromarray(mask).save(tmp_path / "masks" / f"p{number}.png")
            save(disc().astype(np.uint8) * 255, tmp_path / "fov" / name.format(f"p{number}"))
        return tmp_path, masks

    return make


def folder(root, **settings):
    settings = {"task": "binary", "split": HALVES, "patch_size": 16, "region": "fov"} | settings
    return FolderData(str(root), **settings)


def alpha(inside, path):
    Image.fromarray(np.dstack([inside] * 3 + [np.full(SIZE, 255, np.uint8)])).save(path)


def palette(inside, path):
    picture = Image.fromarray(1 - inside // 255).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(path)


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (lambda inside, path: Image.fromarray(inside).save(path), "{}.png"),
        (lambda inside, path: Image.fromarray(inside // 255).save(path), "{}.PNG"),
        (lambda inside, path: Image.fromarray(inside).convert("1").save(path), "{}.tif"),
        (lambda inside, path: Image.fromarray(inside).save(path), "{}.gif"),
        (lambda inside, path: Image.fromarray(inside).convert("RGB").save(path), "{}.tif"),
        (lambda inside, path: Image.fromarray(inside).save(path, quality=60), "{}.jpg"),
        (lambda inside, path: np.save(path, inside.astype(np.float32) / 255), "{}.npy"),
        (alpha, "{}.png"),
        (palette, "{}.png"),
    ],
)
def test_outside_is_ignored_whatever_the_file(make_set, save, name):
    root, masks = make_set(save, name)
    data = folder(root)
    for index, expected in enumerate(masks[:4]):
        assert_array_equal(data.source("train").mask(index), np.where(disc(), expected, 255))


@pytest.mark.parametrize("region", ["fov/{stem}_mask", "{stem}_mask", "one.png"])
def test_patterns_and_one_file_for_all(make_set, region):
    root, masks = make_set(name="{}_mask.png")
    if region.startswith("{"):
        for path in (root / "fov").iterdir():
            path.rename(root / path.name)
    elif region == "one.png":
        Image.fromarray(disc()).save(root / region)
    data = folder(root, region=region)
    assert_array_equal(data.source("test").mask(1), np.where(disc(), masks[5], 255))


def test_the_split_may_stand_in_the_pattern(make_set, tmp_path):
    root, masks = make_set()
    for part, numbers in {"train": range(4), "test": range(4, 6)}.items():
        for kind in ("images", "masks", "fov"):
            (root / kind / part).mkdir()
            for number in numbers:
                (root / kind / f"p{number}.png").rename(root / kind / part / f"p{number}.png")
    patterns = {"images": "images/{split}", "masks": "masks/{split}", "region": "fov/{split}/{stem}"}
    data = folder(root, split=Split(train="train", test="test"), **patterns)
    assert_array_equal(data.source("test").mask(0), np.where(disc(), masks[4], 255))


@pytest.mark.parametrize("ignore_index", [255, -100, 300])
def test_masks_and_regions_ignore_together(make_set, ignore_index):
    root, masks = make_set(values=(0, 1, 2))
    data = folder(root, ignore_values=[2], ignore_index=ignore_index)
    expected = np.where(disc() & (masks[0] != 2), masks[0].astype(int), ignore_index)
    assert_array_equal(data.source("train").mask(0), expected)


def test_class_counts_cover_the_region_alone(make_set):
    root, masks = make_set()
    inside = masks[:4][:, disc()]
    assert folder(root).class_counts().tolist() == [[(inside == 0).sum(), (inside == 1).sum()]]


def test_all_planes_of_multilabel_are_cut(make_set):
    root, masks = make_set()
    (root / "masks" / "ma").mkdir()
    for path in (root / "masks").glob("*.png"):
        path.rename(path.parent / "ma" / path.name)
    (root / "masks" / "he").mkdir()
    Image.fromarray(masks[0]).save(root / "masks" / "he" / "p5.png")
    data = folder(root, task="multilabel", class_names=["ma", "he"])
    expected = [np.where(disc(), masks[0], 255), np.where(disc(), 0, 255)]
    assert_array_equal(data.source("train").mask(0), expected)


def test_training_and_test_samples_hold_the_region(make_set):
    root, masks = make_set()
    data = folder(root, patch_size=list(SIZE), augment="none", batch_size=4, foreground_share=0.0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert bool((batch["mask"][:, torch.from_numpy(~disc())] == 255).all())
    assert_array_equal(next(iter(data.test_dataloader()))["mask"][0], np.where(disc(), masks[4], 255))


def test_a_table_has_a_column_region(make_set):
    root, masks = make_set()
    names = [f"p{number}.png" for number in range(6)]
    table = {kind[:5].rstrip("s"): [f"{kind}/{name}" for name in names] for kind in ("images", "masks")}
    table |= {"region": [f"fov/{name}" for name in names]}
    pl.DataFrame(table).write_csv(root / "cases.csv")
    data = TableData(str(root), "cases.csv", "binary", split=HALVES)
    assert_array_equal(data.source("train").mask(2), np.where(disc(), masks[2], 255))
    for cell, got in (("", "an empty cell"), ("fov/x.png", "x.png")):
        table["region"][3] = cell
        pl.DataFrame(table).write_csv(root / "cases.csv")
        with pytest.raises(SegfocalError, match=f"row 5.*region.*{got}"):
            TableData(str(root), "cases.csv", "binary", split=HALVES).source("train")


def test_missing_and_wrong_regions_name_the_file(make_set):
    root, _ = make_set()
    (root / "fov" / "p3.png").unlink()
    with pytest.raises(SegfocalError, match=r"p3\.png needs one region file .*fov/p3 .*got none"):
        folder(root).source("train")
    Image.new("L", (30, 25), 255).save(root / "fov" / "p3.png")
    with pytest.raises(SegfocalError, match=r"fov/p3\.png: .*\(25, 30\) and \(24, 30\)"):
        folder(root).source("train").mask(3)
    Image.new("L", (30, 24), 0).save(root / "fov" / "p3.png")
    with pytest.raises(SegfocalError, match=r"fov/p3\.png: .*got none"):
        folder(root).source("train").mask(3)
    (root / "fov" / "p3.png").write_text("no image")
    with pytest.raises(SegfocalError, match=r"fov/p3\.png"):
        folder(root).source("train").mask(3)
    Image.new("L", (30, 24), 255).save(root / "fov" / "p3.bmp")
    with pytest.raises(SegfocalError, match=r"got p3\.bmp, p3\.png"):
        folder(root).source("train")
    with pytest.raises(SegfocalError, match=r"there is no folder .*nowhere"):
        folder(root, region="nowhere").source("train")


def test_regions_need_an_ignored_label(make_set):
    root, _ = make_set()
    with pytest.raises(SegfocalError, match="Set it to 255"):
        folder(root, ignore_index=None).source("train")


def test_another_region_is_other_data(make_set):
    root, _ = make_set()
    before = folder(root).fingerprint()["sha256"]
    Image.new("L", (30, 24), 255).save(root / "fov" / "p0.png")
    assert folder(root).fingerprint()["sha256"] != before


def test_grey_of_compression_is_cut_at_half(tmp_path):
    stored = np.zeros(SIZE, np.uint8)
    stored[disc()] = 255
    Image.fromarray(stored).save(tmp_path / "a.jpg", quality=30)
    assert (np.asarray(Image.open(tmp_path / "a.jpg")) > 0).sum() > disc().sum()  # the ringing is there
    assert (read_region(tmp_path / "a.jpg") ^ disc()).mean() < 0.01
