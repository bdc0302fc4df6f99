import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from segfocal.data import Preprocess
from segfocal.data.cases import Cases
from segfocal.data.patches import ImageDataset, PatchDataset, collate
from segfocal.data.transforms import Augmentation
from segfocal.errors import SegfocalError


def dataset(
    source,
    *,
    patch=(16, 16),
    share=0.5,
    augment="none",
    ignore_index=255,
    task="binary",
    classes=1,
    n=40,
    **more,
):
    cases = Cases(
        source,
        preprocess=more.pop("preprocess", Preprocess(normalize="none")),
        task=task,
        num_classes=classes,
        ignore_index=ignore_index,
        cache_mib=more.pop("cache_mib", 8),
        cache_dir=more.pop("cache_dir", None),
    )
    augmentation = Augmentation(augment, ignore_index=ignore_index)
    return PatchDataset(
        cases, patch_size=patch, num_samples=n, foreground_share=share, augmentation=augmentation, seed=0
    )


@pytest.fixture
def point(make_source):
    """One image whose colours tell the position, one foreground pixel in it."""
    rows, columns = np.mgrid[0:60, 0:80]
    image = np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)
    mask = np.zeros((60, 80), dtype=np.uint8)
    mask[30, 50] = 1
    return make_source([image], [mask])


def test_a_foreground_patch_has_the_pixel_in_its_middle(point):
    for index in range(10):
        sample = dataset(point, share=1.0)[0, index]
        assert sample["mask"][8, 8] == 1
        assert_array_equal(sample["image"][:2, 0, 0] * 255, [22, 42])


def test_the_share_of_foreground_patches_is_met(point):
    data = dataset(point, share=0.3, patch=(4, 4))
    hits = np.mean([bool(data[0, i]["mask"].any()) for i in range(600)])
    assert abs(hits - 0.3) < 0.06


def test_patches_lie_anywhere_evenly(point):
    data = dataset(point, share=0.0, patch=(59, 79))
    corners = [tuple((data[0, i]["image"][:2, 0, 0] * 255).int().tolist()) for i in range(400)]
    assert set(corners) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert min(corners.count(corner) for corner in set(corners)) > 70


def test_image_and_mask_stay_together(make_source):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (40, 40)).astype(np.uint8)
    source = make_source([np.repeat(mask[:, :, None] * 255, 3, axis=2)], [mask])
    data = dataset(source, augment="flips")
    for index in range(20):
        sample = data[0, index]
        assert torch.equal(sample["image"][0], sample["mask"].float())


def test_small_images_are_padded_with_the_ignore_label(make_source):
    source = make_source([np.full((10, 30, 3), 200, dtype=np.uint8)], [np.ones((10, 30), dtype=np.uint8)])
    sample = dataset(source)[0, 0]
    assert sample["image"].shape == (3, 16, 16)
    assert (sample["mask"][:10] == 1).all()
    assert (sample["mask"][10:] == 255).all()
    assert (sample["image"][:, 10:] == 0).all()


def test_multilabel_masks_are_padded_in_every_layer(make_source):
    source = make_source([np.zeros((10, 10, 3), dtype=np.uint8)], [np.zeros((5, 10, 10), dtype=np.uint8)])
    mask = dataset(source, task="multilabel", classes=5)[0, 0]["mask"]
    assert mask.shape == (5, 16, 16)
    assert (mask[:, 10:] == 255).all()
    assert (mask[:, :10, :10] == 0).all()


def test_padding_without_an_ignore_label_is_refused(make_source):
    source = make_source([np.zeros((10, 10, 3), dtype=np.uint8)], [np.zeros((10, 10), dtype=np.uint8)])
    with pytest.raises(SegfocalError, match=r"case0: .*ignore_index"):
        dataset(source, ignore_index=None)[0, 0]


def test_every_image_is_used_though_the_epoch_is_short(make_source):
    images = [np.full((20, 20, 3), i, dtype=np.uint8) for i in range(7)]
    data = dataset(make_source(images, [np.zeros((20, 20), dtype=np.uint8)] * 7), n=3)
    used = [data[epoch, index]["index"] for epoch in range(7) for index in range(3)]
    assert np.bincount(used).tolist() == [3] * 7


def test_normalization_uses_the_whole_image(make_source):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    settings = Preprocess()
    data = dataset(make_source([image], [np.zeros((40, 40), dtype=np.uint8)]), preprocess=settings)
    patch = data[0, 0]["image"].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(settings(image), (16, 16), axis=(1, 2))
    assert (windows == patch[:, None, None]).all((0, 3, 4)).sum() == 1


def test_deep_images_are_augmented_as_the_eight_bit_ones(make_source):
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), np.zeros((40, 40), dtype=np.uint8)
    one = dataset(make_source([image], [mask]), augment="flips", preprocess=Preprocess())
    two = dataset(
        make_source([image.astype(np.uint16) * 257], [mask]), augment="flips", preprocess=Preprocess()
    )
    for index in range(5):
        torch.testing.assert_close(one[0, index]["image"], two[0, index]["image"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("preset", ["medical", "road"])
def test_samples_do_not_depend_on_what_was_drawn_before(make_source, preset):
    rng = np.random.default_rng(0)
    image, mask = (
        rng.integers(0, 256, (40, 40, 3), dtype=np.uint8),
        rng.integers(0, 2, (40, 40)).astype(np.uint8),
    )
    data = dataset(make_source([image], [mask]), augment=preset)
    expected = data[2, 7]
    for key in [(0, 0), (2, 6), (1, 7)]:
        assert not torch.equal(data[key]["image"], expected["image"])
    assert torch.equal(data[2, 7]["image"], expected["image"])
    assert torch.equal(data[2, 7]["mask"], expected["mask"])


def test_changing_a_sample_does_not_change_the_cache(make_source):
    source = make_source([np.zeros((16, 16, 3), dtype=np.uint8)], [np.zeros((16, 16), dtype=np.uint8)])
    data = dataset(source)
    first = data[0, 0]
    first["mask"] += 1
    first["image"] += 1
    assert not data[0, 0]["mask"].any()
    assert not data[0, 0]["image"].any()


@pytest.mark.parametrize("cache_mib", [0, 0.01, 100])
def test_the_cache_keeps_to_its_limit_and_changes_nothing(make_source, cache_mib):
    images = [np.full((32, 32, 3), i, dtype=np.uint8) for i in range(5)]
    masks = [np.zeros((32, 32), dtype=np.uint8)] * 5
    source = make_source(images, masks)
    data = dataset(source, cache_mib=cache_mib)
    values = [float(data[0, i]["image"].max() * 255) for i in range(5)]
    assert values == pytest.approx(list(range(5)))
    read = []
    source.image = lambda index: read.append(index) or images[index]
    [data[0, i] for i in range(5)]
    assert len(read) == {0: 5, 0.01: 3, 100: 0}[cache_mib]


@pytest.mark.parametrize("cache_mib", [0, 0.005])
def test_what_memory_does_not_hold_is_read_once_and_kept_on_disk(make_source, tmp_path, cache_mib):
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(5)]
    masks = [random.integers(0, 2, (32, 32), dtype=np.uint8) for _ in range(5)]
    plain = dataset(make_source(images, masks))
    source = make_source(images, masks)
    data = dataset(source, cache_mib=cache_mib, cache_dir=str(tmp_path))
    data.fill()
    source.image = source.mask = None  # nothing may be read again
    for index in range(10):
        one, other = plain[0, index], data[0, index]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["mask"], other["mask"])


def test_whole_images_come_as_they_are(point):
    data = dataset(point)
    sample = ImageDataset(data.cases)[0]
    assert sample["image"].shape == (3, 60, 80)
    assert sample["mask"].dtype == torch.uint8
    assert (sample["name"], sample["group"], sample["index"]) == ("case0", "case0", 0)
    assert "mask" not in ImageDataset(data.cases, with_mask=False)[0]


def test_collate_agrees_with_torch(point):
    samples = [dataset(point)[0, i] for i in range(3)]
    ours, theirs = collate(samples), torch.utils.data.default_collate(samples)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        assert torch.equal(ours[key], value) if isinstance(value, torch.Tensor) else ours[key] == value


def test_a_batch_of_different_sizes_is_refused(make_source):
    source = make_source(
        [np.zeros((s, 8, 3), dtype=np.uint8) for s in (8, 9)],
        [np.zeros((s, 8), dtype=np.uint8) for s in (8, 9)],
    )
    whole = ImageDataset(dataset(source).cases)
    with pytest.raises(SegfocalError, match="val_batch_size"):
        collate([whole[0], whole[1]])


def test_bad_cases_are_refused_by_name(make_source):
    good = np.zeros((20, 20, 3), dtype=np.uint8)
    nan = good.astype(np.float32)
    nan[3, 3] = np.nan
    mask = np.zeros((20, 20), dtype=np.uint8)
    for image, wrong, words in [
        (nan, mask, "case0: .*3 NaN"),
        (good, np.zeros((20, 21), dtype=np.uint8), r"case0: .*\(20, 20\).*\(20, 21\)"),
        (good, mask + 7, r"case0: .*7 \(400 pixels\)"),
        (good, mask[None], r"case0: .*\(H, W\)"),
    ]:
        with pytest.raises(SegfocalError, match=words):
            dataset(make_source([image], [wrong]))[0, 0]
