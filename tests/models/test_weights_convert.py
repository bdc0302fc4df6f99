from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet, convert_trusted, load_pretrained
from segfocal.models.weights_read import read_tensors


class Marks:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def small():
    return SmallUNet(3, 2, channels=(4, 8))


@pytest.mark.parametrize("content", ["module", "mapping", "nested module"])
def test_what_was_refused_is_loaded_after_conversion(tmp_path, content):
    old, network = small(), small()
    stored = {
        "module": old,
        "mapping": {"state_dict": old.state_dict(), "args": Namespace(lr=0.1)},
        "nested module": {"model": old, "epoch": 3},
    }
    torch.save(stored[content], tmp_path / "old.pth")
    with pytest.raises(SegfocalError, match="segfocal convert --trust"):
        load_pretrained(network, tmp_path / "old.pth")
    out = convert_trusted(tmp_path / "old.pth", tmp_path / "old.safetensors")
    report = load_pretrained(network, out)
    assert report.matched == 1.0
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in network.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.pth", "old.safetensors"]


def test_conversion_runs_what_the_file_holds(tmp_path):
    torch.save({"model": {"bias": torch.ones(1)}, "more": Marks(tmp_path / "executed")}, tmp_path / "a.pt")
    convert_trusted(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert (tmp_path / "executed").exists()


def test_tensors_that_share_memory_are_written_each(tmp_path):
    shared = torch.arange(12.0).view(3, 4)
    torch.save({"a": shared, "b": shared.T, "args": Namespace()}, tmp_path / "a.pt")
    found = read_tensors(convert_trusted(tmp_path / "a.pt", tmp_path / "a.safetensors"))
    assert torch.equal(found["a"], shared)
    assert torch.equal(found["b"], shared.T)


def test_what_cannot_be_converted_is_named(tmp_path, monkeypatch):
    source = tmp_path / "a.pt"
    with pytest.raises(SegfocalError, match="Expected a weights file"):
        convert_trusted(source, tmp_path / "new.safetensors")
    torch.save({"epoch": Namespace()}, source)
    with pytest.raises(SegfocalError, match="named tensors or a module"):
        convert_trusted(source, tmp_path / "new.safetensors")
    for out in (source, tmp_path / "new.pt"):
        with pytest.raises(SegfocalError, match="out must be a new"):
            convert_trusted(source, out)
    source.write_bytes(b"hello")
    with pytest.raises(SegfocalError, match=r"Cannot read .*a\.pt"):
        convert_trusted(source, tmp_path / "new.safetensors")
    torch.save(nn.Conv2d(1, 1, 1), source)
    with pytest.raises(SegfocalError, match=r"Cannot write .*none.*Choose another folder"):
        convert_trusted(source, tmp_path / "none" / "new.safetensors")
