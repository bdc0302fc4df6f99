import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image, ImageCms, ImageOps

from segfocal.data.reading import ReadRules, image_size, read_array, read_image, read_picture
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


@pytest.mark.parametrize("layout", ["channels last", "channels first", "planes", "interleaved", "tiled"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_of_many_channels(tmp_path, layout, big):
    array = RNG.integers(0, 65536, (20, 30, 7)).astype(np.uint16)
    first = layout in ("channels first", "planes")
    stored = np.ascontiguousarray(array.transpose(2, 0, 1)) if first else array
    options = {"photometric": "minisblack", "bigtiff": big} | {
        "planes": {"planarconfig": "separate"},
        "interleaved": {"planarconfig": "contig"},
        "tiled": {"planarconfig": "contig", "tile": (16, 16)},
    }.get(layout, {})
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    if layout == "channels first":  # several pages: nobody said what they are
        with pytest.raises(SegfocalError, match=r"a\.tif: holds \d+ pages.*preprocess\.page"):
            read_array(tmp_path / "a.tif", palette="colors")
        rules = ReadRules(page="channels")
        assert_array_equal(read_array(tmp_path / "a.tif", palette="colors", rules=rules), array)
    else:
        assert_array_equal(read_array(tmp_path / "a.tif", palette="colors"), array)


def test_a_page_is_read_by_choice(tmp_path):
    pages = RNG.integers(0, 256, (3, 20, 30), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, metadata=None)
    frames = [Image.fromarray(page) for page in pages]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "c.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "d.png", save_all=True, append_images=frames[1:])
    for name in ("a.tif", "b.gif", "c.webp", "d.png"):
        with pytest.raises(SegfocalError, match=f"{name}: holds 3 pages"):
            read_array(tmp_path / name, palette="colors")
        with pytest.raises(SegfocalError, match=f"{name}: page must be 0 to 2, got 5"):
            read_array(tmp_path / name, palette="colors", rules=ReadRules(page=5))
        found = read_array(tmp_path / name, palette="colors", rules=ReadRules(page=1))
        assert_array_equal(found if found.ndim == 2 else found[:, :, 0], pages[1])
    with pytest.raises(SegfocalError, match="page must be a number from 0, channels or null"):
        ReadRules(page="all")


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_axes_that_a_file_names_are_believed(tmp_path, kind):
    array = RNG.integers(0, 256, (3, 20, 30), dtype=np.uint8)
    name = {"imagej": "a.tif", "ome": "a.ome.tif"}[kind]
    for axes, channels in (("CYX", True), ("ZYX", False)):
        tifffile.imwrite(tmp_path / name, array, imagej=kind == "imagej", metadata={"axes": axes})
        if channels:
            found = read_array(tmp_path / name, palette="colors")
            assert_array_equal(found, array.transpose(1, 2, 0))
        else:
            with pytest.raises(SegfocalError, match="holds 3 pages"):
                read_array(tmp_path / name, palette="colors")


def test_overviews_and_thumbnails_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB, tile=(16, 16), metadata=None)
        file.write(RGB[::2, ::2].copy(), subfiletype=1, metadata=None)
    assert_array_equal(read_array(tmp_path / "a.tif", palette="colors"), RGB)


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


def save_turned(path, array, orientation):
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, extratags=[(274, 3, 1, orientation, True)])
        return path
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(array).save(path, exif=exif, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_orientation_is_applied_as_pillow_does(tmp_path, suffix, orientation):
    path = save_turned(tmp_path / f"a{suffix}", RGB, orientation)
    reference = save_turned(tmp_path / "reference.png", RGB, orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(reference)))
    assert_array_equal(read_array(path, palette="colors"), upright)
    assert image_size(path) == upright.shape[:2]
    stored = ReadRules(orientation="stored")
    assert_array_equal(read_array(path, palette="colors", rules=stored), RGB)
    assert image_size(path, rules=stored) == RGB.shape[:2]


def test_masks_turn_by_their_own_orientation(tmp_path):
    plane = RGB[:, :, 0]
    turned = read_array(save_turned(tmp_path / "a.png", plane, 6), palette="indices")
    assert_array_equal(turned, np.rot90(plane, -1))


def test_deep_colours_turn_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, extratags=[(274, 3, 1, 3, True)])
    assert_array_equal(read_array(tmp_path / "a.tif", palette="colors"), DEEP[::-1, ::-1])


COLORS = np.array([(200, 60, 20), (0, 0, 0), (255, 255, 255), (128, 128, 128), (10, 90, 240), (0, 200, 0)])
PATCHES = np.repeat(np.repeat(COLORS.astype(np.uint8)[None], 4, axis=0), 8, axis=1)


def cmyk(rgb):
    """No black ink: what Pillow itself makes of RGB."""
    return np.concatenate([255 - rgb, np.zeros((*rgb.shape[:2], 1), np.uint8)], axis=2)


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"planarconfig": "separate"}])
def test_cmyk_tiff_is_the_picture(tmp_path, options):
    planes = cmyk(PATCHES)
    stored = np.ascontiguousarray(planes.transpose(2, 0, 1)) if "planarconfig" in options else planes
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", **options)
    assert_array_equal(read_array(tmp_path / "a.tif", palette="colors"), PATCHES)
    tifffile.imwrite(tmp_path / "b.tif", planes.astype(np.uint16) * 257, photometric="separated")
    assert_array_equal(read_array(tmp_path / "b.tif", palette="colors"), PATCHES.astype(np.uint16) * 257)


def test_black_ink_darkens_as_in_jpeg(tmp_path):
    inks = RNG.integers(0, 256, (8, 8, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated")
    expected = np.asarray(Image.fromarray(inks, mode="CMYK").convert("RGB")).astype(int)
    assert abs(read_array(tmp_path / "a.tif", palette="colors") - expected).max() <= 1


def ycbcr_blocks(planes, step):
    """The bytes of baseline YCbCr with reduced colours: TIFF 6.0, section 21."""
    wide, high = step
    units = []
    for top in range(0, planes.shape[0], high):
        for left in range(0, planes.shape[1], wide):
            block = planes[top : top + high, left : left + wide]
            units += [*block[:, :, 0].ravel(), *np.rint(block[:, :, 1:].mean((0, 1))).astype(np.uint8)]
    return np.array(units, dtype=np.uint8)


def write_ifd(path, data, *, size, step, rows):
    """A TIFF of one strip per ``rows``, written by hand: tifffile writes no reduced colours."""
    width, height = size
    strips = np.array_split(data, height // rows)
    starts, place = [], 8
    for strip in strips:
        starts.append(place)
        place += len(strip)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, None), (259, 3, 1, 1), (262, 3, 1, 6)]
    tags += [(273, 4, len(strips), None), (277, 3, 1, 3), (278, 3, 1, rows), (279, 4, len(strips), None)]
    tags += [(530, 3, 2, step[0] | step[1] << 16)]
    ifd, extra = place, place + 2 + 12 * len(tags) + 4
    longs = {258: np.array([8, 8, 8], "<u2").tobytes(), 273: np.array(starts, "<u4").tobytes()}
    longs[279] = np.array([len(strip) for strip in strips], "<u4").tobytes()
    entries, tail = b"", b""
    for code, kind, count, value in tags:
        entries += np.array([code, kind], "<u2").tobytes() + np.array([count], "<u4").tobytes()
        if value is None and len(longs[code]) <= 4:
            entries += longs[code].ljust(4, b"\0")
            continue
        number = extra + len(tail) if value is None else value
        tail += longs[code] if value is None else b""
        entries += np.array([number], "<u4").tobytes()
    head = b"II*\0" + np.array([ifd], "<u4").tobytes()
    path.write_bytes(
        head + data.tobytes() + np.array([len(tags)], "<u2").tobytes() + entries + b"\0" * 4 + tail
    )


@pytest.mark.parametrize("step", [(2, 2), (2, 1), (4, 2)])
@pytest.mark.parametrize("rows", [4, 2])
def test_ycbcr_with_reduced_colours_is_the_picture(tmp_path, step, rows):
    planes = np.asarray(Image.fromarray(PATCHES).convert("YCbCr"))
    size = (PATCHES.shape[1], 4)
    write_ifd(tmp_path / "a.tif", ycbcr_blocks(planes, step), size=size, step=step, rows=rows)
    found = read_array(tmp_path / "a.tif", palette="colors").astype(int)
    assert abs(found - PATCHES).max() <= 2


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_ycbcr_tiff_is_the_picture(tmp_path, options):
    planes = np.asarray(Image.fromarray(PATCHES).convert("YCbCr"))
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="ycbcr", **options)
    assert abs(read_array(tmp_path / "a.tif", palette="colors").astype(int) - PATCHES).max() <= 2


def test_jpeg_inside_tiff_is_the_picture(tmp_path):
    Image.fromarray(PATCHES.repeat(8, axis=0)).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    found = read_array(tmp_path / "a.tif", palette="colors").astype(int)
    assert abs(found - PATCHES.repeat(8, axis=0)).mean() < 2
    assert read_picture(tmp_path / "a.tif", palette="colors").lossy


def test_lab_tiff_is_the_picture(tmp_path):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.fromarray(PATCHES), *profiles, outputMode="LAB")
    lab.save(tmp_path / "a.tif")
    assert (
        abs(read_array(tmp_path / "a.tif", palette="colors").astype(int) - PATCHES).max() <= 6
    )  # Lab in 8 bits is that coarse


def test_extra_samples_tell_transparency_from_a_band(tmp_path):
    four = np.concatenate([RGB, RGB[:, :, :1]], axis=2)
    tifffile.imwrite(tmp_path / "alpha.tif", four, photometric="rgb", extrasamples=["unassalpha"])
    tifffile.imwrite(tmp_path / "band.tif", four, photometric="rgb", extrasamples=["unspecified"])
    tifffile.imwrite(tmp_path / "grey.tif", four, photometric="minisblack", planarconfig="contig")
    Image.fromarray(four).save(tmp_path / "alpha.png")
    np.save(tmp_path / "four.npy", four)
    three = ReadRules(channels=3)
    for name in ("alpha.tif", "alpha.png"):
        assert_array_equal(read_image(tmp_path / name, rules=three), four)
        assert read_picture(tmp_path / name, palette="colors").bands() == 3
    for name in ("band.tif", "grey.tif", "four.npy"):
        assert read_picture(tmp_path / name, palette="colors").bands() == 4
        assert_array_equal(read_image(tmp_path / name, rules=ReadRules(channels=4)), four)
        with pytest.raises(SegfocalError, match=f"{name}: expected an image of 3 channels, got 4.*alpha"):
            read_image(tmp_path / name, rules=three)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif"])
@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize("fill", ["none", "black", "ramp"])
def test_a_black_and_white_palette_means_its_colours(tmp_path, suffix, white, fill):
    truth = RGB[:, :, 0] > 150
    indices = np.where(truth, white, 1 - white).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    colors = [(255, 255, 255), (0, 0, 0)] if white == 0 else [(0, 0, 0), (255, 255, 255)]
    more = {"none": [], "black": [(0, 0, 0)] * 254, "ramp": [(n, n, n) for n in range(2, 256)]}[fill]
    image.putpalette([part for color in [*colors, *more] for part in color])
    image.save(tmp_path / f"a{suffix}")
    found = read_array(tmp_path / f"a{suffix}", palette="indices")
    assert_array_equal(found > 0, truth)


def test_a_palette_with_colours_keeps_its_numbers(tmp_path):
    indices = (RGB[:, :, 0] % 2).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0, 200, 0, 0])  # white is class 0, red occurs in other masks
    image.save(tmp_path / "a.png")
    assert_array_equal(read_array(tmp_path / "a.png", palette="indices"), indices)


def grey_png(path, numbers, bits):
    """A grey PNG of 2 or 4 bits, which Pillow does not write."""
    import struct
    import zlib

    per = 8 // bits
    padded = np.pad(numbers, ((0, 0), (0, -numbers.shape[1] % per))).reshape(len(numbers), -1, per)
    packed = sum(padded[:, :, n].astype(int) << (8 - bits * (n + 1)) for n in range(per)).astype(np.uint8)
    lines = b"".join(b"\0" + line.tobytes() for line in packed)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", numbers.shape[1], len(numbers), bits, 0, 0, 0, 0)
    whole = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + whole)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_stay_numbers_in_masks_and_fill_the_scale_in_pictures(tmp_path, bits):
    top = 2**bits - 1
    numbers = (RGB[:, :, 0] % (top + 1)).astype(np.uint8)
    grey_png(tmp_path / "a.png", numbers, bits)
    (tmp_path / "b.pgm").write_bytes(f"P5\n# a note\n30 20\n{top}\n".encode() + numbers.tobytes())
    text = "\n".join(" ".join(map(str, line)) for line in numbers)
    (tmp_path / "c.pgm").write_text(f"P2 30 20 {top}\n{text}\n")
    for name in ("a.png", "b.pgm", "c.pgm"):
        assert_array_equal(read_array(tmp_path / name, palette="indices"), numbers)
        assert_array_equal(read_array(tmp_path / name, palette="colors"), numbers * (255 // top))


def test_a_deep_pgm_keeps_its_numbers(tmp_path):
    numbers = (DEEP[:, :, 0] % 1000).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 30 20 999\n" + numbers.tobytes())
    assert_array_equal(read_array(tmp_path / "a.pgm", palette="indices"), numbers)


def test_pictures_beyond_pillows_limit_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 2 * 100 < 600 pixels
    write(tmp_path / "a.png", RGB)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "a.png")
    assert_array_equal(read_array(tmp_path / "a.png", palette="colors"), RGB)
    assert image_size(tmp_path / "a.png") == (20, 30)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_the_second_picture_of_a_phones_jpeg_is_no_page(tmp_path):
    main, other = Image.fromarray(PATCHES), Image.fromarray(PATCHES[::-1])
    main.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[other])
    assert read_array(tmp_path / "a.jpg", palette="colors").shape == PATCHES.shape


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int32, np.float32, np.float64, np.int8])
def test_other_numbers_come_back(tmp_path, dtype):
    array = (RGB[:, :, 0].astype(np.float64) - 90).clip(0 if np.dtype(dtype).kind == "u" else -90, 120)
    tifffile.imwrite(tmp_path / "a.tif", array.astype(dtype))
    np.save(tmp_path / "a.npy", array.astype(dtype))
    for name in ("a.tif", "a.npy"):
        found = read_array(tmp_path / name, palette="colors")
        assert found.dtype == dtype
        assert_array_equal(found, array.astype(dtype))


def test_complex_numbers_and_unknown_colour_spaces_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4), complex))
    tifffile.imwrite(tmp_path / "b.tif", RGB[:, :, 0], photometric="cfa")
    for name, message in (("a.npy", "expected numbers, got complex128"), ("b.tif", "colour space CFA")):
        with pytest.raises(SegfocalError, match=f"{name}: .*{message}"):
            read_array(tmp_path / name, palette="colors")


def png_header(path, width, height, *, data=b"", depth=8, color=2):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, part in ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        content += struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    path.write_bytes(content)


def npy_header(path, text):
    head = text.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(1000))


def change_tiff(**tags):
    """Overwrite entries of the first directory with 32-bit numbers; a leading word says the offset itself."""

    def write(path):
        tifffile.imwrite(path, np.zeros((64, 48, 3), np.uint8), photometric="rgb")
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            first = file.pages[0].offset
            places = {name: file.pages[0].tags[name].offset for name in tags if name[0].isupper()}
        for name, place in places.items():
            content[place + 2 : place + 12] = struct.pack("<HII", 4, 1, tags[name])
        if "next" in tags:  # after the entries lies the place of the next directory
            end = first + 2 + 12 * struct.unpack("<H", content[first : first + 2])[0]
            content[end : end + 4] = struct.pack("<I", first)
        if "first" in tags:
            content[4:8] = struct.pack("<I", tags["first"])
        path.write_bytes(bytes(content))

    return write


SHAPE = "{{'descr': '|u1', 'fortran_order': False, 'shape': {}, }}"
HOSTILE = {
    "a png of 2^31 px": ("a.png", lambda path: png_header(path, 2**31 - 1, 2**31 - 1)),
    "a png of 10^10 px": ("a.png", lambda path: png_header(path, 100_000, 100_000)),
    "a deep png of 10^10 px": ("a.png", lambda path: png_header(path, 100_000, 100_000, depth=16)),
    "a png without pixels": ("a.png", lambda path: png_header(path, 48, 64, data=b"\0" * 10)),
    "an eps": (
        "a.png",
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nrun"),
    ),
    "a psd": ("a.jpg", lambda path: path.write_bytes(b"8BPS\0\1" + bytes(100))),
    "a folder": ("a.png", lambda path: path.mkdir()),
    "nothing": ("a.webp", lambda path: path.write_bytes(b"")),
    "an endless ppm": ("a.ppm", lambda path: path.write_bytes(b"P6 99999 99999 255\n" + bytes(100))),
    "a ppm without numbers": ("a.ppm", lambda path: path.write_bytes(b"P6 x y z\n" + bytes(100))),
    "a wide tiff": ("a.tif", change_tiff(ImageWidth=2**31 - 1, ImageLength=2**31 - 1)),
    "a high tiff": ("a.tif", change_tiff(ImageLength=60_000)),
    "many samples": ("a.tif", change_tiff(SamplesPerPixel=60_000)),
    "missing planes": ("a.tif", change_tiff(PlanarConfiguration=2)),
    "an unknown compression": ("a.tif", change_tiff(Compression=65_000)),
    "strips beyond the end": ("a.tif", change_tiff(StripOffsets=2**31)),
    "a circle of pages": ("a.tif", change_tiff(next=0)),
    "pages beyond the end": ("a.tif", change_tiff(first=2**31 - 1)),
    "objects": ("a.npy", lambda path: np.save(path, np.array([{}, 1], dtype=object), allow_pickle=True)),
    "10^18 numbers": ("a.npy", lambda path: npy_header(path, SHAPE.format((10**9, 10**9)))),
    "fewer than no numbers": ("a.npy", lambda path: npy_header(path, SHAPE.format((-5, 10)))),
    "code": ("a.npy", lambda path: npy_header(path, "__import__('os').system('false')")),
    "fields": ("a.npy", lambda path: np.save(path, np.zeros((5, 5), [("a", "u1"), ("b", "f4")]))),
    "words": ("a.npy", lambda path: np.save(path, np.array([["a", "b"]]))),
    "five axes": ("a.npy", lambda path: np.save(path, np.zeros((1, 2, 3, 4, 5)))),
    "an archive": ("a.npy", lambda path: path.write_bytes(archive())),
    "beyond float32": ("a.npy", lambda path: np.save(path, np.full((4, 4), -1e300))),
    "beyond float32 in tiff": ("a.tif", lambda path: tifffile.imwrite(path, np.full((4, 4), 1e39))),
}


def archive():
    packed = io.BytesIO()
    np.savez(packed, a=np.zeros((4, 4)))
    return packed.getvalue()


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_in_one_line_that_names_them(tmp_path, kind, capfd):
    name, write_file = HOSTILE[kind]
    path = tmp_path / name
    write_file(path)
    for read in (lambda: read_array(path, palette="indices"), lambda: read_array(path, palette="colors")):
        with pytest.raises(SegfocalError) as caught:
            read()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700
    assert capfd.readouterr().err == ""


def test_a_tiff_of_another_name_is_read_as_one(tmp_path):
    array = np.arange(60, dtype=np.uint16).reshape(6, 10)
    tifffile.imwrite(tmp_path / "a.tif", array)
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    assert_array_equal(read_array(tmp_path / "a.png", palette="indices"), array)
    assert image_size(tmp_path / "a.png") == (6, 10)


@pytest.mark.parametrize("name", ["a.png", "fax.tif"])
def test_plain_pictures_that_pack_to_next_to_nothing_are_read(tmp_path, name):
    """A page of one colour is no bomb."""
    size = (17_000, 16_000)
    path = tmp_path / name
    options = {"compression": "group4"} if name == "fax.tif" else {}
    Image.new("1", size).save(path, **options)
    assert read_array(path, palette="indices").shape == size[::-1]
    assert path.stat().st_size < 100_000


def test_deep_ppm_keeps_its_depth(tmp_path):
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6\n# deep\n30 20\n65535\n" + DEEP.astype(">u2").tobytes())
    assert_array_equal(read_array(path, palette="colors"), DEEP)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SegfocalError, match=r"a\.ppm"):
        read_array(path, palette="colors")


def test_a_picture_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    Image.new("1", (17_000, 16_000)).save(path, compression="group4")
    monkeypatch.setattr("os.sysconf", lambda name: 2**14)  # pages of bytes: 2^28
    with pytest.raises(SegfocalError, match=r"a\.tif: 16000 x 17000 px .* need more memory"):
        read_array(path, palette="indices")
