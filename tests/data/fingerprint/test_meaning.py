"""What stored values mean: grey levels, stray pixels, instances, legends and palettes."""

import numpy as np
import pytest
import yaml
from numpy.testing import assert_array_equal
from PIL import Image

from segfocal.__main__ import main
from segfocal.data import FolderData, TableData

SIZE = (64, 64)


def discs(seed, count=2, radius=(5, 11), size=SIZE):
    """Discs that do not touch, numbered in the order they were drawn."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    numbers = np.zeros(size, np.uint16)
    drawn = 0
    for _ in range(400):
        r = rng.integers(*radius)
        y, x = rng.integers(r + 1, size[0] - r - 1), rng.integers(r + 1, size[1] - r - 1)
        near = (rows - y) ** 2 + (columns - x) ** 2
        if drawn < count and not numbers[near <= (r + 2) ** 2].any():
            drawn += 1
            numbers[near <= r**2] = drawn
    return numbers


def photo(seed, size=SIZE):
    return np.random.default_rng(1000 + seed).integers(0, 255, (*size, 3)).astype(np.uint8)


def write_set(root, make, *, count=10, suffix=".png", folder="masks", **options):
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / folder).mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        mask = make(seed)
        mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        Image.fromarray(photo(seed, mask.size[::-1])).save(root / f"images/p{seed:02}.png")
        mask.save(root / folder / f"p{seed:02}{suffix}", **options)
    return root


def look(root, tmp_path, capsys):
    """Run fingerprint; return its page, and of its configuration the mask settings and the section data."""
    out = tmp_path / "x.yaml"
    code = main(["fingerprint", str(root), "--out", str(out), "--processes", "1", "--overwrite"])
    text = " ".join(capsys.readouterr().out.split())
    assert code == 0, text
    chosen = yaml.safe_load(out.read_text())["data"]
    settings = {k: v for k, v in chosen["init_args"].items() if k in MASKS}
    return text, settings, chosen


MASKS = ("task", "class_names", "values", "ignore_values", "colors", "ignore_colors", "other", "threshold")


def labels(root, settings, *, folder="masks", name="p00"):
    kind = FolderData(str(root), masks=folder, split=None, **settings)
    from segfocal.data.file_source import FileSource
    from segfocal.data.pairs import Pair

    files = list((root / folder).glob(f"{name}.*"))
    return FileSource(
        [Pair(name, root / f"images/{name}.png", (files[0],))], [name], kind.coding, layered=False
    ).mask(0)


def blurred(seed):
    whole = Image.fromarray((discs(seed, radius=(12, 20), size=(128, 128)) > 0).astype(np.uint8) * 255)
    return whole.resize((64, 64), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("way", ["bilinear", "bicubic", "enlarged", "antialiased", "thin", "from jpeg"])
def test_grey_levels_along_borders_are_one_class(tmp_path, capsys, way):
    truth, masks = {}, {}
    for seed in range(10):
        whole = (discs(seed, radius=(12, 20), size=(128, 128)) > 0).astype(np.uint8) * 255
        if way == "thin":
            whole = np.zeros((128, 128), np.uint8)
            for k in range(4):  # lines of 3 px, which become 1.5
                whole[np.arange(128), (np.arange(128) // 2 + 20 * k + seed) % 126] = 255
                whole[np.arange(128), (np.arange(128) // 2 + 20 * k + seed) % 126 + 1] = 255
                whole[np.arange(128), (np.arange(128) // 2 + 20 * k + seed) % 126 + 2 - 1] = 255
        image = Image.fromarray(whole)
        if way == "enlarged":
            masks[seed] = image.resize((256, 256), Image.Resampling.BILINEAR)
        elif way == "from jpeg":
            image.save(tmp_path / "x.jpg", quality=70)
            masks[seed] = Image.open(tmp_path / "x.jpg").copy()
        else:
            kind = {"bilinear": "BILINEAR", "bicubic": "BICUBIC"}.get(way, "LANCZOS")
            masks[seed] = image.resize((50, 50), Image.Resampling[kind])
        truth[seed] = np.asarray(masks[seed]) >= 128
    root = write_set(tmp_path / "set", masks.get)
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings == {"task": "binary", "class_names": ["foreground"], "threshold": 128}
    assert "on borders alone" in text
    assert_array_equal(labels(root, settings), truth[0])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [60, 75, 95])
def test_jpeg_masks_are_one_class(tmp_path, capsys, mode, quality):
    def make(seed):
        return Image.fromarray((discs(seed) > 0).astype(np.uint8) * 255).convert(mode)

    root = write_set(tmp_path / "set", make, suffix=".jpg", quality=quality)
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings == {"task": "binary", "class_names": ["foreground"], "threshold": 128}
    assert "10 of 10 masks are JPEG" in text
    assert np.mean(labels(root, settings) != (discs(0) > 0)) < 0.01


def test_class_numbers_in_jpeg_are_refused(tmp_path, capsys):
    root = write_set(tmp_path / "set", lambda seed: (60 * discs(seed, 3)).astype(np.uint8), suffix=".jpg")
    assert main(["fingerprint", str(root)]) == 2
    assert "JPEG" in capsys.readouterr().err


@pytest.mark.parametrize("values", [(0, 128, 255), (0, 64, 128, 192, 255), (0, 100, 200)])
def test_grey_classes_with_areas_of_their_own_stay_classes(tmp_path, capsys, values):
    def make(seed):
        plane = np.zeros(SIZE, np.uint8)
        for place, value in enumerate(values[1:]):
            plane[4 + 14 * place : 16 + 14 * place, 6 + seed : 40 + seed] = value
        return plane

    _, settings, _ = look(write_set(tmp_path / "set", make), tmp_path, capsys)
    assert settings["task"] == "multiclass"
    assert settings["values"] == {value: label for label, value in enumerate(values)}


def test_lanes_of_grey_classes_stay_classes(tmp_path, capsys):
    def make(seed):
        plane = np.zeros(SIZE, np.uint8)
        for place, value in enumerate((85, 170, 255)):
            plane[:, 5 + 20 * place + seed : 8 + 20 * place + seed] = value
        return plane

    _, settings, _ = look(write_set(tmp_path / "set", make, count=8), tmp_path, capsys)
    assert settings["task"] == "multiclass"


def test_thresholds_of_deep_and_fractional_masks(tmp_path, capsys):
    def deep(seed):
        return Image.fromarray(np.asarray(blurred(seed)).astype(np.uint16) * 257)

    _, settings, _ = look(write_set(tmp_path / "deep", deep), tmp_path, capsys)
    assert settings["threshold"] == 32768
    root = write_set(tmp_path / "npy", blurred)
    for path in (root / "masks").iterdir():
        np.save(path.with_suffix(".npy"), np.asarray(Image.open(path)) / 255.0)
        path.unlink()
    _, settings, _ = look(root, tmp_path, capsys)
    assert settings["threshold"] == 0.5
    assert_array_equal(labels(root, settings), np.asarray(blurred(0)) > 127)


def test_grey_levels_of_several_classes_share_a_threshold(tmp_path, capsys):
    root = tmp_path / "set"
    for folder in ("masks/MA", "masks/HE"):
        write_set(root, lambda seed, f=folder: blurred(seed + len(f)), folder=folder)
    for path in (root / "masks/HE").iterdir():
        if path.stem > "p04":
            path.unlink()
    _, settings, chosen = look(root, tmp_path, capsys)
    assert (settings["task"], settings["threshold"]) == ("multilabel", 128)
    assert chosen["class_path"] in ("segfocal.data.FolderData", "segfocal.data.TableData")


@pytest.mark.parametrize(
    ("lesion", "stray"), [(a, b) for a in (255, 1, 7) for b in (1, 254, 255, 3) if a != b]
)
def test_stray_pixels_do_not_make_the_lesion_unlabelled(tmp_path, capsys, lesion, stray):
    def make(seed):
        plane = ((discs(seed) > 0) * lesion).astype(np.uint8)
        if seed < 3:
            plane[0, : 2 + seed] = stray
        return plane

    root = write_set(tmp_path / "set", make)
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings["task"] == "binary"
    assert "stray pixels" in text
    found = labels(root, settings)
    assert_array_equal(found[1:], (discs(0) > 0)[1:])
    assert found[0, 0] in ((0, 255) if stray != 254 else (0, 1, 255))


def test_files_that_say_1_and_files_that_say_255_mean_the_same(tmp_path, capsys):
    root = write_set(tmp_path / "set", lambda seed: ((discs(seed) > 0) * (1, 255)[seed % 2]).astype(np.uint8))
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings["values"] == {0: 0, 1: 1, 255: 1}
    assert "none both" in text


@pytest.mark.parametrize("kind", ["drawn", "labelled", "many"])
def test_instance_numbers_are_one_class(tmp_path, capsys, kind):
    from skimage.measure import label

    def make(seed):
        count = {"many": 40}.get(kind, 2) + seed % 5
        numbers = discs(seed, count, radius=(2, 5) if kind == "many" else (3, 7), size=(128, 128))
        return label(numbers > 0).astype(np.uint8) if kind == "labelled" else numbers.astype(np.uint16)

    root = write_set(tmp_path / "set", make)
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings["task"] == "binary"
    assert (settings["values"], settings["other"]) == ({0: 0}, 1)
    assert "instances" in text
    assert_array_equal(labels(root, settings), np.asarray(make(0)) > 0)


def test_classes_of_one_piece_each_are_no_instances(tmp_path, capsys):
    _, settings, _ = look(
        write_set(tmp_path / "set", lambda seed: discs(0, 3).astype(np.uint8)), tmp_path, capsys
    )
    assert settings["task"] == "multiclass"


COLORS = {"sky": (128, 128, 128), "road": (128, 64, 128), "car": (64, 0, 128), "Void": (0, 0, 0)}


def colored(seed):
    numbers = discs(seed, 2)
    plane = np.zeros((*SIZE, 3), np.uint8)
    plane[:] = COLORS["road"]
    plane[numbers == 1] = COLORS["car"]
    plane[numbers == 2] = COLORS["sky"]
    plane[0] = COLORS["Void"]
    return plane


LEGENDS = {
    "class_dict.csv": "name,r,g,b\n" + "".join(f"{n},{r},{g},{b}\n" for n, (r, g, b) in COLORS.items()),
    "label_colors.txt": "".join(f"{r} {g} {b}\t{n}\n" for n, (r, g, b) in COLORS.items()),
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in COLORS.items()),
}


@pytest.mark.parametrize("name", list(LEGENDS))
def test_a_legend_names_the_colours(tmp_path, capsys, name):
    root = write_set(tmp_path / "set", colored)
    (root / name).write_text(LEGENDS[name])
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings["class_names"] == ["sky", "road", "car"]
    assert settings["colors"] == {"sky": "#808080", "road": "#804080", "car": "#400080"}
    assert settings["ignore_colors"] == ["#000000"]
    assert name in text
    assert "1 as class names" in text
    found = labels(root, settings)
    assert (found[0] == 255).all()
    assert_array_equal(found[1:], np.array([1, 2, 0])[discs(0, 2)][1:])


@pytest.mark.parametrize(("other", "task"), [("other", "binary"), ("sky", "multiclass")])
def test_two_named_colours_beside_void(tmp_path, capsys, other, task):
    def two(seed):
        plane = colored(seed)
        plane[(plane == COLORS["car"]).all(-1)] = COLORS["sky"]
        return plane

    root = write_set(tmp_path / "set", two)
    table = f"name,r,g,b\nvoid,0,0,0\nroad,128,64,128\n{other},128,128,128\n"
    (root / "class_dict.csv").write_text(table)
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings["task"] == task
    assert settings["class_names"] == (["road"] if task == "binary" else ["road", other])
    assert settings["ignore_colors"] == ["#000000"]
    assert "void there and ignored: #000000" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_names.txt", "_background_\ncell\nnucleus\n"),
        ("labels.txt", "__ignore__\n_background_\ncell\nnucleus\n"),
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, cell\n2, nucleus\n"),
    ],
)
def test_a_legend_names_the_numbers(tmp_path, capsys, name, text):
    root = write_set(tmp_path / "set", lambda seed: discs(seed, 2).astype(np.uint8))
    (root / name).write_text(text)
    _, settings, _ = look(root, tmp_path, capsys)
    assert settings == {"task": "multiclass", "class_names": ["background", "cell", "nucleus"]}


def voc(seed):
    """Two objects with a border of 255 and the palette of Pascal VOC."""
    numbers = discs(seed, 2)
    plane = np.array([0, 15, 1 + seed])[numbers].astype(np.uint8)
    inner = np.zeros(SIZE, bool)
    inner[1:-1, 1:-1] = numbers[1:-1, 1:-1] > 0
    edge = inner & ~(
        np.roll(inner, 1, 0) & np.roll(inner, -1, 0) & np.roll(inner, 1, 1) & np.roll(inner, -1, 1)
    )
    plane[edge] = 255
    image = Image.fromarray(plane).convert("P")
    image.putpalette(voc_colors())
    return image


def voc_colors():
    """The colour map of the VOC development kit, bit by bit."""
    found = []
    for index in range(256):
        red = green = blue = 0
        number = index
        for place in range(8):
            red |= (number & 1) << 7 - place
            green |= (number >> 1 & 1) << 7 - place
            blue |= (number >> 2 & 1) << 7 - place
            number >>= 3
        found += [red, green, blue]
    return found


def test_the_palette_of_voc_names_its_classes(tmp_path, capsys):
    root = write_set(tmp_path / "set", voc)
    text, settings, _ = look(root, tmp_path, capsys)
    assert settings["task"] == "multiclass"
    assert len(settings["class_names"]) == 21
    assert settings["class_names"][15] == "person"
    assert "palette of Pascal VOC" in text
    assert "unlabelled (borders)" in text
    found, stored = labels(root, settings), np.asarray(voc(0))
    assert_array_equal(found, stored)


def test_the_colours_of_a_palette_are_named_by_a_legend(tmp_path, capsys):
    def make(seed):
        image = Image.fromarray(discs(seed, 2).astype(np.uint8)).convert("P")
        image.putpalette([part for name in ("road", "car", "sky") for part in COLORS[name]])
        return image

    root = write_set(tmp_path / "set", make)
    (root / "class_dict.csv").write_text(LEGENDS["class_dict.csv"])
    _, settings, _ = look(root, tmp_path, capsys)
    assert settings["class_names"] == ["road", "car", "sky"]
    assert_array_equal(labels(root, settings), discs(0, 2))


def test_black_and_white_palettes_in_either_order(tmp_path, capsys):
    def make(seed):
        white = seed % 2
        image = Image.fromarray(np.where(discs(seed) > 0, white, 1 - white).astype(np.uint8)).convert("P")
        image.putpalette([0, 0, 0, 255, 255, 255] if white else [255, 255, 255, 0, 0, 0])
        return image

    root = write_set(tmp_path / "set", make)
    text, settings, _ = look(root, tmp_path, capsys)
    assert "black and white palette read as its colours (10)" in text
    for seed in range(10):
        assert_array_equal(labels(root, settings, name=f"p{seed:02}"), discs(seed) > 0)


def test_grey_pictures_among_coloured_masks_are_colours(tmp_path, capsys):
    def make(seed):
        plane = np.zeros((*SIZE, 3), np.uint8)
        plane[discs(seed, 2) == 1] = 255
        if seed % 2:
            plane[discs(seed, 2) == 2] = (255, 0, 0)
        return plane

    _, settings, _ = look(write_set(tmp_path / "set", make), tmp_path, capsys)
    assert set(settings["colors"].values()) == {"#000000", "#ffffff", "#ff0000"}


def test_a_table_takes_a_threshold(tmp_path):
    root = write_set(tmp_path / "set", blurred)
    rows = [f"images/p{n:02}.png,masks/p{n:02}.png,{('train', 'val')[n % 2]}" for n in range(10)]
    (root / "t.csv").write_text("image,mask,split\n" + "\n".join(rows) + "\n")
    data = TableData(str(root), "t.csv", "binary", threshold=128)
    data.setup("fit")
    assert_array_equal(data.cases("train").labels(0).mask, np.asarray(blurred(0)) > 127)


GREEN, RED, BLACK = (0, 200, 0), (220, 20, 60), (0, 0, 0)


def indexed(numbers, palette):
    image = Image.fromarray(numbers.astype(np.uint8), mode="L")
    found = Image.new("P", image.size)
    found.putdata(numbers.ravel().tolist())
    found.putpalette([part for color in palette for part in color])
    return found


@pytest.mark.parametrize("order", ["black last", "as they come", "three"])
@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_black_is_the_background_whatever_number_it_has(tmp_path, capsys, order, suffix):
    """Programs that reduce colours number them as they come; a mask means what it shows."""
    colors = [BLACK, GREEN] + ([RED] if order == "three" else [])

    def make(seed):
        numbers = np.minimum(
            discs(seed, radius=(18, 26) if order == "black last" else (8, 12)), len(colors) - 1
        )
        turn = np.random.default_rng(seed).permutation(len(colors)) if order != "black last" else [1, 0]
        palette = [colors[list(turn).index(k)] for k in range(len(colors))]
        return indexed(np.asarray(turn)[numbers], palette)

    root = write_set(tmp_path / "set", make, suffix=suffix)
    text, settings, _ = look(root, tmp_path, capsys)
    assert "the colours count" in text
    for seed in range(10):
        wanted = np.minimum(
            discs(seed, radius=(18, 26) if order == "black last" else (8, 12)), len(colors) - 1
        )
        got = labels(root, settings, name=f"p{seed:02}")
        names = settings["class_names"]
        if order == "three":
            assert names[0] == "background"
            wanted = np.array([0, names.index("colour #00c800"), names.index("colour #dc143c")])[wanted]
        assert_array_equal(got, wanted)


def test_palettes_of_equal_numbers_and_other_colours_keep_their_numbers(tmp_path, capsys):
    def make(seed):
        numbers = np.minimum(discs(seed, count=2), 2)
        return indexed(numbers, [BLACK, *([GREEN, RED] if seed % 2 else [(0, 0, 255), (9, 99, 99)])])

    _, settings, _ = look(write_set(tmp_path / "set", make), tmp_path, capsys)
    assert "colors" not in settings


def test_colours_of_instances_are_one_class(tmp_path, capsys):
    def make(seed):
        numbers = discs(seed, count=3 + seed % 5, radius=(3, 6))
        table = np.random.default_rng(50 + seed).integers(40, 255, (100, 3)).astype(np.uint8)
        table[0] = 0
        return table[numbers]

    root = write_set(tmp_path / "set", make)
    text, settings, _ = look(root, tmp_path, capsys)
    assert "look like those of instances" in text
    for seed in (0, 4):
        expected = discs(seed, count=3 + seed % 5, radius=(3, 6)) > 0
        assert_array_equal(labels(root, settings, name=f"p{seed:02}"), expected)


def test_classes_of_one_colour_each_are_no_instances(tmp_path, capsys):
    def make(seed):
        table = np.array([BLACK, GREEN, RED, (0, 0, 255), (255, 255, 0)], np.uint8)
        return table[discs(seed, count=4, radius=(4, 7))]

    _, settings, _ = look(write_set(tmp_path / "set", make), tmp_path, capsys)
    assert len(settings["class_names"]) == 5


@pytest.mark.parametrize("way", ["polygons", "resized"])
def test_antialiased_colours_are_refused(tmp_path, capsys, way):
    import cv2

    def make(seed):
        table = np.array([BLACK, GREEN, RED], np.uint8)
        if way == "resized":
            image = Image.fromarray(table[discs(seed, radius=(8, 14))])
            return image.resize((80, 80), Image.Resampling.BILINEAR)
        picture = np.zeros((64, 64, 3), np.uint8)
        for place, color in ((20, GREEN), (44, RED)):
            points = np.array([[place - 9, 9], [place + 9, 12 + seed], [place, 50]])
            cv2.fillPoly(picture, [points], color, lineType=cv2.LINE_AA)
        return picture

    root = write_set(tmp_path / "set", make)
    assert main(["fingerprint", str(root), "--out", str(tmp_path / "x.yaml"), "--processes", "1"]) == 2
    assert "colours" in capsys.readouterr().err
    assert not (tmp_path / "x.yaml").exists()


@pytest.mark.parametrize("quality", [60, 90])
def test_lossy_webp_masks_are_one_class(tmp_path, capsys, quality):
    root = write_set(
        tmp_path / "set",
        lambda seed: np.repeat((discs(seed) > 0).astype(np.uint8)[:, :, None] * 255, 3, axis=2),
        suffix=".webp",
        quality=quality,
    )
    _, settings, _ = look(root, tmp_path, capsys)
    assert settings["threshold"] == 128
    got = labels(root, settings)
    assert np.mean(got != (discs(0) > 0)) < 0.02


def test_fractions_that_are_no_borders_are_refused(tmp_path, capsys):
    import tifffile

    write_set(tmp_path / "set", lambda seed: np.zeros(SIZE, np.uint8))
    for seed in range(10):
        (tmp_path / f"set/masks/p{seed:02}.png").unlink()
        plane = np.array([0, 0.5, 1], np.float32)[np.minimum(discs(seed), 2)]
        tifffile.imwrite(tmp_path / f"set/masks/p{seed:02}.tif", plane)
    assert main(["fingerprint", str(tmp_path / "set"), "--out", str(tmp_path / "x.yaml")]) == 2
    assert "hold fractions" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_class_numbers_of_a_floating_type_are_counted_as_they_are(tmp_path, capsys, kind):
    import tifffile

    write_set(tmp_path / "set", lambda seed: np.zeros(SIZE, np.uint8))
    truth = [np.minimum(discs(seed, count=1 + seed % 2), 2) for seed in range(10)]
    for seed, plane in enumerate(truth):
        (tmp_path / f"set/masks/p{seed:02}.png").unlink()
        tifffile.imwrite(tmp_path / f"set/masks/p{seed:02}.tif", plane.astype(kind))
    text, settings, _ = look(tmp_path / "set", tmp_path, capsys)
    assert len(settings["class_names"]) == 3
    share = 100 * np.mean(np.stack(truth) == 1)
    assert f"class 1 │ {share:.3g} %" in text


def test_numbers_below_zero_are_unlabelled(tmp_path, capsys):
    import tifffile

    write_set(tmp_path / "set", lambda seed: np.zeros(SIZE, np.uint8))
    for seed in range(10):
        (tmp_path / f"set/masks/p{seed:02}.png").unlink()
        plane = np.minimum(discs(seed), 2).astype(np.int16)
        plane[:4] = -1
        tifffile.imwrite(tmp_path / f"set/masks/p{seed:02}.tif", plane)
    text, settings, _ = look(tmp_path / "set", tmp_path, capsys)
    assert "-1, below 0, is taken for unlabelled" in text
    got = labels(tmp_path / "set", settings)
    assert (got[:4] == 255).all()
    assert_array_equal(got[4:], np.minimum(discs(0), 2)[4:])


def test_a_foreground_of_most_pixels_is_doubted(tmp_path, capsys):
    root = write_set(tmp_path / "set", lambda seed: np.where(discs(seed) > 0, 0, 255).astype(np.uint8))
    text, _, _ = look(root, tmp_path, capsys)
    assert "if that is the background (a dark object on white), swap the labels" in text
