from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segfocal.data.preprocess import Preprocess
from segfocal.errors import SegfocalError
from segfocal.training.prediction.files import PredictOptions, list_images, predict_files
from segfocal.training.prediction.predictor import Predictor
from segfocal.training.prediction.tiles import Tiling

CLASSES = {
    "binary": ["vessel"],
    "multiclass": ["background", "road", "lane"],
    "multilabel": ["edema", "drusen"],
}


def predictor(task):
    torch.manual_seed(0)
    names = CLASSES[task]
    network = nn.Conv2d(3, len(names), 3, padding=1)
    return Predictor(network, task=task, preprocess=Preprocess(), class_names=names, device="cpu")


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("b.png", (20, 31, 3)), ("a.jpg", (9, 7, 3)), ("c.tif", (8, 8))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(images / name)
    (images / "notes.txt").write_text("no image")
    return images


def read(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("task", CLASSES)
def test_files_say_what_the_predictor_says(task, folder, tmp_path):
    model = predictor(task)
    calls = []
    options = PredictOptions(probabilities=True, overlay=True, tta="flips")
    written = predict_files(
        model, folder, tmp_path / "out", options=options, progress=lambda *call: calls.append(call)
    )
    assert calls == [(1, 3, "a.jpg"), (2, 3, "b.png"), (3, 3, "c.tif")]
    assert all(path.is_file() for path in written)
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == sorted(written)
    expected = model(read(folder / "b.png"), tta="flips")
    masks, scores = tmp_path / "out" / "masks", tmp_path / "out" / "probabilities"
    if task == "multilabel":
        for name, plane in zip(CLASSES[task], expected.mask, strict=True):
            assert np.array_equal(read(masks / name / "b.png"), plane * 255)
    else:
        assert np.array_equal(read(masks / "b.png"), expected.mask * (255 if task == "binary" else 1))
    for name, plane in zip(CLASSES[task], expected.probabilities, strict=True):
        path = scores / "b.png" if task == "binary" else scores / name / "b.png"
        assert np.abs(read(path) / 65535 - plane).max() < 8e-6
    assert read(tmp_path / "out" / "overlays" / "c.png").shape == (8, 8, 3)


def test_a_multiclass_mask_is_a_palette_picture(folder, tmp_path):
    predict_files(predictor("multiclass"), folder / "a.jpg", tmp_path)
    with Image.open(tmp_path / "masks" / "a.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:3] == [0, 0, 0]


def test_masks_alone_by_default(folder, tmp_path):
    predict_files(predictor("binary"), [folder / "a.jpg"], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["masks"]


def test_references_are_outlined(folder, tmp_path):
    reference = np.zeros((9, 7), np.uint8)
    reference[4, 3] = 1
    options = PredictOptions(overlay=True, threshold=1.0)
    predict_files(
        predictor("binary"), folder / "a.jpg", tmp_path, options=options, reference=lambda path: reference
    )
    assert read(tmp_path / "overlays" / "a.png")[4, 3].tolist() == [255, 255, 255]


def test_an_unreadable_image_is_named_and_leaves_nothing(folder, tmp_path):
    broken = folder / "b.png"
    broken.write_bytes(broken.read_bytes()[:200])
    out = tmp_path / "out"
    with pytest.raises(SegfocalError, match=r"b\.png"):
        predict_files(predictor("binary"), folder, out, options=PredictOptions(probabilities=True))
    assert {path.name for path in out.rglob("*") if path.is_file()} == {"a.png"}


def test_an_image_that_does_not_fit_is_named(folder, tmp_path):
    np.save(folder / "d.npy", np.zeros((4, 4, 7), np.uint8))
    with pytest.raises(SegfocalError, match=r"d\.npy: .*channels"):
        predict_files(predictor("binary"), folder / "d.npy", tmp_path / "out")


def test_folders_without_images_say_what_is_there(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(SegfocalError, match=r"found 1 other files\. Its subfolders are train"):
        list_images(tmp_path)
    with pytest.raises(SegfocalError, match="empty list"):
        list_images([])
    with pytest.raises(SegfocalError, match=r"found no .*nothing\.png"):
        list_images(tmp_path / "nothing.png")


def test_two_images_of_one_stem_are_an_error(folder):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "a.png")
    with pytest.raises(SegfocalError, match=r"share the stem 'a'"):
        list_images(folder)


def test_a_full_disk_is_reported(folder, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(SegfocalError, match=r"cannot write .*out: .* another folder with --out\."):
        predict_files(predictor("binary"), folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PredictOptions(threshold=[0.5, 0.5]), "threshold must be one number or 1, one per class"),
        (PredictOptions(posterior=True), "posterior needs"),
        (PredictOptions(tiling=Tiling(size=1)), "tile size must be at least 2 px"),
    ],
)
def test_options_that_fit_no_image_are_not_blamed_on_the_first(options, message, folder, tmp_path):
    with pytest.raises(SegfocalError, match=f"^{message}"):
        predict_files(predictor("binary"), folder, tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()
