"""Give run directories with hostile configurations to the commands that build from them.

    python experiments/faults/configurations.py [--work DIR]

Each configuration is that of a sound, trained run in which one place was changed, as a stranger could before
handing the folder on. What it names writes a mark when it is imported or called. The table counts, for each
command, the configurations that left a mark, were refused in one line, or ended otherwise.
"""

import argparse
import contextlib
import copy
import io
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MARK = "SEGFOCAL_ATTACK_MARK"
MODULE = '''"""Leaves a mark when it is imported, called or built."""
import os
from torch import nn
def mark(*_, **__):
    with open(os.environ["SEGFOCAL_ATTACK_MARK"], "a") as file:
        file.write("x")
mark()
class Net(nn.Conv2d):
    def __init__(self, in_channels: int = 1, num_classes: int = 1, channels: list = None):
        mark()
        super().__init__(in_channels, num_classes, 1)
def build(in_channels: int = 1) -> nn.Module:
    return Net(in_channels)
'''
SMALL = {"class_path": "segfocal.models.SmallUNet", "init_args": {"in_channels": 1, "num_classes": 1}}
SMP = "segmentation_models_pytorch.Unet"
TINY = {"encoder_name": "resnet18", "in_channels": 1, "classes": 1, "encoder_weights": None}
TAKE = "segfocal.models.TakeOutput"


def networks() -> Iterator[tuple[str, Any]]:
    """Yield what stands in the place of a network, and its name."""
    paths = [
        "evil.Net", "evil.build", "folder.evil.Net", "os.system", "posix.system", "subprocess.Popen",
        "builtins.eval", "builtins.exec", "torch.nn.modules.module.os.system", "torch.hub.load", "torch.load",
        "torch.jit.load", "torch.package.PackageImporter", "torch.utils.cpp_extension.load_inline",
        "torch.nn.modules.module.Module.__call__", "monai.networks.utils.torch.load", "monai.bundle.load",
        "monai.bundle.ConfigParser", "monai.networks.nets.evil.Net", "monai.transforms.Lambda",
        "monai.apps.download_and_extract", "monai.losses.PerceptualLoss", "segfocal.models.downloads.socket",
        "segfocal.models.convert_trusted", "segfocal.models.weights_convert.convert_trusted",
        "segfocal.training.verbs.predict.predict", "segfocal.data.foreign.making.make_dataset",
        "segmentation_models_pytorch.from_pretrained", "timm.create_model", "timm.models.load_checkpoint",
        "torchvision.datasets.utils.download_url", "torchvision.models.get_model", "albumentations.from_dict",
        "albumentations.Lambda", "pytorch_lightning.Trainer", "pytorch_lightning.cli.LightningCLI",
        "jsonargparse.set_parsing_settings", "jsonargparse.CLI", "functools.partial", "operator.methodcaller",
        "importlib.import_module", "runpy.run_path", "pickle.loads", "yaml.unsafe_load", "code.interact",
        "multiprocessing.Process", "webbrowser.open", "ctypes.CDLL", "http.server.HTTPServer",
        "TORCH.nn.Conv2d", "torch.nn..Conv2d", " evil.Net", "evil.Net ", "Net", "system", "",
    ]  # fmt: skip
    for path in paths:
        yield f"network {path!r}", {"class_path": path, "init_args": {}}
    yield "network, bare word", "evil.Net"
    yield "network, file of settings", "inner.yaml"
    yield "network, with arguments", {"class_path": "os.system", "init_args": {"command": "touch mark"}}
    yield "network, class_path a list", {"class_path": ["evil.Net"]}
    yield "network, class_path in a mapping", {"class_path": {"class_path": "evil.Net"}}
    yield "network, further arguments", {"class_path": "evil.Net", "dict_kwargs": {"a": 1}}
    yield "network, file of any name", "inner.txt"
    yield "inside another, file of any name", {"class_path": TAKE, "init_args": {"network": "inner.txt"}}
    yield "inside another", {"class_path": TAKE, "init_args": {"network": {"class_path": "evil.Net"}}}
    yield "inside another, bare word", {"class_path": TAKE, "init_args": {"network": "evil.Net"}}
    yield "inside another, file", {"class_path": TAKE, "init_args": {"network": "inner.yaml"}}
    nested = {"class_path": TAKE, "init_args": {"network": {"class_path": TAKE, "init_args": {}}}}
    nested["init_args"]["network"]["init_args"]["network"] = {"class_path": "evil.Net"}
    yield "two levels inside", nested
    for value in ("os.system", "evil.mark", "torch.load", "torch.hub.load", "builtins.exec"):
        yield f"activation {value}", {"class_path": SMP, "init_args": {**TINY, "activation": value}}
    called = {"class_path": "functools.partial", "init_args": {"func": "evil.mark"}}
    yield "activation, a class", {"class_path": SMP, "init_args": {**TINY, "activation": called}}
    yield "further arguments, a class", {"class_path": SMP, "init_args": TINY, "dict_kwargs": {"x": called}}
    norm = {"class_path": "torchvision.models.segmentation.FCN", "init_args": {"backbone": "evil.Net"}}
    yield "an argument that is a module", norm
    hub = {**TINY, "encoder_name": "tu-HF-Hub:someone/evil"}
    yield "an encoder of the hub", {"class_path": SMP, "init_args": hub}
    local = {**TINY, "encoder_name": "tu-local-dir:evil_model"}
    yield "an encoder of a folder", {"class_path": SMP, "init_args": local}
    loaded = {"checkpoint_path": "evil.pth"}
    yield "a pickle in further arguments", {"class_path": SMP, "init_args": hub, "dict_kwargs": loaded}


def elsewhere() -> Iterator[tuple[str, list[str], Any]]:
    """Yield name, the keys that lead to the place, and what stands there."""
    evil = {"class_path": "evil.Net"}
    yield "loss", ["model", "loss"], evil
    yield "loss, bare word", ["model", "loss"], "evil.Net"
    yield "loss os.system", ["model", "loss"], {"class_path": "os.system", "init_args": {"command": "true"}}
    deep = {"class_path": "segfocal.losses.DeepSupervision", "init_args": {"loss": evil}}
    yield "loss inside a loss", ["model", "loss"], deep
    losses = {"class_path": "segfocal.losses.CompoundLoss", "init_args": {"losses": [evil]}}
    yield "loss in a list", ["model", "loss"], losses
    perceptual = {"class_path": "monai.losses.PerceptualLoss", "init_args": {"spatial_dims": 2}}
    yield "loss that fetches code", ["model", "loss"], perceptual
    yield "change", ["model", "changes"], [evil]
    yield "penalty", ["model", "penalties"], [evil]


def of_data() -> Iterator[tuple[str, list[str], Any]]:
    """Yield what only commands that read data or train build."""
    evil = {"class_path": "evil.Net"}
    yield "data", ["data"], evil
    yield "data, bare word", ["data"], "evil.Net"
    foreign = {"class_path": "segfocal.data.ForeignData", "init_args": {"task": "binary", "datasets": {}}}
    for name, given in (
        ("data set", evil),
        ("data set os.system", {"class_path": "os.system", "init_args": {"command": "true"}}),
        ("data set that unpickles", {"class_path": "torchvision.datasets.LSUN", "init_args": {"root": "."}}),
        ("data set of any loader", {"class_path": "torchvision.datasets.DatasetFolder", "init_args": {}}),
    ):
        spec = copy.deepcopy(foreign)
        spec["init_args"]["datasets"] = {"train": given, "test": given}
        yield name, ["data"], spec
    transform = {"class_path": "torchvision.datasets.VOCSegmentation", "init_args": {"transform": evil}}
    spec = copy.deepcopy(foreign)
    spec["init_args"]["datasets"] = {"train": transform, "test": transform}
    yield "argument of a data set", ["data"], spec
    volumes = {"class_path": "segfocal.data.NiftiData", "init_args": {"datasets": {"train": evil}}}
    yield "data set of volumes", ["data"], volumes
    for name in ("evil.Net", "os.system", "albumentations.Lambda", "monai_transforms.Lambda"):
        yield f"augmentation {name}", ["data", "init_args", "augment"], [{"class_path": name}]
    inner = [{"class_path": "OneOf", "init_args": {"transforms": [evil]}}]
    yield "augmentation inside another", ["data", "init_args", "augment"], inner
    for name in ("evil.Net", "pytorch_lightning.callbacks.LambdaCallback", "os.system"):
        yield f"callback {name}", ["trainer", "callbacks"], [{"class_path": name}]
    yield "callback, bare word", ["trainer", "callbacks"], ["evil.Net"]
    for key in ("logger", "strategy", "profiler", "plugins", "accelerator"):
        yield f"trainer.{key}", ["trainer", key], evil
        yield f"trainer.{key}, bare word", ["trainer", key], "evil.Net"
    tracking = {"class_path": "pytorch_lightning.loggers.MLFlowLogger"}
    tracking["init_args"] = {"tracking_uri": "http://127.0.0.1:9/"}
    yield "a logger that reports elsewhere", ["trainer", "logger"], tracking


def changed(content: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """Return a configuration with another value in one place."""
    result = copy.deepcopy(content)
    place = result
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return result


def attacks(content: dict[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it lies in the section model, and the text of a configuration.

    Args:
        content: Of the sound run.
    """
    for name, network in networks():
        yield name, True, yaml.safe_dump(changed(content, ["model", "network"], network))
    for name, keys, value in elsewhere():
        yield name, True, yaml.safe_dump(changed(content, keys, value))
    for name, keys, value in of_data():
        yield name, False, yaml.safe_dump(changed(content, keys, value))
    text = yaml.safe_dump(content)
    for key in ("config", "__path__", "__default_config__"):
        yield f"further settings by {key}", False, f"{key}: ../whole.yaml\n{text}"
    yield "model, a file", False, yaml.safe_dump({**content, "model": "../whole.yaml"})
    block = {"class_path": "timm.models.ResNet", "init_args": {"block": "evil.Net", "layers": [1, 1, 1, 1]}}
    yield "a type among arguments", True, yaml.safe_dump(changed(content, ["model", "network"], block))
    act = {"class_path": "monai.losses.DiceLoss", "init_args": {"other_act": "evil.mark"}}
    yield "a function of a loss", True, yaml.safe_dump(changed(content, ["model", "loss"], act))
    average = {"class_path": "pytorch_lightning.callbacks.StochasticWeightAveraging"}
    average["init_args"] = {"swa_lrs": 0.1, "avg_fn": "evil.mark"}
    yield (
        "a function of a callback",
        False,
        yaml.safe_dump(changed(content, ["trainer", "callbacks"], [average])),
    )
    for key in ("optimizer", "test_scores", "penalties", "changes"):
        value = {"class_path": "evil.Net"}
        yield f"model.{key}", True, yaml.safe_dump(changed(content, ["model", key], value))
    for key in ("checkpoint", "finetune"):
        yield key, False, yaml.safe_dump({**content, key: {"class_path": "evil.Net"}})
    yield "tag that runs", True, text + "\nx: !!python/object/apply:os.system ['true']\n"
    yield "tag that names", True, text + "\nx: !!python/name:evil.mark ''\n"
    yield "a key twice", True, text + "\nmodel: {network: {class_path: evil.Net}}\n"
    merged = f"base: &base\n  network: {{class_path: evil.Net}}\n{text}".replace(
        "model:\n", "model:\n  <<: *base\n"
    )
    without = merged.replace("    class_path: segfocal.models.SmallUNet\n", "    class_path: evil.Net\n")
    yield "a merged key", True, without


def plant(work: Path) -> None:
    """Put what the configurations name where Python finds it: in the current folder."""
    for folder in (work, work / "folder"):
        folder.mkdir(exist_ok=True)
        (folder / "evil.py").write_text(MODULE)
    for name in ("inner.yaml", "inner.txt"):
        (work / name).write_text("class_path: evil.Net\n")
    (work / "whole.yaml").write_text("model: {network: {class_path: evil.Net}}\n")


def outcome(words: list[str], mark: Path) -> tuple[str, str]:
    """Run one command in this process; return what happened, and what was said."""
    from segfocal.__main__ import main

    for name in [name for name in sys.modules if name.split(".")[0] in ("evil", "folder")]:
        del sys.modules[name]
    mark.unlink(missing_ok=True)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(words)
    except BaseException as error:
        return ("code ran" if mark.exists() else "traceback"), repr(error)
    if mark.exists():
        return "code ran", said.getvalue()
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    if code == 2 and len(lines) == 1 and "--trust" in lines[0]:
        return "refused, with the way out", lines[0]
    if code == 2 and len(lines) == 1:
        return "ended in another line", lines[0]
    return f"exit {code}", "\n".join(lines)


def commands(run: Path, images: Path, out: Path) -> dict[str, list[str]]:
    """Return the commands that build from a run, and whether they build from all of it."""
    return {
        "predict": [
            "predict",
            "--run",
            str(run),
            "--images",
            str(images),
            "--out",
            str(out),
            "--device",
            "cpu",
        ],
        "export": ["export", "--run", str(run), "--format", "torch", "--out", str(out) + ".pt2"],
        "test": ["test", "--run", str(run)],
        "diagnose": ["diagnose", "--run", str(run)],
        "resume": ["fit", "--resume", str(run), "--trainer.max_steps", "12"],
    }


def train(work: Path) -> Path:
    """Return the folder of a sound run, trained in a few steps."""
    from segfocal.__main__ import main

    config = work / "sound.yaml"
    data = {"kind": "lesions", "foreground": 0.1, "image_size": 32, "train_images": 4, "val_images": 2}
    data |= {"test_images": 2, "batch_size": 2, "patch_size": 16, "patches_per_epoch": 4}
    small = {**SMALL, "init_args": {**SMALL["init_args"], "channels": [4, 8]}}
    loss = {"class_path": "segfocal.losses.FocalLoss", "init_args": {"task": "binary", "ignore_index": 255}}
    content = {
        "model": {"network": small, "loss": loss},
        "data": {"class_path": "segfocal.data.SyntheticData", "init_args": data},
        "trainer": {"max_steps": 2, "accelerator": "cpu"},
    }
    config.write_text(yaml.safe_dump(content))
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["fit", "--config", str(config), "--run", str(work / "sound")]) == 0
    return work / "sound"


def main(argv: list[str] | None = None) -> None:
    """Run every configuration through every command and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--work", help="an empty folder (default: a temporary one)")
    options.add_argument("--show", action="store_true", help="print what was said of each")
    given = options.parse_args(argv)
    work = Path(given.work or tempfile.mkdtemp()).resolve()
    os.environ[MARK], os.environ["SEGFOCAL_STATE"] = str(work / "mark"), str(work / "state")
    sound = train(work)
    os.environ["SEGFOCAL_STATE"] = str(work / "another")  # of the user who gets the folder
    plant(work)
    os.chdir(work)
    sys.path.insert(0, "")
    import numpy as np
    from PIL import Image

    Image.fromarray(np.zeros((16, 16), np.uint8)).save(work / "image.png")
    content = yaml.safe_load((sound / "config.yaml").read_text())
    counts: dict[str, Counter[str]] = {}
    for name, of_model, text in attacks(content):
        for command, words in commands(work / "run", work / "image.png", work / "out").items():
            if not of_model and command in ("predict", "export"):
                continue
            for left in ("run", "out", "out.pt2"):
                shutil.rmtree(work / left, ignore_errors=True)
                (work / left).unlink(missing_ok=True)
            shutil.copytree(sound, work / "run")
            (work / "run" / "config.yaml").write_text(text)
            found, said = outcome(words, work / "mark")
            counts.setdefault(command, Counter())[found] += 1
            if given.show or found.startswith(("code", "trace", "exit")):
                print(f"{command}: {name}: {found}: {said[:300]}")
    for command, found in counts.items():
        print(f"{command}: {sum(found.values())} configurations: {dict(sorted(found.items()))}")


if __name__ == "__main__":
    main()
