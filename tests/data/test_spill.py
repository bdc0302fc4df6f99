"""Arrays on disk: the same numbers, read-only, gone with the process, never mixed up by forked workers."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from segfocal.data.spill import Spill
from segfocal.errors import SegfocalError


@pytest.fixture
def spill(tmp_path):
    return Spill(tmp_path / "spill", chunk_bytes=4096)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float64])
def test_what_comes_back_is_what_was_kept(spill, dtype):
    arrays = [np.random.default_rng(n).integers(0, 2, (n, 7, 3)).astype(dtype) for n in range(60)]
    kept = [spill.keep(array) for array in arrays]
    for array, copy in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(copy, array)
        assert copy.dtype == array.dtype
    with pytest.raises(ValueError, match="read-only"):
        kept[1][0] = 1


def test_an_array_larger_than_a_file_gets_its_own(spill):
    array = np.arange(10_000, dtype=np.int64)
    np.testing.assert_array_equal(spill.keep(array), array)


def test_threads_do_not_write_over_one_another(spill):
    arrays = [np.full(100, n) for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(spill.keep, arrays))
    assert all((copy == n).all() for n, copy in enumerate(kept))


def test_no_file_is_left_to_see(spill):
    spill.keep(np.ones(10))
    assert os.listdir(spill.folder) == []


def keep_many(spill, value, queue):
    kept = [spill.keep(np.full(50, value)) for _ in range(40)]
    queue.put(all((array == value).all() for array in kept))


def test_forked_processes_keep_apart(spill):
    mine = spill.keep(np.full(50, 9))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=keep_many, args=(spill, value, queue)) for value in (1, 2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60), queue.get(timeout=60)] == [True, True]
    for worker in workers:
        worker.join()
    assert (mine == 9).all()


def test_a_pickled_one_starts_afresh(spill):
    spill.keep(np.ones(10))
    copy = pickle.loads(pickle.dumps(spill))
    assert copy.folder == spill.folder
    np.testing.assert_array_equal(copy.keep(np.arange(5)), np.arange(5))


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SegfocalError, match=r"cache_dir .* got: No space left on device"):
        Spill(tmp_path).keep(np.ones(10))


@pytest.mark.slow
def test_the_memory_of_the_process_does_not_hold_it(tmp_path):
    """Pages of a file can be dropped by the system; anonymous memory, which cannot, must not grow."""
    code = (
        "import numpy as np, re, sys\n"
        "from segfocal.data.spill import Spill\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "anonymous = lambda: int(re.search(r'RssAnon:\\s+(\\d+)', status())[1]) // 1024\n"
        f"spill, block = Spill({str(tmp_path)!r}), np.ones(2**23, dtype=np.uint8)\n"
        "before = anonymous()\n"
        "kept = [spill.keep(block) for _ in range(32)]\n"
        "print(anonymous() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20  # MiB, of 256 kept
