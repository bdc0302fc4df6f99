import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from numpy.testing import assert_array_equal
from torch import nn

from segfocal.data import Preprocess, SegmentationData
from segfocal.errors import SegfocalError

BLANK = np.zeros((20, 20, 3), dtype=np.uint8)


def epochs(data, count=2):
    data.setup("fit")
    loader = data.train_dataloader()
    return [[(b["image"], b["mask"], b["name"]) for b in loader] for _ in range(count)]


def same(one, two):
    return all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and a[2] == b[2]
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("augment", ["flips", "medical"])
def test_two_runs_are_equal_and_epochs_differ(make_data, augment):
    one, two = (epochs(make_data(augment=augment, patches_per_epoch=12)) for _ in range(2))
    assert same(one[0], two[0])
    assert same(one[1], two[1])
    assert not same(one[0], one[1])
    pixels = [image.numpy().tobytes() for epoch in one for batch, _, _ in epoch for image in batch]
    assert len(set(pixels)) == len(pixels)
    assert not same(one[0], epochs(make_data(augment=augment, patches_per_epoch=12, seed=1))[0])


def test_the_number_of_workers_does_not_matter(make_data):
    one, two = (epochs(make_data(augment="medical", patches_per_epoch=16, num_workers=n)) for n in (0, 2))
    assert same(one[0], two[0])
    assert same(one[1], two[1])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("augment", ["none", "medical"])
def test_loaders_leave_the_global_random_states_alone(make_data, workers, augment):
    data = make_data(augment=augment, patches_per_epoch=8, num_workers=workers)
    data.setup("fit")
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for _ in range(2):
            for _batch in loader:
                pass
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_resuming_gives_the_rest_of_the_epoch(make_data, batch):
    whole = epochs(make_data(patches_per_epoch=12), count=3)
    data = make_data(patches_per_epoch=12)
    data.resume_at(1, batch)
    rest = epochs(data)
    assert same(rest[0], whole[1][batch:])
    assert same(rest[1], whole[2])


class Recorder(pl.LightningModule):
    def __init__(self, stop_after=None):
        super().__init__()
        self.layer, self.seen, self.stop_after = nn.Conv2d(3, 1, 1), [], stop_after

    def training_step(self, batch, index):
        self.seen.append((self.current_epoch, index, batch["image"].clone(), tuple(batch["name"])))
        if len(self.seen) == self.stop_after:
            self.trainer.should_stop = True
        return self.layer(batch["image"]).mean()

    def validation_step(self, batch, index):
        assert batch["image"].shape[0] == 1

    def test_step(self, batch, index):
        self.seen.append(batch["name"][0])

    def predict_step(self, batch, index):
        assert "mask" not in batch
        return batch["name"][0]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(max_epochs):
    return pl.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


def fit(data, model, max_epochs=3):
    trainer(max_epochs).fit(model, datamodule=data)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*pytree.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_lightning_sees_the_epochs_of_the_plain_loop(make_data):
    model = Recorder()
    fit(make_data(patches_per_epoch=12), model)
    expected = epochs(make_data(patches_per_epoch=12), count=3)
    assert [(epoch, index) for epoch, index, _, _ in model.seen] == [
        (e, i) for e in range(3) for i in range(3)
    ]
    for epoch, index, image, _ in model.seen:
        assert torch.equal(image, expected[epoch][index][0])


class Interrupt(pl.Callback):
    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise RuntimeError("stopped")


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")  # it is, by resume_at
@pytest.mark.parametrize("step", [2, 4, 6])
def test_lightning_goes_on_in_mid_epoch_with_the_same_batches(make_data, tmp_path, step):
    whole, first, rest = Recorder(), Recorder(), Recorder()
    fit(make_data(patches_per_epoch=12), whole)
    stopping = trainer(3)
    stopping.callbacks.append(Interrupt(tmp_path / "middle.ckpt", step))
    with pytest.raises(RuntimeError, match="stopped"):
        stopping.fit(first, datamodule=make_data(patches_per_epoch=12))
    data = make_data(patches_per_epoch=12)
    data.resume_at(*divmod(step, 3))
    trainer(3).fit(rest, datamodule=data, ckpt_path=tmp_path / "middle.ckpt", weights_only=True)
    seen = first.seen + rest.seen
    assert [(epoch, index) for epoch, index, _, _ in seen] == [(e, i) for e in range(3) for i in range(3)]
    assert all(torch.equal(a[2], b[2]) for a, b in zip(seen, whole.seen, strict=True))


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_lightning_trains_without_a_validation_split(make_data):
    model = Recorder()
    with pytest.warns(UserWarning, match="length of `list`"):
        fit(make_data(val=0, patches_per_epoch=8), model, max_epochs=1)
    assert len(model.seen) == 2


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_lightning_tests_and_predicts_every_image_once(make_data):
    model = Recorder()
    assert trainer(1).predict(model, datamodule=make_data()) == ["case0", "case1"]
    trainer(1).test(model, datamodule=make_data(), verbose=False)
    assert model.seen == ["case0", "case1"]


def test_loaders_give_batches_as_promised(make_data):
    data = make_data(patches_per_epoch=8)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 16, 16)
    assert batch["image"].dtype == torch.float32
    assert batch["mask"].shape == (4, 16, 16)
    assert batch["mask"].dtype == torch.uint8
    assert batch.keys() == {"image", "mask", "name", "group", "index"}
    assert [b["name"] for b in data.val_dataloader()] == [["case0"], ["case1"], ["case2"]]
    assert len(list(data.test_dataloader())) == 2
    assert "mask" not in next(iter(data.predict_dataloader()))
    assert next(iter(make_data(val_batch_size=3).val_dataloader()))["image"].shape == (3, 3, 40, 50)


def test_an_epoch_has_sixteen_patches_per_image_by_default(make_data):
    assert len(make_data(train=5).train_dataloader()) == 20


class FakeTrainer:
    def __init__(self, rank, size):
        self.global_rank, self.world_size = rank, size
        self.state = SimpleNamespace(fn="fit")


def test_ranks_train_on_different_patches_and_score_every_image_once(make_data):
    seen, scored = [], []
    for rank in range(2):
        data = make_data(train=4, val=3, patches_per_epoch=16, foreground_share=0.0)
        data.trainer = FakeTrainer(rank, 2)
        seen.append(
            [image.numpy().tobytes() for batch in data.train_dataloader() for image in batch["image"]]
        )
        scored.append([name for batch in data.val_dataloader() for name in batch["name"]])
    assert len(seen[0]) == len(seen[1]) == 8
    assert not set(seen[0]) & set(seen[1])
    assert sorted(scored[0] + scored[1]) == ["case0", "case1", "case2"]


def test_fewer_images_than_processes_is_refused(make_data):
    data = make_data(val=1)
    data.trainer = FakeTrainer(1, 2)
    with pytest.raises(SegfocalError, match="2 processes"):
        data.val_dataloader()


def test_class_counts_are_those_of_the_training_masks(make_data):
    data = make_data(train=4)
    masks = np.stack(data.arrays["train"][1])
    assert_array_equal(data.class_counts(), [[(masks == 0).sum(), (masks == 1).sum()]])


def test_class_counts_of_multiclass_leave_out_ignored_pixels(make_data):
    mask = (np.arange(400) % 5).reshape(20, 20).astype(np.uint8)
    arrays = {"train": ([BLANK] * 2, [np.where(mask == 4, 255, mask)] * 2)}
    data = make_data(arrays=arrays, task="multiclass", class_names=list("abcd"))
    assert data.class_counts().tolist() == [160, 160, 160, 160]


def test_fingerprint_changes_with_pixels_names_and_splits(make_data):
    first = make_data().fingerprint()
    assert first == json.loads(json.dumps(make_data().fingerprint()))
    assert first["images"] == {"train": 4, "val": 3, "test": 2}
    changed = make_data()
    changed.arrays["train"][1][0][0, 0] ^= 1
    others = [
        changed.fingerprint(),
        make_data(train=3).fingerprint(),
        make_data(class_names=["x"]).fingerprint(),
    ]
    assert len({first["sha256"], *(other["sha256"] for other in others)}) == 4


def test_attributes_need_no_images():
    class Nowhere(SegmentationData):
        def source(self, split):
            raise AssertionError("construction must not look for images")

    data = Nowhere(task="multilabel", class_names=["a", "b"], preprocess=Preprocess(in_channels=1))
    assert (data.task, data.num_classes, data.class_names) == ("multilabel", 2, ["a", "b"])
    assert (data.in_channels, data.ignore_index, data.seed) == (1, 255, 0)


@pytest.mark.parametrize(
    ("mask", "task", "words"),
    [
        (np.zeros((20, 20)), "binary", "background only"),
        (np.ones((20, 20)), "binary", "foreground only"),
        (np.full((20, 20), 255), "binary", "ignored"),
        (np.full((20, 20), 2), "multiclass", "class 2 only"),
        (np.zeros((3, 20, 20)), "multilabel", "background only"),
    ],
)
def test_nothing_to_learn_is_refused_before_training(make_data, mask, task, words):
    names = ["a"] if task == "binary" else ["a", "b", "c"]
    data = make_data(
        arrays={"train": ([BLANK] * 2, [mask.astype(np.uint8)] * 2)}, task=task, class_names=names
    )
    with pytest.raises(SegfocalError, match=words):
        data.setup("fit")


def test_an_error_in_a_worker_process_keeps_type_and_name(make_data):
    arrays = {"train": ([BLANK, BLANK[:, :9]], [np.eye(20, dtype=np.uint8)] * 2)}
    data = make_data(arrays=arrays, num_workers=1, cache_mib=0)
    with pytest.raises(SegfocalError, match=r"^case1: image and mask"):
        list(data.train_dataloader())


def test_a_missing_split_is_named(make_data):
    with pytest.raises(SegfocalError, match="no test images"):
        make_data(test=0).test_dataloader()
    with pytest.raises(SegfocalError, match="split must be one of"):
        make_data().cases("tset")
    assert make_data(val=0).val_dataloader() == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "binray"}, "Did you mean 'binary'"),
        ({"class_names": ["a", "b"]}, "1 name"),
        ({"task": "multiclass", "class_names": ["a"]}, "at least 2"),
        ({"task": "multilabel", "class_names": ["a", "a"]}, "must differ"),
        ({"ignore_index": 1}, "ignore_index 1"),
        ({"patch_size": [4, 4, 4]}, "patch_size"),
        ({"foreground_share": 1.5}, "foreground_share"),
        ({"augment": "medicla"}, "medical"),
        ({"batch_size": 0}, "batch_size"),
        ({"patches_per_epoch": 0}, "patches_per_epoch"),
        ({"cache_mib": -1.0}, "cache_mib"),
    ],
)
def test_wrong_settings_are_refused(make_data, settings, words):
    with pytest.raises(SegfocalError, match=words):
        make_data(**settings)
