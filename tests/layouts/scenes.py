"""Published data sets of roads, towns and things."""

import numpy as np
from PIL import Image

from layouts.layout import DRAWN, Layout, Truth, blob, labels, photo, save, seed_of, text


def palette(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    picture.putpalette([(37 * n) % 256 for n in range(768)])
    picture.save(path)


def voc(root):
    truth = Truth(task="multiclass")
    base = "VOCdevkit/VOC2012"
    parts = {"train": [f"2007_{n:06}" for n in range(32, 38)], "val": [f"2007_{n:06}" for n in range(41, 45)]}
    for split, names in parts.items():
        for name in names:
            photo(root / f"{base}/JPEGImages/{name}.jpg")
            palette(labels(name, [0, 1, 15, 255]), root / f"{base}/SegmentationClass/{name}.png")
            palette(labels(name + "o", [0, 1, 2]), root / f"{base}/SegmentationObject/{name}.png")
            truth.pair(split, f"{base}/JPEGImages/{name}.jpg", f"{base}/SegmentationClass/{name}.png")
            truth.leave("object", f"{base}/SegmentationObject/{name}.png")
    for number in range(5):
        photo(root / f"{base}/JPEGImages/2008_{number:06}.jpg")
        truth.leave("without mask", f"{base}/JPEGImages/2008_{number:06}.jpg")
    text(root / f"{base}/Annotations/2007_000032.xml")
    truth.leave("not a picture", f"{base}/Annotations/2007_000032.xml")
    for kind in ("Segmentation", "Main"):
        for part, names in (*parts.items(), ("trainval", [n for p in parts.values() for n in p])):
            path = f"{base}/ImageSets/{kind}/{part}.txt"
            text(root / path, "".join(f"{name}\n" for name in names))
            truth.leave("" if kind == "Segmentation" else "not a picture", path)
    return truth


def cvat(root):
    truth = Truth(task="multiclass")
    text(
        root / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n",
    )
    text(root / "ImageSets/Segmentation/default.txt", "".join(f"frame_{n:06}\n" for n in range(8)))
    truth.leave("", "labelmap.txt", "ImageSets/Segmentation/default.txt")
    colors = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    for number in range(10):
        stem = f"frame_{number:06}"
        photo(root / f"JPEGImages/{stem}.jpg")
        if number > 7:
            truth.leave("without mask", f"JPEGImages/{stem}.jpg")
            continue
        for kind in ("Class", "Object"):
            save(colors[labels(stem + kind, [0, 1, 2])], root / f"Segmentation{kind}/{stem}.png")
        truth.pair(DRAWN, f"JPEGImages/{stem}.jpg", f"SegmentationClass/{stem}.png")
        truth.leave("object", f"SegmentationObject/{stem}.png")
    return truth


def roboflow(root):
    truth = Truth(task="multiclass", groups={})
    for file in ("README.dataset.txt", "README.roboflow.txt"):
        text(root / file)
        truth.leave("not a picture", file)
    for part, split, count in (("train", "train", 6), ("valid", "val", 3), ("test", "test", 2)):
        text(root / part / "_classes.csv", "Pixel Value, Class\n0, background\n1, crack\n2, hole\n")
        truth.leave("", f"{part}/_classes.csv")
        for number in range(count):
            for copy in range(2 if part == "train" else 1):
                name = f"{part}{number}_jpg.rf.{seed_of(f'{part}{number}{copy}'):08x}{copy}c"
                photo(root / f"{part}/{name}.jpg")
                save(labels(name, [0, 1, 2]), root / f"{part}/{name}_mask.png")
                truth.pair(split, f"{part}/{name}.jpg", f"{part}/{name}_mask.png")
                truth.groups[f"{part}/{name}.jpg"] = f"{part}{number}"
    return truth


def carvana(root):
    truth = Truth(predict="test", groups={})
    for file in ("train_masks.csv", "metadata.csv", "sample_submission.csv"):
        text(root / file, "img,rle_mask\n")
        truth.leave("not a picture", file)
    for car in (
        "0cdf5b5d0ce1",
        "29bb3ece3180",
        "4a8d2f1c9b7e",
        "5df60cf7cab2",
        "6ba36af67cb0",
        "78c9d1e0a2f3",
    ):
        for view in (1, 2):
            stem = f"{car}_{view:02}"
            photo(root / f"train/{stem}.jpg")
            save(blob(stem, value=1).astype(bool), root / f"train_masks/{stem}_mask.gif")
            truth.pair(DRAWN, f"train/{stem}.jpg", f"train_masks/{stem}_mask.gif")
            truth.groups[f"train/{stem}.jpg"] = car
    for view in range(1, 4):
        photo(root / f"test/0004d4463b50_{view:02}.jpg")
        truth.leave("without mask", f"test/0004d4463b50_{view:02}.jpg")
    return truth


def camvid(root):
    truth = Truth(task="multiclass")
    for split, first, count in (("train", 6690, 7), ("val", 30, 3), ("test", 930, 3)):
        lines = []
        for number in range(count):
            # frames of three clips, as in the real one
            stem = f"{('0001TP', '0006R0', '0016E5')[number % 3]}_{first + 30 * number:06}.png"
            photo(root / split / stem)
            save(labels(stem, [0, 3, 8, 11]), root / f"{split}annot/{stem}")
            truth.pair(split, f"{split}/{stem}", f"{split}annot/{stem}")
            lines.append(f"/SegNet/CamVid/{split}/{stem} /SegNet/CamVid/{split}annot/{stem}\n")
        text(root / f"{split}.txt", "".join(lines))
        truth.leave("", f"{split}.txt")
    return truth


def cityscapes(root, *, train_ids=False):
    truth = Truth(task="multiclass", predict="leftImg8bit/test/berlin")
    text(root / "README")
    text(root / "license.txt")
    truth.leave("not a picture", "README", "license.txt")
    cities = {"train": ("aachen", "bochum", "zurich"), "val": ("frankfurt", "munster"), "test": ("berlin",)}
    for split, names in cities.items():
        for city in names:
            for number in range(3):
                stem = f"{city}_{number:06}_000019"
                image = f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png"
                photo(root / image)
                if split == "test":
                    truth.leave("without mask", image)
                    continue
                base = f"gtFine/{split}/{city}/{stem}_gtFine"
                save(labels(stem, [7, 11, 26]), root / f"{base}_labelIds.png")
                save(1000 * labels(stem, [7, 11, 26]).astype(np.uint16), root / f"{base}_instanceIds.png")
                save(
                    np.repeat(labels(stem, [10, 70, 142])[..., None], 3, axis=2)
                    + np.array([0, 1, 2], np.uint8),
                    root / f"{base}_color.png",
                )
                text(root / f"{base}_polygons.json", "{}")
                if train_ids:
                    save(labels(stem, [0, 2, 13, 255]), root / f"{base}_labelTrainIds.png")
                chosen = "labelTrainIds" if train_ids else "labelIds"
                truth.pair(split, image, f"{base}_{chosen}.png")
                truth.leave("not a picture", f"{base}_polygons.json")
                truth.leave("object", f"{base}_instanceIds.png")
                truth.leave("coloured", f"{base}_color.png")
                if train_ids:
                    truth.leave("training ids", f"{base}_labelIds.png")
    return truth


def cityscapes_train_ids(root):
    return cityscapes(root, train_ids=True)


def bdd(root):
    truth = Truth(task="multiclass", predict="bdd100k/images/10k/test")
    base = "bdd100k"
    for split, count in (("train", 7), ("val", 3), ("test", 2)):
        for number in range(count):
            stem = f"{seed_of(split + str(number)):08x}-{seed_of(str(number) + split):08x}"
            image = f"{base}/images/10k/{split}/{stem}.jpg"
            photo(root / image)
            if split == "test":
                truth.leave("without mask", image)
                continue
            mask, color = (
                f"{base}/labels/sem_seg/{kind}/{split}/{stem}.png" for kind in ("masks", "colormaps")
            )
            save(labels(stem, [0, 2, 13, 255]), root / mask)
            save(
                np.repeat(labels(stem, [10, 70, 142])[..., None], 3, axis=2) + np.array([0, 1, 2], np.uint8),
                root / color,
            )
            truth.pair(split, image, mask)
            truth.leave("coloured", color)
        if split != "test":
            text(root / f"{base}/labels/sem_seg/polygons/sem_seg_{split}.json", "[]")
            truth.leave("not a picture", f"{base}/labels/sem_seg/polygons/sem_seg_{split}.json")
    return truth


def kitti(root):
    truth = Truth(predict="data_road/testing/image_2")
    base = "data_road"
    road = np.array([[255, 0, 0], [255, 0, 255]], np.uint8)
    for kind in ("um", "umm", "uu"):
        for number in range(4):
            stem = f"{kind}_{number:06}"
            image = f"{base}/training/image_2/{stem}.png"
            photo(root / image)
            mask = f"{base}/training/gt_image_2/{kind}_road_{number:06}.png"
            save(road[blob(mask, value=1)], root / mask)
            truth.pair(DRAWN, image, mask)
            if kind == "um":
                lane = f"{base}/training/gt_image_2/um_lane_{number:06}.png"
                save(road[blob(lane, value=1)], root / lane)
                truth.leave("lane", lane)
            text(root / f"{base}/training/calib/{stem}.txt")
            truth.leave("not a picture", f"{base}/training/calib/{stem}.txt")
        photo(root / f"{base}/testing/image_2/{kind}_000000.png")
        truth.leave("without mask", f"{base}/testing/image_2/{kind}_000000.png")
    return truth


def comma10k(root):
    truth = Truth(task="multiclass")
    colors = np.array([[64, 32, 32], [255, 0, 0], [128, 128, 96]], np.uint8)
    text(root / "README.md")
    text(root / "files_trainable", "masks/x.png\n")
    truth.leave("not a picture", "README.md", "files_trainable")
    for suffix, first in (("", 0), ("2", 20)):
        for number in range(first, first + 6):
            drive = f"{seed_of(str(number)):08x}{number:x}f_2018-08-19--13-26-08"
            stem = f"{number:04}_{drive}_{number + 11}_{864 + number}"
            photo(root / f"imgs{suffix}/{stem}.png")
            save(colors[labels(stem, [0, 1, 2])], root / f"masks{suffix}/{stem}.png")
            truth.pair(DRAWN, f"imgs{suffix}/{stem}.png", f"masks{suffix}/{stem}.png")
    return truth


def massachusetts(root):
    truth = Truth()
    text(root / "label_class_dict.csv", "name,r,g,b\nbackground,0,0,0\nroad,255,255,255\n")
    text(root / "metadata.csv", "image_id,split\n")
    truth.leave("", "label_class_dict.csv", "metadata.csv")
    for split, count in (("train", 7), ("val", 3), ("test", 3)):
        for number in range(count):
            stem = f"{10078660 + seed_of(split) % 1000 * 15}_{number}"
            image, mask = f"tiff/{split}/{stem}.tiff", f"tiff/{split}_labels/{stem}.tif"
            photo(root / image)
            save(np.repeat(blob(mask)[..., None], 3, axis=2), root / mask)
            truth.pair(split, image, mask)
    return truth


def massachusetts_original(root):
    truth = Truth()
    for split, part, count in (("train", "train", 7), ("valid", "val", 3), ("test", "test", 3)):
        for number in range(count):
            stem = f"{22678915 + seed_of(split) % 1000 * 15}_{number}"
            photo(root / f"{split}/sat/{stem}.tiff")
            save(blob(stem), root / f"{split}/map/{stem}.tif")
            truth.pair(part, f"{split}/sat/{stem}.tiff", f"{split}/map/{stem}.tif")
    return truth


SCENES = tuple(
    Layout(make.__name__, make)
    for make in (
        voc,
        cvat,
        roboflow,
        carvana,
        camvid,
        cityscapes,
        cityscapes_train_ids,
        bdd,
        kitti,
        comma10k,
        massachusetts,
        massachusetts_original,
    )
)
