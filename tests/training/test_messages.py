"""One short message per wrong configuration; a test per form that the parser's complaints take."""

import inspect
import os
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning_fabric.utilities.exceptions import MisconfigurationException

import segfocal.data
import segfocal.losses
import segfocal.models
from segfocal.__main__ import main
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError
from segfocal.losses.compat import kornia, mmseg, monai, smp
from segfocal.models import TakeOutput
from segfocal.training import penalties
from segfocal.training.arguments import config_files, lift_nulls, new_run_dir, take_option, words_of_run
from segfocal.training.checkpoints import RunCheckpoints
from segfocal.training.messages import explain, explain_failure, losses
from segfocal.training.phases.settings import Finetune
from segfocal.training.task import SegmentationTask

KNOWN = ["model.network", "model.loss", "model.learning_rate", "data", "trainer.max_steps"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Group 'model' does not accept option 'netwrk'",
            "no key 'model.netwrk'. Did you mean 'model.network'?",
        ),
        ("Subcommand 'fit' does not accept option 'modl.loss'", "no key 'modl'. Did you mean 'model'?"),
        ("unrecognized arguments: --trainer.max_step 3", "Did you mean 'trainer.max_steps'?"),
        ("Option 'trianer.max_steps' is not accepted", "no key 'trianer'. Did you mean 'trainer'?"),
        (
            "Parser key \"data\":\n  Problem with given class_path 'segfocal.data.FolderData':\n"
            "    Option 'patches_per_epok' is not accepted",
            "has no argument 'patches_per_epok'. Did you mean 'patches_per_epoch'?",
        ),
        (
            "Parser key \"model.loss\":\n  Problem with given class_path 'segfocal.losses.FocalLoss':\n"
            "    Option 'gama' is not accepted",
            "segfocal.losses.FocalLoss (model.loss) has no argument 'gama'. Did you mean 'gamma'?",
        ),
        (
            'Parser key "model.loss":\n  - Expected a path but x either not accessible or invalid\n'
            "  - Problem with given class_path 'segfocal.losses.Focall':\n    no attribute 'Focall'",
            "There is no loss 'segfocal.losses.Focall'. Did you mean 'segfocal.losses.FocalLoss'? Known: ",
        ),
        (
            "Parser key \"model.network\":\n  - Problem with given class_path 'nowhere.Net':\n"
            "    No module named 'nowhere'",
            "model.network: there is no class 'nowhere.Net'. The package 'nowhere' is not installed.",
        ),
        (
            'Parser key "model.changes":\n  - Expected a path but x either not accessible or invalid\n'
            "  - Import path does not correspond to a subclass of Change\n  - Expected a <class 'NoneType'>\n"
            "  Given value: segfocal.models.SmallUNet",
            "model.changes must be a Change, got 'segfocal.models.SmallUNet'.",
        ),
        (
            "Parser key \"model.penalties\":\n  - Expected a <class 'NoneType'>\n"
            "  - Problem with given class_path 'segfocal.training.penalties.L1':\n"
            "      the following arguments are required: strength",
            "segfocal.training.penalties.L1 (model.penalties) needs the argument strength.",
        ),
        (
            "Parser key \"model.schedule\":\n  Expected a typing.Literal['cosine', 'poly']. Got value: cosin",
            "model.schedule must be 'cosine' or 'poly', got 'cosin'. Did you mean 'cosine'?",
        ),
        (
            "Parser key \"trainer.max_steps\":\n  Expected a <class 'int'>. Got value: 1.5",
            "trainer.max_steps must be int, got '1.5'.",
        ),
        (
            "Parser key \"data\":\n  - Problem with given class_path 'segfocal.data.FolderData':\n"
            '      Parser key "split":\n'
            "        - Expected a path but folders either not accessible or invalid\n"
            "        Subtypes: [<class 'segfocal.data.splits.Split'>, <class 'NoneType'>]\n"
            "          - Expected a dot import path string: folders\n          Given value: folders",
            "data.split must be null or a mapping with some of the keys train, val, test, group, val_share, "
            "seed, test_folds, test_fold, val_folds, val_fold, train_fraction, stratify, got 'folders'. "
            "In a YAML file: train: ... below split; as an option: --data.init_args.split.train ...",
        ),
        (
            'Parser key "model.loss":\n  - Expected a dot import path string: 3',
            "model.loss must be a class_path and its init_args, got '3'.",
        ),
        (
            'Parser key "model.network":\n  - Expected a dot import path string: SmallUnet',
            "there is no class 'SmallUnet'. Did you mean 'segfocal.models.SmallUNet'?",
        ),
        ("while parsing a block mapping", "while parsing a block mapping"),
    ],
)
def test_complaints_become_one_sentence(said, shown):
    message = str(explain(said, known=KNOWN))
    assert shown in message
    assert "\n" not in message


@pytest.mark.parametrize("null", ["null", "~", "Null"])
@pytest.mark.parametrize("form", ["{0} {1}", "{0}={1}"])
@pytest.mark.parametrize(
    ("option", "lifted"),
    [
        ("--data.init_args.split.val", "--data.init_args.split={val: null}"),
        ("--data.split.val", "--data.split={val: null}"),
        (
            "--model.network.init_args.inner.init_args.x",
            "--model.network.init_args.inner={init_args: {x: null}}",
        ),
        ("--data.init_args.colors", None),
        ("--model.head_prior", None),
        ("--trainer.logger", None),
    ],
)
def test_null_is_lifted_out_of_nested_options(option, lifted, form, null):
    words = form.format(option, null).split()
    assert lift_nulls(["--a", "null", *words, "b"]) == ["--a", "null", *([lifted] if lifted else words), "b"]


def test_losses_are_those_that_can_be_made():
    assert {"FocalLoss", "DiceLoss", "CompoundLoss"} <= set(losses())
    assert "SegmentationLoss" not in losses()


def test_option_is_taken_in_both_forms():
    assert take_option(["a", "--run", "x"], "--run") == ("x", ["a"])
    assert take_option(["--run=x", "a"], "--run") == ("x", ["a"])
    assert take_option(["a"], "--run") == (None, ["a"])


@pytest.mark.parametrize("argv", [["--run"], ["--run", "--config"], ["--run", "a", "--run", "b"]])
def test_option_without_one_value_is_refused(argv):
    with pytest.raises(SegfocalError, match="--run"):
        take_option(argv, "--run")


def test_config_files_are_found_in_every_form():
    assert config_files(["--config", "a", "-c", "b", "--config=c", "--other", "d"]) == ["a", "b", "c"]


def test_unnamed_runs_never_collide(tmp_path):
    first = new_run_dir(None, config="configs/x.yaml", base=tmp_path)
    second = new_run_dir(None, config="configs/x.yaml", base=tmp_path)
    assert first != second
    assert first.parent == second.parent == tmp_path / "x"


def test_empty_folder_may_be_named(tmp_path):
    assert new_run_dir(str(tmp_path), config="x.yaml") == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(SegfocalError, match="holds file"):
        new_run_dir(str(tmp_path), config="x.yaml")
    with pytest.raises(SegfocalError, match="got the file"):
        new_run_dir(str(tmp_path / "file"), config="x.yaml")


@pytest.mark.parametrize(
    ("error", "shown", "code"),
    [
        (MisconfigurationException("SWA with\n a float is not supported."), "SWA with a float", 2),
        (torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), "patch_size", 2),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes"), "batch_size", 2),
        (MemoryError("Unable to allocate 3. TiB for an array"), "patch_size", 2),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "batch_size", 2),
        (RuntimeError("std::bad_alloc"), "batch_size", 2),
        (
            RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed. "),
            "a loader worker was killed by the signal Killed (out of memory?). Lower --data.init_args.num",
            1,
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 17, 18) exited unexpectedly"),
            "a loader worker was killed (",
            1,
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 17) is killed by signal: Bus error. It is possible that dataloader's "
                "workers are out of shared memory. Please try to raise your shared memory limit."
            ),
            "by the signal Bus error: shared memory (/dev/shm) or open files ran out",
            1,
        ),
        (ModuleNotFoundError("No module named 'wandb'"), "'wandb'", 2),
        (ZeroDivisionError("integer modulo by zero"), "ZeroDivisionError: integer", 1),
        (
            RuntimeError("Caught\nOriginal Traceback (most\n  File x\nKeyError: 'a'"),
            "RuntimeError: KeyError",
            1,
        ),
        (KeyError(), "KeyError: no words", 1),
    ],
)
def test_what_other_packages_raise_is_one_line(error, shown, code):
    line, found = explain_failure(error)
    assert shown in line
    assert "\n" not in line
    assert line.endswith("SEGFOCAL_DEBUG=1 shows the traceback.")
    assert found == code


CALLBACKS = {
    "StochasticWeightAveraging": ({"swa_lrs": 0.01, "device": None}, "swa_epoch_start", 2),
    "ModelCheckpoint": ({"monitor": "val/dicee", "save_top_k": 1}, "could not find the monitored key", 2),
    "EarlyStopping": ({"monitor": "nope"}, "metric `nope` which is not available", 1),
    "LearningRateFinder": ({}, "LearningRateFinder", 2),
    "BatchSizeFinder": ({}, "data.init_args.batch_size", 2),
    "BackboneFinetuning": ({}, "segfocal finetune with finetune.phases", 2),
    "BaseFinetuning": ({}, "segfocal finetune with finetune.phases", 2),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_that_do_not_fit_end_in_one_line(name, config, tmp_path, capsys):
    arguments, shown, code = CALLBACKS[name]
    given = {"class_path": f"pytorch_lightning.callbacks.{name}", "init_args": arguments}
    settings = yaml.safe_load(config.read_text())
    settings["trainer"] |= {"callbacks": [given], "max_steps": 6}
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert shown in lines[-1]
    assert not any(line.startswith("Traceback") for line in lines)


@pytest.mark.parametrize(
    ("name", "arguments", "kept"),
    [
        ("Timer", {"duration": "00:01:00:00"}, {"duration": "00:01:00:00", "interval": "step"}),
        ("StochasticWeightAveraging", {"swa_lrs": 0.01, "swa_epoch_start": 1}, {"device": "cpu"}),
        (
            "ModelPruning",
            {"pruning_fn": "l1_unstructured", "amount": 0.5, "make_pruning_permanent": False},
            {"pruning_fn": "l1_unstructured"},
        ),
    ],
)
# said by Lightning: its average wants schedules by epoch
@pytest.mark.filterwarnings("ignore:SWA is currently", "ignore:Swapping scheduler")
def test_defaults_of_callbacks_can_be_written_and_read_again(name, arguments, kept, config, tmp_path):
    given = {"class_path": f"pytorch_lightning.callbacks.{name}", "init_args": arguments}
    settings = yaml.safe_load(config.read_text())
    settings["trainer"] = {"accelerator": "cpu", "callbacks": [given], "max_epochs": 1}
    config.write_text(yaml.safe_dump(settings))
    run = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--run", str(run)]) == 0
    (written,) = yaml.safe_load((run / "config.yaml").read_text())["trainer"]["callbacks"]
    assert kept.items() <= written["init_args"].items()
    assert main(["test", "--run", str(run)]) == 0


# said by Lightning: its average wants schedules by epoch
@pytest.mark.filterwarnings("ignore:SWA is currently", "ignore:Swapping scheduler")
def test_a_finished_run_with_averaged_weights_goes_on(config, tmp_path, capsys):
    averaging = "pytorch_lightning.callbacks.StochasticWeightAveraging"
    given = {"class_path": averaging, "init_args": {"swa_lrs": 0.01, "swa_epoch_start": 1}}
    settings = yaml.safe_load(config.read_text())
    settings["trainer"] = {"accelerator": "cpu", "callbacks": [given], "max_epochs": 2}
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 0
    assert main(["fit", "--resume", str(tmp_path / "run"), "--trainer.max_epochs", "4"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    steps = [tuple(map(int, line[3].split("/"))) for line in shown]
    assert all(done <= whole for done, whole in steps), steps
    assert steps[-1][0] > steps[0][1] / 2  # the second fit went on


def _unions():
    """Every argument of a configuration that takes a number or something else."""
    kinds = [SegmentationTask, RunCheckpoints, Finetune, Split, TakeOutput]
    for module in (segfocal.data, segfocal.losses, segfocal.models, penalties, monai, smp, kornia, mmseg):
        names = [name for name in dir(module) if name[0].isupper()]
        kinds += [kind for kind in (getattr(module, name) for name in names) if inspect.isclass(kind)]
    for kind in dict.fromkeys(kinds):
        for name, hint in typing.get_type_hints(kind.__init__).items():
            members = set(typing.get_args(hint)) - {type(None)}
            if members & {int, float} and len(members) > 1:
                yield pytest.param(hint, float in members, id=f"{kind.__module__}.{kind.__name__}.{name}")


@pytest.mark.parametrize(("hint", "fractions"), list(_unions()))
def test_a_number_on_the_command_line_is_a_number_where_words_are_taken_too(hint, fractions):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--x", type=hint)
    for word in ("3", "0.001", "1e-3", "5.0E-4", ".5") if fractions else ("3",):
        found = parser.parse_args(["--x", word]).x
        assert found == float(word)
        assert not isinstance(found, str)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("data: {init_args: {split: {train: 0.5, seed: 3}}}", True),
        ("data: {init_args: {split: {train: 0.5, stratify: true}}}", False),
        ("data: {init_args: {split: null}}", False),
        ("data: {init_args: {}}", False),
        ("[", False),
    ],
)
def test_runs_from_before_stratify_keep_the_draw_of_their_seed(text, kept, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    words = words_of_run(tmp_path / "config.yaml")
    added = ["--data.init_args.split.stratify", "false"] if kept else []
    assert words == ["--config", str(tmp_path / "config.yaml"), *added]


@pytest.mark.parametrize(
    ("network", "shown"),
    [
        ({"class_path": "torch.nn.Identity"}, "Identity has no weights, so there is nothing to train"),
        (
            {"class_path": "monai.networks.nets.FlexibleUNet", "init_args": {"backbone": "posix.system"}},
            "FlexibleUNet cannot be built: ",
        ),
        (
            {"class_path": "torch.nn.Conv2d", "init_args": {"groups": 3, "kernel_size": 1}},
            "Conv2d cannot be built: in_channels must be divisible by groups",
        ),
    ],
)
def test_networks_that_cannot_be_built_or_trained_are_named_in_one_line(
    network, shown, config, tmp_path, capsys
):
    settings = yaml.safe_load(config.read_text())
    sizes = {"in_channels": 1, "out_channels": 1}
    if network["class_path"] != "torch.nn.Identity":
        network = {**network, "init_args": {**network["init_args"], **sizes}}
    settings["model"]["network"] = network
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.strip()]
    assert shown in line


def test_an_output_without_gradient_is_explained():
    with pytest.raises(RuntimeError) as raised:
        torch.zeros(1).sum().backward()
    line, code = explain_failure(raised.value)
    assert (code, "no_grad" in line) == (2, True)


@pytest.mark.parametrize(("axes", "said"), [(3, "works on 3 spatial axes, but the data have 2")])
def test_a_network_for_volumes_meets_images(axes, said, config, tmp_path, capsys):
    settings = yaml.safe_load(config.read_text())
    sizes = {"spatial_dims": axes, "in_channels": 1, "out_channels": 1, "channels": [4, 8], "strides": [2]}
    settings["model"]["network"] = {"class_path": "monai.networks.nets.UNet", "init_args": sizes}
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err


def test_a_function_in_the_place_of_a_network_is_named(config, tmp_path, capsys):
    words = ["--model.network.class_path", "torch.nn.functional.relu"]
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run"), *words]) == 2
    assert "model.network must be a Module, got 'torch.nn.functional.relu'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["EarlyStopping", "ModelCheckpoint"])
@pytest.mark.parametrize(("monitor", "mode"), [("val/dice", "min"), ("val/iou", "min"), ("val/loss", "max")])
def test_a_callback_that_takes_worse_for_better_is_refused(name, monitor, mode, config, tmp_path, capsys):
    given = {"class_path": f"pytorch_lightning.callbacks.{name}", "init_args": {"monitor": monitor}}
    if mode == "max" or name == "ModelCheckpoint":  # min is the default
        given["init_args"]["mode"] = mode
    settings = yaml.safe_load(config.read_text())
    settings["trainer"]["callbacks"] = [given]
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 2
    assert f"with mode {mode}, but the better one" in capsys.readouterr().err


def _children(process):
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="loader processes are found in /proc")
def test_a_killed_loader_worker_ends_the_training_in_one_line(tmp_path):
    words = [
        sys.executable,
        "-m",
        "segfocal",
        "fit",
        "--config",
        "configs/train/demo.yaml",
        "--run",
        str(tmp_path),
    ]
    words += [
        "--trainer.accelerator",
        "cpu",
        "--trainer.max_steps",
        "4000",
        "--data.init_args.num_workers",
        "2",
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            workers: list[int] = []
            while process.poll() is None and not (workers and (tmp_path / "metrics.csv").exists()):
                time.sleep(0.2)
                workers = _children(process.pid)
            os.kill(workers[0], signal.SIGKILL)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1
    last = [line for line in said.splitlines() if line.startswith("segfocal: error:")]
    assert len(last) == 1
    assert "a loader worker was killed" in last[0]
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (
            {"callbacks": [{"class_path": "Timer", "init_args": {"interval": "x"}}]},
            "Unsupported parameter value `Timer(interval=x)`",
        ),
        ({"logger": [{"class_path": "pytorch_lightning.loggers.CometLogger"}]}, "comet"),
    ],
)
def test_what_a_callback_or_logger_refuses_leads_the_message(settings, shown, config, tmp_path, capsys):
    content = yaml.safe_load(config.read_text())
    content["trainer"] |= settings
    config.write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.strip()]
    assert shown in line
    assert "Subtypes:" not in line


def test_every_logging_step_of_the_trainer_is_taken(config, tmp_path):
    words = ["--trainer.log_every_n_steps", "0", "--trainer.precision", "bf16-true"]
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run"), *words]) == 0
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
