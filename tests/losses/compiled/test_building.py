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


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The compiled kernels as the compiler writes them, without the hash."""
    if building.compiler() is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("built")
    building.build(building.compiler(), folder / "kernels.so")
    content = (folder / "kernels.so").read_bytes()
    found = folder / "code"
    found.write_bytes(content[: content.rfind(building.MARK)])
    return found


def copying(folder, code):
    """A compiler that takes no time: it copies what was compiled before."""
    return fake_compiler(folder, f'while [ "$1" != -o ]; do shift; done; cp {code} "$2"')


def damages(content, *, lengths, bits):
    """The content cut at so many lengths, with so many bits flipped, and filled with zeros."""
    size = len(content)
    yield from (content[: size * n // lengths] for n in range(lengths))
    yield from (content[: size - n] for n in (1, 2, 64, 65, 4096))
    for n in range(bits):
        place = (2 * n + 1) * size // (2 * bits)
        yield content[:place] + bytes([content[place] ^ 1 << n % 8]) + content[place + 1 :]
    yield content[:-1] + bytes([content[-1] ^ 1])
    yield bytes(size)
    yield content[: size // 2] + bytes(size - size // 2)
    yield content + b"\n"
    yield content[: content.rfind(building.MARK)]
    yield b"\x7fELF" + bytes(size)


def test_every_damage_is_seen(tmp_path, code):
    content = building.signed(code.read_bytes())
    path = tmp_path / "kernels.so"
    path.write_bytes(content)
    assert building.whole(path)
    for damaged in damages(content, lengths=100, bits=200):
        path.write_bytes(damaged)
        assert not building.whole(path)
    path.unlink()
    assert not building.whole(path)


TRIES = """
import logging, sys
from pathlib import Path

import torch

from segfocal.losses import FocalLoss
from segfocal.losses.compiled import building

torch.manual_seed(0)
logits, target = torch.randn(1, 3, 256, 256), torch.randint(3, (1, 256, 256))
path = building.find_or_build(building.compiler())
for damaged in sorted(Path(sys.argv[1]).iterdir()):
    path.unlink()
    path.write_bytes(damaged.read_bytes())
    building.library.cache_clear()
    assert building.library() is not None
    assert building.whole(path)
    print(FocalLoss("multiclass")(logits, target).item())
"""


def values_after(damaged, tmp_path, code):
    """The losses that a process computes which finds each of these files in its cache, and what it says."""
    (tmp_path / "damaged").mkdir()
    for n, content in enumerate(damaged):
        (tmp_path / "damaged" / f"{n:04d}").write_bytes(content)
    variables = {"CXX": str(copying(tmp_path, code)), "SEGFOCAL_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", TRIES, str(tmp_path / "damaged")]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def checked_in_a_process(damaged, tmp_path, code):
    values, said = values_after(damaged, tmp_path, code)
    torch.manual_seed(0)
    logits, target = torch.randn(1, 3, 256, 256), torch.randint(3, (1, 256, 256))
    expected = (1 - (p := logits.softmax(1).gather(1, target[:, None]))).pow(2).mul(-p.log()).mean().item()
    assert [float(value) for value in values] == pytest.approx([expected] * len(damaged), rel=1e-5)
    assert said.count("is damaged") == len(damaged)
    assert (tmp_path / "calls").read_text().count("ran") == 1 + len(damaged)


def test_damaged_files_are_built_anew_and_kill_no_process(tmp_path, code):
    content = building.signed(code.read_bytes())
    checked_in_a_process(list(damages(content, lengths=4, bits=3)), tmp_path, code)


@pytest.mark.slow
def test_many_damaged_files_kill_no_process(tmp_path, code):
    content = building.signed(code.read_bytes())
    checked_in_a_process(list(damages(content, lengths=60, bits=60)), tmp_path, code)


def test_a_damaged_file_in_a_read_only_folder_is_named_and_left_alone(monkeypatch, tmp_path, code, caplog):
    monkeypatch.setenv("CXX", str(copying(tmp_path, code)))
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "cache_folder", building.temporary_folder)
    path = tmp_path / "cache" / f"kernels-{building.fingerprint(building.compiler())}.so"
    path.parent.mkdir()
    path.write_bytes(code.read_bytes()[:5000])
    assert building.library() is not None
    assert f"{path} is damaged" in caplog.text
    assert len(path.read_bytes()) == 5000


def test_a_read_only_folder_serves(monkeypatch, tmp_path, code):
    monkeypatch.setenv("CXX", str(copying(tmp_path, code)))
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "cache"))
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
    assert len(names) == 1
    assert names == {f"{path.name}\n" for path in (tmp_path / "cache").iterdir()}


def test_of_several_ranks_that_find_a_damaged_file_one_builds(tmp_path):
    compiler = fake_compiler(tmp_path, COPY)
    name = asking(tmp_path, compiler).communicate(timeout=60)[0].strip()
    path = tmp_path / "cache" / name
    path.write_bytes(path.read_bytes()[:-1])
    for rank in [asking(tmp_path, compiler) for _ in range(3)]:
        assert rank.communicate(timeout=60)[0].strip() == name
    assert (tmp_path / "calls").read_text().count("ran") == 2
    assert building.whole(path)


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
    name = waiting.communicate(timeout=60)[0]
    assert (tmp_path / "calls").read_text().count("ran") == 2
    assert [f"{path.name}\n" for path in (tmp_path / "cache").iterdir()] == [
        name
    ]  # nothing of the killed one


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
