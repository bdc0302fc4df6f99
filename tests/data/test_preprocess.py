import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from segfocal.data import Preprocess
from segfocal.errors import SegfocalError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (8, 12, 3), dtype=np.uint8)


def test_image_normalization_leaves_mean_zero_and_deviation_one():
    planes = Preprocess()(RGB)
    assert planes.shape == (3, 8, 12)
    assert planes.dtype == np.float32
    assert_allclose(planes.mean((1, 2)), 0, atol=1e-6)
    assert_allclose(planes.std((1, 2)), 1, rtol=1e-5)


def test_imagenet_normalization_is_the_published_formula():
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((RGB / 255 - mean) / std).transpose(2, 0, 1)
    assert_allclose(Preprocess(normalize="imagenet")(RGB), expected, rtol=1e-5, atol=1e-6)


def test_fixed_normalization_takes_one_number_for_all_channels():
    planes = Preprocess(normalize="fixed", mean=(0.5,), std=(0.25,))(RGB)
    assert_allclose(planes, ((RGB / 255 - 0.5) / 0.25).transpose(2, 0, 1), rtol=1e-5, atol=1e-6)


def test_sixteen_bits_and_eight_bits_of_one_picture_agree():
    deep = RGB.astype(np.uint16) * 257
    for normalize in ("image", "none"):
        settings = Preprocess(normalize=normalize)
        assert_allclose(settings(deep), settings(RGB), atol=2e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_within_the_unit_range_are_taken_as_they_are(dtype):
    image = (RGB / 255).astype(dtype)
    planes = Preprocess(normalize="none", scale=1.0)(image)
    assert planes.dtype == np.float32
    assert_allclose(planes, image.astype(np.float32).transpose(2, 0, 1))
    assert Preprocess(scale=0.5)(image).shape == (3, 4, 6)


def test_intensity_range_maps_and_cuts():
    image = np.array([[-1000, -200, 50, 300, 2000]], dtype=np.int16)
    planes = Preprocess(in_channels=1, normalize="none", intensity_range=(-200, 300))(image)
    assert_allclose(planes[0, 0], [0, 0, 0.5, 1, 1])


@pytest.mark.parametrize(
    ("found", "wanted"), [(1, 3), (4, 3), (2, 1), (3, 1), (4, 1), (7, 7), (4, 4), (2, 3)]
)
def test_channels_that_are_meant(found, wanted):
    image = RNG.integers(0, 256, (4, 5, found), dtype=np.uint8)
    planes = Preprocess(in_channels=wanted, normalize="none")(image)
    assert planes.shape == (wanted, 4, 5)
    if wanted == 3 and found == 4:
        assert_allclose(planes, image[:, :, :3].transpose(2, 0, 1) / 255, rtol=1e-6)
    if wanted == 3 and found < 3:
        assert_array_equal(planes[0], planes[2])


def test_a_grey_rgb_image_keeps_its_grey():
    grey = np.repeat(RGB[:, :, :1], 3, axis=2)
    assert_array_equal(Preprocess(in_channels=1).select(grey)[:, :, 0], RGB[:, :, 0])


def test_other_channel_counts_name_the_setting():
    with pytest.raises(
        SegfocalError, match=r"3 channels, got 5.*preprocess\.in_channels and the network's in_channels to 5"
    ):
        Preprocess(in_channels=3)(np.zeros((4, 4, 5), dtype=np.uint8))


def test_a_constant_image_becomes_zero():
    for value in (np.full((6, 6, 3), 77, dtype=np.uint8), np.full((6, 6, 3), 0.1, dtype=np.float32)):
        assert_allclose(Preprocess()(value), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "words"), [(np.nan, "1 NaN"), (np.inf, "1 infinite"), (1.5, "intensity_range")]
)
def test_values_without_a_meaning_are_refused(bad, words):
    image = np.full((4, 4, 3), 0.5)
    image[0, 0, 0] = bad
    with pytest.raises(SegfocalError, match=words):
        Preprocess()(image)


def test_signed_integers_need_an_intensity_range():
    with pytest.raises(SegfocalError, match="intensity_range"):
        Preprocess(in_channels=1)(np.zeros((4, 4), dtype=np.int16))


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_scaling_averages_areas_and_takes_the_nearest_label(channels):
    image = RNG.integers(0, 256, (8, 12, channels), dtype=np.uint8)
    small = Preprocess(in_channels=channels, scale=0.25).select(image)
    blocks = image.reshape(2, 4, 3, 4, channels).mean((1, 3))
    assert small.shape == (2, 3, channels)
    assert np.abs(small - blocks).max() <= 0.5 + 1e-6
    mask = RNG.integers(0, 30, (8, 12)).astype(np.uint8)
    assert_array_equal(Preprocess(scale=0.5).select_mask(mask), mask[::2, ::2])
    assert_array_equal(Preprocess(scale=0.5).select_mask(np.stack([mask, mask]))[1], mask[::2, ::2])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint16])
def test_labels_keep_their_values_and_type(dtype):
    mask = RNG.integers(0, 200, (9, 11)).astype(dtype)
    small = Preprocess(scale=0.6).select_mask(mask)
    assert small.dtype == dtype
    assert set(np.unique(small)) <= set(np.unique(mask))


def test_longest_side_only_reduces():
    assert Preprocess(longest_side=100).size(200, 50) == (100, 25)
    assert Preprocess(longest_side=100).size(40, 50) == (40, 50)
    assert Preprocess(scale=0.5, longest_side=100).size(120, 50) == (60, 25)


def test_settings_survive_json():
    settings = Preprocess(
        in_channels=1, normalize="fixed", mean=(0.1,), std=(0.2,), scale=0.5, intensity_range=(0, 9)
    )
    assert Preprocess.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(SegfocalError, match="Did you mean 'scale'"):
        Preprocess.from_dict({"scal": 1})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"normalize": "imagnet"}, "imagenet"),
        ({"normalize": "imagenet", "in_channels": 1}, "3 channels"),
        ({"normalize": "fixed", "mean": (0.5,)}, "std"),
        ({"normalize": "fixed", "mean": (0.5,), "std": (0.0,)}, "positive"),
        ({"mean": (0.5,)}, "normalize='fixed'"),
        ({"scale": 0.0}, "scale"),
        ({"longest_side": 0}, "longest_side"),
        ({"intensity_range": (3, 1)}, "low < high"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, words):
    with pytest.raises(SegfocalError, match=words):
        Preprocess(**settings)


def test_crop_then_standardize_equals_standardize_then_crop():
    settings = Preprocess()
    chosen = settings.select(RGB)
    mean, std = settings.moments(chosen)
    patch = settings.standardize(settings.unit(chosen[2:6, 3:9]), mean, std)
    assert_array_equal(patch, settings(RGB)[:, 2:6, 3:9])
