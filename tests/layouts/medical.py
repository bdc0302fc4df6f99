"""Published data sets of medical pictures."""

import numpy as np

from layouts.layout import DRAWN, SIZE, Layout, Truth, blob, photo, save, text


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


MEDICAL = (Layout("drive", drive), Layout("chase", chase), Layout("lgg", lgg))
