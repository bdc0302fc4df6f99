"""Published data sets of volumes."""

import json

import numpy as np
from dicom_files import write_series
from volume_files import save

from layouts.layout import DRAWN, Layout, Truth, seed_of, text

SIZE = (16, 18, 12)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def volume(path, *, size=SIZE, values=(0, 1)):
    """Noise, others for each name, brighter in a slab for each value."""
    rng = np.random.default_rng(seed_of(path.name))
    save((rng.normal(100, 5, size) + 30 * slabs(size, range(len(values)))).astype(np.float32), path, AFFINE)


def slabs(size=SIZE, values=(0, 1)):
    """A label map with a slab of each value in the middle."""
    plane = np.full(size, next(iter(values)), np.uint8)
    for number, value in enumerate(list(values)[1:]):
        plane[4:10, 2 + 4 * number : 6 + 4 * number, 4:8] = value
    return plane


def labels(path, *, values=(0, 1), size=SIZE):
    save(slabs(size, values), path, AFFINE)


def hidden(root, *places):
    """What Finder leaves beside each file on other disks."""
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")


def decathlon(root):
    truth = Truth(task="multiclass", class_names=("background", "edema", "tumour"), predict="imagesTs")
    entries = []
    for number in range(5):
        name = f"BRATS_{number:03}.nii.gz"
        volume(root / "imagesTr" / name)
        labels(root / "labelsTr" / name, values=(0, 1, 2))
        hidden(root, f"imagesTr/{name}", f"labelsTr/{name}")
        truth.pair(DRAWN, f"imagesTr/{name}", f"labelsTr/{name}")
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    volume(root / "imagesTs/BRATS_100.nii.gz")
    truth.leave("no label map", "imagesTs/BRATS_100.nii.gz")
    content = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "edema", "2": "tumour"},
        "training": entries,
        "test": ["./imagesTs/BRATS_100.nii.gz"],
    }
    text(root / "dataset.json", json.dumps(content))
    truth.leave("read", "dataset.json")
    return truth


def nnunet_v1(root):
    """Numbered channels, names in dataset.json without numbers, labels of the test images."""
    truth = Truth(class_names=("tumour",), predict="imagesTs")
    entries = []
    for part, names in (("Tr", ("a_1", "a_2", "b_1", "c_1")), ("Ts", ("d_1", "e_1"))):
        for name in names:
            files = tuple(f"images{part}/{name}_{channel:04}.nii.gz" for channel in range(2))
            for file in files:
                volume(root / file)
            labels(root / f"labels{part}/{name}.nii.gz")
            truth.pair({"Tr": "train", "Ts": "test"}[part], files[0], f"labels{part}/{name}.nii.gz")
            truth.channels[files[0]] = files
            if part == "Tr":
                entries.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    modality, names = {"0": "T1", "1": "T2"}, {"0": "background", "1": "tumour"}
    content = {"modality": modality, "labels": names, "numTraining": 4, "training": entries}
    text(root / "dataset.json", json.dumps(content))
    truth.leave("read", "dataset.json")
    return truth


def nnunet_v2(root):
    truth = Truth(class_names=("tumour",), predict="imagesTs")
    for number in range(5):
        volume(root / f"imagesTr/t_{number:03}_0000.nii.gz")
        labels(root / f"labelsTr/t_{number:03}.nii.gz")
        hidden(root, f"labelsTr/t_{number:03}.nii.gz")
        truth.pair(DRAWN, f"imagesTr/t_{number:03}_0000.nii.gz", f"labelsTr/t_{number:03}.nii.gz")
    volume(root / "imagesTs/t_009_0000.nii.gz")
    truth.leave("no label map", "imagesTs/t_009_0000.nii.gz")
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    text(root / "dataset.json", json.dumps(content))
    truth.leave("read", "dataset.json")
    return truth


def nnunet_mapped(root):
    """The key "dataset" of v2: files of any name, and a byte order mark before the JSON."""
    truth = Truth(class_names=("tumour",))
    dataset = {}
    for number in range(5):
        image, mask = f"raw/p{number}/scan.nii.gz", f"raw/p{number}/drawn.nii.gz"
        volume(root / image)
        labels(root / mask)
        dataset[f"case_{number}"] = {"images": [image], "label": mask}
        truth.pair(DRAWN, image, mask)
    content = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "tumour": 1},
        "file_ending": ".nii.gz",
        "dataset": dataset,
    }
    text(root / "dataset.json", "\ufeff" + json.dumps(content))
    truth.leave("read", "dataset.json")
    return truth


def nnunet_without_json(root):
    """Two frames of most patients; a number of four digits that is the case's beside one of the channel."""
    truth = Truth(groups={}, predict="imagesTs")
    for number in range(6):
        name = f"patient{number // 2:03}_frame{1 + 11 * (number % 2):02}"
        files = tuple(f"imagesTr/{name}_{channel:04}.nii.gz" for channel in range(2))
        for file in files:
            volume(root / file)
        labels(root / f"labelsTr/{name}.nii.gz")
        truth.pair(DRAWN, files[0], f"labelsTr/{name}.nii.gz")
        truth.channels[files[0]], truth.groups[files[0]] = files, str(number // 2)
    for channel in range(2):
        volume(root / f"imagesTs/patient009_frame01_{channel:04}.nii.gz")
        truth.leave("no label map", f"imagesTs/patient009_frame01_{channel:04}.nii.gz")
    return truth


def brats(root, folder, names, *, ending=".nii", odd=False):
    """A folder per patient, a file per modality; modalities in alphabetical order are the channels."""
    truth = Truth(task="multiclass", class_names=("background", "necrotic core", "edema", "enhancing tumour"))
    for name in names:
        files = {part: f"{folder}{name}/{name}_{part}{ending}" for part in ("flair", "t1", "t1ce", "t2")}
        mask = f"{folder}{name}/{name}_seg{ending}"
        if odd and name == names[-1]:  # as one case of 2020 is published
            mask = f"{folder}{name}/W39_1998.09.19_Segm{ending}"
        for file in files.values():
            volume(root / file, values=(0, 1, 2, 4))
        labels(root / mask, values=(0, 1, 2, 4))
        truth.pair(DRAWN, files["flair"], mask)
        truth.channels[files["flair"]] = tuple(files.values())
    return truth


def brats_2020(root):
    inner = "BraTS2020_TrainingData/MICCAI_BraTS2020_TrainingData/"
    truth = brats(root, inner, [f"BraTS20_Training_{n:03}" for n in range(1, 6)], odd=True)
    text(root / inner / "name_mapping.csv")
    truth.leave("no volume", inner + "name_mapping.csv")
    place = "BraTS2020_ValidationData/MICCAI_BraTS2020_ValidationData/BraTS20_Validation_001"
    for part in ("flair", "t1", "t1ce", "t2"):
        volume(root / f"{place}/BraTS20_Validation_001_{part}.nii", values=(0, 1, 2, 4))
        truth.leave("no label map", f"{place}/BraTS20_Validation_001_{part}.nii")
    truth.predict = "BraTS2020_ValidationData"
    return truth


def brats_2021(root):
    names = [f"BraTS2021_{number:05}" for number in (0, 2, 3, 5, 6)]
    truth = brats(root, "", names, ending=".nii.gz")
    truth.predict = names[0]
    return truth


def deepmedic_lists(root):
    """Lists say which file is which; lines of one number belong together."""
    truth = Truth(channels={})
    lists = {}
    for part, names in (("train", ("p1", "p2", "p3", "p4")), ("validation", ("p5", "p6"))):
        for name in names:
            files = tuple(f"images/{name}/{kind}.nii.gz" for kind in ("Flair_sub", "T1c_sub"))
            mask, brain = f"images/{name}/OTMultiClass.nii.gz", f"images/{name}/brainmask.nii.gz"
            for file in files:
                volume(root / file)
            labels(root / mask)
            save(np.ones(SIZE, np.uint8), root / brain, AFFINE)
            roles = (*zip(("Channels_flair", "Channels_t1c"), files, strict=True), ("GtLabels", mask))
            for role, file in (*roles, ("RoiMasks", brain)):
                lists.setdefault(f"configFiles/{part}/{part}{role}.cfg", []).append(f"../../{file}")
            truth.pair({"train": "train"}.get(part, "val"), files[0], mask)
            truth.channels[files[0]] = files
            truth.leave("where to look", brain)
    for file, lines in lists.items():
        text(root / file, "".join(f"{line}\n" for line in lines))
        truth.leave("no volume", file)
    return truth


def deepmedic_folders(root):
    """The same files without lists: no name says which is the label map, its values do."""
    truth = Truth(predict="p1")
    for number in range(1, 6):
        files = tuple(f"p{number}/{kind}.nii.gz" for kind in ("Flair_subtracted", "T1c_subtracted"))
        for file in files:
            volume(root / file)
        labels(root / f"p{number}/OTMultiClass.nii.gz")
        labels(root / f"p{number}/brainmask.nii.gz")
        truth.pair(DRAWN, files[0], f"p{number}/OTMultiClass.nii.gz")
        truth.channels[files[0]] = files
        truth.leave("where to look", f"p{number}/brainmask.nii.gz")
    return truth


def acdc(root):
    """Two frames of each patient have label maps; the cine they are taken from has four axes."""
    names = ("background", "right ventricle", "myocardium", "left ventricle")
    truth = Truth(task="multiclass", class_names=names, groups={})
    for folder, numbers in (("training", range(1, 5)), ("testing", range(101, 103))):
        for number in numbers:
            place = f"{folder}/patient{number:03}"
            text(root / place / "Info.cfg", "ED: 1\n")
            cine = f"{place}/patient{number:03}_4d.nii.gz"
            save(np.zeros((*SIZE, 3), np.float32), root / cine, AFFINE)
            truth.leave("no volume", f"{place}/Info.cfg")
            truth.leave("4 axes", cine)
            for frame in (1, 9 + number % 5):
                stem = f"{place}/patient{number:03}_frame{frame:02}"
                volume(root / f"{stem}.nii.gz", values=(0, 1, 2, 3))
                labels(root / f"{stem}_gt.nii.gz", values=(0, 1, 2, 3))
                truth.pair({"training": "train"}.get(folder, "test"), f"{stem}.nii.gz", f"{stem}_gt.nii.gz")
                truth.groups[f"{stem}.nii.gz"] = str(number)
    return truth


def lits(root):
    truth = Truth(task="multiclass", class_names=("background", "liver", "tumour"))
    for number in range(6):
        image, mask = (
            f"Training Batch {1 + number // 4}/{part}-{number}.nii" for part in ("volume", "segmentation")
        )
        volume(root / image, values=(0, 1, 2))
        labels(root / mask, values=(0, 1, 2))
        truth.pair(DRAWN, image, mask)
    return truth


def lits_kaggle(root):
    """The same names, with the label maps in a folder of their own."""
    truth = Truth(task="multiclass", class_names=("background", "liver", "tumour"))
    for number in range(6):
        image, mask = (
            f"volume_pt{1 + number // 3}/volume-{number}.nii",
            f"segmentations/segmentation-{number}.nii",
        )
        volume(root / image, values=(0, 1, 2))
        labels(root / mask, values=(0, 1, 2))
        truth.pair(DRAWN, image, mask)
    return truth


def kits(root):
    truth = Truth(task="multiclass", class_names=("background", "kidney", "tumour"))
    text(root / "kits.json", "[]")
    truth.leave("no volume", "kits.json")
    for number in range(5):
        place = f"case_{number:05}"
        volume(root / place / "imaging.nii.gz", values=(0, 1, 2))
        labels(root / place / "segmentation.nii.gz", values=(0, 1, 2))
        truth.pair(DRAWN, f"{place}/imaging.nii.gz", f"{place}/segmentation.nii.gz")
    volume(root / "case_00210/imaging.nii.gz")
    truth.leave("no label map", "case_00210/imaging.nii.gz")
    return truth


def kits_2021(root):
    """Label maps of three rules to join annotators: which is meant is asked for."""
    truth = Truth(class_names=("kidney",), choose=("--masks", "*MAJ*"))
    for number in range(5):
        place = f"case_{number:05}"
        volume(root / place / "imaging.nii.gz")
        for rule in ("AND", "MAJ", "OR"):
            labels(root / place / f"aggregated_{rule}_seg.nii.gz")
        truth.pair(DRAWN, f"{place}/imaging.nii.gz", f"{place}/aggregated_MAJ_seg.nii.gz")
        truth.leave("--masks", *(f"{place}/aggregated_{rule}_seg.nii.gz" for rule in ("AND", "OR")))
    return truth


def dicom_patients(root):
    """A folder per patient: a DICOM series in a folder, the label map as NIfTI beside it."""
    truth = Truth()
    for number in range(5):
        place = root / f"patient{number}"
        rng = np.random.default_rng(number)
        write_series(100 * slabs() + rng.integers(0, 9, SIZE), place / "CT", AFFINE)
        labels(place / "tumour_mask.nii.gz")
        truth.pair(DRAWN, f"patient{number}/CT", f"patient{number}/tumour_mask.nii.gz")
    return truth


def siblings(root):
    """Two folders of equal names, neither of which says what it holds."""
    truth = Truth()
    for number in range(5):
        volume(root / f"before/kid{number}.nii.gz")
        labels(root / f"after/kid{number}.nii.gz")
        truth.pair(DRAWN, f"before/kid{number}.nii.gz", f"after/kid{number}.nii.gz")
    return truth


def btcv(root):
    """Numbers glued to img and label; splits are folders."""
    truth = Truth(task="multiclass", class_names=("background", *(f"label {n}" for n in (1, 3))))
    for folder, numbers in (("Training", range(1, 5)), ("Testing", range(61, 63))):
        for number in numbers:
            image, mask = f"{folder}/img/img{number:04}.nii.gz", f"{folder}/label/label{number:04}.nii.gz"
            volume(root / image, values=(0, 1, 3))
            labels(root / mask, values=(0, 1, 3))
            truth.pair({"Training": "train"}.get(folder, "test"), image, mask)
    return truth


def modality_folders(root):
    truth = Truth()
    for number in range(5):
        files = tuple(f"{part}/sub{number}.nii" for part in ("flair", "t1"))
        for file in files:
            volume(root / file)
        labels(root / f"masks/sub{number}.nii")
        truth.pair(DRAWN, files[0], f"masks/sub{number}.nii")
        truth.channels[files[0]] = files
    volume(root / "flair/sub9.nii")
    truth.leave("no label map", "flair/sub9.nii")
    return truth


def bids(root):
    """Two sessions of a subject are one group; label maps lie below derivatives."""
    truth = Truth(groups={})
    for subject in range(1, 5):
        for session in (1, 2):
            place, name = f"sub-{subject:02}/ses-{session:02}/anat", f"sub-{subject:02}_ses-{session:02}"
            image, mask = (
                f"{place}/{name}_FLAIR.nii.gz",
                f"derivatives/labels/{place}/{name}_lesion_seg.nii.gz",
            )
            volume(root / image)
            labels(root / mask)
            text(root / image.replace(".nii.gz", ".json"), "{}")
            truth.leave("no volume", image.replace(".nii.gz", ".json"))
            truth.pair(DRAWN, image, mask)
            truth.groups[image] = str(subject)
    return truth


VOLUMES = tuple(
    Layout(make.__name__, make, kind="volumes")
    for make in (
        decathlon,
        nnunet_v1,
        nnunet_v2,
        nnunet_mapped,
        nnunet_without_json,
        brats_2020,
        brats_2021,
        deepmedic_lists,
        deepmedic_folders,
        acdc,
        lits,
        lits_kaggle,
        kits,
        kits_2021,
        dicom_patients,
        siblings,
        btcv,
        modality_folders,
        bids,
    )
)
