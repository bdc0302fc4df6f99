"""COCO's annotations as people have them: what is found, and a configuration that trains as it is written."""

import json
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main
from segfocal.data.fingerprint.coco import find_coco

SIZE = (40, 48)


def write(root, file, folder, count, *, first=0, categories=("car", "truck")):
    """Images with a box of each category, a truck in every second image."""
    images, annotations = [], []
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / folder / f"{number:03}.png")
        images.append({"id": number, "file_name": f"{number:03}.png", "height": SIZE[0], "width": SIZE[1]})
        for label in range(1 + (number % 2 and len(categories) > 1)):
            left, top = 4 + 20 * label, 5
            corners = [left, top, left + 10, top, left + 10, top + 8, left, top + 8]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": label, "segmentation": [corners]}
            )
    names = [{"id": label, "name": name} for label, name in enumerate(categories)]
    content = {"images": images, "annotations": annotations, "categories": names}
    (root / file).write_text(json.dumps(content))


def trains(root, tmp_path, capsys):
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(root), "--out", str(out), "--processes", "1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    words = ["fit", "--config", str(out), "--run", str(tmp_path / "run"), "--trainer.max_steps", "2"]
    assert main([*words, "--trainer.accelerator", "cpu", "--data.init_args.patches_per_epoch", "32"]) == 0
    return text, yaml.safe_load(out.read_text())["data"]["init_args"]


def test_files_of_splits_are_told_by_their_names(tmp_path, capsys):
    root = tmp_path / "set"
    write(root, "annotations/instances_train.json", "train2017", 6)
    write(root, "annotations/instances_val.json", "val2017", 4, first=10)
    (root / "annotations/captions_val.json").write_text(json.dumps({"images": [], "annotations": []}))
    text, settings = trains(root, tmp_path, capsys)
    assert "multilabel: the annotations hold 2 categories; shapes may overlap" in text
    # 10 x 8 of 40 x 48 px in every image, and in every second one
    assert "car │ 4.17 % │ 10" in text
    assert "truck │ 2.08 % │ 5" in text
    assert settings["images"] == {"train": "train2017", "val": "val2017"}
    assert settings["classes"] == ["car", "truck"]


def test_one_file_is_divided_and_one_category_is_binary(tmp_path, capsys):
    root = tmp_path / "set"
    write(root, "all.json", "images", 9, categories=("leaf",))
    text, settings = trains(root, tmp_path, capsys)
    assert "binary: the annotations hold 1 categories" in text
    assert (settings["annotations"], settings["images"], settings["task"]) == ("all.json", "images", "binary")
    assert settings["split"] == {"train": 0.7, "val": 0.15, "test": 0.15}


@pytest.mark.parametrize("case", ["no images", "no shapes", "other json"])
def test_other_files_are_no_annotations(tmp_path, case):
    write(tmp_path, "all.json", "images", 2)
    content = json.loads((tmp_path / "all.json").read_text())
    if case == "no images":
        (tmp_path / "images/000.png").unlink()
    elif case == "no shapes":
        content["annotations"] = [{"id": 1, "image_id": 0, "caption": "a car"}]
    else:
        content = [1, 2]
    (tmp_path / "all.json").write_text(json.dumps(content))
    assert find_coco(tmp_path) is None


def test_crowds_are_ignored_pixels_not_a_class(tmp_path, capsys):
    write(tmp_path, "instances.json", "images", 4)
    content = json.loads((tmp_path / "instances.json").read_text())
    for annotation in content["annotations"]:
        annotation["iscrowd"] = annotation["category_id"]  # every truck is a crowd
        if annotation["iscrowd"]:
            mask = np.zeros(SIZE, dtype=np.uint8)
            mask[5:13, 24:34] = 1
            runs = np.flatnonzero(np.diff(mask.T.ravel())) + 1
            counts = np.diff([0, *runs, mask.size]).tolist()
            annotation["segmentation"] = {"size": list(SIZE), "counts": counts}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert main(["fingerprint", str(tmp_path), "--processes", "1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "car │ 4.17 % │ 4" in text
    assert "truck │ 0 % │ 0" in text
    assert "ignored │ 160" in text  # two crowds of 10 x 8 px


def test_a_byte_order_mark_before_annotations_changes_nothing(tmp_path, capsys):
    write(tmp_path / "set", "all.json", "images", 9)
    path = tmp_path / "set/all.json"
    plain = find_coco(tmp_path / "set")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert find_coco(tmp_path / "set") == plain
    trains(tmp_path / "set", tmp_path, capsys)


def _drop(root, content):
    (root / "images/003.png").unlink()


def _move(root, content):
    (root / "images").rename(root.parent / "elsewhere")


def _nest(root, content):
    content["images"] = [image | {"file_name": "photos/" + image["file_name"]} for image in content["images"]]


def _boxes(root, content):
    for entry in content["annotations"]:
        entry["bbox"] = [1, 2, 3, 4]
        entry["segmentation"] = []


def _captions(root, content):
    content["annotations"] = [{"id": 1, "image_id": 0, "caption": "a car"}]


def _no_categories(root, content):
    del content["categories"]


DOUBTS = {
    "one image is missing": (_drop, "all.json: 1 of the 6 images that it lists are not in images: 003.png"),
    "images lie elsewhere": (
        _move,
        "all.json: none of the 6 images that it lists is there: 000.png",
    ),
    "another folder in the names": (_nest, "photos/000.png.*; 000.png lies in images: make file_name fit"),
    "boxes": (_boxes, "all.json: its 9 annotations have no segmentation .boxes alone"),
    "captions": (_captions, "its 1 annotations have no segmentation .id, image_id, caption alone"),
    "no categories": (_no_categories, "all.json: has no list of categories"),
}


@pytest.mark.parametrize("kind", DOUBTS)
def test_what_makes_annotations_unusable_is_named(tmp_path, kind, capsys):
    change, message = DOUBTS[kind]
    root = tmp_path / "set"
    write(root, "all.json", "images", 6)
    content = json.loads((root / "all.json").read_text())
    change(root, content)
    (root / "all.json").write_text(json.dumps(content))
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(root), "--out", str(out), "--processes", "1"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not out.exists()


def test_several_annotation_files_are_asked_for_and_chosen(tmp_path, capsys):
    root = tmp_path / "set"
    write(root, "first.json", "images", 6, categories=("leaf",))
    write(root, "second.json", "images", 6, categories=("stem",))
    assert main(["fingerprint", str(root), "--processes", "1"]) == 2
    assert "several annotation files: first.json, second.json" in capsys.readouterr().err
    assert main(["fingerprint", str(root), "--processes", "1", "--masks", "second.json"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "annotations second.json" in page
    assert "not used: first.json: not named by --masks" in page


def test_other_files_of_a_split_are_said_to_be_unused(tmp_path, capsys):
    root = tmp_path / "set"
    write(root, "annotations/instances_train.json", "images", 6)
    write(root, "annotations/person_keypoints_train.json", "images", 6)
    assert main(["fingerprint", str(root), "--processes", "1"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert (
        "not used: annotations/person_keypoints_train.json: annotations/instances_train.json is taken" in page
    )


def _sideways(root, content):
    for image in content["images"]:
        image["height"], image["width"] = SIZE[::-1]


def _one_damaged(root, content):
    (root / "images/002.png").write_bytes((root / "images/002.png").read_bytes()[:300])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _sideways,
            "none of the 6 images can be read: .*000.png is .40, 48. px, its annotations say .48, 40.",
        ),
        (_one_damaged, "1 of 6 images that the annotations list cannot be trained on: .*002.png"),
    ],
)
def test_images_that_no_training_takes_are_refused(tmp_path, change, message, capsys):
    """`fit` reads every image of an annotation file, so that one that cannot be read ends it."""
    root = tmp_path / "set"
    write(root, "all.json", "images", 6)
    content = json.loads((root / "all.json").read_text())
    change(root, content)
    (root / "all.json").write_text(json.dumps(content))
    assert main(["fingerprint", str(root), "--out", str(tmp_path / "x.yaml"), "--processes", "1"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "x.yaml").exists()
