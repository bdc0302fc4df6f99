"""Volumes as they lie on disk: both layouts, and every kind of bad input named with its file."""

import gzip
import json
import struct

import nibabel
import numpy as np
import pytest
from volume_files import OBLIQUE, change_json, cube_case, save, write_decathlon, write_nnunet

from segfocal.data import NiftiData
from segfocal.data.volumes.layout import read_volume_set
from segfocal.data.volumes.reading import read_labels, read_volume
from segfocal.errors import SegfocalError

SMALL = {"patch_size": 8, "batch_size": 1}


def read_case(root, **settings):
    """Read the first training case the way training does."""
    return NiftiData(str(root), **(SMALL | settings)).cases("train").case(0)


def first_training_name(root):
    return NiftiData(str(root), **SMALL).cases("train").source.names[0]


def test_both_layouts_give_the_same_cases(tmp_path):
    decathlon = NiftiData(str(write_decathlon(tmp_path / "a")), **SMALL)
    nnunet = NiftiData(str(write_nnunet(tmp_path / "b")), **SMALL)
    assert decathlon.class_names == nnunet.class_names == ["background", "anterior", "posterior"]
    assert decathlon.cases("test").source.names == nnunet.cases("test").source.names
    np.testing.assert_array_equal(decathlon.class_counts(), nnunet.class_counts())


def test_class_counts_are_those_of_the_label_files(tmp_path):
    data = NiftiData(str(write_decathlon(tmp_path)), **SMALL)
    files = [case.mask for case in data.cases("train").source.files]
    counted = sum(np.bincount(np.asarray(nibabel.load(f).dataobj).ravel(), minlength=3) for f in files)
    np.testing.assert_array_equal(data.class_counts(), counted)


def test_channels_of_separate_files_are_stacked_in_their_order(tmp_path):
    data = NiftiData(str(write_nnunet(tmp_path, channels=2)), **SMALL)
    assert data.in_channels == 2
    volume = data.cases("train").source.volume(0)
    np.testing.assert_allclose(volume.array[1] - volume.array[0], 1.0, atol=1e-4)


def test_a_fourth_axis_holds_channels_that_are_named(tmp_path):
    root = write_decathlon(tmp_path)
    for index in range(6):
        image, _ = cube_case(index)
        save(np.stack([image, -image], axis=3), root / "imagesTr" / f"case_{index:03d}.nii.gz")
    change_json(root, modality={"0": "T1", "1": "T2"})
    assert read_case(root).image.shape == (2, 16, 18, 14)


def test_regions_overlap_and_ignored_labels_are_ignored(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "posterior": 2}
    data = NiftiData(str(write_nnunet(tmp_path / "a", labels=labels)), **SMALL)
    assert (data.task, data.class_names) == ("multilabel", ["whole", "posterior"])
    mask = data.cases("train").case(0).labels.mask
    assert mask.shape == (2, 16, 18, 14)
    assert (mask[0] >= mask[1]).all()
    ignoring = {"background": 0, "anterior": 1, "ignore": 2}
    data = NiftiData(str(write_nnunet(tmp_path / "b", labels=ignoring)), **SMALL)
    assert set(np.unique(data.cases("train").case(0).labels.mask)) == {0, 1, 255}


def test_binary_takes_every_label_for_the_foreground(tmp_path):
    data = NiftiData(str(write_decathlon(tmp_path)), task="binary", **SMALL)
    assert data.class_names == ["foreground"]
    multiclass = NiftiData(str(tmp_path), **SMALL).class_counts()
    assert data.class_counts().tolist() == [[multiclass[0], multiclass[1:].sum()]]


@pytest.mark.parametrize("key", ["modality", "labels", "training"])
def test_a_key_missing_from_dataset_json_is_named(tmp_path, key):
    root = write_decathlon(tmp_path, count=2)
    change_json(root, **{key: None})
    with pytest.raises(SegfocalError, match=f"dataset.json lacks '{key}'"):
        read_volume_set(root)


def test_damaged_or_absent_dataset_json_is_named(tmp_path):
    with pytest.raises(SegfocalError, match=r"expected .*dataset\.json, found no such file"):
        NiftiData(str(tmp_path))
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(SegfocalError, match=r"dataset\.json is no JSON"):
        NiftiData(str(tmp_path))
    (tmp_path / "dataset.json").write_text(json.dumps([1]))
    with pytest.raises(SegfocalError, match="must hold an object"):
        NiftiData(str(tmp_path))


def test_a_missing_file_is_named(tmp_path):
    root = write_decathlon(tmp_path / "a", count=2)
    (root / "labelsTr" / "case_001.nii.gz").unlink()
    with pytest.raises(SegfocalError, match=r"labelsTr/case_001\.nii\.gz, and there is no such file"):
        read_volume_set(root)
    root = write_nnunet(tmp_path / "b", count=2, channels=2)
    (root / "imagesTr" / "case_000_0001.nii.gz").unlink()
    with pytest.raises(SegfocalError, match=r"case_000_0001\.nii\.gz"):
        read_volume_set(root)


def test_entries_of_training_that_are_no_paths_are_named(tmp_path):
    root = write_decathlon(tmp_path, count=2)
    for entry in ({"image": 3, "label": 4}, {"image": "a.nii.gz"}, "case_000"):
        change_json(root, training=[entry])
        with pytest.raises(SegfocalError, match="every entry of training must name image and label"):
            read_volume_set(root)


def test_other_file_endings_and_wrong_labels_are_refused(tmp_path):
    root = write_nnunet(tmp_path, count=2)
    change_json(root, file_ending=".nrrd")
    with pytest.raises(SegfocalError, match="file_ending must be one of"):
        read_volume_set(root)
    change_json(root, file_ending=".nii.gz", labels={"a": 1, "b": 2})
    with pytest.raises(SegfocalError, match="background with value 0"):
        read_volume_set(root)


def break_first(root, change):
    """Change image and labels of the first training case, and return its name."""
    name = first_training_name(root)
    image, labels = (root / folder / f"{name}.nii.gz" for folder in ("imagesTr", "labelsTr"))
    change(image, labels)
    return name


def skewed():
    affine = np.eye(4)
    affine[0, 1] = 0.2
    return affine


BAD = {
    "another shape": (
        lambda image, labels: save(np.zeros((9, 9, 9), np.uint8), labels),
        r"imagesTr.*labelsTr.* must have the same shape, got \(16, 18, 14\) and \(9, 9, 9\)",
    ),
    "another affine": (
        lambda image, labels: save(cube_case(0)[1], labels, np.diag([1.0, 1, 1.2, 1])),
        "must have the same affine, but their corners lie up to 2.8 mm",
    ),
    "skewed affine": (
        lambda image, labels: save(cube_case(0)[0], image, skewed()),
        "axes of the affine must be at right angles, got a cosine of 0.196",
    ),
    "four axes": (
        lambda image, labels: save(np.zeros((16, 18, 14, 3), np.float32), image),
        r"expected a volume of 3 axes, got shape \(16, 18, 14, 3\)",
    ),
    "unknown label": (
        lambda image, labels: save(np.full((16, 18, 14), 7, np.uint8), labels),
        r"said to be 0, 1, 2, the file holds 7 \(4032 voxels\)",
    ),
    "fractions": (
        lambda image, labels: save(np.full((16, 18, 14), 0.5, np.float32), labels),
        r"labels must be whole numbers, got 4032 voxels such as \[0\.5\]",
    ),
    "NaN": (
        lambda image, labels: save(np.full((16, 18, 14), np.nan, np.float32), image),
        "4032 voxels are NaN or infinite",
    ),
    "cut off": (
        lambda image, labels: image.write_bytes(image.read_bytes()[: image.stat().st_size // 2]),
        "damaged or cut off",
    ),
    "no NIfTI": (lambda image, labels: image.write_bytes(b"nothing"), "cannot be read as NIfTI"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_by_name(tmp_path, kind):
    change, message = BAD[kind]
    root = write_decathlon(tmp_path)
    name = break_first(root, change)
    with pytest.raises(SegfocalError, match=message) as caught:
        read_case(root)
    assert f"{name}.nii.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_float_labels_without_fractions_and_a_fourth_axis_of_one_are_read(tmp_path):
    labels = cube_case(0)[1]
    path = save(labels[..., None].astype(np.float64), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_labels(path, known=[0, 1, 2])[0], labels)


def test_a_rounding_error_in_the_affine_is_no_other_affine(tmp_path):
    root = write_decathlon(tmp_path, affine=OBLIQUE)
    break_first(root, lambda image, labels: save(cube_case(0)[1], labels, OBLIQUE + 1e-4))
    assert read_case(root).image.shape[0] == 1


def test_stored_scaling_is_applied(tmp_path):
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    stored = np.asarray(nibabel.load(tmp_path / "ct.nii.gz").dataobj)
    volume = read_volume([tmp_path / "ct.nii.gz"], channels=1)
    np.testing.assert_array_equal(volume.array[0], stored.astype(np.float32))


def test_splits_by_folder_are_refused_and_folds_repeat(tmp_path):
    from segfocal.data import Split

    root = str(write_decathlon(tmp_path))
    with pytest.raises(SegfocalError, match="by list, number, share or fold"):
        NiftiData(root, split=Split(train="train", test="test"), **SMALL).cases("train")
    seen = []
    for fold in range(5):
        data = NiftiData(root, split=Split(test_folds=5, test_fold=fold), **SMALL)
        held = data.cases("test").source.names
        assert held == NiftiData(root, split=Split(test_folds=5, test_fold=fold)).cases("test").source.names
        assert not set(held) & set(data.cases("train").source.names)
        seen += held
    assert sorted(seen) == [f"case_{index:03d}" for index in range(6)]


def scaled(path, labels, *, dtype, slope=None):
    """Write labels as nibabel does for data that its dtype does not fit, or with a factor of another file."""
    image = nibabel.Nifti1Image(labels if slope else labels.astype(np.float64), np.eye(4))
    image.set_data_dtype(dtype)
    if slope:
        image.header.set_slope_inter(slope, 0)
    nibabel.save(image, path)
    if slope:  # nibabel takes the factor out while it writes
        raw = bytearray(path.read_bytes())
        raw[112:116] = np.float32(slope).tobytes()
        raw[352 : 352 + labels.size] = labels.tobytes(order="F")
        path.write_bytes(bytes(raw))
    return path


@pytest.mark.parametrize("known", [(0, 1, 2, 4), None])
@pytest.mark.parametrize("highest", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_labels_that_were_scaled_while_saving_are_whole_again(tmp_path, dtype, highest, known):
    """The truth is the array that was saved; 8 bits that reach to 2 make .9961 of 1."""
    labels = np.random.default_rng(highest).choice([0, 1, highest], size=(6, 5, 4))
    path = scaled(tmp_path / "a.nii", labels, dtype=dtype)
    values, _, note = read_labels(path, known=known)
    np.testing.assert_array_equal(values, labels)
    stored = np.asarray(nibabel.load(path).dataobj)
    assert bool(note) == bool((stored != labels).any())
    if note and dtype != np.float32:
        assert f"slope {nibabel.load(path).dataobj.slope:.4g}" in note


@pytest.mark.parametrize("known", [(0, 1, 2), None])
@pytest.mark.parametrize("slope", [0.5, 0.1, 2.3])
def test_a_factor_that_makes_fractions_of_labels_is_left_out(tmp_path, slope, known):
    labels = np.random.default_rng(0).integers(0, 3, size=(6, 5, 4)).astype(np.uint8)
    values, _, note = read_labels(
        scaled(tmp_path / "a.nii", labels, dtype=np.uint8, slope=slope), known=known
    )
    np.testing.assert_array_equal(values, labels)
    assert f"slope {slope:.4g}" in note
    assert "left out" in note


def test_fractions_of_resampled_labels_stay_refused(tmp_path):
    near = np.array([0.0, 1.0, 0.9999999, 0.7]).reshape(2, 2, 1)
    with pytest.raises(SegfocalError, match=r"got 1 voxels such as \[0\.[67]"):
        read_labels(save(near.astype(np.float32), tmp_path / "a.nii"), known=[0, 1])


TABLE = "name,image_t1,image_t2,mask,group,split\n"


def write_table(root, rows, head=TABLE):
    write_nnunet(root, count=4, channels=2)
    (root / "t.csv").write_text(head + "".join(f"{row}\n" for row in rows))
    return {"table": "t.csv", "labels": {"background": 0, "front": 1, "back": [2]}, **SMALL}


def row_of(number, group="", split="", name=None):
    stem = f"case_{number:03}"
    files = (f"imagesTr/{stem}_0001.nii.gz", f"imagesTr/{stem}_0000.nii.gz", f"labelsTr/{stem}.nii.gz")
    return ",".join((name or f"n{number}", *files, group, split))


def test_a_table_gives_channels_groups_and_splits(tmp_path):
    parts = ("train", "train", "val", "test")
    settings = write_table(tmp_path, [row_of(n, f"p{n}", part) for n, part in enumerate(parts)])
    data = NiftiData(str(tmp_path), **settings)
    assert data.class_names == ["background", "front", "back"]
    assert (data.in_channels, data.set.channels) == (2, ("t1", "t2"))
    assert data.cases("train").source.groups == ["p0", "p1"]
    assert [len(data.cases(part)) for part in ("train", "val", "test")] == [2, 1, 1]
    volume = data.cases("train").source.volume(0)
    np.testing.assert_allclose(volume.array[0] - volume.array[1], 1.0, atol=1e-4)  # t1 is file 0001
    truth = sum(np.bincount(cube_case(number)[1].ravel(), minlength=3) for number in (0, 1))
    np.testing.assert_array_equal(data.class_counts(), truth)


def test_groups_of_a_table_lie_in_one_split(tmp_path):
    from segfocal.data import Split

    settings = write_table(tmp_path, [row_of(number, f"p{number // 2}") for number in range(4)])
    for fold in range(2):
        data = NiftiData(str(tmp_path), split=Split(test_folds=2, test_fold=fold), **settings)
        assert len(set(data.cases("test").source.groups)) == 1
        assert not set(data.cases("test").source.groups) & set(data.cases("train").source.groups)


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        (lambda: [row_of(0).replace("_0000", "_0009")], TABLE, r"row 2: there is no file .*_0009\.nii\.gz"),
        (lambda: [row_of(0, split="trian")], TABLE, "split of 'n0' must be train, val or test, got 'trian'"),
        (lambda: [row_of(0, name="a"), row_of(1, name="a")], TABLE, "names of their own, got a twice"),
        (lambda: [row_of(0).replace("labelsTr/case_000.nii.gz", "")], TABLE, "the column mask is empty"),
        (lambda: ["a,b"], "image,label\n", r"must have the columns image .* and mask, got image, label"),
    ],
    ids=["file", "split", "twice", "empty", "columns"],
)
def test_wrong_tables_of_volumes_are_named(tmp_path, rows, head, message):
    settings = write_table(tmp_path, rows(), head)
    with pytest.raises(SegfocalError, match=message):
        NiftiData(str(tmp_path), **settings)
    with pytest.raises(SegfocalError, match=r"labels must map each class|must have|there is no|empty|twice"):
        NiftiData(str(tmp_path), **(settings | {"labels": None}))
    with pytest.raises(SegfocalError, match="belong to a table"):
        NiftiData(str(tmp_path), labels={"a": 1}, **SMALL)


def poked(place, form, *numbers, packed=False):
    """Overwrite bytes of a NIfTI header (nifti1.h says which)."""

    def change(image, labels):
        content = bytearray(gzip.decompress(image.read_bytes()))
        content[place : place + struct.calcsize(form)] = struct.pack(form, *numbers)
        image.write_bytes(gzip.compress(bytes(content)))

    return change


NAN = float("nan")
HEADERS = {
    "endless": poked(40, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1),
    "large": poked(40, "<8h", 3, 1500, 1500, 1500, 1, 1, 1, 1),
    "below nothing": poked(40, "<8h", 3, -5, 4, 4, 1, 1, 1, 1),
    "nothing": poked(40, "<8h", 3, 0, 4, 4, 1, 1, 1, 1),
    "no axes": poked(40, "<h", 0),
    "nine axes": poked(40, "<h", 9),
    "far offset": poked(108, "<f", 1e30),
    "offset of nan": poked(108, "<f", NAN),
    "offset below": poked(108, "<f", -400.0),
    "offset beyond": poked(108, "<f", 1e7),
    "overflowing slope": poked(112, "<2f", 3e38, 0),
    "unknown type": poked(70, "<h", 9999),
    "colours": poked(70, "<2h", 128, 24),
    "affine of nan": poked(280, "<12f", *[NAN] * 12),
    "affine of zeros": poked(280, "<12f", *[0.0] * 12),
    "no magic": poked(344, "<4s", b"xxxx"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_absurd_headers_are_refused_in_one_line_that_names_the_file(tmp_path, kind, capfd):
    root = write_decathlon(tmp_path)
    name = break_first(root, HEADERS[kind])
    with pytest.raises(SegfocalError) as caught:
        read_case(root)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_voxels_beyond_float32_are_refused(tmp_path):
    root = write_decathlon(tmp_path)
    break_first(root, lambda image, labels: save(np.full((16, 18, 14), 1e300), image))
    with pytest.raises(SegfocalError, match="4032 voxels are beyond the range of float32, such as 1e"):
        read_case(root)


@pytest.mark.parametrize("value", ["NaN", "1e400", "1.5", "99999999999999999999", "[[1]]", '"x"', "null"])
def test_labels_that_are_no_numbers_are_named(tmp_path, value):
    root = write_decathlon(tmp_path)
    content = json.dumps(
        {"channel_names": {"0": "MRI"}, "labels": {"background": 0}, "file_ending": ".nii.gz"}
    )
    (root / "dataset.json").write_text(content.replace('"background": 0', f'"background": 0, "a": {value}'))
    with pytest.raises(SegfocalError, match=r"dataset.json.*must be whole numbers"):
        read_case(root)
