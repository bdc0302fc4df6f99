"""COCO annotations become the masks that the official tool draws; faults are named."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as official
from pycocotools.coco import COCO

from segfocal.data import CocoData, Split
from segfocal.data.coco.drawing import draw_classes
from segfocal.data.coco.shapes import read_shape
from segfocal.errors import SegfocalError

SIZE = (24, 30)
CATEGORIES = [{"id": 3, "name": "car"}, {"id": 7, "name": "truck"}, {"id": 1, "name": "person"}]


def box(left, top, width, height):
    return [[left, top, left + width, top, left + width, top + height, left, top + height]]


def packed(plane):
    """COCO's compressed run lengths."""
    runs = official.encode(np.asfortranarray(plane.astype(np.uint8)))
    return {"size": list(plane.shape), "counts": runs["counts"].decode()}


def counted(plane):
    """Run lengths as numbers."""
    flat = plane.ravel(order="F").astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *ends, flat.size]).tolist()
    return {"size": list(plane.shape), "counts": [0, *lengths] if flat[0] else lengths}


def disc(row, column, radius):
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def annotation(image, category, segmentation, **keys):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0} | keys


def mixed():
    """Every form of a shape, several in an image, and an image with none."""
    blob = [[3.2, 2.1, 20.7, 4.9, 14.3, 19.5, 4.4, 12.0], [22.0, 15.0, 28.5, 16.0, 25.0, 23.0]]
    return [
        annotation(1, 3, blob),
        annotation(1, 7, packed(disc(10, 12, 5))),
        annotation(1, 1, counted(disc(20, 25, 4))),
        annotation(2, 1, box(-4, -3, 12, 10)),
        annotation(2, 3, counted(disc(12, 20, 8)), iscrowd=1),
    ]


def write(root, annotations, *, count=3, file="instances.json", folder="images", **changes):
    """Write pictures and an annotation file; return the root."""
    rng = np.random.default_rng(0)
    (root / folder).mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(1, count + 1):
        name = f"{number:04d}.png"
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(root / folder / name)
        entries.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
    content = {
        "images": entries,
        "annotations": [{"id": number} | entry for number, entry in enumerate(annotations)],
        "categories": CATEGORIES,
    }
    (root / file).write_text(json.dumps(content | changes))
    return root


def open_data(root, task="multiclass", classes=("person", "car", "truck"), **given):
    arguments = {"split": Split(train=1.0), "patch_size": 8} | given
    arguments |= {"classes": list(classes) if isinstance(classes, tuple) else classes}
    return CocoData(str(root), arguments.pop("annotations", "instances.json"), task, **arguments)


def masks(data, split="train"):
    source = data.source(split)
    return {name: source.mask(index) for index, name in enumerate(source.names)}


def test_every_form_of_a_shape_is_drawn_as_the_official_tool_does(tmp_path, capsys):
    root = write(tmp_path, mixed())
    tool = COCO(str(root / "instances.json"))
    capsys.readouterr()  # it prints
    found = masks(open_data(root, "multilabel", crowd="class"))
    for number, name in enumerate(("0001", "0002", "0003"), start=1):
        planes = np.zeros((3, *SIZE), dtype=np.uint8)
        for entry in tool.imgToAnns[number]:
            planes[{1: 0, 3: 1, 7: 2}[entry["category_id"]]] |= tool.annToMask(entry)
        np.testing.assert_array_equal(found[name], planes)
    assert [found[name].any() for name in found] == [True, True, False]


@settings(deadline=None, max_examples=150)
@given(
    arrays(
        np.bool_,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.booleans(),
        fill=st.booleans(),
    )
)
def test_both_kinds_of_run_lengths_give_the_plane_that_was_packed(plane):
    for entry in ({"segmentation": packed(plane)}, {"segmentation": counted(plane)}):
        shape = read_shape(entry, (0,), size_px=plane.shape, where="here")
        np.testing.assert_array_equal(draw_classes([shape], size_px=plane.shape), plane)


def test_long_runs_are_unpacked():
    plane = np.zeros((3000, 2000), dtype=bool)
    plane[5:2900, 7] = plane[1, 1990] = True
    shape = read_shape({"segmentation": packed(plane)}, (0,), size_px=plane.shape, where="here")
    np.testing.assert_array_equal(draw_classes([shape], size_px=plane.shape), plane)


def test_binary_takes_all_categories_or_those_that_are_named(tmp_path):
    root = write(tmp_path, [annotation(1, 3, box(2, 2, 4, 4)), annotation(1, 1, box(10, 10, 5, 5))])
    every = open_data(root, "binary", None)
    assert every.class_names == ["foreground"]
    assert masks(every)["0001"].sum() == 16 + 25
    assert masks(open_data(root, "binary", ("car", "truck")))["0001"].sum() == 16
    assert open_data(root, "binary", ("car", "truck")).class_names == ["foreground"]
    assert open_data(root, "binary", {"wheels": ["car", "truck"]}).class_names == ["wheels"]
    assert open_data(root, "binary", ("car",)).class_names == ["car"]


def test_several_categories_make_one_class(tmp_path):
    root = write(
        tmp_path, [annotation(1, number, box(left, 2, 4, 4)) for number, left in ((3, 2), (7, 9), (1, 16))]
    )
    data = open_data(root, classes={"vehicle": ["truck", "car"], "person": ["person"]})
    assert data.class_names == ["background", "vehicle", "person"]
    assert masks(data)["0001"][3, [3, 10, 17, 25]].tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize(
    ("overlap", "labels"),
    [("smaller", [1, 2, 2, 1, 3, 3]), ("later", [1, 2, 1, 1, 1, 3]), ("ignore", [1, 255, 255, 1, 255, 3])],
)
def test_the_rule_of_overlaps_decides(overlap, labels, tmp_path):
    """Along one row: a large car (1), a truck (2) under and one on it, a person (3) reaching out of it."""
    shapes = [
        annotation(1, 7, box(8, 5, 2, 2)),
        annotation(1, 1, box(12, 3, 8, 6)),
        annotation(1, 3, box(2, 1, 14, 12)),
        annotation(1, 3, box(2, 1, 14, 12)),  # one class twice is no overlap
        annotation(1, 7, box(4, 5, 2, 2)),
    ]
    root = write(tmp_path, shapes)
    row = masks(open_data(root, classes=("car", "truck", "person"), overlap=overlap))["0001"][5]
    assert row[[3, 4, 9, 11, 13, 18]].tolist() == labels


def test_crowds_are_ignored_where_nothing_else_is(tmp_path):
    shapes = [annotation(1, 3, box(2, 2, 10, 10)), annotation(1, 3, box(6, 2, 20, 10), iscrowd=1)]
    root = write(tmp_path, [*shapes, annotation(1, 1, box(0, 20, 3, 3), iscrowd=1)])
    for task, where in (("multiclass", ...), ("multilabel", 0)):
        row = masks(open_data(root, task, ("car", "truck")))["0001"][where][5]
        assert row[[0, 3, 8, 20]].tolist() == [0, 1, 1, 255]
    kept = masks(open_data(root, classes=("car",), crowd="class"))["0001"]
    assert kept[5, [0, 3, 8, 20]].tolist() == [0, 1, 1, 1]
    assert not kept[20:].any()  # a crowd of another category is background
    with pytest.raises(SegfocalError, match="need an ignore_index"):
        open_data(root, ignore_index=None)
    assert open_data(root, ignore_index=None, crowd="class").ignore_index is None


def test_images_without_shapes_stay_unless_they_are_dropped(tmp_path):
    root = write(tmp_path, [annotation(1, 3, box(2, 2, 4, 4)), annotation(2, 1, box(2, 2, 4, 4))])
    assert open_data(root, "binary", ("car",)).source("train").names == ["0001", "0002", "0003"]
    assert open_data(root, "binary", ("car",), drop_empty=True).source("train").names == ["0001"]


def test_a_file_per_split_and_a_share_of_train(tmp_path):
    write(tmp_path, mixed(), count=6, file="train.json", folder="train2017")
    write(tmp_path, mixed(), file="test.json", folder="val2017")
    data = open_data(
        tmp_path,
        annotations={"train": "train.json", "test": "test.json"},
        images={"train": "train2017", "test": "val2017"},
        split=Split(train=0.67, val=0.33, group=r"(\w+/\d+)"),
    )
    names = {split: data.source(split).names for split in ("train", "val", "test")}
    assert [len(found) for found in names.values()] == [4, 2, 3]
    assert names["test"] == ["val2017/0001", "val2017/0002", "val2017/0003"]
    assert data.source("val").groups == names["val"]


def test_one_image_in_two_files_is_refused(tmp_path):
    write(tmp_path, mixed(), file="train.json")
    write(tmp_path, mixed(), file="val.json")
    data = open_data(tmp_path, annotations={"train": "train.json", "val": "val.json"}, split=None)
    with pytest.raises(SegfocalError, match="is in train and in val"):
        data.source("train")


def test_training_samples_and_fingerprint(tmp_path):
    root = write(tmp_path, mixed())
    data = open_data(root)
    data.setup("fit")
    sample = data.wholes("train", with_mask=True)[0]
    assert sample["image"].shape == (3, *SIZE)
    assert sample["mask"].shape == SIZE
    assert data.class_counts().sum() == 3 * SIZE[0] * SIZE[1] - (masks(data)["0002"] == 255).sum()
    before = data.fingerprint()["sha256"]
    assert open_data(root).fingerprint()["sha256"] == before
    assert open_data(root, overlap="later").fingerprint()["sha256"] != before
    shapes = mixed()
    shapes[0]["segmentation"][0][0] += 1
    assert open_data(write(tmp_path, shapes)).fingerprint()["sha256"] != before


def one(**keys):
    return [annotation(1, 3, box(2, 2, 4, 4)) | keys]


RUNS = SIZE[0] * SIZE[1]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (
            one(segmentation=[[1, 2, 8, 9]]),
            r"annotation 0: a polygon needs at least three points.*got 4 numbers",
        ),
        (one(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "got 7 numbers"),
        (one(segmentation=[1, 2, 3, 4, 5, 6]), "must be a list of polygons"),
        (one(segmentation=[[1, 2, 3, 4, 5, "x"]]), "must hold finite numbers"),
        (one(segmentation=[]), "has an empty segmentation"),
        (one(segmentation=None), "must have a segmentation"),
        (
            one(segmentation={"size": [30, 24], "counts": [720]}),
            r"size must be that of its image, \[24, 30\]",
        ),
        (
            one(segmentation={"size": [24, 30], "counts": [700]}),
            "sum to the 720 pixels of the image, got .*700",
        ),
        (one(segmentation={"size": [24, 30], "counts": [730, -10]}), "got lengths that sum to 720"),
        (one(segmentation={"size": [24, 30], "counts": "0000"}), "got lengths that sum to 0"),
        (one(segmentation={"size": [24, 30], "counts": "PPYo0"}), "counts must be run lengths"),
        (one(segmentation={"size": [24, 30], "counts": "~~\n"}), "counts must be run lengths"),
        (one(segmentation={"size": [24, 30], "counts": ""}), "counts must be run lengths"),
        (one(segmentation={"size": [24, 30], "counts": "o" * 30}), "counts must be run lengths"),
        *(
            (one(segmentation=polygon), "must hold finite numbers")
            for polygon in (
                [[float("nan")] * 6],
                [[float("inf"), 0, 1, 1, 2, 2]],
                [[True] * 6],
                [["1"] * 6],
                [[[1, 2], [3, 4], [5, 6], [7, 8], [9, 9], [1, 1]]],
                [[10**400, 0, 1, 1, 2, 2]],
                [[1e308, 0, 1, 1, 2, 2]],
            )
        ),
        *(
            (one(segmentation=[polygon]), r"must lie in its image of 30 x 24 px")
            for polygon in ([1e9, 1e9, 0, 1e9, 0, 0], [-1e9, 0, 1, 1, 2, 2], [0, 0, 61, 0, 3, 3])
        ),
        (one(segmentation=[[0, 0, 29, 23] * 100_000]), "edges of a polygon are .* px long, expected 10800"),
        *(
            (one(segmentation={"size": [24, 30], "counts": counts}), "counts must be run lengths")
            for counts in (
                [2**63],
                [2**62] * 4 + [RUNS],
                [True, RUNS - 1],
                [720.0],
                "zz\u00ff",
                None,
                [[720]],
            )
        ),
        (one(iscrowd="yes"), "iscrowd must be 0 or 1, got 'yes'"),
        (one(iscrowd=float("nan")), "iscrowd must be 0 or 1, got nan"),
        (one(image_id="1"), "belongs to image '1', which is not in images"),
        (one(image_id=[1]), r"must have a image_id, a number or a string, got \[1\]"),
        (one(category_id=None), "must have a category_id, a number or a string, got None"),
        (one(category_id=9), "has category 9, which is not in categories"),
        (one(id=4) + one(id=4), "the id 4 belongs to two entries of kind annotation"),
        (one(id=None), "annotation 0 .from 0. must have an id, got None"),
    ],
)
def test_faulty_annotations_are_named(annotations, message, tmp_path):
    data = open_data(write(tmp_path, annotations))
    with pytest.raises(SegfocalError, match=message) as caught:
        data.source("train")
    assert str(tmp_path / "instances.json") in str(caught.value)


def entry(**keys):
    return {"id": 1, "file_name": "0001.png", "height": SIZE[0], "width": SIZE[1]} | keys


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [entry(), entry()]}, "the id 1 belongs to two entries of kind image"),
        ({"images": [entry(), entry(id=2)]}, "lists the file .*0001.png twice"),
        ({"images": [entry(file_name="no.png")]}, "1 of 1 images are not there: .*no.png"),
        ({"images": [entry(file_name=None)]}, "image 1 must have a file_name"),
        ({"images": [entry(height=None)]}, "must have height and width in px, got .None, 30."),
        *(
            ({"images": [entry(height=height)]}, "must have height and width in px")
            for height in ("24", True, -5, 0, 1e9, 24.5, float("nan"), float("inf"), [24], 10**30)
        ),
        *(
            ({"images": [entry(), entry(id=2, file_name=name)]}, "1 of 2 images are not there")
            for name in ("x" * 100_000, "a\0b", "\ud800.png", "../../none.png")
        ),
        ({"categories": [{"id": [1], "name": "car"}]}, r"category 0 .* must have an id, got \[1\]"),
        ({"images": [entry(id=[1])]}, r"image 0 .* must have an id, got \[1\]"),
        ({"images": []}, "lists no image"),
        ({"categories": [*CATEGORIES, {"id": 3, "name": "bus"}]}, "the id 3 belongs to two .* category"),
        ({"categories": None}, "'categories' is missing or none"),
    ],
)
def test_faulty_files_are_named(changes, message, tmp_path):
    data = open_data(write(tmp_path, [] if "images" in changes else mixed(), **changes))
    with pytest.raises(SegfocalError, match=message):
        data.source("train")


def test_broken_json_and_missing_files_are_named(tmp_path):
    with pytest.raises(SegfocalError, match="there is no annotation file"):
        open_data(tmp_path).source("train")
    (tmp_path / "instances.json").write_text('{"images": [')
    with pytest.raises(SegfocalError, match="is no JSON"):
        open_data(tmp_path).source("train")
    (tmp_path / "instances.json").write_text("[]")
    with pytest.raises(SegfocalError, match="must hold images, annotations and categories"):
        open_data(tmp_path).source("train")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"images": ' + "9" * 5000 + "}", "\xff\xfe", "nul"])
def test_what_is_no_json_is_named_in_one_line(text, tmp_path):
    (tmp_path / "instances.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SegfocalError, match=r"instances\.json is no JSON that can be read") as caught:
        open_data(tmp_path).source("train")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_file_names_may_be_absolute_have_backslashes_and_sizes_a_fraction(tmp_path):
    root = write(tmp_path, mixed())
    expected = masks(open_data(root))
    content = json.loads((root / "instances.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    folder = next(path.parent for path in root.rglob(names[0]))
    content["images"][0] |= {"file_name": str(folder / names[0]), "height": float(SIZE[0])}
    (folder / "inner").mkdir()
    (folder / names[1]).rename(folder / "inner" / names[1])
    content["images"][1]["file_name"] = f"inner\\{names[1]}"
    (root / "instances.json").write_text(json.dumps(content))
    found = {name.rpartition("/")[2]: mask for name, mask in masks(open_data(root)).items()}
    assert found.keys() == expected.keys()
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, expected[name])


def test_an_unknown_category_has_a_nearest_name(tmp_path):
    data = open_data(write(tmp_path, mixed()), classes=("cars",))
    with pytest.raises(SegfocalError, match=r"has no category 'cars'\. Did you mean 'car'"):
        data.source("train")


def test_an_image_of_another_size_is_named(tmp_path):
    root = write(tmp_path, mixed())
    Image.new("RGB", (SIZE[0], SIZE[1])).save(root / "images" / "0001.png")
    with pytest.raises(SegfocalError, match=r"0001.png: .* for \(24, 30\) px .* has \(30, 24\).*EXIF"):
        masks(open_data(root))
    Image.new("RGB", (9, 9)).save(root / "images" / "0001.png")
    with pytest.raises(SegfocalError, match=r"the file has \(9, 9\)\.$"):
        masks(open_data(root))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"split": None}, "one file of annotations needs split"),
        ({"images": {"train": "a"}}, "one folder of images"),
        ({"annotations": {"training": "a"}}, "annotations must be one of .*Did you mean 'train'"),
        (
            {"annotations": {"train": "a"}, "images": {"val": "b"}},
            "images must have the splits of annotations",
        ),
        ({"classes": None}, "classes must name categories"),
        ({"classes": {"a": []}}, "classes must name categories"),
        ({"classes": {"a": ["car"], "b": ["car"]}}, "'car' belongs to two classes"),
        ({"overlap": "small"}, "overlap must be one of .*Did you mean 'smaller'"),
        ({"crowd": "drop"}, "crowd must be one of"),
    ],
)
def test_settings_that_contradict_are_named(given, message, tmp_path):
    with pytest.raises(SegfocalError, match=message):
        open_data(tmp_path, **given)


def test_without_pycocotools_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(SegfocalError, match=r"pip install 'segfocal\[coco\]'"):
        masks(open_data(write(tmp_path, mixed())))
