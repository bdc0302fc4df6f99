"""COCO's annotations as people have them: what is found, and a configuration that trains as it is written."""

import json

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
