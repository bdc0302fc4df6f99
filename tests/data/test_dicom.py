"""DICOM series become the volumes that they are; truth from NIfTI files and from SimpleITK."""

import sys

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from dicom_files import save_slices, slices_of, write_series
from pydicom.uid import RTStructureSetStorage, generate_uid
from volume_files import OBLIQUE, save, write_decathlon, write_nnunet

from segfocal.data import NiftiData, Split
from segfocal.data.volumes.dicom import read_series
from segfocal.data.volumes.layout import without_ending
from segfocal.data.volumes.reading import read_volume
from segfocal.data.volumes.series import find_series, series_files
from segfocal.errors import SegfocalError

# of unequal edges; flipped: with axes of left-handed order
AFFINES = {
    "straight": np.array([[0.7, 0, 0, -20.0], [0, 0.9, 0, 31.0], [0, 0, 2.5, -100.0], [0, 0, 0, 1]]),
    "flipped": np.array([[-0.7, 0, 0, 20.0], [0, -0.9, 0, 31.0], [0, 0, -2.5, 7.0], [0, 0, 0, 1]]),
    "sagittal": np.array([[0, 0, 2.5, -9.0], [-0.7, 0, 0, 31.0], [0, -0.9, 0, 7.0], [0, 0, 0, 1]]),
    "oblique": OBLIQUE,
}


def noise(shape=(6, 5, 4), seed=0):
    """Whole numbers, so that slope and intercept lose nothing."""
    return np.random.default_rng(seed).integers(-50, 400, shape) * 2.0 - 1024


def canonical(array, affine):
    found = nibabel.as_closest_canonical(nibabel.Nifti1Image(array.astype(np.float64), affine))
    return np.asarray(found.dataobj), found.affine


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_series_lies_where_the_nifti_file_of_it_does(affine, tmp_path):
    values = noise()
    write_series(values, tmp_path / "in", affine, slope=2.0, intercept=-1024.0)
    stored = read_volume([save(values, tmp_path / "volume.nii.gz", affine)], channels=1)
    found = read_volume([tmp_path / "in"], channels=1)
    ours, theirs = canonical(found.array[0], found.affine), canonical(stored.array[0], stored.affine)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-4)
    assert found.array.dtype == np.float32


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_series_is_what_simpleitk_reads(affine, tmp_path):
    write_series(noise(), tmp_path / "in", affine, slope=2.0, intercept=-1024.0)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "in"))
    image = SimpleITK.ReadImage(names)
    found = read_volume([tmp_path / "in"], channels=1)
    np.testing.assert_array_equal(found.array[0], SimpleITK.GetArrayFromImage(image).transpose())
    for corner in [(0, 0, 0), (5, 0, 0), (0, 4, 0), (0, 0, 3)]:
        place = np.diag([-1, -1, 1, 1]) @ found.affine @ [*corner, 1]
        np.testing.assert_allclose(place[:3], image.TransformIndexToPhysicalPoint(corner), atol=1e-3)


def test_numbers_and_names_of_the_files_do_not_count(tmp_path):
    values, affine = noise(), AFFINES["straight"]
    slices = slices_of(values, affine)
    for slice_ in slices:
        slice_.InstanceNumber = 1
    save_slices(slices[::-1], tmp_path / "odd [1]", ["d", "c", "b.IMA", "a"])
    found, placed = read_series(tmp_path / "odd [1]")
    np.testing.assert_array_equal(found[0], values)
    np.testing.assert_allclose(placed, affine, atol=1e-6)


def test_each_slice_has_its_own_scale(tmp_path):
    values, affine = noise(), AFFINES["straight"]
    slices = slices_of(values, affine, slope=2.0)[:2] + slices_of(values, affine, intercept=100.0)[2:]
    for slice_ in slices:
        slice_.SeriesInstanceUID = slices[0].SeriesInstanceUID
    np.testing.assert_array_equal(read_series(save_slices(slices, tmp_path))[0][0], values)


def test_what_holds_no_image_is_passed_over(tmp_path):
    write_series(noise(), tmp_path / "in", AFFINES["straight"])
    structure = slices_of(noise(), AFFINES["straight"])[0]
    del structure.Rows, structure.PixelData
    structure.SOPClassUID = structure.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    save_slices([structure], tmp_path / "in", ["structure.dcm"])
    (tmp_path / "in" / "notes.txt").write_text("seen by me")
    (tmp_path / "in" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert read_series(tmp_path / "in")[0].shape == (1, 6, 5, 4)
    assert len(series_files(tmp_path / "in")) == 5
    assert find_series(tmp_path) == [tmp_path / "in"]


@pytest.mark.parametrize("layout", [write_decathlon, write_nnunet])
def test_training_reads_series_beside_label_maps(layout, tmp_path):
    """Images as folders of DICOM give the samples that NIfTI files give, whoever stored the label maps."""
    settings = {"patch_size": 8, "augment": "none", "split": Split(test_folds=2, test_fold=0)}
    affine = AFFINES["oblique"]
    plain = NiftiData(str(layout(tmp_path / "nifti", count=2, affine=affine)), **settings)
    root = layout(tmp_path / "dicom", count=2, affine=affine)
    for number, path in enumerate(sorted((root / "imagesTr").iterdir())):
        stored = nibabel.load(path)
        write_series(np.rint(stored.get_fdata()), path.with_name(without_ending(path.name)), affine)
        save(np.rint(stored.get_fdata()), tmp_path / "nifti" / "imagesTr" / path.name, affine)
        path.unlink()
        mask = root / "labelsTr" / sorted(p.name for p in (root / "labelsTr").iterdir())[number]
        nibabel.save(nibabel.as_closest_canonical(nibabel.load(mask)), mask)  # the axes in another order
    data = NiftiData(str(root), **settings)
    for split in ("train", "test"):
        ours, theirs = (each.wholes(split, with_mask=True)[0] for each in (data, plain))
        assert ours["name"] == theirs["name"]
        assert torch.equal(ours["mask"], theirs["mask"])
        assert ours["mask"].unique().tolist() == [0, 1, 2]
        torch.testing.assert_close(ours["image"], theirs["image"], rtol=0, atol=1e-5)
        torch.testing.assert_close(ours["spacing"], theirs["spacing"], rtol=0, atol=1e-4)
    assert len(data.cases("test").source.image_files(0)) == 14
    before = data.fingerprint()["sha256"]
    next((root / "imagesTr").rglob("*.dcm")).unlink()
    assert data.fingerprint()["sha256"] != before


def test_labels_elsewhere_are_refused(tmp_path):
    root, far = write_nnunet(tmp_path, count=2), np.diag([1.5, 1.5, 1.5, 1.0])
    for path in sorted((root / "imagesTr").iterdir()):
        write_series(nibabel.load(path).get_fdata(), path.with_name(without_ending(path.name)), far)
        path.unlink()
    data = NiftiData(str(root), split=Split(test_folds=2, test_fold=0))
    with pytest.raises(SegfocalError, match="must have the same affine"):
        data.cases("test").case(0)


def broken(slices, folder, kind):
    """Write a series with one fault."""
    if kind == "two series":
        other = slices_of(noise(), AFFINES["flipped"], uid=generate_uid())
        slices += other
    elif kind == "missing slice":
        del slices[1]
    elif kind == "same place":
        slices[2].ImagePositionPatient = slices[1].ImagePositionPatient
    elif kind == "other size":
        slices[2].Rows, slices[2].PixelData = 3, slices[2].PixelData[:36]
    elif kind == "localizer":
        slices[3].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    elif kind == "no position":
        del slices[0].ImagePositionPatient
    elif kind == "beside":
        slices[1].ImagePositionPatient[0] += 5
    elif kind == "gantry tilt":
        for number, slice_ in enumerate(slices):
            slice_.ImagePositionPatient[1] += 0.5 * number
    elif kind == "frames":
        slices[0].NumberOfFrames = 3
    elif kind == "one slice":
        slices = slices[:1]
    elif kind == "short":
        slices[1].PixelData = slices[1].PixelData[:10]
    elif kind == "no pixels":
        del slices[1].PixelData
    elif kind == "two numbers":
        slices[1].ImagePositionPatient = [1.0, 2.0]
    elif kind == "one edge":
        slices[1].PixelSpacing = 1.5
    save_slices(slices, folder)
    if kind == "end cut off":
        last = folder / "028.dcm"
        last.write_bytes(last.read_bytes()[:300])
    if kind == "other file":
        (folder / "extra.dcm").write_text("not DICOM")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("two series", "must hold one series, got 2: 5 slices such as"),
        ("missing slice", "evenly spaced, got 2.5 mm and, between .* 5 mm. Slices are missing"),
        ("same place", "lie at the same place"),
        ("other size", "same Rows, got .5.0. in .* and .3.0. in"),
        ("localizer", "same ImageOrientationPatient"),
        ("no position", "ImagePositionPatient is missing"),
        ("beside", "must lie on a line, got .*5 mm beside"),
        ("gantry tilt", "must be at right angles"),
        ("frames", "expected one grey slice per file, got 3 frame"),
        ("one slice", "at least two slices, got 1"),
        ("short", "the pixels cannot be read"),
        ("no pixels", "is cut off"),
        ("two numbers", "ImagePositionPatient must be 3 numbers, got .1.0, 2.0."),
        ("one edge", "PixelSpacing must be 2 numbers, got 1.5"),
        ("end cut off", "028.dcm is cut off: it is a slice without an image"),
        ("other file", "extra.dcm cannot be read as DICOM"),
    ],
)
def test_faulty_series_are_named(kind, message, tmp_path):
    slices = slices_of(noise((6, 5, 5)), AFFINES["straight"])
    broken(slices, tmp_path / "in", kind)
    with pytest.raises(SegfocalError, match=message) as caught:
        read_series(tmp_path / "in")
    assert str(tmp_path / "in") in str(caught.value)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    write_series(noise(), tmp_path, AFFINES["straight"])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(SegfocalError, match=r"pip install 'segfocal\[dicom\]'"):
        read_series(tmp_path)
