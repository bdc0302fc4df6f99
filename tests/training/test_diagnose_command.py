"""``segfocal diagnose`` on runs and checkpoints: what it prints, writes and refuses."""

import csv
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from pytorch_lightning import Trainer

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss
from segfocal.models import SmallUNet
from segfocal.training.diagnosis.gather import Gathering
from segfocal.training.diagnosis.report import diagnose as work_out
from segfocal.training.task import SegmentationTask


def report(capsys, *words):
    assert main(["diagnose", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_help_is_quick_and_free_of_torch():
    code = "import sys; from segfocal.__main__ import main\ntry: main(['diagnose', '--help'])\n"
    code += "except SystemExit: pass\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--from CHECKPOINT" in done.stdout
    assert done.stdout.endswith("False\n")


def test_a_run_is_diagnosed_from_its_folder(finished_run, capsys, tmp_path):
    files = sorted(path for path in finished_run.rglob("*"))
    assert main(["diagnose", "--run", str(finished_run), "--out", str(tmp_path / "page.html")]) == 0
    page = capsys.readouterr().out
    for word in ("FocalDiceLoss", "2 images, 2,048 pixels", "0 (CE)", "knee at 0.75", "AUPR", "focusing: "):
        assert word in page
    html = (tmp_path / "page.html").read_text()
    assert "focusing: " in html
    assert not re.search(r'(src|href)="', html)
    assert sorted(path for path in finished_run.rglob("*")) == files  # it only reads


def test_json_holds_every_number(finished_run, capsys, tmp_path):
    out = tmp_path / "found.json"
    found = report(capsys, "--run", finished_run, "--knee", "0.6", "--out", out)
    assert json.loads(out.read_text()) == found
    assert [each["knee"] for each in found["knees"]] == [0.6, 0.75, 0.5, 0.9]
    assert [each["gamma"] for each in found["losses"] if each["knee"] is None] == [0, 0.5, 1, 2, 3, 4, 5]
    assert {each["knee"] for each in found["losses"]} == {None, 0.6}
    assert found["patches_on_foreground"] == 0.5
    assert found["verdict"]["word"] in ("likely", "unlikely", "cannot tell")


def test_calibration_is_that_of_validate(finished_run, capsys, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    found = report(capsys, "--run", run)
    assert main(["validate", "--run", str(run)]) == 0
    with (run / "metrics.csv").open() as file:
        values = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    assert found["calibration"]["ece"] == pytest.approx(values["val/ece"], rel=1e-5)
    assert found["calibration"]["aupr"] == pytest.approx(values["val/aupr"], rel=1e-5)
    assert found["calibration"]["temperature"] == pytest.approx(values["val/temperature"], rel=1e-4)


def test_a_checkpoint_with_a_configuration_gives_the_same(finished_run, capsys, tmp_path):
    by_run = report(capsys, "--run", finished_run, "--checkpoint", "last")
    last = finished_run / "checkpoints" / "last.ckpt"
    weights = {
        name.removeprefix("network."): value
        for name, value in torch.load(last, weights_only=True)["state_dict"].items()
        if name.startswith("network.")
    }
    torch.save({"model": weights}, tmp_path / "anyones.pth")
    for source in (last, tmp_path / "anyones.pth"):
        found = report(capsys, "--config", finished_run / "config.yaml", "--from", source)
        for part in ("distribution", "losses", "facts", "verdict"):
            assert found[part] == by_run[part]


def test_overrides_choose_other_images(finished_run, capsys):
    found = report(capsys, "--run", finished_run, "--data.init_args.val_images", "3")
    assert found["images"] == 3


def refusal(capsys, *words):
    assert main(["diagnose", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_wrong_words_are_named(finished_run, capsys, tmp_path):
    config = finished_run / "config.yaml"
    assert "needs --run DIR, or --config" in refusal(capsys)
    assert "not both" in refusal(capsys, "--run", finished_run, "--from", "x.pth", "--config", config)
    assert "needs --config" in refusal(capsys, "--from", "x.pth")
    assert "found nothing" in refusal(capsys, "--from", tmp_path / "x.pth", "--config", config)
    assert "--knee must lie in" in refusal(capsys, "--run", finished_run, "--knee", "0.3")
    assert "--out must end in" in refusal(capsys, "--run", finished_run, "--out", "page.pdf")
    assert "no such folder" in refusal(capsys, "--run", tmp_path / "nowhere")
    assert "did you mean" in refusal(capsys, "--run", finished_run, "--checkpont", "last").lower()


def test_data_without_validation_images_are_named(finished_run, capsys):
    said = refusal(capsys, "--run", finished_run, "--data.init_args.val_images", "0")
    assert "no val images" in said


def test_weights_of_another_network_are_refused(finished_run, capsys, tmp_path):
    torch.save(SmallUNet(1, 1, channels=(4, 12)).state_dict(), tmp_path / "wider.pth")
    wrong = refusal(capsys, "--config", finished_run / "config.yaml", "--from", tmp_path / "wider.pth")
    assert "re-initialised" in wrong or "match" in wrong
    torch.save(SmallUNet(3, 1, channels=(4, 8), dropout=0.2).state_dict(), tmp_path / "colours.pth")
    colours = refusal(capsys, "--config", finished_run / "config.yaml", "--from", tmp_path / "colours.pth")
    assert "are not those of this network" in colours
    other = ["--model.network.init_args.channels", "[4, 12]"]
    assert "do not fit SmallUNet" in refusal(capsys, "--run", finished_run, *other)


def test_weights_that_diverged_are_named(finished_run, capsys, tmp_path):
    network = SmallUNet(1, 1, channels=(4, 8), dropout=0.2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1e30)
    torch.save(network.state_dict(), tmp_path / "diverged.pth")
    said = refusal(capsys, "--config", finished_run / "config.yaml", "--from", tmp_path / "diverged.pth")
    assert "not finite" in said


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_task_and_images_of_several_sizes(memory_data, task):
    classes = {"binary": 1, "multiclass": 3, "multilabel": 2}[task]
    check(SmallUNet(1, classes, channels=(4, 8)), memory_data(task=task))


def test_volumes(volume_data):
    check(SmallUNet(1, 1, channels=(4, 8), spatial_dims=3), volume_data())


def check(network, data):
    loss = CrossEntropyLoss(data.task, ignore_index=data.ignore_index)
    task = SegmentationTask(network, loss)
    data.setup("validate")
    task.prepare(data, "validate")
    task.fitting = found = Gathering(data.task, data.class_names, ignore_index=data.ignore_index)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    Trainer(**options, enable_model_summary=False).validate(task, datamodule=data, verbose=False)
    made = work_out(found, task=data.task, class_names=data.class_names, loss=loss, knees=[0.75])
    pixels = sum(int((batch["mask"] != 255).sum()) for batch in data.val_dataloader())
    assert made["elements"] == pixels
    parts = made["losses"][0]["gradient"]
    assert parts["background"] + parts["foreground"] == pytest.approx(1.0)
    assert sum(parts["classes"].values()) == pytest.approx(parts["foreground"])
    yaml.safe_dump(made)  # plain values throughout


def test_validation_without_foreground_is_named(memory_data):
    data = memory_data()
    loss = CrossEntropyLoss("binary", ignore_index=255)
    found = Gathering("binary", data.class_names, ignore_index=255)
    found.update(torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), ["empty"])
    with pytest.raises(SegfocalError, match="no pixel of foreground"):
        work_out(found, task="binary", class_names=data.class_names, loss=loss, knees=[0.75])
