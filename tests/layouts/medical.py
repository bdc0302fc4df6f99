"""Published data sets of medical pictures."""

import numpy as np
from PIL import Image

from layouts.layout import DRAWN, SIZE, Layout, Truth, blob, labels, photo, save, seed_of, text


def disk(size=SIZE):
    """A field of view: one piece, alike in all images."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    middle = ((rows - size[0] / 2) ** 2 + (columns - size[1] / 2) ** 2) < (0.45 * size[0]) ** 2
    return 255 * middle.astype(np.uint8)


def drive(root):
    truth = Truth()
    for split, numbers in (("training", range(21, 27)), ("test", range(1, 4))):
        part = {"training": "train"}.get(split, split)
        for number in numbers:
            image = f"{split}/images/{number:02}_{split}.tif"
            mask, field = (
                f"{split}/1st_manual/{number:02}_manual1.gif",
                f"{split}/mask/{number:02}_{split}_mask.gif",
            )
            photo(root / image)
            save(blob(mask), root / mask)
            save(disk(), root / field)
            truth.pair(part, image, mask)
            truth.region[image] = field
            if split == "test":
                second = f"test/2nd_manual/{number:02}_manual2.gif"
                save(blob(second), root / second)
                truth.leave("observer", second)
    return truth


def chase(root):
    truth = Truth(groups={})
    for patient in range(1, 8):
        for eye in "LR":
            stem = f"Image_{patient:02}{eye}"
            photo(root / f"{stem}.jpg")
            for observer in ("1st", "2nd"):
                save(blob(stem), root / f"{stem}_{observer}HO.png")
            truth.pair(DRAWN, f"{stem}.jpg", f"{stem}_1stHO.png")
            truth.leave("observer", f"{stem}_2ndHO.png")
            truth.groups[f"{stem}.jpg"] = str(patient)
    return truth


def lgg(root):
    truth = Truth(groups={})
    text(root / "README.md")
    text(root / "data.csv", "Patient,age\n")
    truth.leave("not a picture", "README.md", "data.csv")
    for patient in (
        "CS_4941_19960909",
        "CS_4942_19970222",
        "DU_5849_19950405",
        "FG_5962_20000626",
        "HT_7473_19970826",
    ):
        for number in range(1, 4):
            stem = f"TCGA_{patient}/TCGA_{patient}_{number}"
            photo(root / f"{stem}.tif")
            save(blob(stem) if number > 1 else np.zeros(SIZE, np.uint8), root / f"{stem}_mask.tif")
            truth.pair(DRAWN, f"{stem}.tif", f"{stem}_mask.tif")
            truth.groups[f"{stem}.tif"] = patient
    return truth


def stare(root):
    truth = Truth()
    text(root / "list-of-images.txt")
    truth.leave("not a picture", "list-of-images.txt")
    for number in (1, 2, 3, 4, 5, 44, 77, 81):
        stem = f"im{number:04}"
        photo(root / f"stare-images/{stem}.ppm")
        for observer in ("ah", "vk"):
            save(blob(stem + observer), root / f"labels-{observer}/{stem}.{observer}.ppm")
        truth.pair(DRAWN, f"stare-images/{stem}.ppm", f"labels-ah/{stem}.ah.ppm")
        truth.leave("observer", f"labels-vk/{stem}.vk.ppm")
    return truth


def hrf(root):
    truth = Truth()
    for number in range(1, 5):
        for kind in ("h", "dr", "g"):
            stem = f"{number:02}_{kind}"
            image = f"images/{stem}.{'jpg' if kind == 'h' else 'JPG'}"
            photo(root / image)
            save(blob(stem), root / f"manual1/{stem}.tif")
            save(disk(), root / f"mask/{stem}_mask.tif")
            truth.pair(DRAWN, image, f"manual1/{stem}.tif")
            truth.region[image] = f"mask/{stem}_mask.tif"
    return truth


def kvasir(root):
    truth = Truth(task="binary")
    text(root / "kavsir_bboxes.json", "{}")
    truth.leave("not a picture", "kavsir_bboxes.json")
    for name in (
        "cju0qkwl35piu0993l0dewei2",
        "cju0qoxqj9q6s0835b43399p4",
        "cju0qx73cjw570799j4n5cjze",
        *"abcdef",
    ):
        photo(root / f"images/{name}.jpg")
        path = root / f"masks/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blob(name)).convert("RGB").save(path, quality=90)
        truth.pair(DRAWN, f"images/{name}.jpg", f"masks/{name}.jpg")
    return truth


def clinicdb(root):
    truth = Truth()
    text(root / "CVC-ClinicDB/README.txt")
    truth.leave("not a picture", "CVC-ClinicDB/README.txt")
    for number in range(1, 11):
        image, mask = f"CVC-ClinicDB/Original/{number}.tif", f"CVC-ClinicDB/Ground Truth/{number}.tif"
        photo(root / image)
        save(blob(mask), root / mask)
        truth.pair(DRAWN, image, mask)
    return truth


def clinicdb_kaggle(root):
    """The same pictures in two formats: the PNG are used."""
    truth = Truth()
    text(root / "metadata.csv", "frame_id,png_image_path\n")
    truth.leave("not a picture", "metadata.csv")
    for number in range(1, 9):
        for kind in ("PNG", "TIF"):
            image, mask = (
                f"{kind}/Original/{number}.{kind.lower()}",
                f"{kind}/Ground Truth/{number}.{kind.lower()}",
            )
            photo(root / image)
            save(blob(str(number)), root / mask)
            if kind == "PNG":
                truth.pair(DRAWN, image, mask)
            else:
                truth.leave("", image, mask)
    return truth


def isic(root):
    truth = Truth(predict="ISIC2018_Task1-2_Test_Input")
    parts = (
        ("Training", "train", range(8)),
        ("Validation", "val", range(12255, 12259)),
        ("Test", "test", range(12169, 12173)),
    )
    for name, split, numbers in parts:
        folder = f"ISIC2018_Task1-2_{name}_Input"
        for number in numbers:
            image = f"{folder}/ISIC_{number:07}.jpg"
            photo(root / image)
            if name == "Test":
                truth.leave("without mask", image)
                continue
            mask = f"ISIC2018_Task1_{name}_GroundTruth/ISIC_{number:07}_segmentation.png"
            save(blob(mask), root / mask)
            truth.pair(split, image, mask)
        for file in ("ATTRIBUTION.txt", "LICENSE.txt"):
            text(root / folder / file)
            truth.leave("not a picture", f"{folder}/{file}")
    return truth


def busi(root):
    truth = Truth()
    for kind in ("benign", "malignant", "normal"):
        for number in range(1, 6):
            stem = f"Dataset_BUSI_with_GT/{kind}/{kind} ({number})"
            photo(root / f"{stem}.png")
            masks = [f"{stem}_mask.png"]
            if kind == "benign" and number in (1, 3):
                masks.append(f"{stem}_mask_1.png")
            for mask in masks:
                save(blob(mask) if kind != "normal" else np.zeros(SIZE, np.uint8), root / mask)
            truth.pair(DRAWN, f"{stem}.png", tuple(masks) if len(masks) > 1 else masks[0])
    return truth


def montgomery(root):
    truth = Truth(task="multilabel", class_names=("leftMask", "rightMask"))
    root = root / "MontgomerySet"
    text(root / "ClinicalReadings/MCUCXR_0001_0.txt")
    (root / "CXR_png").mkdir(parents=True)
    (root / "CXR_png/Thumbs.db").write_bytes(b"x")
    (root / "NLM-MontgomeryCXRSet-ReadMe.pdf").write_bytes(b"%PDF")
    truth.leave("not a picture", "MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt")
    truth.leave("not a picture", "MontgomerySet/NLM-MontgomeryCXRSet-ReadMe.pdf")
    truth.leave("hidden", "MontgomerySet/CXR_png/Thumbs.db")
    for number in range(1, 9):
        stem = f"MCUCXR_{number:04}_{int(number > 5)}.png"
        photo(root / "CXR_png" / stem, gray=True)
        sides = [f"ManualMask/{side}Mask/{stem}" for side in ("left", "right")]
        for side in sides:
            save(blob(side), root / side)
        truth.pair(DRAWN, f"MontgomerySet/CXR_png/{stem}", *(f"MontgomerySet/{side}" for side in sides))
    return truth


def dsb(root):
    truth = Truth(predict="stage1_test/t0/images")
    text(root / "stage1_train_labels.csv", "ImageId,EncodedPixels\n")
    truth.leave("not a picture", "stage1_train_labels.csv")
    for number in range(8):
        name = f"{seed_of(str(number)):08x}{number:04x}ab"
        folder = f"stage1_train/{name}"
        photo(root / f"{folder}/images/{name}.png")
        masks = [f"{folder}/masks/{seed_of(f'{name}{k}'):08x}c{k}.png" for k in range(1 + number % 3)]
        for mask in masks:
            save(blob(mask), root / mask)
        truth.pair("", f"{folder}/images/{name}.png", tuple(sorted(masks)) if len(masks) > 1 else masks[0])
    for number in range(3):
        image = f"stage1_test/t{number}/images/t{number}.png"
        photo(root / image)
        truth.leave("without mask", image)
    return truth


def glas(root):
    truth = Truth()
    folder = "Warwick QU Dataset (Released 2016_07_08)"
    text(root / folder / "Grade.csv", "name,grade\n")
    truth.leave("not a picture", f"{folder}/Grade.csv")
    for part, split, count in (("train", "train", 8), ("testA", "test", 4), ("testB", "test", 3)):
        for number in range(1, count + 1):
            stem = f"{folder}/{part}_{number}"
            photo(root / f"{stem}.bmp")
            save(blob(stem, value=1), root / f"{stem}_anno.bmp")
            truth.pair(split, f"{stem}.bmp", f"{stem}_anno.bmp")
    return truth


def fuseg(root):
    truth = Truth(predict="Foot Ulcer Segmentation Challenge/test/images")
    base = "Foot Ulcer Segmentation Challenge"
    text(root / base / "README.md")
    truth.leave("not a picture", f"{base}/README.md")
    for part, split, numbers in (
        ("train", "train", range(1, 9)),
        ("validation", "val", range(9, 13)),
        ("test", "test", range(13, 16)),
    ):
        for number in numbers:
            image = f"{base}/{part}/images/{number:04}.png"
            photo(root / image)
            if part == "test":
                truth.leave("without mask", image)
                continue
            mask = f"{base}/{part}/labels/{number:04}.png"
            save(blob(mask), root / mask)
            truth.pair(split, image, mask)
    return truth


def idrid(root):
    names = ("Microaneurysms", "Haemorrhages", "Hard Exudates", "Soft Exudates", "Optic Disc")
    truth = Truth(task="multilabel", class_names=names)
    base = "A. Segmentation"
    for file in ("CC-BY-4.0.txt", "LICENSE.txt"):
        text(root / base / file)
        truth.leave("not a picture", f"{base}/{file}")
    for part, split, numbers in (
        ("a. Training Set", "train", range(1, 7)),
        ("b. Testing Set", "test", range(55, 58)),
    ):
        for number in numbers:
            image = f"{base}/1. Original Images/{part}/IDRiD_{number:02}.jpg"
            photo(root / image)
            masks = []
            for place, (name, short) in enumerate(
                zip(names, ("MA", "HE", "EX", "SE", "OD"), strict=True), start=1
            ):
                folder = f"{base}/2. All Segmentation Groundtruths/{part}/{place}. {name}"
                mask = f"{folder}/IDRiD_{number:02}_{short}.tif"
                absent = short == "SE" and number % 2
                masks.append(None if absent else mask)
                if not absent:
                    save(blob(mask), root / mask)
            truth.pair(split, image, *masks)
    return truth


def refuge(root):
    truth = Truth(task="multiclass")
    text(root / "Annotation-Training400/Fovea_location.txt")
    truth.leave("not a picture", "Annotation-Training400/Fovea_location.txt")

    def add(split, image, mask):
        photo(root / image)
        save(labels(mask, [255, 128, 0]), root / mask)
        truth.pair(split, image, mask)

    for kind, letter in (("Glaucoma", "g"), ("Non-Glaucoma", "n")):
        for number in range(1, 5):
            stem = f"{kind}/{letter}{number:04}"
            add("train", f"Training400/{stem}.jpg", f"Annotation-Training400/Disc_Cup_Masks/{stem}.bmp")
    for number in range(1, 4):
        add(
            "val",
            f"Validation400/V{number:04}.jpg",
            f"REFUGE-Validation400-GT/Disc_Cup_Masks/V{number:04}.bmp",
        )
        add("test", f"Test400/T{number:04}.jpg", f"REFUGE-Test-GT/Disc_Cup_Masks/T{number:04}.bmp")
    return truth


MEDICAL = tuple(
    Layout(make.__name__, make)
    for make in (
        drive,
        chase,
        stare,
        hrf,
        kvasir,
        clinicdb,
        clinicdb_kaggle,
        isic,
        busi,
        lgg,
        montgomery,
        dsb,
        glas,
        fuseg,
        idrid,
        refuge,
    )
)
