"""One place picks the backend."""

import logging

import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.losses import backends, compiled, compiling, eager
from segfocal.losses.backends import backend_for, backend_module


@pytest.fixture(autouse=True)
def _no_override(monkeypatch):
    monkeypatch.delenv("SEGFOCAL_BACKEND", raising=False)


def test_large_images_are_compiled_and_small_ones_not():
    assert backend_for(torch.zeros(1, 2, 256, 256)) == "compiled"
    assert backend_for(torch.zeros(4, 2, 64, 64)) == "eager"
    assert backend_for(torch.zeros(2**16, 2)) == "eager"
    assert backend_for(torch.zeros(2**16, 2, 4)) == "eager"


def test_what_compiling_does_not_suit_is_eager():
    assert backend_for(torch.zeros(1, 2, 256, 256, dtype=torch.float64)) == "eager"
    assert backend_for(torch.zeros(1, 40, 256, 256)) == "eager"
    assert backend_for(torch.zeros(1, 2, 512, 512)[:, :, ::2, :256]) == "eager"
    assert backend_for(torch.zeros(1, 2, 256, 256).to(memory_format=torch.channels_last)) == "compiled"


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


def test_without_a_compiler_one_line_is_logged_and_all_is_eager(monkeypatch, caplog):
    compiling.compiler_found.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.WARNING):
        assert [backend_for(torch.zeros(1, 2, 256, 256)) for _ in range(3)] == ["eager"] * 3
    assert len(caplog.records) == 1
    assert "no-such-compiler" in caplog.text
    compiling.compiler_found.cache_clear()
