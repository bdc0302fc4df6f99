"""Finding a run and its checkpoints, and saying what is wrong."""

import subprocess
import sys

import pytest

from segfocal.errors import SegfocalError
from segfocal.runs import (
    RunPaths,
    checkpoint,
    checkpoint_info,
    create_info,
    file_sha256,
    is_run,
    open_run,
    update_info,
)


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


def with_checkpoints(run):
    """A run whose best and last checkpoints are recorded."""
    run.checkpoints.mkdir(exist_ok=True)
    for which in ("best", "last"):
        path = run.checkpoints / f"{which}.ckpt"
        path.write_bytes(which.encode() * 1000)
        update_info(run, checkpoints={which: checkpoint_info(path)})
    return run


@pytest.mark.parametrize("place", [0, 1999, -1])
@pytest.mark.parametrize("bit", [1, 128])
def test_one_flipped_bit_is_named_with_the_whole_checkpoint(run, place, bit):
    best = with_checkpoints(run).checkpoints / "best.ckpt"
    content = bytearray(best.read_bytes())
    content[place] ^= bit
    best.write_bytes(content)
    for which in ("best", "best.ckpt", best):
        with pytest.raises(SegfocalError, match=r"best.ckpt is damaged or was changed: .*last.ckpt is whole"):
            checkpoint(run, which)
    assert checkpoint(run, "last").name == "last.ckpt"


def test_a_cut_or_lengthened_checkpoint_is_named(run):
    last = with_checkpoints(run).checkpoints / "last.ckpt"
    for content in (b"", b"last" * 999, b"last" * 1001):
        last.write_bytes(content)
        with pytest.raises(SegfocalError, match="damaged or was changed"):
            checkpoint(run, "last")


def test_a_whole_checkpoint_may_take_the_place_of_a_damaged_one(run):
    folder = with_checkpoints(run).checkpoints
    (folder / "last.ckpt").write_bytes((folder / "best.ckpt").read_bytes())
    assert checkpoint(run, "last") == folder / "last.ckpt"


def test_a_checkpoint_that_was_announced_is_whole(run):
    last = with_checkpoints(run).checkpoints / "last.ckpt"
    last.write_bytes(b"the next one")
    with pytest.raises(SegfocalError, match="damaged"):
        checkpoint(run, "last")
    update_info(
        run,
        checkpoints={
            "last": {"file": "last.ckpt", "sha256": "0" * 64, "next": {"sha256": file_sha256(last)}}
        },
    )
    assert checkpoint(run, "last") == last


def test_a_file_that_run_json_does_not_name_is_taken_as_it_is(run, tmp_path):
    with_checkpoints(run)
    (tmp_path / "own.ckpt").write_bytes(b"mine")
    assert checkpoint(run, tmp_path / "own.ckpt") == tmp_path / "own.ckpt"
