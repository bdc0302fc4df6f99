"""One place picks the backend."""

import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.losses import backends, compiled, eager
from segfocal.losses.backends import backend_for, backend_module
from segfocal.losses.compiled.building import library

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

    monkeypatch.setattr(backends, "triton_here", lambda: True)
    assert backend_for(OnCuda()) == "triton"
