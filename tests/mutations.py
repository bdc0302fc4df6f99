"""Mutated files read in a process of its own with bounded memory: a success, or one line that names the file.

``python tests/mutations.py FOLDER READER,... TRIALS [SEED]`` writes what fell into ``FOLDER/fell.json``.
"""

import gzip
import io
import json
import re
import resource
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import tifffile
from dicom_files import write_series
from PIL import Image

MEMORY = 6 * 2**30  # bytes of addresses: torch alone maps three
TOKENS = (
    *(
        b"NaN",
        b"Infinity",
        b"-1",
        b"1e400",
        b"1e9",
        b"99999999999999999999",
        b"true",
        b"null",
        b"0",
        b"2147483648",
    ),
    *(
        b'"x"',
        b"[]",
        b"{}",
        b"[[[[]]]]",
        b'"\\ud800"',
        b'"\\u0000"',
        b'"' + b"y" * 5000 + b'"',
        b"1.5",
        b"-9e8",
    ),
)
RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 255, (20, 26, 3)).astype(np.uint8)
CUBE = RNG.integers(0, 3, (6, 7, 5)).astype(np.uint8)


def picture(form, image=RGB, **options):
    def make(folder):
        packed = io.BytesIO()
        Image.fromarray(image).save(packed, form, **options)
        return write(folder / f"a.{form.lower()}", packed.getvalue())

    return make


def tiff(**options):
    def make(folder):
        tifffile.imwrite(folder / "a.tif", options.pop("array", RGB), **options)
        return folder / "a.tif"

    return make


def array(folder):
    np.save(folder / "a.npy", RGB)
    return folder / "a.npy"


def volume(name, kind=np.float32):
    def make(folder):
        nibabel.save(nibabel.Nifti1Image(CUBE.astype(kind), np.diag([1.0, 1.0, 2.0, 1.0])), folder / name)
        return folder / name

    return make


def series(folder):
    write_series(CUBE.astype(np.float32), folder / "s", np.diag([1.0, 1.0, 2.0, 1.0]))
    return sorted((folder / "s").iterdir())[2]


def coco(folder):
    Image.fromarray(RGB).save(folder / "a.png")
    runs = {"size": [20, 26], "counts": [100, 300, 120]}
    packed = {"size": [20, 26], "counts": "T3\\:4L0"}
    shapes = [[[1.5, 2, 20, 3, 12.25, 18]], runs, [[3, 3, 9, 3, 9, 9], [12, 12, 14, 12, 14, 15]], packed][:3]
    annotations = [
        {"id": n, "image_id": 1, "category_id": n % 2, "segmentation": shape, "iscrowd": int(n == 1)}
        for n, shape in enumerate(shapes)
    ]
    images = [{"id": 1, "file_name": "a.png", "height": 20, "width": 26}]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(("car", "bus"))],
    }
    return write(folder / "a.json", json.dumps(content).encode())


def dataset(folder):
    for part, name in (("imagesTr", "c_0000.nii.gz"), ("labelsTr", "c.nii.gz")):
        (folder / part).mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(CUBE, np.eye(4)), folder / part / name)
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "a": 1, "b": [1, 2]},
        "regions_class_order": [1, 2],
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    return write(folder / "dataset.json", json.dumps(content).encode())


def table(name):
    def make(folder):
        Image.fromarray(RGB).save(folder / "a.png")
        rows = {"image": ["a.png"] * 2, "mask": ["a.png"] * 2, "name": ["x", "y"], "split": ["train", "val"]}
        frame = pl.DataFrame(rows)
        frame.write_csv(folder / name) if name.endswith(".csv") else frame.write_parquet(folder / name)
        return folder / name

    return make


def text(name, content):
    return lambda folder: write(folder / name, content.encode())


def write(path, content):
    path.write_bytes(content)
    return path


def read_picture(path):
    from segfocal.data.reading import read_array

    for palette in ("indices", "colors"):
        read_array(path, palette=palette)


def read_size(path):
    from segfocal.data.reading import image_size

    image_size(path)


def read_volume(path):
    from segfocal.data.volumes.reading import read_volume

    read_volume([path], channels=1)


def read_labels(path):
    from segfocal.data.volumes.reading import read_labels

    read_labels(path, known=[0, 1, 2])


def read_slices(path):
    from segfocal.data.volumes.dicom import read_series

    read_series(path.parent)


def read_coco(path):
    from segfocal.data.coco.drawing import draw_classes, draw_layers
    from segfocal.data.coco.reading import read_annotations
    from segfocal.data.fingerprint.coco import find_coco

    find_coco(path.parent)
    for image in read_annotations(path, folder=path.parent, classes={"car": ["car"], "bus": ["bus"]}):
        if image.size_px == (20, 26):
            draw_layers(image.shapes, size_px=image.size_px, count=2)
            draw_classes(image.shapes, size_px=image.size_px)


def read_dataset(path):
    from segfocal.data.volumes.layout import read_volume_set

    read_volume_set(path.parent)


def read_table(path):
    from segfocal.data import Split
    from segfocal.data.rows import TableLayout

    TableLayout(path.parent, path.name, classes=None, split=Split(train=1.0), allowed=["*"]).divide()


def read_colors(path):
    from segfocal.data.colors import read_class_table

    read_class_table(path)


def read_legend(path):
    from segfocal.data.fingerprint.legends import find_legend

    find_legend(path.parent)


def read_lanes(path):
    from segfocal.data.lanes.drawing import draw_lanes
    from segfocal.data.lanes.lines import read_lines

    draw_lanes(read_lines(path), size_px=(40, 60), width_px=3)


def read_tusimple(path):
    from segfocal.data.fingerprint.roads import find_lanes

    find_lanes(path.parent)


LANES = {"raw_file": "a.png", "h_samples": [10, 20, 30], "lanes": [[1, 5, 9], [-2, 20, 22]]}
READERS = {
    "png": (picture("PNG"), read_picture),
    "png palette": (lambda f: picture("PNG", np.asarray(Image.fromarray(RGB).quantize(9)))(f), read_picture),
    "png deep": (picture("PNG", RGB[:, :, 0].astype(np.uint16) * 200), read_picture),
    "jpeg": (picture("JPEG", quality=90), read_picture),
    "gif": (picture("GIF"), read_picture),
    "bmp": (picture("BMP"), read_picture),
    "webp": (picture("WEBP", lossless=True), read_picture),
    "webp lossy": (picture("WEBP", quality=60), read_picture),
    "ppm": (picture("PPM"), read_picture),
    "size of a picture": (picture("PNG"), read_size),
    "size of a tiff": (tiff(photometric="rgb"), read_size),
    "tiff": (tiff(photometric="rgb"), read_picture),
    "tiff lzw tiles": (
        tiff(
            array=RGB.repeat(2, 0).repeat(2, 1),
            photometric="rgb",
            tile=(16, 16),
            compression="lzw",
            predictor=True,
        ),
        read_picture,
    ),
    "tiff jpeg": (tiff(photometric="rgb", compression="jpeg"), read_picture),
    "tiff deflate big": (
        tiff(photometric="rgb", compression="zlib", bigtiff=True, byteorder=">"),
        read_picture,
    ),
    "tiff pages": (tiff(array=RGB[..., 0], description="a page"), read_picture),
    "npy": (array, read_picture),
    "nifti": (volume("a.nii"), read_volume),
    "nifti packed": (volume("a.nii.gz"), read_volume),
    "labels": (volume("a.nii", np.uint8), read_labels),
    "dicom": (series, read_slices),
    "coco": (coco, read_coco),
    "dataset.json": (dataset, read_dataset),
    "csv": (table("a.csv"), read_table),
    "parquet": (table("a.parquet"), read_table),
    "class table": (text("a.csv", "name,r,g,b\nroad,1,2,3\ncar,200,100,0\n"), read_colors),
    "class_dict.csv": (text("class_dict.csv", "name,r,g,b\nroad,1,2,3\ncar,200,100,0\n"), read_legend),
    "labelmap.txt": (text("labelmap.txt", "# name:rgb:parts:actions\na:0,0,0::\nb:1,2,3::\n"), read_legend),
    "lines": (text("a.lines.txt", "1.5 30 2 20 3 10\n40 30 41 20\n"), read_lanes),
    "tusimple": (text("labels.json", "".join(json.dumps(LANES) + "\n" for _ in range(2))), read_tusimple),
}
TEXTS = ("coco", "dataset.json", "csv", "class table", "class_dict.csv", "labelmap.txt", "lines", "tusimple")


def _places(content):
    """Every place of a value in JSON: the container and its key."""
    if isinstance(content, (dict, list)):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield content, key
            yield from _places(content[key])


def _reworded(text, rng):
    """Put a hostile word in the place of one value: of JSON, or of any word of another text."""
    token = TOKENS[rng.integers(len(TOKENS))]
    lines = text.split(b"\n")
    number = int(rng.integers(len(lines)))
    try:
        content = json.loads(lines[number])
        places = list(_places(content))
        container, key = places[rng.integers(len(places))]
        container[key] = "@"
        lines[number] = json.dumps(content).encode().replace(b'"@"', token, 1)
    except ValueError:
        words = list(re.finditer(rb"[\w.#-]+", lines[number]))
        if words:
            word = words[rng.integers(len(words))]
            lines[number] = lines[number][: word.start()] + token + lines[number][word.end() :]
    return b"\n".join(lines)


def mutated(content, rng, *, words):
    """Change a file: numbers of a text by hostile ones, bits, bytes, blocks, or its length."""
    data = bytearray(content)
    how = rng.integers(0, 7)
    if words and how < 6:
        for _ in range(rng.integers(1, 3)):
            data = bytearray(_reworded(bytes(data), rng))
        return bytes(data)
    head = len(data) if rng.random() < 0.4 else min(len(data), 512)
    for _ in range(rng.integers(1, 5)):
        start, length = rng.integers(head), int(rng.choice([1, 1, 2, 4, 8]))
        end = min(len(data), start + length)
        if how in (0, 1):
            data[start] ^= 1 << rng.integers(8)
        elif how == 2:
            data[start:end] = rng.bytes(end - start)
        elif how == 3:
            data[start:end] = bytes([int(rng.choice([255, 0, 127, 128]))]) * (end - start)
        elif how == 4:
            data = data[: max(0, int(rng.integers(len(data) + 1)))] or bytearray(b"x")
            head = min(head, len(data))
        elif how == 5:
            data[start:start] = rng.bytes(length)
        else:
            data[start:end] = data[:length]
    return bytes(data)


def trial(name, place, seed):
    """Read one mutated file; return what is wrong with the outcome, or ""."""
    from segfocal.errors import SegfocalError

    make, read = READERS[name]
    with tempfile.TemporaryDirectory(dir=place) as folder:
        path = make(Path(folder))
        packed = path.suffix == ".gz"
        content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        changed = mutated(content, np.random.default_rng(seed), words=name in TEXTS)
        path.write_bytes(gzip.compress(changed) if packed else changed)
        try:
            read(path)
        except SegfocalError as error:
            said = str(error)
            if "\n" in said:
                return f"several lines: {said!r:.300}"
            return "" if path.name in said or folder in said else f"no file named: {said:.300}"
        except BaseException as error:
            return f"{type(error).__name__}: {error!s:.300}"
    return ""


def main():
    """Run the trials of some readers; the number of each is written first, so that a crash can be told."""
    place, names, trials, *rest = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    first = int(rest[0]) if rest else 0
    fell = []
    for name in names.split(","):
        for seed in range(first, first + int(trials)):
            Path(place, "seed").write_text(f"{name}, seed {seed}")
            if wrong := trial(name, place, seed):
                fell.append((name, seed, wrong))
    Path(place, "fell.json").write_text(json.dumps(fell))


if __name__ == "__main__":
    main()
