"""Every kind of picture file: what `fingerprint` writes, `fit` takes, and `predict` reads alike."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
import yaml
from numpy.testing import assert_array_equal
from PIL import Image

from segfocal.__main__ import main
from segfocal.data import FolderData, Preprocess, Split

SIZE = (64, 48)


def truth(seed):
    plane = np.zeros(SIZE, bool)
    plane[10 : 30 + seed, 8:24] = True
    return plane


def bands(seed, count, low=0, high=255):
    """Noise, brighter inside the object."""
    noise = np.random.default_rng(seed).uniform(0, 0.4, (*SIZE, count)) + 0.5 * truth(seed)[:, :, None]
    return low + noise * (high - low)


def tiff(dtype, count=1, low=0, high=255, **options):
    def write(path, seed):
        array = bands(seed, count, low, high).astype(dtype)
        if options.get("planarconfig") == "separate":
            array = np.ascontiguousarray(array.transpose(2, 0, 1))
        tifffile.imwrite(path.with_suffix(".tif"), array[:, :, 0] if count == 1 else array, **options)

    return write


def pillow(suffix, mode, **options):
    def write(path, seed):
        count = {"L": 1, "1": 1, "P": 3, "LA": 2, "RGBA": 4, "I;16": 1, "CMYK": 3}.get(mode, 3)
        array = bands(seed, count).astype(np.uint8)
        image = Image.fromarray(array[:, :, 0] if count == 1 else array)
        if mode == "I;16":
            image = Image.fromarray(array[:, :, 0].astype(np.uint16) * 200)
        elif mode in ("1", "P", "CMYK"):
            image = image.convert(mode)
        image.save(path.with_suffix(suffix), **options)

    return write


def turned(orientation):
    def write(path, seed):
        back = {2: 2, 3: 3, 6: 8, 8: 6}[orientation]
        image = Image.fromarray(bands(seed, 3).astype(np.uint8))
        ways = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180}
        ways |= {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
        exif = Image.Exif()
        exif[274] = orientation
        image.transpose(ways[back]).save(path.with_suffix(".jpg"), exif=exif, quality=95)

    return write


def array_file(dtype, count, low=0, high=255):
    def write(path, seed):
        array = bands(seed, count, low, high).astype(dtype)
        np.save(path.with_suffix(".npy"), array[:, :, 0] if count == 1 else array)

    return write


def inks(path, seed):
    rgb = bands(seed, 3).astype(np.uint8)
    black = np.zeros((*SIZE, 1), np.uint8)
    tifffile.imwrite(
        path.with_suffix(".tif"), np.concatenate([255 - rgb, black], axis=2), photometric="separated"
    )


def deep_grey_alpha(path, seed):
    """16-bit grey with transparency, which Pillow and OpenCV return as colours."""
    grey = bands(seed, 1, 0, 65535).astype(">u2")
    rows = np.concatenate([grey, np.full_like(grey, 65535)], axis=2)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, 4, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.with_suffix(".png").write_bytes(content)


CONTIG = {"photometric": "minisblack", "planarconfig": "contig"}
KINDS = {
    "grey png": (pillow(".png", "L"), 1),
    "rgb png": (pillow(".PNG", "RGB"), 3),
    "palette png": (pillow(".png", "P"), 3),
    "one bit": (pillow(".png", "1"), 1),
    "grey alpha": (pillow(".png", "LA"), 1),
    "rgb alpha": (pillow(".png", "RGBA"), 3),
    "16 bits and alpha": (deep_grey_alpha, 1),
    "one bit pbm": (pillow(".pbm", "1"), 1),
    "16 bits": (pillow(".png", "I;16"), 1),
    "jpeg": (pillow(".JPG", "RGB", quality=95), 3),
    "cmyk jpeg": (pillow(".jpg", "CMYK"), 3),
    "webp": (pillow(".webp", "RGB"), 3),
    "bmp": (pillow(".bmp", "RGB"), 3),
    "gif": (pillow(".gif", "P"), 3),
    "upside down": (turned(3), 3),
    "mirrored": (turned(2), 3),
    "on its side": (turned(6), 3),
    "on the other side": (turned(8), 3),
    "tiff grey": (tiff(np.uint8), 1),
    "tiff rgb planes": (tiff(np.uint8, 3, planarconfig="separate", photometric="rgb"), 3),
    "tiff alpha": (tiff(np.uint8, 4, photometric="rgb", extrasamples=["unassalpha"]), 3),
    "tiff near infrared": (tiff(np.uint8, 4, photometric="rgb", extrasamples=["unspecified"]), 4),
    "tiff 2 bands": (tiff(np.uint8, 2, **CONTIG), 2),
    "tiff 4 bands": (tiff(np.uint16, 4, 0, 4000, **CONTIG), 4),
    "tiff 6 bands": (tiff(np.uint8, 6, **CONTIG), 6),
    "tiff 12 bands": (tiff(np.uint16, 12, 0, 9000, **CONTIG), 12),
    "tiff 7 planes": (tiff(np.float32, 7, -3, 5, planarconfig="separate", photometric="minisblack"), 7),
    "tiff int8": (tiff(np.int8, 1, -100, 100), 1),
    "tiff int16": (tiff(np.int16, 1, -1000, 2000), 1),
    "tiff int32": (tiff(np.int32, 3, -70000, 90000, **CONTIG), 3),
    "tiff uint32": (tiff(np.uint32, 1, 0, 3_000_000_000), 1),
    "tiff float": (tiff(np.float32, 1, -1.5, 8.25), 1),
    "tiff unit float": (tiff(np.float32, 3, 0, 1, **CONTIG), 3),
    "tiff half": (tiff(np.float16, 1, 0, 100), 1),
    "tiff double": (tiff(np.float64, 1, 0, 1e-3), 1),
    "tiff tiles": (tiff(np.uint16, 1, 0, 60000, tile=(16, 16), bigtiff=True, compression="lzw"), 1),
    "tiff cmyk": (inks, 3),
    "npy grey": (array_file(np.float64, 1, 0, 1), 1),
    "npy 5 bands": (array_file(np.int64, 5, -5, 5000), 5),
}


def write_set(root, write, *, count=8, masks=".png"):
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for seed in range(count):
        write(root / f"images/p{seed}", seed)
        plane = truth(seed).astype(np.uint8) * 255
        if masks == ".tif":
            tifffile.imwrite(root / f"masks/p{seed}.tif", plane)
        else:
            Image.fromarray(plane).save(root / f"masks/p{seed}{masks}")
    return root


def look(root, tmp_path, *words):
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(root), "--out", str(out), "--processes", "1", *words]) == 0
    return out


def module(out):
    """The data module of a configuration, without the command line that takes a second to build it."""
    settings = yaml.safe_load(out.read_text())["data"]["init_args"]
    settings["preprocess"] = Preprocess(**settings["preprocess"])
    return FolderData(**(settings | {"split": Split(**settings["split"]), "batch_size": 2}))


@pytest.mark.parametrize("kind", list(KINDS))
def test_data_modules_take_what_fingerprint_writes(tmp_path, kind):
    write, channels = KINDS[kind]
    data = module(look(write_set(tmp_path / "set", write), tmp_path))
    assert data.in_channels == channels
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape[1] == channels
    assert batch["image"].isfinite().all()
    assert batch["image"].std() > 0.1
    for index, name in enumerate(data.cases("val").source.names):
        picture, labels = data.cases("val").pair(index)
        assert_array_equal(labels.mask, truth(int(name[1:])))
        light = picture.image.astype(float).mean(axis=2)
        assert light[labels.mask == 1].mean() > light[labels.mask == 0].mean()  # the object, not turned


TRAINED = [
    *(
        "rgb alpha",
        "16 bits",
        "cmyk jpeg",
        "upside down",
        "on its side",
        "tiff near infrared",
        "tiff 6 bands",
    ),
    *("tiff 7 planes", "tiff int16", "tiff uint32", "tiff half", "npy 5 bands"),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAINED)
def test_fit_test_and_predict_take_every_kind(tmp_path, kind):
    root = write_set(tmp_path / "set", KINDS[kind][0])
    out, run = look(root, tmp_path), str(tmp_path / "run")
    steps = [
        "--trainer.max_steps",
        "2",
        "--trainer.accelerator",
        "cpu",
        "--data.init_args.patches_per_epoch",
        "16",
    ]
    assert main(["fit", "--config", str(out), "--run", run, *steps]) == 0
    assert main(["test", "--run", run, "--trainer.accelerator", "cpu"]) == 0
    words = ["--run", run, "--images", str(root / "images"), "--out", str(tmp_path / "out"), "--overlay"]
    assert main(["predict", *words, "--device", "cpu"]) == 0
    for seed in range(8):
        assert np.asarray(Image.open(tmp_path / f"out/masks/p{seed}.png")).shape == SIZE
        assert np.asarray(Image.open(tmp_path / f"out/overlays/p{seed}.png")).shape == (*SIZE, 3)


def test_masks_drawn_on_stored_pixels_are_recognised(tmp_path, capsys):
    """The sizes tell: pictures on their side by EXIF, with masks that fit them as they are stored."""
    root = write_set(tmp_path / "set", turned(6))
    for path in (root / "masks").iterdir():
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    out = look(root, tmp_path)
    assert "fit their pixels as they are stored" in " ".join(capsys.readouterr().out.split())
    assert yaml.safe_load(out.read_text())["data"]["init_args"]["preprocess"]["orientation"] == "stored"
    picture, labels = module(out).cases("train").pair(0)
    assert picture.image.shape[:2] == labels.mask.shape == SIZE[::-1]


def test_masks_for_both_ways_of_reading_are_refused(tmp_path, capsys):
    root = write_set(tmp_path / "set", turned(6))
    for seed in (2, 5):
        path = root / f"masks/p{seed}.png"
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    assert main(["fingerprint", str(root), "--out", str(tmp_path / "x.yaml")]) == 2
    assert "stored (p2, p5), those of 6 fit them upright" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.yaml").exists()


def test_channels_that_come_first_are_named(tmp_path, capsys):
    def write(path, seed):
        np.save(path.with_suffix(".npy"), bands(seed, 3).transpose(2, 0, 1))

    assert main(["fingerprint", str(write_set(tmp_path / "set", write)), "--processes", "1"]) == 2
    assert "The image's channels come first: save it as (height, width, channels)" in capsys.readouterr().err


def test_images_of_different_bands_are_refused(tmp_path, capsys):
    write_set(tmp_path / "set", KINDS["tiff 6 bands"][0])
    KINDS["tiff grey"][0](tmp_path / "set/images/p3", 3)
    assert main(["fingerprint", str(tmp_path / "set"), "--out", str(tmp_path / "x.yaml")]) == 2
    assert "the folder holds 1 of 1, 7 of 6" in capsys.readouterr().err
    assert not (tmp_path / "x.yaml").exists()


def test_values_that_are_no_numbers_are_named(tmp_path, capsys):
    write_set(tmp_path / "set", KINDS["tiff float"][0])
    array = tifffile.imread(tmp_path / "set/images/p3.tif")
    array[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "set/images/p3.tif", array)
    main(["fingerprint", str(tmp_path / "set")])
    assert "p3.tif: holds 1 values that are NaN or infinite" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("page", ["1", "channels"])
def test_a_page_of_several_is_read_by_choice(tmp_path, capsys, page):
    def write(path, seed):
        pages = bands(seed, 3).astype(np.uint8).transpose(2, 0, 1)
        with tifffile.TiffWriter(path.with_suffix(".tif")) as file:
            for plane in pages:
                file.write(np.ascontiguousarray(plane), metadata=None)

    root = write_set(tmp_path / "set", write)
    assert main(["fingerprint", str(root)]) == 2
    assert "holds 3 pages" in capsys.readouterr().err
    out = look(root, tmp_path, "--page", page)
    assert f"page: {page}" in capsys.readouterr().out
    data = module(out)
    assert data.preprocess.page == (1 if page == "1" else "channels")
    assert data.in_channels == (1 if page == "1" else 3)
    image = data.cases("train").picture(0).image
    seed = int(data.cases("train").source.names[0][1:])
    expected = bands(seed, 3).astype(np.uint8)
    assert_array_equal(image, expected[:, :, 1:2] if page == "1" else expected)
    assert main(["fingerprint", str(root), "--page", "7"]) == 2
    assert "page must be 0 to 2, got 7" in capsys.readouterr().err
