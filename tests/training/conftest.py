"""Data in memory and a small configuration, for tests that train."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from segfocal.__main__ import main
from segfocal.data import SegmentationData, Source
from segfocal.data.preprocess import Preprocess

SIZES = ((32, 32), (37, 29), (40, 48))


class Discs(Source):
    """Bright discs of the class's number on noise; one channel."""

    def __init__(self, split, *, count, task, classes, size=None):
        super().__init__(
            [f"{split}_{index}" for index in range(count)], [f"patient_{i // 2}" for i in range(count)]
        )
        self.task, self.classes, self.size = task, classes, size
        self.start = {"train": 0, "val": 100, "test": 200}[split]

    def _draw(self, index):
        rng = np.random.default_rng(self.start + index)
        height, width = self.size or SIZES[index % len(SIZES)]
        rows, columns = np.mgrid[:height, :width]
        labels = np.zeros((self.classes, height, width), np.uint8)
        for number in range(self.classes):
            row, column = rng.integers(8, height - 8), rng.integers(8, width - 8)
            labels[number] = (rows - row) ** 2 + (columns - column) ** 2 < 25
        noise = rng.normal(60, 10, (height, width)) + sum((60 + 60 * k) * m for k, m in enumerate(labels))
        return noise.clip(0, 255).astype(np.uint8), labels

    def image(self, index):
        return self._draw(index)[0]

    def mask(self, index):
        labels = self._draw(index)[1]
        if self.task == "multilabel":
            return labels
        if self.task == "binary":
            return labels[0]
        merged = np.zeros(labels.shape[1:], np.uint8)
        for number, mask in enumerate(labels, start=1):
            merged[mask == 1] = number
        return merged


NAMES = {"binary": ["disc"], "multiclass": ["background", "a", "b"], "multilabel": ["a", "b"]}


class MemoryData(SegmentationData):
    """Three sizes of images, a dozen for training."""

    def __init__(self, *, task="binary", **settings):
        self.classes = {"binary": 1, "multiclass": 2, "multilabel": 2}[task]
        defaults = {"batch_size": 2, "patch_size": 16, "patches_per_epoch": 8, "augment": "none"}
        super().__init__(
            task=task,
            class_names=NAMES[task],
            preprocess=Preprocess(in_channels=1),
            **(defaults | settings),
        )

    def source(self, split):
        return Discs(
            split, count={"train": 6, "val": 3, "test": 4}[split], task=self.task, classes=self.classes
        )


class Volumes(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        mask = torch.zeros(12, 12, 12, dtype=torch.uint8)
        mask[3:8, 4:9, 2:7] = 1
        image = torch.randn(1, 12, 12, 12, generator=generator) + 2 * mask
        return {"image": image, "mask": mask, "name": f"volume_{index}", "group": "g", "index": index}


class VolumeData(pl.LightningDataModule):
    """Three axes; the least that a foreign data module must have."""

    task, num_classes, class_names, in_channels, ignore_index = "binary", 1, ["cube"], 1, None

    def class_counts(self):
        return np.array([[6 * (12**3 - 125), 6 * 125]])

    def train_dataloader(self):
        return DataLoader(Volumes(4), batch_size=2)

    def val_dataloader(self):
        return DataLoader(Volumes(2), batch_size=1)


@pytest.fixture
def memory_data():
    return MemoryData


@pytest.fixture
def volume_data():
    return VolumeData


CONFIG = """\
seed_everything: 3
model:
  network:
    class_path: segfocal.models.SmallUNet
    init_args: {in_channels: 1, num_classes: 1, channels: [4, 8], dropout: 0.2}
  loss:
    class_path: segfocal.losses.FocalDiceLoss
    init_args: {task: binary, ignore_index: 255}
  learning_rate: 0.01
data:
  class_path: segfocal.data.synthetic.SyntheticData
  init_args:
    {kind: lesions, foreground: 0.1, image_size: 32, train_images: 6, val_images: 2, test_images: 3,
     batch_size: 2, patch_size: 16, patches_per_epoch: 12}
trainer: {max_steps: 9, log_every_n_steps: 2, accelerator: cpu}
checkpoint: {every_n_steps: 2}
"""


@pytest.fixture(scope="session")
def config_text():
    """Return a configuration whose epoch has six steps and whose run has nine."""
    return CONFIG


@pytest.fixture
def config(tmp_path):
    """Return the path of a configuration whose epoch has six steps and whose run has nine."""
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """Return the run directory of one short training on generated data; do not change it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(CONFIG)
    assert main(["fit", "--config", str(folder / "tiny.yaml"), "--run", str(folder / "run")]) == 0
    return folder / "run"
