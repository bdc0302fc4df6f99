from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from segfocal.data.reading import read_array
from segfocal.errors import SegfocalError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30, 3)).astype(np.uint16)


def write(path: Path, array):
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, array)
    elif path.suffix == ".npy":
        np.save(path, array)
    elif array.dtype == np.uint16 and array.ndim == 3:
        cv2.imwrite(str(path), array[:, :, [2, 1, 0, 3][: array.shape[2]]])
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".npy", ".ppm"])
def test_eight_bit_colours_come_back(tmp_path, suffix):
    assert_array_equal(read_array(write(tmp_path / f"a{suffix}", RGB), palette="colors"), RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
@pytest.mark.parametrize("channels", [None, 3, 4])
def test_sixteen_bits_come_back(tmp_path, suffix, channels):
    array = DEEP[:, :, 0] if channels is None else np.concatenate([DEEP, DEEP], axis=2)[:, :, :channels]
    found = read_array(write(tmp_path / f"a{suffix}", array), palette="colors")
    assert found.dtype == np.uint16
    assert_array_equal(found, array)


def test_jpeg_is_read_in_rgb_order(tmp_path):
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[:, :, 0] = 200
    Image.fromarray(red).save(tmp_path / "a.jpg", quality=95)
    assert abs(read_array(tmp_path / "a.jpg", palette="colors").mean((0, 1)) - [200, 0, 0]).max() < 4


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_bit_files_are_bool(tmp_path, suffix):
    bits = RGB[:, :, 0] > 127
    Image.fromarray(bits).save(tmp_path / f"a{suffix}")
    found = read_array(tmp_path / f"a{suffix}", palette="indices")
    assert found.dtype == bool
    assert_array_equal(found, bits)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_file_is_indices_or_colours(tmp_path, suffix):
    indices = (RGB[:, :, 0] % 3).astype(np.uint8)
    colors = np.array([[0, 0, 0], [200, 10, 20], [3, 100, 255]], dtype=np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colors.ravel().tolist())
    image.save(tmp_path / f"a{suffix}")
    assert_array_equal(read_array(tmp_path / f"a{suffix}", palette="indices"), indices)
    assert_array_equal(read_array(tmp_path / f"a{suffix}", palette="colors")[:, :, :3], colors[indices])


@pytest.mark.parametrize("layout", ["channels last", "channels first", "pages", "planes"])
def test_tiff_of_many_channels(tmp_path, layout):
    array = RNG.integers(0, 65536, (20, 30, 7)).astype(np.uint16)
    stored = array if layout == "channels last" else np.ascontiguousarray(array.transpose(2, 0, 1))
    options = {"photometric": "minisblack"}
    if layout == "planes":
        options["planarconfig"] = "separate"
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    assert_array_equal(read_array(tmp_path / "a.tif", palette="colors"), array)


def test_tiff_with_white_as_zero_is_turned(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", 255 - RGB[:, :, 0], photometric="miniswhite")
    assert_array_equal(read_array(tmp_path / "a.tif", palette="colors"), RGB[:, :, 0])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".npy"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_truncated_files_are_refused_by_name(tmp_path, suffix, kept):
    path = tmp_path / f"broken{suffix}"
    noise = RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    write(path, noise)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(SegfocalError, match=f"broken{suffix}"):
        read_array(path, palette="colors")


def test_a_truncated_sixteen_bit_colour_png_is_refused(tmp_path):
    path = write(tmp_path / "a.png", RNG.integers(0, 65536, (200, 200, 3)).astype(np.uint16))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(SegfocalError, match="truncated"):
        read_array(path, palette="colors")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(SegfocalError, match="expected an image"):
        read_array(tmp_path / "a.png", palette="colors")
    with pytest.raises(SegfocalError, match="no such file"):
        read_array(tmp_path / "b.png", palette="colors")
    with pytest.raises(SegfocalError, match="must end in"):
        read_array(tmp_path / "b.xyz", palette="colors")


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}]), allow_pickle=True)
    with pytest.raises(SegfocalError, match="cannot be read"):
        read_array(tmp_path / "a.npy", palette="colors")


def test_pillow_still_cuts_sixteen_bit_colours(tmp_path):
    """Why those go through OpenCV; when this fails, Pillow alone will do."""
    assert np.asarray(Image.open(write(tmp_path / "a.png", DEEP))).dtype == np.uint8


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [0, 3, 8, 20, 400])
def test_cut_tiff_is_named(compression, kept, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, compression=compression)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SegfocalError, match=r"a\.tif: cannot be read"):
        read_array(path, palette="colors")
