"""fit, validate and test from the command line: what they write, print and refuse."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from PIL import Image

import segfocal
from segfocal.__main__ import main
from segfocal.data.synthetic import SyntheticData, bayes_dice
from segfocal.errors import SegfocalError
from segfocal.runs.info import file_sha256, read_info
from segfocal.runs.scores import dice
from segfocal.runs.write import mount_point


@pytest.fixture
def run_copy(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def values_of(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_run_directory_is_complete(finished_run):
    found = {path.relative_to(finished_run).as_posix() for path in finished_run.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "run.json", "cases.parquet"} <= found
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= found
    assert any(name.startswith("tensorboard/events") for name in found)
    assert not [name for name in found if "tmp" in name]


def test_run_json_says_what_the_run_is(finished_run):
    info = read_info(finished_run)
    assert info["status"] == "finished"
    assert info["class_names"] == ["lesion"]
    assert info["data"]["images"] == {"train": 6, "val": 2, "test": 3}
    assert info["seeds"] == {"process": 3, "data": 0}
    assert len(info["thresholds"]) == 1
    assert info["timings"]["fit_s"] > 0
    assert info["parameters"]["total"] == info["parameters"]["trainable"] > 0
    for which in ("best", "last"):
        entry = info["checkpoints"][which]
        assert entry["sha256"] == file_sha256(finished_run / "checkpoints" / entry["file"])
    assert info["checkpoints"]["last"]["step"] == 9


def test_metrics_hold_training_and_validation(finished_run):
    rows = values_of(finished_run)
    by_name = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append(int(row["step"]))
    assert by_name["train/loss"] == [2, 4, 6, 8, 9]
    assert by_name["val/dice"] == [6, 9]  # after the epoch of six steps, and at the end
    assert by_name["learning_rate"] == [2, 4, 6, 8, 9]


def test_config_yaml_trains_the_same_again(finished_run, tmp_path):
    config = finished_run / "config.yaml"
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "again")]) == 0
    weights = [
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in (finished_run, tmp_path / "again")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_cases_of_validation_belong_to_the_best_checkpoint(finished_run):
    cases = pl.read_parquet(finished_run / "cases.parquet")
    assert cases["stage"].unique().to_list() == ["val"]
    assert cases["checkpoint"].unique().to_list() == [
        read_info(finished_run)["checkpoints"]["best"]["sha256"][:12]
    ]
    assert sorted(cases["name"]) == ["val_00000", "val_00001"]


def test_test_prints_the_table_beside_the_bayes_dice(run_copy, capsys):
    assert main(["test", "--run", str(run_copy)]) == 0
    shown = capsys.readouterr().out
    assert "lesion" in shown
    settings = yaml.safe_load((run_copy / "config.yaml").read_text())["data"]["init_args"]
    assert f"{bayes_dice(SyntheticData(**settings))[0]:.4f}" in shown
    for name in ("Dice", "IoU", "AUPR", "ECE", "0.5", f"{read_info(run_copy)['thresholds'][0]:.3f}"):
        assert name in shown
    # two validation images: another threshold must be better on the one that did not choose it
    assert f"threshold of predict: lesion {read_info(run_copy)['thresholds'][0]:.3f} (" in shown
    assert "best on 2 validation images" in shown


def test_test_scores_equal_those_of_saved_predictions(run_copy, tmp_path):
    """From the pictures that predict writes, against the masks that the generator wrote."""
    assert main(["test", "--run", str(run_copy)]) == 0
    settings = yaml.safe_load((run_copy / "config.yaml").read_text())["data"]["init_args"]
    segfocal_data = SyntheticData(**settings)
    from segfocal.data.synthetic import write_folder

    images = write_folder(segfocal_data, tmp_path / "images", split="test")
    scores = {}
    for kind, threshold in (("fixed", ["--threshold", "0.5"]), ("tuned", [])):
        out = tmp_path / kind
        words = ["predict", "--run", str(run_copy), "--images", str(images / "images"), "--out", str(out)]
        assert main([*words, *threshold]) == 0
        counts = []
        for path in sorted((out / "masks").iterdir()):
            predicted = np.array(Image.open(path)) > 0
            truth = np.array(Image.open(images / "masks" / path.name)) > 0
            counts.append([(predicted & truth).sum(), (predicted & ~truth).sum(), (~predicted & truth).sum()])
        tp, fp, fn = np.array(counts).T
        scores[kind] = {"dice": dice(tp, fp, fn).mean(), "dataset_dice": dice(tp.sum(), fp.sum(), fn.sum())}
    logged = {row["name"]: float(row["value"]) for row in values_of(run_copy)}
    for prefix, kind in (("", "fixed"), ("tuned_", "tuned")):
        for name, value in scores[kind].items():
            assert logged[f"test/{prefix}{name}"] == pytest.approx(float(value), abs=1e-6)


def test_test_writes_cases_curves_and_pictures(run_copy):
    assert main(["test", "--run", str(run_copy), "--checkpoint", "last"]) == 0
    cases = pl.read_parquet(run_copy / "cases.parquet").filter(pl.col("stage") == "test")
    assert set(cases["threshold_kind"]) == {"fixed", "tuned"}
    assert cases["checkpoint"].unique().to_list() == [file_sha256(run_copy / "checkpoints/last.ckpt")[:12]]
    curves = pl.read_parquet(run_copy / "curves.parquet")
    assert set(curves["curve"]) == {"reliability", "pr"}
    assert len(list((run_copy / "cases/test").glob("*.image.png"))) == 3
    rows = [row for row in values_of(run_copy) if row["name"].startswith("test/")]
    assert {row["step"] for row in rows} == {"9"}


def test_validate_repeats_the_score_of_the_training(run_copy):
    def score():
        return [row for row in values_of(run_copy) if row["name"] == "val/dice" and row["step"] == "9"]

    (before,) = score()
    assert main(["validate", "--run", str(run_copy), "--checkpoint", "last"]) == 0
    (after,) = score()  # in place of the one before
    assert before["value"] == after["value"]


def test_flag_wins_over_the_file(config, tmp_path):
    words = ["fit", "--config", str(config), "--run", str(tmp_path / "run"), "--trainer.max_steps", "2"]
    assert main([*words, "--model.loss.init_args.gamma", "1", "--model.learning_rate=0.5"]) == 0
    kept = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert kept["model"]["loss"]["init_args"]["gamma"] == 1.0
    assert kept["model"]["learning_rate"] == 0.5


def test_unnamed_runs_are_named_after_the_configuration(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", str(config), "--trainer.max_steps", "1"]) == 0
    (run,) = (tmp_path / "runs/tiny").iterdir()
    assert f"runs/tiny/{run.name}" in capsys.readouterr().out
    assert segfocal.load(run) is not None


def test_plain_lines_show_step_loss_score_and_time_left(config, tmp_path, capsys):
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2
    for word in ("epoch 2", "step 9/9", "train/loss", "val/dice", "left 0:00"):
        assert word in lines[1]


def test_lightning_keeps_quiet(config, tmp_path, capfd):
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert "Tip" not in shown.out


def test_full_folder_is_refused_and_untouched(finished_run, config, capsys):
    before = sorted(finished_run.rglob("*"))
    assert main(["fit", "--config", str(config), "--run", str(finished_run)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert sorted(finished_run.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.loss.init_args.task", "multiclass"], "the data are 'binary'"),
        (["--model.network.init_args.num_classes", "2"], "2 logit channels"),
        (["--trainer.max_steps", "-1"], "how long to train"),
        (["--model.los.gamma", "2"], "Did you mean 'model.loss'"),
        (["--model.loss.init_args.gama", "2"], "Did you mean 'gamma'"),
        (["--model.loss", "segfocal.losses.FocalLos"], "Did you mean 'segfocal.losses.FocalLoss'"),
        (["--model.network", "segfocal.models.SmallUnet"], "Did you mean 'segfocal.models.SmallUNet'"),
        (["--model.schedule", "cosin"], "Did you mean 'cosine'"),
        (["--data.init_args.train_images", "0"], "there are no train images"),
        (["--config", "missing.yaml"], "does not exist"),
        (["--data.init_args.augment", "medcal"], "Did you mean 'medical'?"),
        (["--model.loss.init_args.gamma", "-1"], "gamma"),
        (
            [
                "--model.network=segmentation_models_pytorch.Unet",
                "--model.network.init_args.encoder_name=resnet1x",
            ],
            "resnet1x",
        ),
    ],
)
def test_contradictions_leave_nothing_behind(words, message, config, tmp_path, capsys):
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run"), *words]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_misspelt_key_in_the_file_names_the_nearest(config, capsys):
    config.write_text(config.read_text().replace("learning_rate", "learnin_rate"))
    assert main(["fit", "--config", str(config)]) == 2
    assert "Did you mean 'model.learning_rate'?" in capsys.readouterr().err


def test_wrong_monitor_names_what_is_logged(config, tmp_path, capsys):
    words = [
        "fit",
        "--config",
        str(config),
        "--run",
        str(tmp_path / "run"),
        "--checkpoint.monitor",
        "val/dise",
    ]
    assert main(words) == 2
    assert "Did you mean 'val/dice'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "no valid YAML"), ("- a", "got a list"), ("", "nothing")]
)
def test_file_that_is_no_configuration_is_named(content, message, tmp_path, capsys):
    (tmp_path / "odd.yaml").write_text(content)
    assert main(["fit", "--config", str(tmp_path / "odd.yaml"), "--run", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert "odd.yaml" in shown
    assert message in shown
    assert not (tmp_path / "run").exists()


def test_trainer_that_cannot_be_made_fails_in_one_line(config, tmp_path, capsys):
    words = ["--run", str(tmp_path / "run"), "--trainer.accelerator", "gpuu"]
    assert main(["fit", "--config", str(config), *words]) == 2
    shown = capsys.readouterr().err
    assert "gpuu" in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_damaged_checkpoints_are_named(run_copy, capsys):
    for file in (run_copy / "checkpoints").iterdir():
        content = file.read_bytes()
        file.unlink()  # best.ckpt and last.ckpt may share their bytes
        file.write_bytes(content[: len(content) // 2])
    for words in (["test", "--run"], ["validate", "--run"], ["fit", "--resume"]):
        assert main([*words, str(run_copy)]) == 2
        assert "ckpt is damaged or was changed: its sha256 is" in capsys.readouterr().err
    assert read_info(run_copy)["status"] == "finished"


def test_one_flipped_bit_of_a_weight_is_named_by_every_command(run_copy, config, tmp_path, capsys):
    path = run_copy / "checkpoints" / "best.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    out, images = str(tmp_path / "out"), str(tmp_path / "a.png")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(images)
    for words in (
        ["test", "--run", str(run_copy)],
        ["predict", "--run", str(run_copy), "--images", images, "--out", out],
        ["export", "--run", str(run_copy), "--format", "torch", "--out", f"{out}.pt2"],
        ["diagnose", "--run", str(run_copy)],
        ["finetune", "--config", str(config), "--from", str(run_copy), "--run", out],
    ):
        assert main(words) == 2
        assert "best.ckpt is damaged or was changed: its sha256 is" in capsys.readouterr().err
    with pytest.raises(SegfocalError, match=r"last\.ckpt is whole: take it by --checkpoint last"):
        segfocal.load(run_copy)
    assert main(["test", "--run", str(run_copy), "--checkpoint", "last"]) == 0
    assert not Path(out).exists()


@pytest.mark.parametrize("words", [["test", "--run"], ["fit", "--allow-changes", "--resume"]])
def test_another_network_than_the_checkpoint_is_refused_and_the_run_left_alone(words, run_copy, capsys):
    before = (run_copy / "config.yaml").read_text()
    assert main([*words, str(run_copy), "--model.network.init_args.channels", "[4, 4]"]) == 2
    shown = capsys.readouterr().err
    assert "do not fit SmallUNet" in shown
    assert shown.count("\n") == 1
    assert (run_copy / "config.yaml").read_text() == before
    assert read_info(run_copy)["status"] == "finished"


def test_finished_run_says_that_nothing_is_left(run_copy, capsys):
    assert main(["fit", "--resume", str(run_copy)]) == 0
    assert "nothing was left to train" in capsys.readouterr().out


def test_diverged_training_names_step_and_image(config, tmp_path, capsys):
    words = ["--run", str(tmp_path / "run"), "--model.learning_rate", "1e30", "--trainer.max_steps", "1"]
    assert main(["fit", "--config", str(config), *words]) == 2
    shown = capsys.readouterr().err
    assert "step 1, image 'val_00000': the network's output is not finite" in shown
    assert "lower model.learning_rate" in shown


def test_run_without_checkpoints_is_refused(run_copy, capsys):
    shutil.rmtree(run_copy / "checkpoints")
    assert main(["test", "--run", str(run_copy)]) == 2
    assert "holds no checkpoint" in capsys.readouterr().err


def test_run_of_another_version_is_refused(run_copy, capsys):
    info = json.loads((run_copy / "run.json").read_text())
    (run_copy / "run.json").write_text(json.dumps(info | {"schema_version": 99}))
    for words in (
        ["test", "--run"],
        ["fit", "--resume"],
        ["predict", "--images", "x", "--out", "y", "--run"],
    ):
        assert main([*words, str(run_copy)]) == 2
        assert "schema version 99" in capsys.readouterr().err


def test_changed_data_are_not_resumed(run_copy, capsys):
    assert main(["fit", "--resume", str(run_copy), "--data.init_args.foreground", "0.15"]) == 2
    assert "data.init_args.foreground 0.1 -> 0.15" in capsys.readouterr().err


def test_full_disk_is_named(config, tmp_path, monkeypatch, capsys):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytorch_lightning.Trainer.save_checkpoint", full)
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    place = mount_point(tmp_path)
    assert f"last.ckpt: No space left on device. The disk {place} is full" in shown
    assert read_info(tmp_path / "run")["status"] == "failed"


def test_early_stopping_and_averaging_work_from_yaml(config, tmp_path):
    text = config.read_text().replace("max_steps: 9", "max_epochs: 9")
    early = (
        "{class_path: EarlyStopping, init_args: {monitor: val/dice, patience: 1, mode: max, min_delta: 2.0}}"
    )
    average = "{class_path: EMAWeightAveraging, init_args: {decay: 0.9}}"
    config.write_text(text.replace("trainer: {", f"trainer: {{callbacks: [{early}, {average}], "))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 0
    assert read_info(tmp_path / "run")["checkpoints"]["last"]["step"] == 12  # two epochs without a gain of 2
    stored = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert "current_model_state" in stored
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
