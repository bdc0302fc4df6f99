"""A run without a step is taken back; one with a checkpoint, or what is not ours, stays."""

from segfocal.runs.discard import discard_untrained
from segfocal.runs.info import create_info
from segfocal.runs.layout import RunPaths


def new_run(root):
    paths = RunPaths(root)
    create_info(paths, command=["segfocal", "fit"])
    paths.config.write_text("model: {}\n")
    paths.boards.mkdir()
    (paths.boards / "events").write_text("")
    return paths


def test_everything_a_run_writes_is_removed(tmp_path):
    assert discard_untrained(new_run(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert tmp_path.exists()


def test_files_of_others_stay(tmp_path):
    paths = new_run(tmp_path / "run")
    (paths.root / "notes.txt").write_text("mine")
    assert discard_untrained(paths)
    assert [path.name for path in paths.root.iterdir()] == ["notes.txt"]


def test_a_checkpoint_keeps_the_run(tmp_path):
    paths = new_run(tmp_path / "run")
    paths.checkpoints.mkdir()
    (paths.checkpoints / "last.ckpt").write_bytes(b"weights")
    before = sorted(paths.root.rglob("*"))
    assert not discard_untrained(paths)
    assert sorted(paths.root.rglob("*")) == before
