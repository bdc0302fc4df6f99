"""Run directories of strangers: what their configurations may name, and how one's own are known."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from segfocal import load
from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.models.checkpoint import read_checkpoint
from segfocal.runs.own import is_own, remember, state_folder
from segfocal.training.trust import check_settings, is_published, published_only

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("attack", ROOT / "experiments/faults/configurations.py")
attack = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(attack)


@pytest.fixture
def stranger(finished_run, tmp_path, monkeypatch):
    """A copy of a run in the hands of another user, whose current folder holds what attacks name."""
    monkeypatch.setenv("SEGFOCAL_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(attack.MARK, str(tmp_path / "mark"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    attack.plant(tmp_path)
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


def forget():
    for name in [name for name in sys.modules if name.split(".")[0] in ("evil", "folder")]:
        del sys.modules[name]


def write(run, text):
    (run / "config.yaml").write_text(text)


def with_network(run, class_path, **arguments):
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["model"]["network"] = {"class_path": class_path, "init_args": arguments}
    write(run, yaml.safe_dump(content))


def test_no_hostile_configuration_runs_code_or_ends_in_a_traceback(stranger, tmp_path):
    content = yaml.safe_load((stranger / "config.yaml").read_text())
    words = {"predict": ["predict", "--images", str(stranger), "--out", str(tmp_path / "out")]}
    words |= {"test": ["test"], "resume": ["fit", "--resume"]}
    wrong, count = [], 0
    for name, of_model, text in attack.attacks(content):
        write(stranger, text)
        for command, (verb, *rest) in words.items():
            if command == "predict" and not of_model:
                continue
            run = [*rest, str(stranger)] if command == "resume" else ["--run", str(stranger), *rest]
            found, said = attack.outcome([verb, *run], tmp_path / "mark")
            count += 1
            if found not in ("refused, with the way out", "ended in another line"):
                wrong.append((command, name, found, said))
    forget()
    assert not wrong
    assert count > 300


@pytest.mark.parametrize("verb", ["test", "validate", "predict", "export", "diagnose", "resume", "load"])
def test_a_class_of_ones_own_is_named_with_the_flag_and_runs_with_it(verb, stranger, tmp_path, capsys):
    with_network(stranger, "evil.Net")
    image = tmp_path / "image.png"
    Image.new("L", (16, 16)).save(image)
    words = {
        "predict": ["--images", str(image), "--out", str(tmp_path / "out")],
        "export": ["--format", "torch", "--out", str(tmp_path / "x.pt2")],
    }.get(verb, [])
    where = ["fit", "--resume", str(stranger)] if verb == "resume" else [verb, "--run", str(stranger)]
    found = []
    for flag in ([], ["--trust"]):
        forget()
        try:
            if verb == "load":
                load(stranger, trust=bool(flag))
            else:
                main([*where, *words, *flag])
        except SegfocalError as error:
            found.append(str(error))
        found.append(capsys.readouterr().err)
        assert Path(os.environ[attack.MARK]).exists() == bool(flag), found
    assert "model.network names 'evil.Net', which is no public class" in found[0]
    assert "--trust" in found[0]
    forget()


def test_a_run_trained_here_needs_no_flag_wherever_it_lies_and_an_edited_one_does(
    config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SEGFOCAL_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(attack.MARK, str(tmp_path / "mark"))
    monkeypatch.syspath_prepend(str(tmp_path))
    attack.plant(tmp_path)
    settings = yaml.safe_load(config.read_text())
    settings["model"]["network"] = {"class_path": "evil.Net"}
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 0
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    shutil.move(tmp_path / "run", tmp_path / "moved")
    for run in (tmp_path / "moved", tmp_path / "copy"):
        assert main(["test", "--run", str(run)]) == 0
        assert main(["fit", "--resume", str(run), "--trainer.max_steps", "10"]) == 0
        assert main(["validate", "--run", str(run)]) == 0
        load(run)
    text = (tmp_path / "copy/config.yaml").read_text()
    write(tmp_path / "copy", text.replace("evil.Net", "folder.evil.Net"))
    capsys.readouterr()
    assert main(["test", "--run", str(tmp_path / "copy")]) == 2
    assert "'folder.evil.Net', which is no public class" in capsys.readouterr().err
    write(tmp_path / "copy", text + "\n")  # one byte
    assert main(["test", "--run", str(tmp_path / "copy")]) == 2
    monkeypatch.setenv("SEGFOCAL_STATE", str(tmp_path / "of another user"))
    assert main(["test", "--run", str(tmp_path / "moved")]) == 2
    forget()


def test_a_resume_that_was_restricted_is_not_remembered(stranger):
    assert main(["fit", "--resume", str(stranger), "--trainer.max_steps", "11"]) == 0
    assert not is_own(stranger / "config.yaml")


def test_a_stranger_with_public_classes_needs_no_flag(stranger, tmp_path):
    for class_path, arguments in (
        ("segfocal.models.SmallUNet", {"channels": [4, 8], "dropout": 0.2}),
        ("segfocal.models.small.SmallUNet", {"channels": [4, 8], "dropout": 0.2}),
    ):
        with_network(stranger, class_path, in_channels=1, num_classes=1, **arguments)
        assert main(["test", "--run", str(stranger)]) == 0
        load(stranger)


def test_a_history_names_no_other_classes(stranger, tmp_path):
    history = stranger / "config_history.json"
    history.write_text(history.read_text().replace("segfocal.models.SmallUNet", "evil.Net"))
    remember(stranger / "config.yaml")
    assert main(["fit", "--resume", str(stranger), "--trainer.max_steps", "11"]) in (0, 2)
    assert not Path(os.environ[attack.MARK]).exists()


def test_a_report_builds_nothing(stranger, tmp_path):
    content = yaml.safe_load((stranger / "config.yaml").read_text())
    evil = {"class_path": "evil.Net"}
    content["model"]["network"] = content["model"]["loss"] = content["data"] = evil
    write(stranger, yaml.safe_dump(content))
    for words in (["--out", str(tmp_path / "page")], ["--terminal"]):
        assert main(["report", str(tmp_path / "run"), *words]) == 0
    assert not Path(os.environ[attack.MARK]).exists()


PUBLIC = [
    "segfocal.losses.FocalLoss",
    "segfocal.losses.compat.monai.DiceLoss",
    "segfocal.data.NiftiData",
    "segfocal.data.volumes.data.NiftiData",
    "segmentation_models_pytorch.Unet",
    "segmentation_models_pytorch.decoders.unet.model.Unet",
    "segmentation_models_pytorch.losses.DiceLoss",
    "monai.networks.nets.SwinUNETR",
    "monai.networks.nets.swin_unetr.SwinUNETR",
    "monai.losses.DiceCELoss",
    "timm.models.ResNet",
    "torch.nn.CrossEntropyLoss",
    "torch.nn.modules.loss.CrossEntropyLoss",
    "torchvision.models.segmentation.fcn_resnet50",
    "torchvision.datasets.VOCSegmentation",
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.loggers.CSVLogger",
]
PRIVATE = [
    "torch.nn.functional.relu",
    "torch.load",
    "torch.nn.modules.module.os.system",
    "torch.nn.Module.__class__",
    "monai.networks.nets.torch.load",
    "monai.networks.utils.pickle.loads",
    "monai.losses.PerceptualLoss",
    "monai.losses.perceptual.PerceptualLoss",
    "torchvision.datasets.LSUN",
    "torchvision.datasets.utils.download_url",
    "timm.create_model",
    "segfocal.models.convert_trusted",
    "pytorch_lightning.callbacks.LambdaCallback",
    "segmentation_models_pytorch.from_pretrained",
    "os.system",
    "FocalLoss",
    "torch.nn",
    "",
]


@pytest.mark.parametrize("path", PUBLIC)
def test_public_classes_are_known_by_every_name(path):
    assert is_published(path)


@pytest.mark.parametrize("path", PRIVATE)
def test_other_names_are_not(path):
    assert not is_published(path)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*/*.yaml")), ids=lambda file: file.stem)
def test_our_own_configurations_name_public_classes(file):
    content = yaml.safe_load(file.read_text())
    settings = {key: content.get(key) for key in ("model", "data", "trainer")}
    if "://" in file.read_text().partition("model:")[2]:
        pytest.skip("reports to a server")
    check_settings(settings)


def test_the_parser_is_as_it_was_after_a_restricted_one():
    from jsonargparse._common import parsing_settings

    before = dict(parsing_settings)
    with published_only(True):
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
        assert parsing_settings != before
    assert parsing_settings == before
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_where_nothing_can_be_noted_one_line_says_so(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGFOCAL_STATE", str(tmp_path / "file" / "state"))
    (tmp_path / "config.yaml").write_text("a: 1")
    remember(tmp_path / "config.yaml")
    (line,) = capsys.readouterr().err.splitlines()
    assert "need --trust" in line
    assert not is_own(tmp_path / "config.yaml")
    monkeypatch.delenv("SEGFOCAL_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "segfocal"


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_refused_pickle_is_named_without_advice_to_load_it(tmp_path):
    torch.save({"state_dict": {}, "x": Runs()}, tmp_path / "last.ckpt")
    with pytest.raises(SegfocalError) as raised:
        read_checkpoint(tmp_path / "last.ckpt")
    said = str(raised.value)
    assert "posix.system" in said
    assert "\n" not in said
    assert not any(word in said for word in ("weights_only", "torch.load", "add_safe_globals", "convert"))


@pytest.mark.parametrize("kind", ["bomb", "script", "another zip", "cut"])
def test_own_checkpoints_pass_the_check_of_foreign_archives(kind, tmp_path):
    import zipfile

    path = tmp_path / "best.ckpt"
    if kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", b"0" * (50 << 20))
    elif kind == "script":
        torch.jit.script(torch.nn.Identity()).save(str(path))
    elif kind == "another zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.txt", "x")
    else:
        torch.save({"state_dict": {"x": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SegfocalError) as raised:
        read_checkpoint(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_report_of_a_growing_configuration_ends_soon(stranger, tmp_path):
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 14)]
    bomb = "\n".join(["a0: &a0 [x, x, x, x]", *levels, (stranger / "config.yaml").read_text()])
    write(stranger, bomb)
    assert main(["report", str(stranger), "--out", str(tmp_path / "page")]) == 0
