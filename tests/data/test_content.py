"""Hashes of files: what they tell apart, and a memory that is never in the way."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import xxhash

from segfocal.data import content
from segfocal.data.content import content_hashes
from segfocal.errors import SegfocalError


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """The file of the memory; files count as settled at once."""
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "_SETTLED_NS", -1)
    return tmp_path / "cache" / "contents.sqlite"


def write(folder, count=3):
    paths = [folder / f"{number}.bin" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 1000)
    return paths


def rows(memory):
    connection = sqlite3.connect(memory)
    found = connection.execute("SELECT count(*) FROM contents").fetchone()[0]
    connection.close()
    return found


def truth(paths):
    return {path: xxhash.xxh3_128_digest(path.read_bytes()) for path in paths}


def test_hashes_are_those_of_the_library(tmp_path, memory):
    paths = write(tmp_path, 200)  # in threads
    assert content_hashes(paths) == truth(paths)
    assert content_hashes(paths[:2]) == truth(paths[:2])


def test_what_is_remembered_is_not_read_again(tmp_path, memory, monkeypatch):
    paths = write(tmp_path)
    before = content_hashes(paths)
    read = []
    monkeypatch.setattr(content, "content_hash", read.append)
    assert content_hashes(paths) == before
    assert read == []


def test_a_file_of_equal_length_with_its_time_set_back_is_read_again(tmp_path, memory):
    paths = write(tmp_path)
    content_hashes(paths)
    kept = paths[1].stat()
    paths[1].write_bytes(b"x" * 1000)
    os.utime(paths[1], ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert paths[1].stat().st_ino == kept.st_ino
    assert content_hashes(paths) == truth(paths)


def test_a_file_that_just_changed_is_not_remembered(tmp_path, memory, monkeypatch):
    """Two changes within one tick of the file system's clock look alike."""
    monkeypatch.setattr(content, "_SETTLED_NS", 10**12)
    content_hashes(write(tmp_path))
    assert rows(memory) == 0


@pytest.mark.parametrize("spoiled", [b"", b"no database at all" * 100, None], ids=["empty", "text", "cut"])
def test_a_damaged_memory_is_begun_anew(tmp_path, memory, spoiled):
    paths = write(tmp_path)
    content_hashes(paths)
    whole = memory.read_bytes()
    memory.write_bytes(whole[: len(whole) // 2] + b"\1" * 50 if spoiled is None else spoiled)
    for _ in range(3):
        assert content_hashes(paths) == truth(paths)
    assert rows(memory) == 3


def test_a_flipped_bit_in_a_remembered_hash_is_seen(tmp_path, memory):
    paths = write(tmp_path)
    content_hashes(paths)
    connection = sqlite3.connect(memory)
    with connection:
        connection.execute("UPDATE contents SET hash = ?", (b"\0" * 16,))
    connection.close()
    assert content_hashes(paths) == truth(paths)


def test_the_memory_is_bounded(tmp_path, memory, monkeypatch):
    monkeypatch.setattr(content, "MOST", 5)
    for name in "abc":
        (tmp_path / name).mkdir()
        content_hashes(write(tmp_path / name, 4))
    assert rows(memory) == 5


def test_writers_at_one_time_lose_nothing(tmp_path, memory):
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()
    every = [write(folder, 20) for folder in folders]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(content_hashes, every))
    assert found == [truth(paths) for paths in every]
    assert rows(memory) == 160


def test_no_memory_where_none_can_be(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGFOCAL_CACHE", str(tmp_path / "file"))
    paths = write(tmp_path)
    assert content_hashes(paths) == truth(paths)


def test_a_file_that_cannot_be_read_is_named(tmp_path, memory):
    with pytest.raises(SegfocalError, match=r"gone\.png: cannot be read"):
        content_hashes([tmp_path / "gone.png"])
    with pytest.raises(SegfocalError, match="must be a file"):
        content_hashes([Path(tmp_path)])
