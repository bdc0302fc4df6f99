"""Volumes as people have them: what is found, and a configuration that trains as it is written."""

import gzip
import shutil

import nibabel
import numpy as np
import pytest
import yaml
from dicom_files import write_series
from volume_files import OBLIQUE, change_json, cube_case, save, write_decathlon, write_nnunet

from segfocal.__main__ import main
from segfocal.data.fingerprint.plan import Plan
from segfocal.data.fingerprint.voxels import measure_volume
from segfocal.data.volumes.layout import read_volume_set, without_ending


def facts(root):
    found = read_volume_set(root)
    return found, [
        measure_volume(case, channels=len(found.channels), known=(0, 1, 2)) for case in found.cases
    ]


def page(root, capsys, *words):
    assert main(["fingerprint", str(root), "--processes", "1", *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_voxels_pieces_and_axes_are_counted(tmp_path):
    found, cases = facts(write_decathlon(tmp_path, count=3, affine=OBLIQUE))
    for number, case in enumerate(cases):
        image, labels = cube_case(number)
        values, counts = np.unique(labels, return_counts=True)
        assert case.voxels == dict(zip(values.tolist(), counts.tolist(), strict=True))
        assert sum(case.component_vx) == (labels > 0).sum()
        # stored to posterior, right, superior
        assert (case.orientation, case.size_vx) == ("PRS", (18, 16, 14))
        assert case.spacing_mm == pytest.approx((1.1, 0.8, 2.5))
        assert case.percentiles[0] == pytest.approx(np.percentile(image, [0.5, 50, 99.5]), rel=1e-6)
        assert not case.problems
    assert Plan(found, cases).spacing_mm == pytest.approx([1.1, 0.8, 2.5])


def test_unequal_spacings_are_resampled_to_the_median(tmp_path):
    write_decathlon(tmp_path, count=3)
    for number, edge in enumerate((1.0, 2.0, 3.0)):
        for folder, array in zip(("imagesTr", "labelsTr"), cube_case(number), strict=True):
            save(array, tmp_path / folder / f"case_{number:03d}.nii.gz", np.diag([edge, 1.0, 1.0, 1.0]))
    plan = Plan(*facts(tmp_path))
    assert plan.resample
    assert plan.spacing_mm.tolist() == [2.0, 1.0, 1.0]
    assert plan.shape.tolist() == [16, 18, 14]  # 8, 16 and 24 voxels of 2 mm
    assert plan.patch == [16, 20, 16]  # multiples of 4


@pytest.mark.parametrize("name", ["CT", "ct scan", "noNormalization"])
def test_channels_called_ct_are_cut_to_the_foreground(tmp_path, name):
    write_nnunet(tmp_path, count=2)
    change_json(tmp_path, channel_names={"0": name})
    plan = Plan(*facts(tmp_path))
    assert plan.ct == (name != "noNormalization")
    assert 140 < plan.window[0] < 170 < plan.window[1] < 240  # 100 + 60 and 120, noise of 5


def test_what_training_would_refuse_is_named(tmp_path, capsys):
    write_decathlon(tmp_path, count=6)
    image, labels = cube_case(0)
    save(labels + 4, tmp_path / "labelsTr/case_000.nii.gz")
    save(labels, tmp_path / "labelsTr/case_001.nii.gz", np.diag([2.0, 1.0, 1.0, 1.0]))
    save(np.zeros_like(labels), tmp_path / "labelsTr/case_002.nii.gz")
    image[0, 0, 0] = np.nan
    save(image, tmp_path / "imagesTr/case_003.nii.gz")
    packed = tmp_path / "imagesTr/case_004.nii.gz"
    (tmp_path / "imagesTr/case_005.nii.gz").write_bytes(
        gzip.compress(gzip.decompress(packed.read_bytes()), 1)
    )
    text = page(tmp_path, capsys)
    for words in (
        "6 with labels, 3 of them can be used",
        "the file holds 4 (",
        "must have the same affine",
        "1 voxels are NaN",
        "1 of 3 label maps hold one value only (empty)",
        "the same picture twice, 1 times: case_004 = case_005",
    ):
        assert words in text


def test_series_are_measured_as_training_reads_them(tmp_path):
    """Label maps whose axes are stored in another order are turned to those of the slices."""
    _, (plain, _) = facts(write_decathlon(tmp_path / "nifti", count=2, affine=OBLIQUE))
    root = write_decathlon(tmp_path / "dicom", count=2, affine=OBLIQUE)
    for path in sorted((root / "imagesTr").iterdir()):
        write_series(nibabel.load(path).get_fdata(), path.with_name(without_ending(path.name)), OBLIQUE)
        path.unlink()
        mask = root / "labelsTr" / path.name
        nibabel.save(nibabel.as_closest_canonical(nibabel.load(mask)), mask)
    _, (series, _) = facts(root)
    assert (series.problems, series.dtype) == ([], "DICOM")
    assert (series.size_vx, series.voxels) == (plain.size_vx, plain.voxels)
    np.testing.assert_allclose(series.spacing_mm, plain.spacing_mm, rtol=1e-5)
    # of values rounded to whole numbers
    np.testing.assert_allclose(series.percentiles, plain.percentiles, rtol=0, atol=0.51)
    assert 140 < series.foreground.min() < series.foreground.max() < 250  # 100 + 60 and 120, noise of 5


@pytest.mark.parametrize("write", [write_decathlon, write_nnunet])
def test_the_written_config_trains(tmp_path, write, capsys):
    root = write(tmp_path / "set", count=6)
    shutil.copy(root / sorted((root / "imagesTr").iterdir())[0], sorted((root / "imagesTr").iterdir())[5])
    out = tmp_path / "x.yaml"
    text = page(root, capsys, "--out", str(out))
    assert "anterior" in text
    config = yaml.safe_load(out.read_text())
    assert config["data"]["init_args"]["patch_size"] == [16, 20, 16]
    assert len(config["data"]["init_args"]["allow_leaks"]) == 2
    words = ["fit", "--config", str(out), "--run", str(tmp_path / "run"), "--trainer.max_steps", "2"]
    assert main([*words, "--trainer.accelerator", "cpu", "--data.init_args.patches_per_epoch", "4"]) == 0
