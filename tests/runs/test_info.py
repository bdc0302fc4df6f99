"""run.json: versions, merging, damage."""

import hashlib
import json
import subprocess
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from segfocal import __version__
from segfocal.errors import SegfocalError
from segfocal.runs import (
    RunPaths,
    checkpoint_info,
    create_info,
    file_sha256,
    git_state,
    read_info,
    update_info,
)
from segfocal.runs.info import RunInfo
from segfocal.runs.records import RunRecord


@pytest.fixture
def run(tmp_path):
    paths = RunPaths(tmp_path / "run")
    create_info(paths, seeds={"data": 1}, class_names=["vessel"])
    return paths


def test_a_new_run_is_running_and_knows_its_versions(run):
    info = read_info(run.root)
    assert info["status"] == "running"
    assert info["versions"]["segfocal"] == __version__
    assert {"torch", "numpy", "python"} <= set(info["versions"])
    assert info["schema_version"] == 1
    assert info["seeds"] == {"data": 1}


def test_a_run_is_not_made_twice(run):
    with pytest.raises(SegfocalError, match=r"already holds a run.*--resume"):
        create_info(run)


def test_mappings_merge_and_the_rest_replaces(run):
    update_info(run, seeds={"model": 2}, timings={"fit": 1.5}, class_names=["a"])
    info = update_info(run.root, status="failed", reason="loss became NaN", timings={"test": 0.5})
    assert info == read_info(run)
    assert info["seeds"] == {"data": 1, "model": 2}
    assert info["timings"] == {"fit": 1.5, "test": 0.5}
    assert (info["class_names"], info["status"], info["reason"]) == (["a"], "failed", "loss became NaN")


def test_an_unknown_key_or_status_names_the_nearest(run):
    before = run.info.read_bytes()
    with pytest.raises(SegfocalError, match=r"no key 'treshold'\. Did you mean 'thresholds'"):
        update_info(run, treshold=1)
    with pytest.raises(SegfocalError, match="Did you mean 'finished'"):
        update_info(run, status="finish")
    assert run.info.read_bytes() == before


def test_another_version_names_both_and_the_remedy(run):
    info = json.loads(run.info.read_text())
    run.info.write_text(json.dumps(info | {"schema_version": 99, "versions": {"segfocal": "7.1.0"}}))
    for use in (read_info, lambda paths: update_info(paths, status="finished")):
        with pytest.raises(
            SegfocalError, match=r"version 99 .*7\.1\.0.* reads version 1\. Install segfocal 7\.1\.0"
        ):
            use(run)


@pytest.mark.parametrize("damage", ["", '{"schema_version": 1, "sta', "[]", "\x00\x00", '{"a": 1}'])
def test_damage_is_reported_with_the_path(run, damage):
    run.info.write_text(damage)
    with pytest.raises(SegfocalError, match=r"run\.json"):
        read_info(run)


def test_undecodable_bytes_are_reported(run):
    run.info.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SegfocalError, match="damaged"):
        read_info(run)


def test_numpy_values_paths_and_nan_are_stored(run):
    counts = np.array([[10, 2]], dtype=np.int64)
    update_info(
        run, class_counts=counts, alpha=np.float32(0.5), extra={"path": Path("a/b"), "score": float("nan")}
    )
    info = read_info(run)
    assert info["class_counts"] == [[10, 2]]
    assert info["alpha"] == 0.5
    assert info["extra"] == {"path": "a/b", "score": None}


def test_what_json_cannot_hold_is_an_error_and_changes_nothing(run):
    before = run.info.read_bytes()
    with pytest.raises(SegfocalError, match="got object"):
        update_info(run, extra={"a": object()})
    assert run.info.read_bytes() == before
    assert [path.name for path in run.root.iterdir()] == ["run.json"]


def _add(run, index):
    update_info(run, timings={f"phase{index}": float(index)})


def test_two_processes_lose_no_update(run):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_add, [str(run.root)] * 20, range(20)))
    assert len(read_info(run)["timings"]) == 20


def test_a_checkpoint_is_described_by_its_hash(tmp_path):
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"weights")
    sha = hashlib.sha256(b"weights").hexdigest()
    assert file_sha256(path) == sha
    assert checkpoint_info(path, step=3) == {"file": "best.ckpt", "sha256": sha, "step": 3}


def test_git_state_follows_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() == (None, None)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q"], ["add", "a"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *command], check=True)
    commit, dirty = git_state()
    assert len(commit) == 40
    assert dirty is False
    (tmp_path / "a").write_text("2")
    assert git_state() == (commit, True)


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state() == (None, None)


def test_every_key_of_run_json_has_a_type_that_is_checked():
    assert set(RunRecord.__annotations__) == set(RunInfo.__annotations__)
