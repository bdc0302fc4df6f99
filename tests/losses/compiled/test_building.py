"""The kernels are built once, and their absence is said once."""

import logging
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
import torch

from segfocal.losses.compiled import building
from segfocal.losses.primitive.backends import backend_for

LARGE = torch.zeros(1, 1, 256, 256)


@pytest.fixture(autouse=True)
def _anew(monkeypatch):
    monkeypatch.delenv("SEGFOCAL_BACKEND", raising=False)
    building.library.cache_clear()
    yield
    building.library.cache_clear()


def fake_compiler(folder, body):
    """A program that takes the compiler's place and notes that it ran."""
    path = folder / "c++"
    path.write_text(f"#!/bin/sh\necho ran >> {folder}/calls\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_a_compiler_one_line_is_logged_and_all_is_eager(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.WARNING):
        assert [backend_for(LARGE) for _ in range(3)] == ["eager"] * 3
    assert len(caplog.records) == 1
    assert "no-such-compiler" in caplog.text


def test_a_compiler_that_fails_is_quoted_and_all_is_eager(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, "echo no such flag >&2; exit 1")))
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "cache"))
    with caplog.at_level(logging.WARNING):
        assert backend_for(LARGE) == backend_for(LARGE) == "eager"
    assert len(caplog.records) == 1
    assert "no such flag" in caplog.text
    assert (tmp_path / "calls").read_text().count("ran") == len(building.FLAGS)
    assert not list((tmp_path / "cache").iterdir())


def test_a_file_that_does_not_load_is_removed(monkeypatch, caplog, tmp_path):
    body = 'while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"'
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, body)))
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "cache"))
    assert building.library() is None
    assert "plain torch" in caplog.text
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(building.compiler() is None, reason="no C++ compiler")
def test_they_are_built_once_and_found_again(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path))
    assert backend_for(LARGE) == "compiled"
    (built,) = tmp_path.iterdir()
    building.library.cache_clear()
    monkeypatch.setattr(building, "build", None)
    assert backend_for(LARGE) == "compiled"
    assert list(tmp_path.iterdir()) == [built]


@pytest.mark.skipif(building.compiler() is None, reason="no C++ compiler")
def test_a_file_cut_short_is_built_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path))
    assert building.library() is not None
    (built,) = tmp_path.iterdir()
    whole = built.read_bytes()
    built.unlink()  # the loaded one stays mapped
    built.write_bytes(whole[: len(whole) // 2])
    building.library.cache_clear()
    assert building.library() is not None
    assert len(built.read_bytes()) == len(whole)


@pytest.mark.skipif(building.compiler() is None, reason="no C++ compiler")
def test_a_read_only_folder_serves(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path))
    assert building.library() is not None
    building.library.cache_clear()
    monkeypatch.setattr(building, "build", None)
    monkeypatch.setattr(building, "cache_folder", None)
    assert building.library() is not None


def test_no_home_and_no_words_of_the_compiler_crash_nothing(monkeypatch, caplog, tmp_path):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(building.os.path, "expanduser", lambda path: path)
    assert building.folder_asked_for().is_absolute()
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, "printf '\\377\\376' >&2; exit 1")))
    assert building.library() is None
    assert "plain torch" in caplog.text


def test_a_compiler_may_come_with_arguments(monkeypatch):
    monkeypatch.setenv("CXX", "sh -c")
    assert building.compiler() == "sh -c"


def test_other_arguments_of_the_compiler_make_another_file():
    assert building.fingerprint("sh -c") != building.fingerprint("sh -e") != building.fingerprint("sh")


def asking(folder, compiler):
    """A process that asks for the kernels."""
    variables = {"CXX": str(compiler), "SEGFOCAL_CACHE": str(folder / "cache")}
    code = "from segfocal.losses.compiled import building as b; print(b.find_or_build(b.compiler()).name)"
    return subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | variables, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


COPY = 'while [ "$1" != -o ]; do shift; done; sleep 0.5; echo code > "$2"'


def test_of_several_ranks_one_builds(tmp_path):
    compiler = fake_compiler(tmp_path, COPY)
    ranks = [asking(tmp_path, compiler) for _ in range(3)]
    names = {rank.communicate(timeout=60)[0] for rank in ranks}
    assert (tmp_path / "calls").read_text().count("ran") == 1
    assert names == {f"{path.name}\n" for path in (tmp_path / "cache").iterdir()}


def test_a_killed_builder_lets_the_next_one_build(tmp_path):
    first = f'[ "$(wc -l < {tmp_path}/calls)" = 1 ] && exec sleep 60'
    compiler = fake_compiler(tmp_path, f"{first}\n{COPY}")
    killed = asking(tmp_path, compiler)
    while not (tmp_path / "calls").exists():
        assert killed.poll() is None
        time.sleep(0.05)
    waiting = asking(tmp_path, compiler)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=60)
    assert waiting.communicate(timeout=60)[0].endswith(".so\n")
    assert (tmp_path / "calls").read_text().count("ran") == 2


def test_a_cache_that_cannot_be_made_is_replaced(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "file" / "folder"))
    assert building.cache_folder().is_dir()


def test_the_structures_are_those_of_the_kernels():
    kernels = building.library()
    if kernels is None:
        pytest.skip("no C++ compiler")
    import ctypes

    from segfocal.losses.compiled.call import Call

    assert kernels.segfocal_size() == ctypes.sizeof(Call)
