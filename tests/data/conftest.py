"""Small data sets on disk and in memory, and the folder of the real ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segfocal.data import SegmentationData, Source

REPOSITORY = Path(__file__).parents[2]


class ArraySource(Source):
    def __init__(self, images, masks, groups=None):
        super().__init__([f"case{i}" for i in range(len(images))], groups)
        self.images, self.masks = images, masks

    def image(self, index):
        return self.images[index]

    def mask(self, index):
        return self.masks[index]


class ArrayData(SegmentationData):
    def __init__(self, arrays, **settings):
        super().__init__(**settings)
        self.arrays = arrays

    def source(self, split):
        return ArraySource(*self.arrays.get(split, ([], [])))


def blobs(count, size=(40, 50), channels=3, seed=0):
    """Noise images with a bright rectangle each, which is the foreground."""
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        image = rng.integers(0, 100, (*size, channels), dtype=np.uint8)
        mask = np.zeros(size, dtype=np.uint8)
        top, left = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
        mask[top : top + 6, left : left + 7] = 1
        image[mask == 1] += 150
        images.append(image)
        masks.append(mask)
    return images, masks


@pytest.fixture
def make_data():
    def make(train=4, val=3, test=2, **settings):
        arrays = {
            name: blobs(n, seed=i)
            for i, (name, n) in enumerate(zip(("train", "val", "test"), (train, val, test), strict=True))
        }
        settings = {"task": "binary", "class_names": ["blob"], "patch_size": 16, "batch_size": 4} | settings
        return ArrayData(settings.pop("arrays", arrays), **settings)

    return make


@pytest.fixture
def make_source():
    return ArraySource


@pytest.fixture
def write_set(tmp_path):
    """Write images and masks into tmp_path/images and tmp_path/masks (or below a folder of it)."""

    def write(count=6, folder="", names=None):
        base = tmp_path / folder
        (base / "images").mkdir(parents=True, exist_ok=True)
        (base / "masks").mkdir(parents=True, exist_ok=True)
        names = names or [f"p{i // 2:02d}_{'LR'[i % 2]}" for i in range(count)]
        for name, image, mask in zip(names, *blobs(len(names), seed=sum(folder.encode())), strict=True):
            Image.fromarray(image).save(base / "images" / f"{name}.png")
            Image.fromarray(mask * 255).save(base / "masks" / f"{name}.png")
        return tmp_path

    return write


@pytest.fixture
def real_data(monkeypatch):
    folder = Path(os.environ.get("SEGFOCAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real images are not in {folder}: set SEGFOCAL_DATA")
    monkeypatch.setenv("SEGFOCAL_DATA", str(folder))
    return folder
