import numpy as np
import pytest
import tifffile
from jsonargparse import ArgumentParser
from numpy.testing import assert_array_equal
from PIL import Image

from segfocal.data import FolderData, Preprocess, SegmentationData, Split
from segfocal.data.division import expand
from segfocal.errors import SegfocalError

HALVES = Split(train=4, test=2)


def folder(root, **settings):
    defaults = {"task": "binary", "split": HALVES, "patch_size": 16, "batch_size": 2, "patches_per_epoch": 4}
    return FolderData(str(root), **(defaults | settings))


def read_all(data):
    data.setup("fit")
    list(data.train_dataloader())
    list(data.test_dataloader())


def test_images_and_masks_of_one_name_are_paired(write_set):
    data = folder(write_set())
    batch = next(iter(data.test_dataloader()))
    stored = np.asarray(Image.open(data.root / "masks" / "p02_L.png"))
    assert batch["name"] == ["p02_L"]
    assert_array_equal(batch["mask"][0], stored // 255)
    assert data.class_names == ["foreground"]
    assert data.fingerprint()["images"] == {"train": 4, "test": 2}


def test_standard_folders_need_no_split(write_set):
    for part in ("train", "val", "test"):
        root = write_set(4, folder=part)
    data = folder(root, split=None)
    assert data.splits() == ["train", "val", "test"]
    read_all(data)


def test_the_split_may_stand_anywhere_in_the_path(write_set, tmp_path):
    for part in ("train", "test"):
        root = write_set(3, folder=part)
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / part / kind).rename(tmp_path / kind / part)
    names = {"images": "images/{split}", "masks": "masks/{split}/{stem}"}
    assert folder(root, split=Split(train="train", test="test"), **names).splits() == ["train", "test"]


def test_val_share_moves_whole_patients_out_of_a_train_folder(write_set):
    write_set(8, folder="train")
    root = write_set(folder="test", names=["q1_L", "q1_R"])
    data = folder(root, split=Split(train="train", test="test", val_share=0.25, group=r"[pq]\d+"))
    assert data.fingerprint()["images"] == {"train": 6, "val": 2, "test": 2}
    assert len(set(data.cases("val").source.groups)) == 1
    list(data.val_dataloader())


def test_masks_may_have_a_suffix(write_set):
    root = write_set()
    for path in list((root / "masks").iterdir()):
        path.rename(path.with_stem(path.stem + "_L"))
    read_all(folder(root, masks="masks/{stem}_L"))


def test_groups_reach_the_samples(write_set):
    data = folder(write_set(), split=Split(train=4, test=2, group=r"p(\d+)"))
    assert next(iter(data.test_dataloader()))["group"] == ["02"]


def test_multilabel_takes_a_folder_per_class_and_a_missing_file_means_absent(tmp_path):
    truth = np.zeros((3, 2, 20, 20), dtype=np.uint8)
    truth[0, 0, 2:5] = truth[1, 1, 4:9] = truth[1, 0, :, 3] = 1
    (tmp_path / "images").mkdir()
    for case in range(3):
        Image.new("RGB", (20, 20)).save(tmp_path / "images" / f"c{case}.png")
        for label, name in enumerate(("MA", "HE")):
            (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
            if truth[case, label].any():
                Image.fromarray(truth[case, label].astype(bool)).save(
                    tmp_path / "masks" / name / f"c{case}_{name}.png"
                )
    data = folder(
        tmp_path,
        task="multilabel",
        class_names=["MA", "HE"],
        masks="masks/{class}/{stem}_{class}",
        split=Split(train=2, test=1),
    )
    for case in range(2):
        assert_array_equal(data.cases("train").labels(case).mask, truth[case])
    assert_array_equal(data.cases("test").labels(0).mask, truth[2])
    positives = truth[:2].sum((0, 2, 3))
    assert_array_equal(data.class_counts()[:, 1], positives)


def test_colour_masks_go_through_a_class_table(write_set):
    root = write_set()
    (root / "classes.csv").write_text("name,r,g,b\nground,0,0,0\nblob,255,255,255\n")
    for path in (root / "masks").iterdir():
        Image.open(path).convert("RGBA").save(path)
    data = folder(root, task="multiclass", colors="classes.csv")
    assert data.class_names == ["ground", "blob"]
    counts = data.class_counts()
    assert counts.sum() == 4 * 40 * 50
    assert counts[1] == 4 * 42


def test_deep_images_of_many_channels(write_set):
    root = write_set()
    rng = np.random.default_rng(0)
    for path in list((root / "images").iterdir()):
        tifffile.imwrite(path.with_suffix(".tif"), rng.integers(0, 65536, (40, 50, 6)).astype(np.uint16))
        path.unlink()
    data = folder(root, preprocess=Preprocess(in_channels=6), augment="medical")
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["image"].shape == (2, 6, 16, 16)


def test_the_data_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("SEGFOCAL_DATA", "/some/where")
    assert expand("$SEGFOCAL_DATA/a") == expand("${SEGFOCAL_DATA}/a") == "/some/where/a"
    assert expand("$SEGFOCAL_DATABASE/a") == "$SEGFOCAL_DATABASE/a"
    monkeypatch.delenv("SEGFOCAL_DATA")
    assert expand("$SEGFOCAL_DATA/a") == "../shared/data/a"


def test_fingerprint_sees_an_edited_mask(write_set):
    root = write_set()
    before = folder(root).fingerprint()["sha256"]
    assert folder(root).fingerprint()["sha256"] == before
    path = root / "masks" / "p00_L.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(path)
    assert folder(root).fingerprint()["sha256"] != before


def spoil(root, kind, name="p00_L"):
    """Make one of the mistakes that users make."""
    image, mask = root / "images" / f"{name}.png", root / "masks" / f"{name}.png"
    pixels = np.array(Image.open(mask))
    if kind == "missing mask":
        mask.unlink()
    elif kind == "extra mask":
        image.unlink()
    elif kind == "size":
        Image.fromarray(pixels[:-1]).save(mask)
    elif kind == "values":
        pixels[:2] = 7
        Image.fromarray(pixels).save(mask)
    elif kind == "colours":
        Image.fromarray(np.stack([pixels, pixels * 0, pixels], axis=2)).save(mask)
    elif kind == "truncated":
        image.write_bytes(image.read_bytes()[:300])
    elif kind == "no image":
        image.write_text("hello")
    elif kind == "same stem":
        Image.open(image).save(image.with_suffix(".bmp"))
    elif kind == "empty":
        [path.unlink() for path in (root / "images").iterdir()]
        (root / "images" / "notes.txt").write_text("nothing here")
    else:
        raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing mask", r"1 of 6 images .* no mask: p00_L"),
        ("extra mask", r"belong to no image: p00_L\.png"),
        ("size", r"p00_L\.png: .*\(40, 50\).*\(39, 50\)"),
        ("values", r"p00_L\.png: .*7 \(100 pixels\)"),
        ("colours", r"p00_L\.png: .*#ff00ff \(42 pixels\)"),
        ("truncated", r"p00_L\.png"),
        ("no image", r"p00_L\.png: expected an image"),
        ("same stem", r"p00_L\.bmp and p00_L\.png"),
        ("empty", r"no image.*notes\.txt"),
    ],
)
def test_mistakes_in_the_files_are_named(write_set, kind, words):
    root = write_set()
    spoil(root, kind)
    with pytest.raises(SegfocalError, match=words):
        read_all(folder(root))


def test_nan_images_are_named(write_set):
    root = write_set()
    (root / "images" / "p00_L.png").unlink()
    image = np.zeros((40, 50, 3), dtype=np.float32)
    image[0, 0] = np.nan
    tifffile.imwrite(root / "images" / "p00_L.tif", image, photometric="rgb")
    with pytest.raises(SegfocalError, match=r"images/p00_L\.tif: .*3 NaN"):
        read_all(folder(root))


def test_one_class_only_is_refused_at_setup(write_set):
    root = write_set()
    for path in (root / "masks").iterdir():
        Image.new("L", (50, 40)).save(path)
    with pytest.raises(SegfocalError, match="background only"):
        folder(root).setup("fit")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"split": None}, "no folder .*train"),
        ({"images": "image"}, r"holds \['images', 'masks'\].*SEGFOCAL_DATA"),
        ({"task": "multiclass"}, "class_names must name"),
        ({"task": "multiclass", "colors": {"a": "#000000"}, "values": {1: 1}}, "not both"),
        ({"colors": {"a": "#000000", "b": "#ffffff"}}, "which of the colours"),
        ({"colors": "missing.csv"}, "no such class table"),
        ({"split": Split(train=4, test=3)}, "at most 6"),
    ],
)
def test_wrong_settings_are_refused(write_set, settings, words):
    with pytest.raises(SegfocalError, match=words):
        folder(write_set(), **settings).setup("fit")


def test_a_missing_root_says_what_to_set(tmp_path):
    with pytest.raises(SegfocalError, match="SEGFOCAL_DATA"):
        folder(tmp_path / "nowhere").setup("fit")


YAML = """
data:
  class_path: segfocal.data.FolderData
  init_args:
    root: {root}
    task: binary
    class_names: [blob]
    split: {{train: 4, test: 2, group: 'p(\\d+)'}}
    preprocess: {{in_channels: 1, normalize: fixed, mean: [0.5], std: [0.25], scale: 0.5}}
    patch_size: [16, 20]
    augment: [flips, {{class_path: Affine, init_args: {{rotate: [-5, 5], p: 0.5}}}}]
    values: {{0: 0, 255: 1}}
    ignore_values: [30]
    batch_size: 2
"""


def test_every_setting_can_come_from_yaml_and_the_command_line(write_set, tmp_path):
    (tmp_path / "config.yaml").write_text(YAML.format(root=write_set()))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(SegmentationData, "data")
    arguments = [
        "--config",
        str(tmp_path / "config.yaml"),
        "--data.batch_size=4",
        "--data.preprocess.scale=1.0",
    ]
    data = parser.instantiate(parser.parse_args(arguments)).data
    assert isinstance(data, FolderData)
    assert data.preprocess == Preprocess(in_channels=1, normalize="fixed", mean=(0.5,), std=(0.25,))
    assert data.split == Split(train=4, test=2, group=r"p(\d+)")
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["image"].shape == (4, 1, 16, 20)


@pytest.mark.parametrize(
    ("background", "left_out"), [({}, 0), ({"background": 1}, 1), ({"background": None}, None)]
)
def test_the_background_is_a_setting_of_the_data(tmp_path, background, left_out):
    data = FolderData(str(tmp_path), "multiclass", ["Background", "a", "b"], **background)
    assert data.background == left_out


def test_exif_of_a_picture_turns_it_to_its_mask(write_set, tmp_path):
    """A picture taken sideways is stored turned with a note; its mask was drawn on what viewers show."""
    write_set()
    upright = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "images").iterdir()}
    exif = Image.Exif()
    exif[274] = 6  # the stored picture is shown turned clockwise
    for path in list((tmp_path / "images").iterdir()):
        Image.fromarray(np.rot90(upright[path.stem])).save(path, exif=exif)
    settings = {"task": "binary", "split": Split(train=0.5, val=0.5)}
    data = FolderData(str(tmp_path), **settings)
    for index, name in enumerate(data.cases("train").source.names):
        picture, labels = data.cases("train").pair(index)
        assert_array_equal(picture.image, upright[name])
        assert labels.mask.shape == picture.image.shape[:2]
    stored = FolderData(str(tmp_path), **settings, preprocess=Preprocess(orientation="stored"))
    with pytest.raises(
        SegfocalError, match=r"image of \(50, 40\) and a mask of \(40, 50\).*orientation: stored"
    ):
        stored.cases("train").pair(0)


def test_a_threshold_makes_masks_of_interpolated_ones(write_set, tmp_path):
    write_set()
    for path in (tmp_path / "masks").iterdir():
        image = Image.open(path)
        image.resize((100, 80), Image.Resampling.BILINEAR).save(path)
        picture = Image.open(tmp_path / "images" / path.name)
        picture.resize((100, 80)).save(tmp_path / "images" / path.name)
    split = Split(train=0.5, val=0.5)
    with pytest.raises(SegfocalError, match="threshold: 128"):
        FolderData(str(tmp_path), "binary", split=split).cases("train").counts()
    data = FolderData(str(tmp_path), "binary", split=split, threshold=128)
    assert data.class_counts()[0, 1] == pytest.approx(
        3 * 42 * 4, rel=0.1
    )  # three blobs of 6 x 7, twice as large
