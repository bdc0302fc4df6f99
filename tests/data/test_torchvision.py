"""Data sets of torchvision by class path, in their official folders, and what others give."""

import urllib.error

import numpy as np
import pytest
import torchvision.datasets.utils
import torchvision.datasets.voc
from foreign_files import SIZE, labels, palette_png, write_cityscapes, write_pets, write_sbd, write_voc
from PIL import Image

from segfocal.data import ForeignData, Split
from segfocal.errors import SegfocalError

CITYSCAPES = {
    "values": {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12}
    | {26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18},
    "other": 255,
}


def spec(name, **arguments):
    return {"class_path": f"torchvision.datasets.{name}", "init_args": arguments}


def open_data(datasets, task="multiclass", classes=21, **given):
    names = [f"class {number}" for number in range(classes)] if task == "multiclass" else None
    return ForeignData(datasets, task, given.pop("class_names", names), **({"patch_size": 8} | given))


def open_voc(root, **given):
    parts = {part: spec("VOCSegmentation", root=str(root), image_set=part) for part in ("train", "val")}
    return open_data(parts, **given)


def test_voc_needs_no_settings(tmp_path):
    data = open_voc(write_voc(tmp_path), image_files="images")
    assert data.source("train").names == ["2007_000032", "2007_000039"]
    source = data.source("train")
    np.testing.assert_array_equal(source.mask(1), labels([*range(21), 255], 1))
    assert source.image(1).shape == (*SIZE, 3)
    assert source.place(0).endswith("2007_000032.jpg")
    assert source.image_files(0)[0].is_file()
    assert data.source("val").names == ["2008_000042"]
    data.setup("fit")
    assert data.class_counts().shape == (21,)
    assert data.wholes("val", with_mask=True)[0]["mask"].shape == SIZE


def test_sbd_gives_masks_out_of_matlab_files(tmp_path):
    root = str(write_sbd(tmp_path))
    parts = {
        part: spec("SBDataset", root=root, image_set=part, mode="segmentation") for part in ("train", "val")
    }
    source = open_data(parts, image_files="images").source("val")
    assert source.names == ["c"]
    np.testing.assert_array_equal(source.mask(0), labels(range(21)))


def test_cityscapes_ids_become_classes_and_cities_stay_together(tmp_path):
    root = str(write_cityscapes(tmp_path))
    parts = {
        part: spec("Cityscapes", root=root, split=part, target_type="semantic") for part in ("train", "val")
    }
    classes = torchvision.datasets.Cityscapes.classes
    data = open_data(parts, classes=19, image_files="images", **CITYSCAPES)
    source = data.source("val")
    expected = np.array([c.train_id for c in classes if c.id >= 0] + [255] * 222)[labels([*range(34), 255])]
    np.testing.assert_array_equal(source.mask(0), expected)
    split = Split(train=0.5, val=0.5, group="([^/]+)/[^/]+$")
    divided = open_data(
        {"train": parts["train"]}, classes=19, image_files="images", split=split, **CITYSCAPES
    )
    assert sorted(divided.source("train").groups + divided.source("val").groups) == ["aachen", "ulm"]


def test_the_border_of_pets_is_ignored(tmp_path):
    root = str(write_pets(tmp_path))
    parts = {
        part: spec("OxfordIIITPet", root=root, split=name, target_types="segmentation")
        for part, name in (("train", "trainval"), ("test", "test"))
    }
    coding = {"values": {1: 1, 2: 0}, "ignore_values": [3], "class_names": ["pet"]}
    data = open_data(parts, "binary", image_files="_images", split=Split(train=2, val=1), **coding)
    assert [data.source(part).names for part in ("train", "val", "test")] == [
        ["Abyssinian_1", "beagle_1"],
        ["beagle_2"],
        ["Abyssinian_2"],
    ]
    np.testing.assert_array_equal(data.source("test").mask(0), np.array([9, 1, 0, 255])[labels([1, 2, 3], 1)])
    unsaid = open_data(parts, "binary", class_names=["pet"]).source("train")
    with pytest.raises(SegfocalError, match=r"datasets.train, item 0: .*got 2 "):
        unsaid.mask(0)


def test_without_files_images_are_numbered(tmp_path):
    data = open_voc(write_voc(tmp_path))
    source = data.source("train")
    assert source.names == ["train/000000", "train/000001"]
    assert source.place(1) == "datasets.train, item 1"
    assert source.image_files(1) == ()
    before = data.fingerprint()["sha256"]
    path = tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000032.png"
    palette_png(labels([*range(21), 255], 7), path)
    assert open_voc(tmp_path).fingerprint()["sha256"] != before


def test_an_image_of_two_splits_is_refused(tmp_path):
    root = str(write_voc(tmp_path))
    folder = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages"
    (folder / "2008_000042.jpg").write_bytes((folder / "2007_000032.jpg").read_bytes())
    with pytest.raises(SegfocalError, match="train: 2007_000032 = val: 2008_000042"):
        open_voc(tmp_path, image_files="images").setup("fit")
    parts = {part: spec("VOCSegmentation", root=root, image_set="train") for part in ("train", "val")}
    with pytest.raises(SegfocalError, match="is in train and in val"):
        open_data(parts, image_files="images").source("train")


class Pairs:
    """A data set of somebody's own."""

    def __init__(self, pairs, download=False):
        self.pairs, self.asked = pairs, download

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


def own(pairs, monkeypatch, **given):
    monkeypatch.setattr(torchvision.datasets, "Pairs", Pairs, raising=False)
    return open_data({"train": spec("Pairs", pairs=pairs, **given.pop("init", {}))}, **given)


def test_arrays_and_layers_are_taken(monkeypatch):
    image, layers = np.zeros((*SIZE, 3), np.uint8), np.zeros((2, *SIZE), np.uint8)
    layers[1, 3] = 255
    data = own([(image, layers)], monkeypatch, task="multilabel", class_names=["a", "b"])
    assert data.source("train").mask(0).sum(axis=(1, 2)).tolist() == [0, SIZE[1]]


def test_colours_are_classes(monkeypatch):
    color = np.zeros((*SIZE, 3), np.uint8)
    color[2] = (0, 255, 0)
    data = own(
        [(np.zeros(SIZE, np.uint8), Image.fromarray(color).quantize())],
        monkeypatch,
        colors={"rest": "#000000", "line": "#00ff00"},
        class_names=None,
    )
    assert data.class_names == ["rest", "line"]
    assert data.source("train").mask(0).sum() == SIZE[1]


@pytest.mark.parametrize(
    ("item", "kinds"),
    [
        ((Image.new("RGB", (4, 4)), 3), "Image, int"),
        (Image.new("RGB", (4, 4)), "Image"),
        ((Image.new("RGB", (4, 4)), {"boxes": []}), "Image, dict"),
    ],
    ids=["class", "alone", "boxes"],
)
def test_what_is_no_pair_of_pictures_is_named(item, kinds, monkeypatch):
    source = own([item], monkeypatch).source("train")
    with pytest.raises(SegfocalError, match=rf"datasets.train, item 0: .* got \({kinds}\)"):
        source.mask(0)


def test_a_damaged_file_is_named(tmp_path):
    data = open_voc(write_voc(tmp_path), image_files="images")
    path = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000032.jpg"
    path.write_bytes(b"none")
    with pytest.raises(SegfocalError, match=r"2007_000032\.jpg: cannot be read"):
        data.source("train").image(0)


def refuse(*_, **__):
    raise urllib.error.URLError("Name or service not known")


def test_a_failing_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.utils.urllib.request, "urlopen", refuse)
    data = open_data({"train": spec("VOCSegmentation", root=str(tmp_path), download=True)})
    with pytest.raises(SegfocalError, match=r"datasets.train: .*Name or service not known.*download: false"):
        data.source("train")


def test_the_class_downloads_by_itself(tmp_path, monkeypatch):
    """``download: true`` reaches the class, which fetches and unpacks as it always does."""
    asked = []

    def fetch(url, root, **settings):
        asked.append((url, settings["md5"]))
        write_voc(tmp_path)

    monkeypatch.setattr(torchvision.datasets.voc, "download_and_extract_archive", fetch)
    data = open_data({"train": spec("VOCSegmentation", root=str(tmp_path), image_set="train", download=True)})
    assert asked == []
    assert len(data.source("train")) == 2
    assert asked[0][1] == torchvision.datasets.voc.DATASET_YEAR_DICT["2012"]["md5"]
    assert len(asked) == 1


def test_one_process_downloads(monkeypatch):
    data = own([(np.zeros(SIZE, np.uint8),) * 2], monkeypatch, init={"download": True})
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert data.source("train").made["train"].asked is False
    missing = open_data({"train": spec("VOCSegmentation", root="nowhere", download=True)})
    with pytest.raises(SegfocalError, match="Run once with one process"):
        missing.source("train")


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"train": spec("VOCSegmentation", root="nowhere")}, "datasets.train: .*not found or corrupted"),
        (
            {"train": spec("VOCSegmentatio", root=".")},
            r"no class 'VOCSegmentatio'\. Did you mean 'VOCSegmentation'",
        ),
        (
            {"train": spec("VOCSegmentation", root=".", imageset="a")},
            r"got 'imageset'\. Did you mean 'image_set'",
        ),
        ({"train": spec("VOCSegmentation", root=".", image_set="trian")}, "trian"),
        ({"train": spec("VOCSegmentation")}, "missing 1 required positional argument: 'root'"),
        ({"train": {"class_path": "nowhere.at.all"}}, "cannot be imported"),
        ({"train": {"class_path": "Pairs"}}, "cannot be imported"),
        ({"train": {"init_args": {}}}, "must have class_path and init_args"),
        ({"train": {"class_path": "a.b", "args": {}}}, "must have class_path and init_args"),
        ({"train": {"class_path": "a.b", "init_args": ["."]}}, "must have class_path and init_args"),
        ({"training": {}}, "Did you mean 'train'"),
        ({}, "got none"),
    ],
)
def test_wrong_data_sets_are_named(datasets, message):
    with pytest.raises(SegfocalError, match=message):
        open_data(datasets).source("train")


@pytest.mark.parametrize("attribute", ["image", "root", "nothing"])
def test_image_files_must_list_them(attribute, tmp_path):
    data = open_voc(write_voc(tmp_path), image_files=attribute)
    with pytest.raises(SegfocalError, match="that lists a file for each of its 2 images"):
        data.source("train")
