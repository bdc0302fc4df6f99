import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from segfocal.data.transforms import PRESETS, Augmentation
from segfocal.errors import SegfocalError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
MASK = (IMAGE[:, :, 0] // 64).astype(np.uint8)
AFFINE = {"class_path": "Affine", "init_args": {"rotate": [30, 30], "p": 1.0}}


def generator(index=0):
    return np.random.default_rng(index)


@pytest.mark.slow
def test_import_contacts_no_package_index():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('network')\n"
        "socket.getaddrinfo = socket.create_connection = refuse\n"
        "import segfocal.data.transforms, os\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_presets_keep_shape_type_and_range(preset, channels, dtype):
    image = RNG.integers(0, 256, (24, 32, channels), dtype=np.uint8)
    image = image if dtype == np.uint8 else image.astype(np.float32) / 255
    mask = RNG.integers(0, 3, (24, 32)).astype(np.uint8)
    augmentation = Augmentation(preset, ignore_index=255, in_channels=channels)
    for index in range(12):
        changed, labels = augmentation(image, mask, generator(index))
        assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
        assert (labels.shape, labels.dtype) == (mask.shape, mask.dtype)
        assert set(np.unique(labels)) <= {0, 1, 2, 255}
        assert changed.min() >= 0
        assert changed.max() <= (255 if dtype == np.uint8 else 1)


@pytest.mark.parametrize("preset", ["flips", "medical", "road"])
def test_a_generator_in_the_same_state_gives_the_same_sample(preset):
    augmentation = Augmentation(preset, ignore_index=255)
    results = [augmentation(IMAGE, MASK, generator(i)) for i in (5, 6, 5)]
    assert_array_equal(results[0][0], results[2][0])
    assert_array_equal(results[0][1], results[2][1])
    many = {augmentation(IMAGE, MASK, generator(i))[0].tobytes() for i in range(20)}
    assert len(many) > (1 if preset == "flips" else 4)


def test_flips_are_the_eight_symmetries_of_the_square():
    augmentation = Augmentation("flips", ignore_index=None)
    expected = {np.rot90(m, k).tobytes() for k in range(4) for m in (MASK, MASK[:, ::-1])}
    found = [augmentation(IMAGE, MASK, generator(i)) for i in range(200)]
    assert {mask.tobytes() for _, mask in found} == expected
    for image, mask in found[:20]:
        assert_array_equal(mask, image[:, :, 0] // 64)


def test_road_never_turns_upside_down():
    augmentation = Augmentation(["mirror"], ignore_index=None)
    found = {augmentation(IMAGE, MASK, generator(i))[1].tobytes() for i in range(30)}
    assert found == {MASK.tobytes(), np.ascontiguousarray(MASK[:, ::-1]).tobytes()}


@pytest.mark.parametrize("layers", [None, 1, 2, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_warps_fill_every_layer_with_the_ignore_label(layers, dtype):
    mask = MASK.astype(dtype) % 2
    mask = mask if layers is None else np.stack([mask] * layers)
    _, warped = Augmentation([AFFINE], ignore_index=255)(IMAGE, mask, generator())
    assert warped.dtype == dtype
    assert warped.shape == mask.shape
    corners = warped[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()
    assert set(np.unique(warped)) == {0, 1, 255}


def test_an_ignore_label_beyond_eight_bits_survives_a_warp():
    _, warped = Augmentation([AFFINE], ignore_index=1000)(IMAGE, MASK.astype(np.int32), generator())
    assert warped[0, 0] == 1000


def test_every_warp_of_the_presets_has_the_ignore_label():
    for preset in ("medical", "road"):
        warps = [
            t
            for t in Augmentation(preset, ignore_index=99).compose.transforms
            if "fill_mask" in t.get_transform_init_args_names()
        ]
        assert warps
        assert {t.fill_mask for t in warps} == {99}


def test_nested_transforms_are_built_and_filled():
    nested = {"class_path": "albumentations.OneOf", "init_args": {"transforms": [AFFINE], "p": 1.0}}
    _, warped = Augmentation([nested], ignore_index=255)(IMAGE, MASK, generator())
    assert warped[0, 0] == 255


def composed(name, transforms, **settings):
    return {"class_path": name, "init_args": {"transforms": transforms, "p": 1.0, **settings}}


BLUR = {"class_path": "GaussianBlur", "init_args": {"p": 1.0}}
TURN = {"class_path": "albumentations.Rotate", "init_args": {"limit": [40, 50], "p": 1.0}}
COMPOSED = {
    "one of": composed("OneOf", [AFFINE, TURN]),
    "some of": composed("albumentations.SomeOf", [AFFINE, TURN, BLUR], n=2),
    "sequence": composed("Sequential", [TURN, BLUR]),
    "nested": composed(
        "OneOf", [composed("Sequential", [AFFINE, BLUR]), composed("SomeOf", [TURN, AFFINE], n=1)]
    ),
    "other": {"class_path": "OneOrOther", "init_args": {"first": AFFINE, "second": TURN, "p": 0.5}},
}


@pytest.mark.parametrize("name", COMPOSED)
def test_compositions_draw_from_the_samples_generator_and_fill_with_the_ignore_label(name):
    augmentation = Augmentation([COMPOSED[name]], ignore_index=255)
    several = [augmentation(IMAGE, MASK, generator(index)) for index in range(12)]
    for index, (image, mask) in enumerate(several):
        again = augmentation(IMAGE, MASK, generator(index))
        assert_array_equal(image, again[0])
        assert_array_equal(mask, again[1])
        assert set(np.unique(mask)) <= {*np.unique(MASK), 255}
        assert mask[0, 0] == 255
    assert len({image.tobytes() for image, _ in several}) > 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (composed("OneOf", [{"class_path": "Affine", "init_args": {"rotat": 3}}]), "Did you mean 'rotate'"),
        (composed("OneOf", [AFFINE], q=3), "no argument 'q'"),
        (composed("OneOf", []), "needs a list of transforms"),
        (composed("OneOf", AFFINE), "needs a list of transforms"),
        (composed("OneOf", ["flips"]), "put the preset beside OneOf"),
        ({"class_path": "OneOf"}, "transforms"),
        ({"class_path": "Affine", "p": 1.0}, "Put it below init_args"),
        ({"class_path": "BasicTransform"}, "BasicTransform does not take"),
        (composed("SomeOf", [AFFINE], n=[1, 2]), "SomeOf does not take"),
    ],
)
def test_mistakes_inside_compositions_are_errors(spec, words):
    with pytest.raises(SegfocalError, match=words):
        Augmentation([spec], ignore_index=255)
    with pytest.raises(SegfocalError, match=words):
        Augmentation([composed("Sequential", [spec])], ignore_index=255)


def test_what_a_transform_raises_is_told():
    with pytest.raises(SegfocalError, match="augment: ValueError: Mosaic"):
        Augmentation([{"class_path": "Mosaic", "init_args": {"p": 1.0}}], ignore_index=255)(
            IMAGE, MASK, generator()
        )


def test_dropout_leaves_the_mask_alone():
    holes = {"class_path": "CoarseDropout", "init_args": {"p": 1.0}}
    image, mask = Augmentation([holes], ignore_index=255)(IMAGE, MASK, generator())
    assert (image != IMAGE).any()
    assert_array_equal(mask, MASK)


def test_presets_and_transforms_can_be_joined():
    joined = Augmentation(["flips", AFFINE], ignore_index=255)
    assert joined.symmetries == ["square"]
    assert len(joined.compose.transforms) == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("medicla", "Did you mean 'medical'"),
        ([{"class_path": "Afine"}], "Did you mean 'Affine'"),
        ([{"class_path": "Affine", "init_args": {"rotat": 3}}], "Did you mean 'rotate'"),
        ([{"class_path": "Rotate", "init_args": {"value": 255}}], "no argument 'value'"),
        ([{"class_path": "Affine", "init_args": {"rotate": "much"}}], "Affine does not take"),
        ([3], "class_path"),
    ],
)
def test_mistakes_in_the_spec_are_errors(spec, words):
    with pytest.raises(SegfocalError, match=words):
        Augmentation(spec, ignore_index=255)


def test_a_warp_without_an_ignore_label_is_refused():
    with pytest.raises(SegfocalError, match="ignore_index"):
        Augmentation("medical", ignore_index=None)


@pytest.mark.parametrize("name", ["Normalize", "ToTensorV2", "RandomCrop"])
def test_transforms_that_change_shape_or_type_are_refused(name):
    arguments = {"height": 8, "width": 8} if name == "RandomCrop" else {}
    augmentation = Augmentation([{"class_path": name, "init_args": arguments | {"p": 1.0}}], ignore_index=255)
    with pytest.raises(SegfocalError, match="keep shape and type"):
        augmentation(IMAGE, MASK, generator())


def test_albumentations_still_only_warns_about_unknown_arguments():
    """What we turn into an error; when this fails, our own check can go."""
    import albumentations

    with pytest.warns(UserWarning, match="not valid"):
        albumentations.Affine(rotat=3)


@pytest.mark.parametrize(
    "step",
    [
        {"class_path": "RandomCrop"},
        {"class_path": "CropAndPad"},
        {"class_path": "HorizontalFlip", "init_args": {"p": 2}},
        {"class_path": "HorizontalFlip", "init_args": {"p": "x"}},
        {"class_path": "CropNonEmptyMaskIfExists"},
        {"class_path": "LongestMaxSize"},
        {"class_path": "OneOf", "init_args": {"transforms": [{"class_path": "Resize"}]}},
    ],
)
def test_what_a_validator_says_is_one_line_without_addresses(step):
    with pytest.raises(SegfocalError, match="does not take") as raised:
        Augmentation([step], ignore_index=255)
    said = str(raised.value)
    assert "\n" not in said
    assert "http" not in said
    assert "input_value" not in said


@pytest.mark.parametrize("name", ["HEStain", "RandomFog", "ISONoise"])
def test_what_a_transform_raises_is_one_line(name):
    augmentation = Augmentation([{"class_path": name, "init_args": {"p": 1}}], ignore_index=255)
    image, mask = np.zeros((16, 16, 1), np.uint8), np.zeros((16, 16), np.uint8)
    with pytest.raises(SegfocalError, match="3-channel") as raised:
        augmentation(image, mask, np.random.default_rng(0))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("spec", [None, 3, {"class_path": "HorizontalFlip"}])
def test_what_is_no_list_of_transforms_is_refused(spec):
    with pytest.raises(SegfocalError, match=r"augment (must be|takes)"):
        Augmentation(spec, ignore_index=255)
