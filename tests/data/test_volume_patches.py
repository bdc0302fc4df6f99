"""Patches and whole volumes: random by (seed, epoch, index) alone, padded, cached, and augmented together."""

import numpy as np
import pytest
import torch
from volume_files import OBLIQUE, write_decathlon

from segfocal.data import NiftiData, Split, VolumePreprocess
from segfocal.data.volumes.augmentation import VolumeAugmentation
from segfocal.data.volumes.source import VolumeSource
from segfocal.errors import SegfocalError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(write_decathlon(tmp_path_factory.mktemp("volumes")))


def make(root, **settings):
    small = {"patch_size": [8, 10, 6], "batch_size": 2, "patches_per_epoch": 6, "augment": "medical"}
    return NiftiData(root, **(small | settings))


def batches(data, epochs=1):
    loader = data.train_dataloader()
    return [batch for _ in range(epochs) for batch in loader]


def same(one, other):
    return all(
        torch.equal(a["image"], b["image"]) and torch.equal(a["mask"], b["mask"]) and a["name"] == b["name"]
        for a, b in zip(one, other, strict=True)
    )


def test_workers_do_not_change_the_samples(root):
    assert same(batches(make(root), epochs=2), batches(make(root, num_workers=2), epochs=2))


def test_epochs_and_seeds_differ(root):
    first, second = batches(make(root), epochs=2)[:3], batches(make(root), epochs=2)[3:]
    assert not any(same([a], [b]) for a, b in zip(first, second, strict=True))
    assert not same(first, batches(make(root, seed=1)))


def test_a_resumed_epoch_goes_on_with_the_same_batches(root):
    data = make(root)
    data.resume_at(1, 1)
    assert same(batches(data), batches(make(root), epochs=2)[4:])


def test_a_cache_folder_that_is_none_is_named(root, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SegfocalError, match=r"cache_dir .*file.* must be a folder that can be"):
            make(root, cache="disk", cache_dir=str(folder)).cases("train").fill()


def test_every_cache_gives_the_same_samples(root, tmp_path):
    plain = batches(make(root, cache="none"))
    assert same(plain, batches(make(root, cache="memory")))
    assert same(plain, batches(make(root, cache="disk", cache_dir=str(tmp_path))))
    assert same(plain, batches(make(root, cache="memory", cache_mib=0.03, cache_dir=str(tmp_path))))
    assert len(list(tmp_path.glob("*.pt"))) == len(make(root).cases("train"))


def test_a_kept_volume_is_read_once_and_again_after_a_change(tmp_path, monkeypatch):
    root, reads = write_decathlon(tmp_path / "data"), []
    read = VolumeSource.volume
    monkeypatch.setattr(VolumeSource, "volume", lambda self, index: reads.append(index) or read(self, index))
    for _ in range(2):
        batches(make(str(root), cache="disk", cache_dir=str(tmp_path / "kept")))
    assert sorted(reads) == sorted(set(reads))
    count = len(reads)
    write_decathlon(tmp_path / "data", size=(16, 18, 15))
    batches(make(str(root), cache="disk", cache_dir=str(tmp_path / "kept")))
    assert len(reads) > count


def test_memory_holds_what_the_budget_says(root):
    """A volume takes 16 * 18 * 14 voxels of 5 bytes, 20,160 in all."""
    cases = make(root, cache_mib=2.5 * 20160 / 2**20).cases("train")
    cases.fill()
    assert cases._kept.cache_num == 2


def test_foreground_lies_in_the_middle_and_classes_are_drawn_evenly(root):
    data = make(root, augment="none", foreground_share=1.0, patch_size=5)
    patches = data.patches(200)
    middle = [int(patches[(0, index)]["mask"][2, 2, 2]) for index in range(200)]
    inside = [label for label in middle if label]
    assert len(inside) > 150  # the others stand at the border of their volume
    assert 60 < inside.count(1) < 140


def test_small_volumes_are_padded_with_the_ignore_label(root):
    sample = make(root, augment="none", patch_size=20).patches(1)[(0, 0)]
    assert sample["image"].shape == (1, 20, 20, 20)
    assert (sample["mask"][16:] == 255).all()
    assert (sample["image"][:, 16:] == 0).all()
    assert (sample["mask"][:16, :18, :14] != 255).all()
    with pytest.raises(SegfocalError, match="smaller than the patch"):
        make(root, augment="none", patch_size=20, ignore_index=None).patches(1)[(0, 0)]


def test_patches_do_not_change_what_is_kept(root):
    data = make(root)
    before = data.cases("train").case(0).image.clone()
    for batch in batches(data):
        batch["image"].fill_(0)
    sample = data.wholes("train", with_mask=True)[0]
    sample["image"].fill_(1)
    assert torch.equal(data.cases("train").case(0).image, before)


def test_image_and_mask_move_together():
    """An image that is its own mask stays so, up to the border of what is interpolated."""
    mask = torch.zeros(16, 16, 16, dtype=torch.uint8)
    mask[3:10, 5:12, 4:9] = 1
    affine = {"class_path": "RandAffined", "init_args": {"prob": 1.0, "rotate_range": [0.3, 0.3, 0.3]}}
    augment = VolumeAugmentation(["flips", affine], ignore_index=255)
    image, warped = augment(mask[None].float(), mask, np.random.default_rng(1))
    known = warped != 255
    assert 0 < (~known).sum() < 16**3 / 2  # what came from outside
    assert (((image[0] > 0.5) != (warped == 1)) & known).sum() < 0.02 * 16**3
    assert not torch.equal(warped, mask)


def test_mirror_changes_the_first_axis_alone():
    mask = torch.arange(8, dtype=torch.uint8).reshape(2, 2, 2)
    augment = VolumeAugmentation("mirror", ignore_index=255)
    found = [augment(mask[None].float(), mask, np.random.default_rng(seed))[1] for seed in range(20)]
    expected = {str(mask.tolist()), str(mask.flip(0).tolist())}
    assert {str(view.tolist()) for view in found} == expected


def test_unknown_augmentation_is_refused():
    for spec, message in (
        ("flipz", "Did you mean 'flips'"),
        ([{"class_path": "RandAffine"}], "no random dictionary transform of monai.transforms"),
        ([{"class_path": "RandGaussianNoised", "init_args": {"sigma": 1}}], "does not take"),
    ):
        with pytest.raises(SegfocalError, match=message):
            VolumeAugmentation(spec, ignore_index=255)


def test_volumes_come_out_right_anterior_superior_at_the_asked_spacing(tmp_path):
    root = str(write_decathlon(tmp_path, affine=OBLIQUE))
    stored = make(root).cases("train").case(0)
    # the axes of the files point to posterior, right and superior
    assert stored.image.shape == (1, 18, 16, 14)
    assert stored.spacing_mm.tolist() == pytest.approx([1.1, 0.8, 2.5])
    resampled = make(root, preprocess=VolumePreprocess(spacing_mm=(1.1, 1.6, 2.5))).cases("train").case(0)
    assert resampled.image.shape == (1, 18, 9, 14)
    assert set(np.unique(resampled.labels.mask)) == {0, 1, 2}


def test_intensity_presets():
    from segfocal.data.volumes.reading import Volume

    array = np.linspace(-500, 500, 1000, dtype=np.float32).reshape(1, 10, 10, 10)
    volume = Volume(array, np.eye(4), None)
    window = VolumePreprocess(intensity="ct", intensity_range=(-100, 100)).image(volume)
    expected = np.clip(array / 100, -1, 1)
    np.testing.assert_allclose(window.numpy(), expected, atol=1e-5)
    scored = VolumePreprocess(intensity="mr").image(volume).numpy()
    np.testing.assert_allclose(scored, (array - array.mean()) / array.std(), atol=1e-4)
    array[0, :5] = 0
    nonzero = VolumePreprocess(intensity="mr", nonzero=True).image(Volume(array, np.eye(4), None)).numpy()
    inside = array[array != 0]
    np.testing.assert_allclose(nonzero[0, :5], 0)
    np.testing.assert_allclose(nonzero[array != 0], (inside - inside.mean()) / inside.std(), atol=1e-4)
    cut = VolumePreprocess(percentiles=(10, 90)).image(volume).numpy()
    assert np.count_nonzero(cut == cut.max()) >= 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"intensity": "ct"}, "needs one of intensity_range and percentiles"),
        ({"intensity_range": (0.0, 1.0)}, "intensity_range needs intensity='ct'"),
        ({"intensity": "ct", "intensity_range": (1.0, 0.0)}, "low < high"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "must lie in"),
        ({"intensity": "pet"}, "must be one of"),
    ],
)
def test_contradicting_settings_are_refused(settings, message):
    with pytest.raises(SegfocalError, match=message):
        VolumePreprocess(**settings)


def test_fingerprint_changes_with_a_label(tmp_path):
    root = write_decathlon(tmp_path)
    before = make(str(root)).fingerprint()
    assert before["images"] == {"train": 4, "test": 2}
    assert make(str(root)).fingerprint() == before
    write_decathlon(tmp_path, count=6, size=(16, 18, 15))
    assert make(str(root)).fingerprint()["sha256"] != before["sha256"]


def test_each_process_of_several_sees_its_own_volumes(root):
    from segfocal.data.loaders import image_loader

    data = make(root, split=Split(train=1, test=5))
    wholes = data.wholes("test", with_mask=False)
    shards = [image_loader(wholes, batch_size=1, ranks=(rank, 2), num_workers=0) for rank in range(2)]
    names = [name for shard in shards for batch in shard for name in batch["name"]]
    assert sorted(names) == sorted(data.cases("test").source.names)
