"""Finding a run and its checkpoints, and saying what is wrong."""

import subprocess
import sys

import pytest

from segfocal.errors import SegfocalError
from segfocal.runs import RunPaths, checkpoint, checkpoint_info, create_info, is_run, open_run, update_info


@pytest.fixture
def run(tmp_path):
    paths = RunPaths(tmp_path / "run")
    create_info(paths)
    return paths


def save(paths, *names):
    paths.checkpoints.mkdir(exist_ok=True)
    for name in names:
        (paths.checkpoints / name).write_bytes(name.encode())


def test_a_missing_folder_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(
        SegfocalError, match=r"nothing must be a run directory, got no such folder.*fit --run"
    ):
        open_run(tmp_path / "nothing")


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(SegfocalError, match="got a file"):
        open_run(tmp_path / "x")


def test_a_folder_without_run_json_is_no_run(tmp_path):
    with pytest.raises(SegfocalError, match=r"holds no run\.json"):
        open_run(tmp_path)
    assert not is_run(tmp_path)


def test_the_parent_of_runs_names_them(run):
    with pytest.raises(SegfocalError, match=r"Did you mean .*/run\?"):
        open_run(run.root.parent)


def test_a_run_opens(run):
    assert open_run(str(run.root)) == run
    assert is_run(run.root)


def test_a_run_without_checkpoints_says_so(run):
    for make in (lambda: None, lambda: run.checkpoints.mkdir()):
        make()
        with pytest.raises(SegfocalError, match=r"holds no checkpoint.*segfocal fit"):
            checkpoint(run)


def test_best_and_last_are_files_of_these_names(run):
    save(run, "best.ckpt", "last.ckpt")
    assert checkpoint(run).name == "best.ckpt"
    assert checkpoint(run, "last").name == "last.ckpt"


def test_run_json_says_which_file_is_best(run):
    save(run, "best-v1.ckpt", "best.ckpt")
    update_info(run, checkpoints={"best": checkpoint_info(run.checkpoints / "best-v1.ckpt", epoch=3)})
    assert checkpoint(run, "best").name == "best-v1.ckpt"


def test_a_path_or_a_file_name_is_taken_as_it_stands(run, tmp_path):
    save(run, "epoch=3.ckpt")
    other = tmp_path / "other.ckpt"
    other.write_bytes(b"")
    assert checkpoint(run, "epoch=3.ckpt") == run.checkpoints / "epoch=3.ckpt"
    assert checkpoint(run, other) == other


def test_a_missing_checkpoint_is_never_replaced_by_another(run):
    save(run, "last.ckpt")
    with pytest.raises(SegfocalError, match=r"'best' not found.*holds last\.ckpt"):
        checkpoint(run, "best")


def test_importing_the_room_loads_neither_torch_nor_tables():
    code = "import segfocal.runs, sys; print({'torch', 'polars', 'scipy', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_readers_need_no_torch():
    code = "import segfocal.runs.read, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
