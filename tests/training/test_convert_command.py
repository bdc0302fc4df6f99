"""The verb that turns weights files into safetensors."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.models import load_pretrained


class Marks:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def with_code(tmp_path):
    path = tmp_path / "old net.pth"
    torch.save({"model": nn.Conv2d(1, 1, 1).state_dict(), "extra": Marks(tmp_path / "ran")}, path)
    return path


def test_without_trust_it_says_what_would_run_and_runs_nothing(with_code, tmp_path, capsys):
    assert main(["convert", str(with_code), str(tmp_path / "new.safetensors")]) == 2
    shown = capsys.readouterr().err
    assert "found posix.mkdir: reading them would run code" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["old net.pth"]


def test_the_refusal_names_the_very_command(with_code, tmp_path, capsys):
    with pytest.raises(SegfocalError) as caught:
        load_pretrained(nn.Conv2d(1, 1, 1), with_code)
    command = str(caught.value).split("If you trust it: ")[1]
    done = subprocess.run(
        command.replace("segfocal", f"{sys.executable} -m segfocal", 1),
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "written to" in done.stdout
    assert (tmp_path / "ran").is_dir()
    assert load_pretrained(nn.Conv2d(1, 1, 1), with_code.with_suffix(".safetensors")).matched == 1.0


def test_a_file_without_code_needs_no_trust(tmp_path, capsys):
    state = nn.Linear(2, 2).state_dict()
    torch.save({"net": state}, tmp_path / "a.pt")
    assert main(["convert", str(tmp_path / "a.pt"), "--out", str(tmp_path / "b.safetensors")]) == 0
    found = load_file(tmp_path / "b.safetensors")
    assert {name: value.tolist() for name, value in found.items()} == {
        f"net.{name}": value.tolist() for name, value in state.items()
    }


def test_wrong_words_are_named(with_code, tmp_path, capsys):
    for words, message in (
        (["convert"], "required: FILE"),
        (["convert", str(tmp_path / "none.pt")], "Expected a weights file"),
        (["convert", str(with_code), "a.safetensors", "--out", "b.safetensors"], "given once"),
        (["convert", str(with_code), "--trsut"], "Did you mean '--trust'"),
    ):
        assert main(words) == 2
        assert message in capsys.readouterr().err


def test_it_imports_no_lightning(with_code):
    code = (
        "import sys; from segfocal.__main__ import main\n"
        f"main(['convert', '--trust', {str(with_code)!r}])\n"
        "print(sorted({'pytorch_lightning', 'monai', 'segmentation_models_pytorch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
