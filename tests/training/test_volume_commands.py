"""Volumes from the command line: fit, validate, test, and predictions on the grid of their files."""

import nibabel
import numpy as np
import polars as pl
import pytest
import torch
import yaml
from dicom_files import write_series
from volume_files import OBLIQUE, cube_case, save, write_nnunet

import segfocal
from segfocal.__main__ import main
from segfocal.data import NiftiData
from segfocal.data.volumes.preprocess import VolumePreprocess
from segfocal.data.volumes.reading import read_volume
from segfocal.errors import SegfocalError
from segfocal.training.prediction.predictor import Predictor
from segfocal.training.prediction.volumes import encode_like, list_volumes

pytestmark = pytest.mark.filterwarnings("ignore")  # the command line hides Lightning's advice from users


def config_for(root, **network):
    init = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}
    unet = {"channels": [4, 8], "strides": [2], "num_res_units": 1}
    kind = network.pop("class_path", "monai.networks.nets.UNet")
    return {
        "model": {
            "network": {"class_path": kind, "init_args": init | (network or unet)},
            "loss": {
                "class_path": "segfocal.losses.FocalDiceLoss",
                "init_args": {"task": "multiclass", "gamma": 1.0, "ignore_index": 255},
            },
            "learning_rate": 0.01,
        },
        "data": {
            "class_path": "segfocal.data.NiftiData",
            "init_args": {
                "root": str(root),
                "split": {"test_folds": 3, "test_fold": 0, "val_share": 0.3},
                "preprocess": {"spacing_mm": [1.0, 1.0, 2.0]},
                "patch_size": [16, 16, 8],
                "patches_per_epoch": 4,
                "batch_size": 2,
                "augment": "none",
            },
        },
        "trainer": {"max_steps": 2, "accelerator": "cpu"},
    }


def fit(config, folder):
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    return main(["fit", "--config", str(folder / "c.yaml"), "--run", str(folder / "run")])


@pytest.fixture(scope="module")
def volume_run(tmp_path_factory):
    """A run on oblique, anisotropic volumes, resampled for the network; do not change it."""
    folder = tmp_path_factory.mktemp("volumes")
    root = write_nnunet(folder / "data", affine=OBLIQUE)
    assert fit(config_for(root), folder) == 0
    return folder


def test_fit_validate_and_test_score_whole_volumes(volume_run):
    for verb in ("validate", "test"):
        assert main([verb, "--run", str(volume_run / "run")]) == 0
    cases = pl.read_parquet(volume_run / "run" / "cases.parquet").filter(pl.col("stage") == "test")
    assert cases["name"].n_unique() == 2
    foreground = cases.filter(pl.col("class_name") != "background")
    assert foreground["distance_unit"].unique().to_list() == ["mm"]
    assert foreground["hd95"].is_not_null().all()
    assert foreground["nsd"].is_between(0, 1).all()
    assert cases.filter(pl.col("class_name") == "background")["hd95"].null_count() == 2


def test_counts_are_those_of_the_files_that_predict_writes(volume_run, tmp_path):
    """Also where the network sees volumes on another grid, and turned."""
    run, data = volume_run / "run", volume_run / "data"
    assert main(["test", "--run", str(run)]) == 0
    predict = ["predict", "--run", str(run), "--images", str(data / "imagesTr"), "--out", str(tmp_path)]
    assert main(predict) == 0
    cases = pl.read_parquet(run / "cases.parquet").filter(pl.col("stage") == "test")
    assert len(cases)
    for row in cases.iter_rows(named=True):
        label = row["class_index"]
        files = (data / "labelsTr" / f"{row['name']}.nii.gz", tmp_path / "masks" / f"{row['name']}.nii.gz")
        known, said = (np.asarray(nibabel.load(file).dataobj) == label for file in files)
        expected = [
            (known & said).sum(),
            (~known & said).sum(),
            (known & ~said).sum(),
            (~known & ~said).sum(),
        ]
        assert [row[key] for key in ("tp", "fp", "fn", "tn")] == expected
        assert row["pixels"] == known.size


def test_predictions_lie_where_their_images_do(volume_run, tmp_path):
    """Shape, affine, header and orientation are those of the file, for every way of storing it."""
    image, _ = cube_case(1, size=(15, 20, 9))
    stored = {"oblique": OBLIQUE, "flipped": np.diag([-1.0, 1.0, -2.0, 1.0])}
    for name, affine in stored.items():
        picture = nibabel.Nifti1Image(image.astype(np.int16), affine)
        picture.header.set_xyzt_units("mm")
        picture.header["descrip"] = b"scanner"
        picture.set_qform(affine, code=1)
        picture.set_sform(affine, code=2)
        (tmp_path / "in").mkdir(exist_ok=True)
        nibabel.save(picture, tmp_path / "in" / f"{name}_0000.nii.gz")
    words = ["predict", "--run", str(volume_run / "run"), "--images", str(tmp_path / "in")]
    assert main([*words, "--out", str(tmp_path / "out"), "--probabilities"]) == 0
    for name in stored:
        before = nibabel.load(tmp_path / "in" / f"{name}_0000.nii.gz")
        after = nibabel.load(tmp_path / "out" / "masks" / f"{name}.nii.gz")
        assert after.shape == before.shape
        np.testing.assert_array_equal(after.affine, before.affine)
        assert nibabel.aff2axcodes(after.affine) == nibabel.aff2axcodes(before.affine)
        for key in ("pixdim", "qform_code", "sform_code", "xyzt_units", "descrip"):
            np.testing.assert_array_equal(after.header[key], before.header[key])
        assert after.get_data_dtype() == np.uint8
        scores = [
            np.asarray(nibabel.load(tmp_path / "out" / "probabilities" / label / f"{name}.nii.gz").dataobj)
            for label in ("background", "anterior", "posterior")
        ]
        np.testing.assert_array_equal(np.argmax(scores, axis=0), np.asarray(after.dataobj))


def test_a_dicom_series_is_predicted_like_its_nifti_file(volume_run, tmp_path):
    # straight: on oblique ones MONAI's resampling starts half a voxel elsewhere for a header's last digit
    affine = np.array([[0, -1.1, 0, 12.5], [-0.8, 0, 0, -40.0], [0, 0, 2.5, 7.25], [0, 0, 0, 1]])
    values = np.rint(cube_case(3, size=(15, 20, 10))[0])
    write_series(values, tmp_path / "dicom" / "patient1" / "mr", affine)
    save(values, tmp_path / "nifti" / "patient1_mr.nii.gz", affine)
    for kind in ("dicom", "nifti"):
        words = ["predict", "--run", str(volume_run / "run"), "--images", str(tmp_path / kind)]
        assert main([*words, "--out", str(tmp_path / f"{kind}_out"), "--probabilities"]) == 0
    mask = nibabel.load(tmp_path / "dicom_out" / "masks" / "patient1_mr.nii.gz")
    assert mask.header["qform_code"] == mask.header["sform_code"] == 1
    assert mask.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(mask.header.get_zooms(), [0.8, 1.1, 2.5], atol=1e-5)
    for label in ("background", "anterior", "posterior"):
        name = f"probabilities/{label}/patient1_mr.nii.gz"
        found = [nibabel.load(tmp_path / f"{kind}_out" / name) for kind in ("dicom", "nifti")]
        ours, theirs = map(nibabel.as_closest_canonical, found)
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
        np.testing.assert_allclose(ours.get_fdata(), theirs.get_fdata(), atol=1e-5)
        assert np.ptp(ours.get_fdata()) > 1e-2


def test_a_folder_may_be_the_series_itself(tmp_path):
    write_series(np.zeros((3, 3, 2)), tmp_path / "scan_0000", np.eye(4))
    found = list_volumes(tmp_path / "scan_0000")
    assert [(case.name, case.paths, case.ending) for case in found] == [
        ("scan", (tmp_path / "scan_0000",), ".nii.gz")
    ]


class Bright(torch.nn.Module):
    """The foreground is what is brighter than 50."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Conv3d(1, 1, 1)
        torch.nn.init.constant_(self.line.weight, 1.0)
        torch.nn.init.constant_(self.line.bias, -50.0)

    def forward(self, images):
        return self.line(images)


@pytest.mark.parametrize("spacing_mm", [None, (1.0, 1.0, 2.0)])
def test_what_is_bright_in_the_file_is_marked_in_the_file(tmp_path, spacing_mm):
    """A corner that only one orientation has, through turning, resampling and back."""
    image = np.zeros((15, 20, 9), np.float32)
    image[2:8, 3:9, 5:8] = 100
    volume = read_volume([save(image, tmp_path / "a.nii.gz", OBLIQUE)], channels=1)
    preprocess = VolumePreprocess(intensity="none", spacing_mm=spacing_mm, tile=(8, 8, 8))
    predictor = Predictor(Bright(), task="binary", preprocess=preprocess, class_names=["bright"])
    mask = predictor(volume).mask
    truth = image > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > (0.999 if spacing_mm is None else 0.85)


def test_scores_of_test_equal_those_of_written_predictions(volume_run, tmp_path):
    """Without resampling, from the NIfTI files that predict writes, against the label files."""
    config = config_for(volume_run / "data")
    config["data"]["init_args"]["preprocess"] = {"spacing_mm": None}
    assert fit(config, tmp_path) == 0
    assert main(["test", "--run", str(tmp_path / "run"), "--checkpoint", "last"]) == 0
    names = NiftiData(**config["data"]["init_args"] | {"split": None, "preprocess": None}).set.cases
    files = {case.name: case for case in names}
    words = ["predict", "--run", str(tmp_path / "run"), "--images", str(volume_run / "data" / "imagesTr")]
    assert main([*words, "--out", str(tmp_path / "out"), "--checkpoint", "last"]) == 0
    cases = pl.read_parquet(tmp_path / "run" / "cases.parquet").filter(pl.col("stage") == "test")
    for row in cases.iter_rows(named=True):
        mask = np.asarray(nibabel.load(tmp_path / "out" / "masks" / f"{row['name']}.nii.gz").dataobj)
        truth = np.asarray(nibabel.load(files[row["name"]].mask).dataobj)
        found, known = mask == row["class_index"], truth == row["class_index"]
        assert (row["tp"], row["fp"]) == ((found & known).sum(), (found & ~known).sum())


def test_volumes_are_found_and_their_channels_joined(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        save(np.zeros((2, 2, 2), np.float32), tmp_path / f"{name}.nii.gz")
    found = list_volumes(tmp_path)
    assert [(case.name, len(case.paths)) for case in found] == [("a", 2), ("b", 2)]
    with pytest.raises(SegfocalError, match="found no such file or folder"):
        list_volumes(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SegfocalError, match="found 0 other files"):
        list_volumes(tmp_path / "empty")


def test_stored_scaling_of_the_image_does_not_scale_labels(tmp_path):
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    (tmp_path / "mask.nii").write_bytes(encode_like(np.full((2, 2, 2), 3, np.uint8), image))
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "mask.nii").dataobj), 3)


def test_images_given_to_a_network_of_volumes_are_refused(volume_run):
    with pytest.raises(SegfocalError, match="this network segments volumes"):
        segfocal.load(volume_run / "run")(np.zeros((8, 8), np.uint8))


NETWORKS = {
    "DynUNet": {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 8],
    },
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "SwinUNETR": {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_monai_take_two_steps(name, volume_run, tmp_path):
    config = config_for(volume_run / "data", class_path=f"monai.networks.nets.{name}", **NETWORKS[name])
    if name == "SwinUNETR":
        config["data"]["init_args"]["patch_size"] = [64, 32, 32]
        config["trainer"]["limit_val_batches"] = 0
        config["model"]["divisor"] = 32  # saves the search, which runs the network on large inputs
    assert fit(config, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DynUNet", "SegResNetDS"])
def test_deep_supervision_of_monai_trains(name, volume_run, tmp_path):
    config = config_for(volume_run / "data")
    model, sizes = config["model"], {"in_channels": 1, "out_channels": 3}
    if name == "DynUNet":
        inner = {"spatial_dims": 3, "deep_supervision": True, "deep_supr_num": 1, **NETWORKS[name], **sizes}
        wrapped = {"class_path": "monai.networks.nets.DynUNet", "init_args": inner}
        model["network"] = {"class_path": "segfocal.models.Unstack", "init_args": {"network": wrapped}}
    else:
        arguments = {"spatial_dims": 3, "init_filters": 4, "blocks_down": [1, 1, 1], "dsdepth": 2, **sizes}
        model["network"] = {"class_path": "monai.networks.nets.SegResNetDS", "init_args": arguments}
    model["loss"] = {"class_path": "segfocal.losses.DeepSupervision", "init_args": {"loss": model["loss"]}}
    assert fit(config, tmp_path) == 0


def test_prediction_goes_on_past_damaged_volumes(volume_run, tmp_path, capsys):
    """Cut, empty, text, without voxels, NaN, damaged series: each is named once and in one line."""
    affine = np.array([[0, -1.1, 0, 12.5], [-0.8, 0, 0, -40.0], [0, 0, 2.5, 7.25], [0, 0, 0, 1]])
    values = np.rint(cube_case(3, size=(15, 20, 10))[0]).astype(np.float32)
    nifti, series = tmp_path / "nifti", tmp_path / "series"
    for name in ("whole", "cut", "empty", "text", "zeros", "nan"):
        changed = np.where(values > 160, np.nan, values) if name == "nan" else values
        save(changed, nifti / f"{name}.nii.gz", affine)
    content = (nifti / "cut.nii.gz").read_bytes()
    for name, damaged in (
        ("cut", content[: len(content) // 2]),
        ("empty", b""),
        ("text", b"no volume"),
        ("zeros", bytes(9000)),
    ):
        (nifti / f"{name}.nii.gz").write_bytes(damaged)
    for name in ("whole", "cut", "gap"):
        files = sorted(write_series(values, series / name, affine).iterdir())
        if name == "cut":
            files[4].write_bytes(files[4].read_bytes()[:200])
        if name == "gap":
            files[4].unlink()
    for images, wrong in ((nifti, 5), (series, 2)):
        out = tmp_path / f"{images.name}_out"
        words = ["predict", "--run", str(volume_run / "run"), "--images", str(images), "--out", str(out)]
        assert main(words) == 1
        head, *lines = capsys.readouterr().err.strip().splitlines()
        assert head == f"segfocal: {wrong} of {wrong + 1} images could not be predicted:"
        assert len(lines) == wrong
        assert all(line.count(str(images)) == 1 for line in lines if "gap" not in line), lines
        assert [path.name for path in (out / "masks").iterdir()] == ["whole.nii.gz"]


def test_a_table_lists_the_volumes_to_predict(volume_run, tmp_path, capsys):
    """Paths start from the table's folder, or from that of the training."""
    values = cube_case(3, size=(15, 20, 10))[0]
    save(values, tmp_path / "scans" / "a.nii.gz", OBLIQUE)
    save(values, tmp_path / "scans" / "b.nii", OBLIQUE)
    (tmp_path / "t.csv").write_text("image;name\nscans/a.nii.gz;first\nscans\\b.nii;\n")
    words = ["predict", "--run", str(volume_run / "run"), "--out", str(tmp_path / "out"), "--images"]
    assert main([*words, str(tmp_path / "t.csv")]) == 0
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == ["b.nii", "first.nii.gz"]
    (tmp_path / "far.csv").write_text("image,mask\nimagesTr/case_001_0000.nii.gz,\n")
    assert main([*words[:-2], str(tmp_path / "far"), "--images", str(tmp_path / "far.csv")]) == 0
    assert [path.name for path in (tmp_path / "far/masks").iterdir()] == ["case_001_0000.nii.gz"]
    capsys.readouterr()
    (tmp_path / "t.csv").write_text("image\nscans/a.nii.gz\nscans/c.nii\n")
    assert main([*words, str(tmp_path / "t.csv")]) == 2
    assert "t.csv, row 3: there is no file" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".mgz", ".NRRD"])
def test_other_files_of_volumes_are_named_with_the_way(volume_run, tmp_path, capsys, suffix):
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "set" / folder / f"c{number}{suffix}").write_bytes(b"any content")
    words = ["--images", str(tmp_path / "set/images"), "--out", str(tmp_path / "out")]
    assert main(["predict", "--run", str(volume_run / "run"), *words]) == 2
    assert f"{suffix.lower()} is not read (4, c0{suffix}, ...): convert" in capsys.readouterr().err
    assert main(["fingerprint", str(tmp_path / "set")]) == 2
    assert f"{suffix.lower()} is not read (8, c0{suffix}, ...): convert" in capsys.readouterr().err
