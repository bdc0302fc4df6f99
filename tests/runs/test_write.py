"""Files are written whole or not at all: full disks, read-only folders, kill -9."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from segfocal.errors import SegfocalError
from segfocal.runs import write_bytes, write_json, write_parquet, write_text
from segfocal.runs.log import MetricsLog

LIMITED = """
import resource, sys
from segfocal.errors import SegfocalError
{setup}
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    {action}
except SegfocalError as error:
    print(error)
"""


def run_limited(action, *arguments, setup=""):
    """Run code under a file-size limit of 1000 bytes: a write then fails half way, as on a full disk."""
    code = LIMITED.format(setup=setup, action=action)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(number):
    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


def test_writers_replace_the_whole_file(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"b": [1, 2.5, None, True]})
    assert json.loads(path.read_text()) == {"b": [1, 2.5, None, True]}
    write_text(path, "ü")
    assert path.read_bytes() == "ü".encode()
    write_parquet(path, pl.DataFrame({"a": [1]}))
    assert pl.read_parquet(path).rows() == [(1,)]
    assert list(path.parent.iterdir()) == [path]


def test_the_file_mode_is_the_users_own(tmp_path):
    umask = os.umask(0o022)
    os.umask(umask)
    write_bytes(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    setup = "from segfocal.runs import write_bytes"
    said = run_limited("write_bytes(sys.argv[1], b'x' * 5000)", path, setup=setup)
    assert str(path) in said
    assert "size limit" in said
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not write"),
    ],
)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_each_cause_names_the_path_and_its_remedy(tmp_path, monkeypatch, call, number, remedy):
    path = tmp_path / "a"
    path.write_text("old")
    monkeypatch.setattr(f"segfocal.runs.write.os.{call}", fail(number))
    with pytest.raises(SegfocalError, match=f"cannot write .*/a: .*{remedy}"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(SegfocalError, match="hoose another folder"):
        write_text(tmp_path / "a" / "b", "x")


def test_a_full_disk_takes_back_the_lines_it_tore(tmp_path):
    log = MetricsLog(tmp_path / "metrics.csv")
    log.append({"loss": 1.0}, step=1, epoch=0)
    before = log.path.read_bytes()
    setup = "from segfocal.runs import MetricsLog"
    many = "MetricsLog(sys.argv[1]).append({f'a{i}': 0.1 for i in range(200)}, step=2, epoch=0)"
    assert "metrics.csv" in run_limited(many, log.path, setup=setup)
    assert log.path.read_bytes() == before


WRITER = """
import sys
from segfocal.runs import write_json
text = "x" * 200_000
print("ready", flush=True)
for count in range(10**9):
    write_json(sys.argv[1], {"count": count, "text": text, "end": count})
"""


def test_kill_9_leaves_a_whole_file(tmp_path):
    path = Path(tmp_path / "run.json")
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.15)
        process.kill()
        process.communicate()
        content = json.loads(path.read_text())
        assert content["count"] == content["end"]
