from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.models.checkpoint import load_weights, network_weights, read_checkpoint


class Dangerous:
    def __reduce__(self):
        return os.system, ("touch should_not_exist",)


def save(path, network, prefix="network."):
    torch.save({"state_dict": {prefix + k: v for k, v in network.state_dict().items()}, "epoch": 3}, path)


@pytest.mark.parametrize("prefix", ["network.", "network._orig_mod."])
def test_what_was_saved_is_what_is_loaded(tmp_path, prefix):
    trained, fresh = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
    save(tmp_path / "last.ckpt", trained, prefix)
    load_weights(fresh, network_weights(read_checkpoint(tmp_path / "last.ckpt")))
    assert torch.equal(fresh.weight, trained.weight)
    assert torch.equal(fresh.bias, trained.bias)


def test_weights_of_other_parts_are_left_out():
    state = {"network.bias": torch.ones(1), "loss.network.x": torch.ones(1), "networking": torch.ones(1)}
    assert list(network_weights({"state_dict": state})) == ["bias"]


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "evil": Dangerous()}, tmp_path / "evil.ckpt")
    with pytest.raises(SegfocalError, match=r"evil\.ckpt"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "should_not_exist").exists()


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises(SegfocalError, match="no such file"):
        read_checkpoint(path)
    save(path, nn.Conv2d(2, 3, 3))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SegfocalError, match="damaged"):
        read_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(SegfocalError, match="damaged"):
        read_checkpoint(path)
    torch.save({"weights": torch.ones(1)}, path)
    with pytest.raises(SegfocalError, match=r"'state_dict' in .*got \['weights'\]"):
        read_checkpoint(path)


def test_weights_that_do_not_fit_change_nothing():
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = {"0.weight": torch.ones(1, 1), "1.weight": torch.ones(3, 1), "2.bias": torch.ones(1)}
    with pytest.raises(SegfocalError) as caught:
        load_weights(network, weights, origin="best.ckpt")
    message = str(caught.value)
    assert "best.ckpt" in message
    assert "missing 0.bias, 1.bias" in message
    assert "too many 2.bias" in message
    assert "1.weight (3, 1) for (2, 1)" in message
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
