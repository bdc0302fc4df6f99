"""The real sets, read where they lie; expected numbers come from their descriptions."""

import numpy as np
import pytest
from PIL import Image

from segfocal.data import FolderData, Preprocess, Split

pytestmark = pytest.mark.data


def one_batch(data):
    data.setup("fit")
    return next(iter(data.train_dataloader()))


@pytest.mark.usefixtures("real_data")
def test_vessels_of_chase_db1():
    data = FolderData(
        "$SEGFOCAL_DATA/chase_db1",
        "binary",
        ["vessel"],
        masks="masks/{stem}_1stHO",
        split=Split(train=20, test=8, val_share=0.2, group=r"Image_(\d+)"),
        patch_size=128,
        patches_per_epoch=8,
    )
    assert one_batch(data)["image"].shape == (8, 3, 128, 128)
    parts = {split: data.cases(split).source for split in ("train", "val", "test")}
    assert {split: len(source) for split, source in parts.items()} == {"train": 16, "val": 4, "test": 8}
    assert set(parts["test"].groups) == {"11", "12", "13", "14"}
    assert not set(parts["train"].groups) & set(parts["val"].groups)
    negatives, positives = data.class_counts()[0]
    assert positives / (negatives + positives) == pytest.approx(0.069, abs=0.004)


@pytest.mark.usefixtures("real_data")
def test_nuclei_of_dsb2018():
    data = FolderData(
        "$SEGFOCAL_DATA/dsb2018_nuclei", "binary", ["nucleus"], split=Split(train=0.7, val=0.1, test=0.2)
    )
    assert sum(data.fingerprint()["images"].values()) == 538
    assert one_batch(data)["image"].shape == (8, 3, 256, 256)
    sample = next(iter(data.val_dataloader()))
    stored = Image.open(data.root / "masks" / f"{sample['name'][0]}.png")
    assert np.array_equal(sample["mask"][0], np.asarray(stored) // 255)


@pytest.mark.usefixtures("real_data")
def test_lane_markings_of_camvid():
    data = FolderData(
        "$SEGFOCAL_DATA/camvid32_lanes",
        "binary",
        ["lane"],
        split=Split(train="train", val="val"),
        values={10: 1},
        ignore_values=[30],
        other=0,
        augment="road",
        patches_per_epoch=8,
    )
    assert data.fingerprint()["images"] == {"train": 123, "val": 50}
    assert set(one_batch(data)["mask"].unique().tolist()) <= {0, 1, 255}
    sample = next(iter(data.val_dataloader()))
    stored = np.asarray(Image.open(data.root / "val" / "masks" / f"{sample['name'][0]}.png"))
    assert np.array_equal(sample["mask"][0], np.where(stored == 30, 255, stored == 10))


@pytest.mark.usefixtures("real_data")
def test_the_road_scene_of_camvid_from_its_class_table():
    data = FolderData(
        "$SEGFOCAL_DATA/camvid32_lanes",
        "multiclass",
        ["background", "road", "lane"],
        split=Split(train="train", val="val"),
        values={17: 1, 10: 2, 11: 2},
        ignore_values=[30],
        other=0,
        preprocess=Preprocess(scale=0.5),
        patches_per_epoch=8,
    )
    assert one_batch(data)["image"].shape == (8, 3, 256, 256)
    sample = next(iter(data.val_dataloader()))
    assert sample["image"].shape == (1, 3, 360, 480)
    assert set(sample["mask"].unique().tolist()) == {0, 1, 2, 255}


@pytest.mark.usefixtures("real_data")
def test_colour_masks_of_comma10k():
    colors = {
        "road": "#402020",
        "lane": "#ff0000",
        "rest": "#808060",
        "movable": "#00ff66",
        "my_car": "#cc00ff",
    }
    data = FolderData(
        "$SEGFOCAL_DATA/comma10k_sample",
        "multiclass",
        colors=colors,
        split=Split(train=["???[0-8]_*"], val=["???9_*"]),
        patches_per_epoch=8,
        preprocess=Preprocess(scale=0.5),
    )
    assert data.fingerprint()["images"] == {"train": 10, "val": 1}
    shares = data.class_counts() / data.class_counts().sum()
    # all eleven pictures: 19.4, 0.80, 51.1, 2.1 and 26.6 %
    assert shares == pytest.approx([0.194, 0.008, 0.511, 0.021, 0.266], abs=0.01)
    one_batch(data)


@pytest.mark.slow
@pytest.mark.usefixtures("real_data")
def test_fundus_lesions_of_idrid():
    data = FolderData(
        "$SEGFOCAL_DATA/idrid",
        "multilabel",
        ["MA", "HE", "EX", "SE", "OD"],
        masks="masks/{class}/{stem}_{class}",
        split=Split(train="train", test="test"),
        preprocess=Preprocess(scale=0.25),
        patches_per_epoch=8,
        augment="medical",
    )
    batch = one_batch(data)
    assert batch["mask"].shape == (8, 5, 256, 256)
    assert data.fingerprint()["images"] == {"train": 54, "test": 27}
    counts = data.class_counts()
    shares = 100 * counts[:, 1] / counts.sum(1)
    assert shares == pytest.approx([0.107, 0.99, 0.81, 0.19, 1.81], rel=0.03)
    with_soft_exudates = [data.cases("train").labels(i).rows.rows[3].any() for i in range(54)]
    assert sum(with_soft_exudates) == 26
