from __future__ import annotations

import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from segfocal.data.volumes.reading import Volume
from segfocal.errors import SegfocalError
from segfocal.training.prediction.overlay import class_colours, outline, overlay, to_picture
from segfocal.training.prediction.volumes import _overlays


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 2), (4, 6, 3), (4, 6, 4), (4, 6, 7)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64, bool])
def test_any_image_becomes_a_picture(shape, kind):
    image = (np.random.default_rng(0).random(shape) * 200).astype(kind)
    picture = to_picture(image)
    assert picture.shape == (4, 6, 3)
    assert picture.dtype == np.uint8


def test_eight_bit_colours_are_kept_and_wide_ranges_stretched():
    image = np.random.default_rng(0).integers(0, 255, (3, 3, 3), dtype=np.uint8)
    assert np.array_equal(to_picture(image), image)
    ramp = np.linspace(1000, 3000, 10000, dtype=np.uint16).reshape(100, 100)
    assert to_picture(ramp).min() == 0
    assert to_picture(ramp).max() == 255


@pytest.mark.parametrize(
    "image", [np.full((2, 2), 7.0), np.full((2, 2), np.nan), np.zeros((2, 2), np.uint16)]
)
def test_flat_and_broken_images_do_not_crash(image):
    assert to_picture(image).shape == (2, 2, 3)


def test_outside_the_prediction_nothing_changes():
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    mask = np.zeros((20, 20), np.uint8)
    assert np.array_equal(overlay(image, mask), image)
    mask[5:10, 5:10] = 1
    drawn = overlay(image, mask)
    assert np.array_equal(drawn[mask == 0], image[mask == 0])
    assert np.array_equal(drawn[5, 5], class_colours(1)[0])
    tint = image[7, 7] + 0.45 * (class_colours(1)[0].astype(float) - image[7, 7])
    assert np.abs(drawn[7, 7] - tint).max() <= 1


def test_a_class_has_its_colour_whichever_others_occur():
    image = np.zeros((3, 3), np.uint8)
    alone = overlay(image, np.full((3, 3), 3, np.uint8), opacity=1.0)
    channels = np.zeros((4, 3, 3), np.uint8)
    channels[2] = 1
    assert np.array_equal(alone[1, 1], class_colours(3)[2])
    assert np.array_equal(overlay(image, channels, opacity=1.0), alone)


def test_the_reference_is_outlined_in_white_and_ignored_pixels_are_not():
    image = np.zeros((9, 9), np.uint8)
    reference = np.zeros((9, 9), np.uint8)
    reference[2:6, 2:6] = 1
    reference[8] = 255
    drawn = overlay(image, np.zeros((9, 9), np.uint8), reference=reference)
    assert np.array_equal((drawn == 255).all(axis=2), outline(reference == 1))


def test_sizes_must_agree():
    with pytest.raises(SegfocalError, match=r"prediction must have the image's size \(4, 4\), got \(4, 5\)"):
        overlay(np.zeros((4, 4)), np.zeros((4, 5), np.uint8))


@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_colours_differ(count):
    colours = class_colours(count)
    assert colours.shape == (count, 3)
    assert len({tuple(colour) for colour in colours.tolist()}) == count


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "ASL"])
@pytest.mark.parametrize("several", [False, True])
def test_slices_of_volumes_lie_as_radiologists_see_them(codes, several):
    """A lesion at the patient's right, in front, shows at the upper left, whatever the axes of the file."""
    image = np.zeros((8, 10, 6), np.float32)  # to the right, anterior, superior; 1 x 2 x 5 mm
    mask = np.zeros(image.shape, np.uint8)
    mask[6:, 8:, 2:4] = 1
    image[:2, :2] = 1  # bright at the patient's left, behind
    affine = np.diag([1.0, 2.0, 5.0, 1.0])
    steps = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
    )
    stored = [nibabel.Nifti1Image(array, affine).as_reoriented(steps) for array in (image, mask)]
    arrays = [np.asarray(each.dataobj) for each in stored]
    planes = np.stack([arrays[1], 0 * arrays[1]]) if several else arrays[1]
    found = _overlays(Volume(arrays[0][None], stored[0].affine, Path("x")), planes, "case")
    assert sorted(found) == ["overlays/case@002.png", "overlays/case@003.png"]
    for content in found.values():
        picture = np.asarray(Image.open(io.BytesIO(content))).astype(int)
        assert picture.shape == (20, 8, 3)  # 20 mm high, 8 mm wide
        tinted = picture[..., 2] > picture[..., 0]  # sky blue
        assert tinted[:4, :2].all()
        assert tinted.sum() == 8
        assert (picture[16:, 6:] == 255).all()
