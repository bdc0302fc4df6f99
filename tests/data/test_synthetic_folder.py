from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from segfocal.data import FolderData
from segfocal.data.synthetic import SyntheticData, folder, write_folder, write_splits
from segfocal.errors import SegfocalError


def data(**settings):
    return SyntheticData(**{"image_size": 48, "train_images": 3, "foreground": 0.1, **settings})


def read(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("channels", [1, 3])
def test_binary_pictures_and_masks_are_those_of_the_source(tmp_path, channels):
    generated = data(channels=channels)
    out = write_folder(generated, tmp_path / "new" / "set", "train", 2)
    stems = sorted(path.stem for path in (out / "images").iterdir())
    assert stems == sorted(path.stem for path in (out / "masks").iterdir()) == ["train_00000", "train_00001"]
    source = generated.source("train")
    picture = source.image(1)
    expected = picture[..., 0] if channels == 1 else picture
    assert_array_equal(read(out / "images" / "train_00001.png"), expected)
    assert_array_equal(read(out / "masks" / "train_00001.png"), source.mask(1) * 255)


def test_multiclass_masks_hold_class_numbers(tmp_path):
    generated = data(task="multiclass")
    write_folder(generated, tmp_path, "train")
    assert_array_equal(read(tmp_path / "masks" / "train_00002.png"), generated.source("train").mask(2))


def test_multilabel_has_a_folder_per_class_and_no_file_where_the_label_is_absent(tmp_path):
    generated = data(task="multilabel", foreground=0.0005, train_images=8)
    write_folder(generated, tmp_path, "train")
    masks = [generated.source("train").mask(index) for index in range(8)]
    present = np.array([mask.any(axis=(1, 2)) for mask in masks])
    assert not present.all()
    for number, name in enumerate(generated.class_names):
        for index in range(8):
            path = tmp_path / "masks" / name / f"train_{index:05d}.png"
            assert path.exists() == present[index, number]
            if present[index, number]:
                assert_array_equal(read(path) == 255, masks[index][number] == 1)


def test_a_folder_with_content_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SegfocalError, match="new or empty folder"):
        write_folder(data(), tmp_path, "train")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "_save", full)
    with pytest.raises(OSError, match="No space"):
        write_folder(data(), tmp_path / "out", "train")
    assert list(tmp_path.iterdir()) == []


def test_wrong_count_and_channels(tmp_path):
    with pytest.raises(SegfocalError, match=r"count must lie in \[1, 3\]"):
        write_folder(data(), tmp_path / "out", "train", 4)
    with pytest.raises(SegfocalError, match="1 or 3 channels, got channels=5"):
        write_folder(data(channels=5), tmp_path / "out", "train")


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_folder_data_reads_back_the_same_samples(tmp_path, task):
    generated = data(task=task, val_images=2, test_images=2)
    write_splits(generated, tmp_path / "set")
    stored = FolderData(
        str(tmp_path / "set"), task, generated.class_names, preprocess=generated.preprocess, num_workers=0
    )
    assert stored.class_counts().tolist() == generated.class_counts().tolist()
    for written, read_back in zip(generated.test_dataloader(), stored.test_dataloader(), strict=True):
        assert_array_equal(written["image"], read_back["image"])
        assert_array_equal(written["mask"], read_back["mask"])
        assert written["name"] == read_back["name"]


def test_splits_without_pictures_get_no_folder(tmp_path):
    write_splits(data(val_images=0, test_images=1), tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["test", "train"]
