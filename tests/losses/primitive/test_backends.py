"""One place picks the backend."""

import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.losses import compiled, eager
from segfocal.losses.compiled.building import library
from segfocal.losses.primitive import backends
from segfocal.losses.primitive.backends import backend_for, backend_module

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def _no_override(monkeypatch):
    monkeypatch.delenv("SEGFOCAL_BACKEND", raising=False)


def test_large_images_are_compiled_and_small_ones_not():
    assert backend_for(torch.zeros(1, 2, 256, 256)) == "compiled"
    assert backend_for(torch.zeros(4, 2, 64, 64)) == "eager"
    assert backend_for(torch.zeros(2**16, 2)) == "eager"
    assert backend_for(torch.zeros(2**16, 2, 4)) == "eager"


def test_any_layout_and_any_number_of_classes_are_compiled_but_not_float64():
    assert backend_for(torch.zeros(1, 2, 256, 256, dtype=torch.float64)) == "eager"
    assert backend_for(torch.zeros(1, 40, 256, 256)) == "compiled"
    assert backend_for(torch.zeros(1, 2, 512, 512)[:, :, ::2, :256]) == "compiled"


def test_the_variable_overrides(monkeypatch):
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")
    assert backend_for(torch.zeros(1, 2, 256, 256)) == "eager"
    monkeypatch.setenv("SEGFOCAL_BACKEND", "compield")
    with pytest.raises(SegfocalError, match="Did you mean 'compiled'"):
        backend_for(torch.zeros(1, 2, 4))


def test_the_argument_overrides():
    large = torch.zeros(1, 2, 256, 256)
    assert backend_module(None, large) is compiled
    assert backend_module("eager", large) is eager


def test_kernels_serve_cuda_once_they_exist(monkeypatch):
    class OnCuda:
        is_cuda = True
        device = torch.device("cuda")

    monkeypatch.setattr(backends, "refusal", lambda device: "")
    assert backend_for(OnCuda()) == "triton"


def test_what_kernels_refuse_goes_to_the_next_backend_with_one_line(monkeypatch, caplog):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    backends.refusal.cache_clear()
    large, small = torch.zeros(1, 2, 256, 256), torch.zeros(1, 2, 4)
    assert backend_module("triton", large) is compiled
    assert backend_module("triton", small) is eager
    monkeypatch.setenv("SEGFOCAL_BACKEND", "triton")
    assert backend_for(large) == "compiled"
    assert [record.message.count("they need a CUDA device") for record in caplog.records] == [1]
    backends.refusal.cache_clear()


def test_old_devices_and_failing_kernels_are_refused(monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setattr(backends, "triton_here", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert "(6, 1)" in backends.find_refusal(device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(backends.importlib, "import_module", lambda name: None)
    assert "AttributeError" in backends.find_refusal(device)
    monkeypatch.setattr(backends, "triton_here", lambda: False)
    assert "not installed" in backends.find_refusal(device)
