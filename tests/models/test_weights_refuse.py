"""Hostile and damaged files: refused by name, and nothing in them is executed."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.models import load_pretrained
from segfocal.models.weights_pickle import pickled_names
from segfocal.models.weights_read import named_tensors, read_tensors


class Dangerous:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


FORMS = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "zip, protocol 4": {"pickle_protocol": 4},
    "legacy, protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}


@pytest.mark.parametrize("form", FORMS)
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, marker, form):
    path = tmp_path / "evil file.pth"
    torch.save({"model": nn.Conv2d(1, 1, 1).state_dict(), "evil": Dangerous(marker)}, path, **FORMS[form])
    with pytest.raises(SegfocalError) as caught:
        load_pretrained(nn.Conv2d(1, 1, 1), path)
    message = str(caught.value)
    assert "found posix.system: reading them would run code" in message
    assert f"segfocal convert --trust '{path}' --out '{path.with_suffix('.safetensors')}'" in message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_is_named_and_not_run(tmp_path, marker, protocol):
    path = tmp_path / "bare.pt"
    path.write_bytes(pickle.dumps({"b": os.system, "a": Dangerous(marker), "c": os.getpid}, protocol))
    assert pickled_names(path) == ["posix.getpid", "posix.system"]
    with pytest.raises(SegfocalError, match=r"bare\.pt"):
        read_tensors(path)


def test_a_whole_module_is_named(tmp_path):
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "module.pt")
    with pytest.raises(SegfocalError, match=r"torch\.nn\.modules\.conv\.Conv2d: reading them would run"):
        read_tensors(tmp_path / "module.pt")


def test_numbers_of_numpy_are_let_through_and_arrays_are_not(tmp_path):
    log = {"loss": [np.float64(0.5), np.float32(1)], "best": np.int64(3)}
    torch.save({"network_weights": {"bias": torch.ones(2)}, "logging": log}, tmp_path / "nnunet.pth")
    assert list(read_tensors(tmp_path / "nnunet.pth")) == ["network_weights.bias"]
    torch.save({"bias": torch.ones(2), "mean": np.ones(3)}, tmp_path / "array.pth")
    with pytest.raises(SegfocalError, match=r"numpy\.ndarray"):
        read_tensors(tmp_path / "array.pth")


def test_a_torchscript_archive_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Conv2d(1, 1, 1)).save(str(tmp_path / "model.pt"))
    with pytest.raises(SegfocalError, match=r"TorchScript archive, .*torch\.jit\.load\('model\.pt'\)"):
        read_tensors(tmp_path / "model.pt")


def repack(source, target, *, compression, extra=0):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        if extra:
            new.writestr("archive/padding", bytes(extra))


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    torch.save({"bias": torch.rand(1000)}, tmp_path / "plain.pt")
    repack(tmp_path / "plain.pt", tmp_path / "packed.pt", compression=zipfile.ZIP_DEFLATED)
    assert read_tensors(tmp_path / "packed.pt")["bias"].shape == (1000,)
    repack(tmp_path / "plain.pt", tmp_path / "bomb.pt", compression=zipfile.ZIP_DEFLATED, extra=50_000_000)
    with pytest.raises(SegfocalError, match=r"would unpack to 500\d+, more than the limit of 20 times"):
        read_tensors(tmp_path / "bomb.pt")


def test_a_maze_of_shared_dicts_ends(tmp_path):
    maze = {"bias": torch.ones(1)}
    for _ in range(60):  # 2^60 ways down
        maze = {"a": maze, "b": maze}
    torch.save({"deep": maze, "weights": {"bias": torch.ones(1)}}, tmp_path / "maze.pt")
    assert "weights.bias" in read_tensors(tmp_path / "maze.pt")
    loop = {"bias": torch.ones(1)}
    loop["again"] = loop
    assert list(named_tensors(loop)) == ["bias"]


def test_a_huge_tensor_without_bytes_is_not_made(tmp_path):
    torch.save({"bias": torch.zeros(1).expand(10**15)}, tmp_path / "huge.pt")
    with pytest.raises(SegfocalError, match="same name and shape"):
        load_pretrained(nn.LayerNorm(2), tmp_path / "huge.pt")


@pytest.mark.parametrize("kept", [0, 7, 20, 300, -1])
def test_truncated_safetensors(tmp_path, kept):
    path = tmp_path / "cut.safetensors"
    save_file({"weight": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SegfocalError, match=r"Expected safetensors in .*cut\.safetensors, found a damaged"):
        read_tensors(path)


def test_a_safetensors_header_that_lies(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    path = tmp_path / "lie.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(SegfocalError, match="damaged or incomplete"):
        read_tensors(path)
    path.write_bytes(struct.pack("<Q", 2**62) + header)
    with pytest.raises(SegfocalError, match="damaged or incomplete"):
        read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_damage_anywhere_is_an_answer(tmp_path, legacy):
    torch.save(
        nn.Conv2d(1, 2, 3).state_dict(), tmp_path / "good.pt", _use_new_zipfile_serialization=not legacy
    )
    good = (tmp_path / "good.pt").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "bad.pt"
    for _ in range(150):
        damaged = bytearray(good[: rng.integers(1, len(good))] if rng.random() < 0.3 else good)
        for position in rng.integers(0, len(damaged), 3):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with suppress(SegfocalError):  # a changed weight is no damage that a reader could see
            read_tensors(path)


def test_what_cannot_be_opened_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(SegfocalError, match=r"Cannot read .*Check the path"):
            read_tensors(path)


EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


def test_other_files_are_named(tmp_path):
    archive = io.BytesIO()
    np.savez(archive, a=np.ones(3))
    contents = {"a.bin": b"", "b.pt": b"hello", "c.pt": archive.getvalue(), "d.pt": EMPTY_ZIP}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SegfocalError, match=rf"Expected weights in .*{name}"):
            read_tensors(tmp_path / name)
    for content, got in (({"epoch": 3, "log": [1.0]}, r"\['epoch', 'log'\]"), (torch.ones(3), "Tensor")):
        torch.save(content, tmp_path / "e.pt")
        with pytest.raises(SegfocalError, match=f"names to tensors in .*got {got}"):
            read_tensors(tmp_path / "e.pt")


def test_only_dense_tensors_count(tmp_path):
    content = {
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(2, device="meta"),
        "bias": torch.ones(2),
    }
    torch.save(content, tmp_path / "odd.pt")
    assert list(read_tensors(tmp_path / "odd.pt")) == ["bias"]
