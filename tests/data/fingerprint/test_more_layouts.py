"""Kinds of folders beside the published stand-ins: what lies beside masks, lists, halves, other names."""

import unicodedata

import numpy as np
import pytest
from layouts.layout import SIZE, blob, labels, photo, save, text

from segfocal.__main__ import main
from segfocal.data.fingerprint.folders import read_folder

# image and mask of number n (0 to 7, p its half), and pictures beside them that are neither
BESIDE = {
    "predictions": ("images/{n}.png", "masks/{n}.png", ("predictions/{n}.png", "outputs/{n}.png")),
    "predictions by word": ("{n}.png", "{n}_mask.png", ("{n}_pred.png",)),
    "masks for people": (
        "a/img/IMG {n}.jpg",
        "a/masks_machine/IMG {n}.jpg.png",
        ("a/masks_human/IMG {n}.jpg.png",),
    ),
    "training ids": (
        "images/train2017/{n:012}.jpg",
        "annotations/train2017/{n:012}_labelTrainIds.png",
        ("annotations/train2017/{n:012}.png",),
    ),
    "superpixels": (
        "data/ISIC_{n:07}.jpg",
        "truth/ISIC_{n:07}_segmentation.png",
        ("data/ISIC_{n:07}_superpixels.png",),
    ),
    "number first": ("AllPNGs/2058690{n}_a{n}8591_MG_R_CC_ANON.png", "AllMasks/2058690{n}_mask.png", ()),
    "Spanish": ("Datos/benigno/benigno ({n}).png", "Datos/benigno/benigno ({n})_mascara.png", ()),
    "German": ("Bilder/Gewächs {n}.PNG", "Masken/Gewächs {n}.PNG", ()),
    "French": ("PHOTOS/Coupe_{n}.JPG", "Étiquettes/coupe_{n}.png", ()),
    "Chinese": ("\u539f\u56fe/\u56fe\u50cf{n}.png", "\u6807\u6ce8/\u56fe\u50cf{n}.png", ()),
    "words in one folder": ("all/img_{n}.png", "all/msk_{n}.png", ()),
    "tracks": ("0{p}/t{n:03}.tif", "0{p}_GT/SEG/man_seg{n:03}.tif", ()),
}


def found_in(root, **choices):
    cases = read_folder(root, processes=1, **choices).cases
    return {case.image.place: tuple(m.place for m in case.masks[0]) for case in cases}


def split_in(root):
    return {case.image.place: case.split for case in read_folder(root, processes=1).cases}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_lies_beside_masks_is_left(tmp_path, kind):
    image, mask, others = BESIDE[kind]
    truth = {}
    for number in range(8):
        words = {"n": number, "p": number // 4 + 1}
        photo(tmp_path / image.format(**words))
        for place in (mask, *others):
            save(labels(place.format(**words), [0, 1, 2, 3]), tmp_path / place.format(**words))
        truth[image.format(**words)] = (mask.format(**words),)
    assert found_in(tmp_path) == truth


def test_names_in_two_forms_of_unicode_are_one(tmp_path):
    for number in range(8):
        photo(tmp_path / "images" / unicodedata.normalize("NFC", f"ä{number}.png"))
        name = unicodedata.normalize("NFD", f"ä{number}.png")
        save(blob(name), tmp_path / "masks" / name)
    assert len(found_in(tmp_path)) == 8


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("train/v1.2/labels", "train/v2.0/labels"), ["v1.2", "v2.0"]),
        (("masks_A", "masks_B"), ["masks_A", "masks_B"]),
    ],
    ids=["versions", "observers"],
)
def test_versions_of_masks_are_asked_for(tmp_path, capsys, folders, words):
    images = "train/images" if "train" in folders[0] else "images"
    for number in range(8):
        photo(tmp_path / f"set/{images}/{number}.jpg")
        for folder in folders:
            save(labels(folder + str(number), [0, 1, 2]), tmp_path / f"set/{folder}/{number}.png")
    assert main(["fingerprint", str(tmp_path / "set"), "--out", str(tmp_path / "x.yaml")]) == 2
    error = capsys.readouterr().err
    assert "--masks" in error
    assert all(word in error for word in words)
    assert not (tmp_path / "x.yaml").exists()


def test_bands_beside_those_chosen_are_named(tmp_path, capsys):
    """Potsdam gives each tile as RGB and as IRRG."""
    for number in range(8):
        for folder, word in (("2_Ortho_RGB", "RGB"), ("3_Ortho_IRRG", "IRRG")):
            photo(tmp_path / f"{folder}/top_potsdam_2_{number}_{word}.tif")
        name = f"5_Labels/top_potsdam_2_{number}_label.tif"
        save(labels(name, [0, 1, 2]), tmp_path / name)
    assert main(["fingerprint", str(tmp_path)]) == 0
    assert "2_Ortho_RGB rather than 3_Ortho_IRRG" in " ".join(capsys.readouterr().out.split())
    assert all("RGB" in image for image in found_in(tmp_path))


def test_pieces_by_letter_are_joined(tmp_path):
    """7_a.png, 7_b.png, 7_c.png are pieces of one mask where only some images have more of them."""
    truth = {}
    for number in range(8):
        photo(tmp_path / f"images/s{number}.png")
        own = tuple(f"masks/s{number}_{letter}.png" for letter in "abc"[: number % 3 + 1])
        for place in own:
            save(blob(place), tmp_path / place)
        truth[f"images/s{number}.png"] = own
    assert {image: tuple(sorted(own)) for image, own in found_in(tmp_path).items()} == truth


def test_several_images_of_one_mask_are_refused(tmp_path, capsys):
    """Foggy Cityscapes: densities of fog and one mask; a table can say it, names cannot."""
    for number in range(6):
        mask = f"gtFine/train/ulm/ulm_{number:06}_000019_gtFine_labelTrainIds.png"
        save(labels(mask, [0, 1, 2]), tmp_path / mask)
        for beta in ("0.005", "0.01"):
            name = f"ulm_{number:06}_000019_leftImg8bit_foggy_beta_{beta}.png"
            photo(tmp_path / "leftImg8bit_foggy/train/ulm" / name)
    assert main(["fingerprint", str(tmp_path)]) == 2
    assert "table" in capsys.readouterr().err


def test_halves_of_other_names_are_both_used(tmp_path):
    """Shenzhen's masks end in _mask, Montgomery's beside them have the name of the image."""
    truth = {}
    for number in range(6):
        for image, mask in (
            (f"CXR_png/CHNCXR_{number:04}_0.png", f"masks/CHNCXR_{number:04}_0_mask.png"),
            (f"CXR_png/MCUCXR_{number:04}_0.png", f"masks/MCUCXR_{number:04}_0.png"),
        ):
            photo(tmp_path / image, gray=True)
            save(blob(mask), tmp_path / mask)
            truth[image] = (mask,)
    assert found_in(tmp_path) == truth


def test_fields_of_view_of_several_kinds(tmp_path):
    """HRF as downloaded: three folders of eyes, each with masks and fields of view of its own."""
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    disk = (((rows - 32) ** 2 + (columns - 32) ** 2 < 900) * 255).astype(np.uint8)
    regions = {}
    for kind, short in (("healthy", "h"), ("glaucoma", "g"), ("diabetic_retinopathy", "dr")):
        for number in range(1, 5):
            image, name = f"{kind}/{number:02}_{short}.jpg", f"{kind}_manualsegm/{number:02}_{short}.tif"
            region = f"{kind}_fovmask/{number:02}_{short}_mask.tif"
            photo(tmp_path / image)
            save(blob(name), tmp_path / name)
            save(disk, tmp_path / region)
            regions[image] = region
    look = read_folder(tmp_path, processes=1)
    assert {case.image.place: case.region.place for case in look.cases if case.region} == regions


def test_folders_of_cropped_splits(tmp_path):
    """Crack500: traincrop, valcrop, testcrop, each with images and masks of one name."""
    truth = {}
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for number in range(count):
            place = f"{split}crop/2016_{split}_{number}"
            photo(tmp_path / f"{place}.jpg")
            save(blob(place), tmp_path / f"{place}.png")
            truth[f"{place}.jpg"] = split
    assert split_in(tmp_path) == truth


def pictures(root, names):
    for name in names:
        photo(root / f"images/{name}.jpg")
        save(blob(name), root / f"masks/{name}.png")


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        ({"annotations/trainval.txt": "abcdef", "annotations/test.txt": "gh"}, ("abcdef", "", "gh")),
        ({"valid.txt": "gh"}, ("abcdef", "gh", "")),
        ({"train_list.txt": "abcde", "val_list.txt": "f", "test_list.txt": "gh"}, ("abcde", "f", "gh")),
        ({"lists/ids_train.csv": "abcdef", "lists/ids_test.csv": "gh"}, ("abcdef", "", "gh")),
    ],
    ids=["trainval and test", "valid alone", "words beside", "csv"],
)
def test_lists_of_other_names(tmp_path, files, splits):
    pictures(tmp_path, "abcdefgh")
    for place, names in files.items():
        text(tmp_path / place, "".join(f"{name}\n" for name in names))
    truth = dict(zip(("train", "val", "test"), splits, strict=True))
    found = split_in(tmp_path)
    assert found == {f"images/{name}.jpg": split for split, names in truth.items() for name in names}


def test_lists_of_films(tmp_path):
    """DAVIS names a folder of frames per line."""
    films = {"bear": "train", "bike": "train", "boat": "val"}
    for film in films:
        for number in range(4):
            photo(tmp_path / f"JPEGImages/480p/{film}/{number:05}.jpg")
            mask = f"Annotations/480p/{film}/{number:05}.png"
            save(blob(mask), tmp_path / mask)
    for split in ("train", "val"):
        lines = "".join(f"{film}\n" for film, own in films.items() if own == split)
        text(tmp_path / f"ImageSets/2017/{split}.txt", lines)
    found = split_in(tmp_path)
    assert len(found) == 12
    assert all(split == films[place.split("/")[2]] for place, split in found.items())


def test_lists_that_are_not_used_are_named(tmp_path, capsys):
    pictures(tmp_path, "abcdefgh")
    text(tmp_path / "train.txt", "a\nb\n")
    assert main(["fingerprint", str(tmp_path)]) == 0
    assert "not used for the splits" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("place", "content", "words"),
    [
        ("Annotations/TCGA-{n}.xml", "<Annotations/>", ".xml is not read (5"),
        ("labels/im{n}.ah.ppm.gz", "x", ".gz is not read (5"),
        ("groundTruth/{n}.mat", "x", ".mat is not read (5"),
    ],
    ids=["XML", "packed", "MATLAB"],
)
def test_annotations_that_are_not_read_are_named(tmp_path, capsys, place, content, words):
    for number in range(5):
        photo(tmp_path / f"Tissue Images/TCGA-{number}.tif")
        text(tmp_path / place.format(n=number), content)
    assert main(["fingerprint", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_of_train_and_val_holds_both(tmp_path):
    """LIP: TrainVal_annotations/val_segmentations belongs to val, whatever the folder above says."""
    truth = {}
    for split in ("train", "val"):
        for number in range(6):
            image = f"{split}_images/{number}_{split}.jpg"
            photo(tmp_path / image)
            mask = f"TrainVal_annotations/{split}_segmentations/{number}_{split}.png"
            save(labels(mask, [0, 1, 2]), tmp_path / mask)
            truth[image] = split
    assert split_in(tmp_path) == truth


@pytest.mark.parametrize("name", ["Overlay", "previews", "visualization"])
def test_labels_drawn_over_images_are_no_masks(tmp_path, capsys, name):
    """CoNSeP: the labels are MATLAB files, and pictures of them lie beside."""
    for number in range(6):
        photo(tmp_path / f"Train/Images/train_{number}.png")
        photo(tmp_path / f"Train/{name}/train_{number}.png")
        text(tmp_path / f"Train/Labels/train_{number}.mat")
    assert main(["fingerprint", str(tmp_path)]) == 2
    assert ".mat is not read (6" in capsys.readouterr().err
