"""Tiny data sets in the folders that torchvision's classes read."""

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (20, 26)


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def labels(values, seed=0):
    """Every value somewhere."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.resize(np.array(values, np.uint8), SIZE[0] * SIZE[1])).reshape(SIZE)


def palette_png(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    image.putpalette(np.random.default_rng(1).integers(0, 255, 768, dtype=np.uint8).tobytes())
    image.save(path)


def write_voc(root):
    base = root / "VOCdevkit" / "VOC2012"
    (base / "ImageSets" / "Segmentation").mkdir(parents=True)
    for part, names in (("train", ("2007_000032", "2007_000039")), ("val", ("2008_000042",))):
        for number, name in enumerate(names, start=0 if part == "train" else 5):
            picture(base / "JPEGImages" / f"{name}.jpg", number)
            palette_png(labels([*range(21), 255], number), base / "SegmentationClass" / f"{name}.png")
        (base / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(names) + "\n")
    return root


def write_sbd(root):
    for part, names in (("train", ("a", "b")), ("val", ("c",))):
        for number, name in enumerate(names):
            picture(root / "img" / f"{name}.jpg", number)
            (root / "cls").mkdir(exist_ok=True)
            truth = {"Segmentation": labels(range(21), number)}
            savemat(root / "cls" / f"{name}.mat", {"GTcls": truth})
        (root / f"{part}.txt").write_text("\n".join(names) + "\n")
    return root


def write_cityscapes(root):
    for part, city in (("train", "aachen"), ("train", "ulm"), ("val", "bonn")):
        stem = f"{city}_000000_000019"
        picture(root / "leftImg8bit" / part / city / f"{stem}_leftImg8bit.png")
        path = root / "gtFine" / part / city / f"{stem}_gtFine_labelIds.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(labels([*range(34), 255])).save(path)
    return root


def write_pets(root):
    base = root / "oxford-iiit-pet"
    for number, name in enumerate(("Abyssinian_1", "Abyssinian_2", "beagle_1", "beagle_2")):
        picture(base / "images" / f"{name}.jpg", number)
        (base / "annotations" / "trimaps").mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels([1, 2, 3], number)).save(base / "annotations" / "trimaps" / f"{name}.png")
    lines = {
        "trainval": ("Abyssinian_1 1 1 1", "beagle_1 2 2 1", "beagle_2 2 2 1"),
        "test": ("Abyssinian_2 1 1 1",),
    }
    for part, listed in lines.items():
        (base / "annotations" / f"{part}.txt").write_text("\n".join(listed) + "\n")
    return root
