"""One odd file of one run: every other run is still shown, and the odd one is named."""

import json
import shutil

import pytest
from dash import no_update
from fake_runs import fake_run
from record_mutations import BOMB, KINDS, VALUES, mutate

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.report.dashboard import watch
from segfocal.report.dashboard.answers import update
from segfocal.report.dashboard.page import TITLES
from segfocal.report.dashboard.watch import Watcher
from segfocal.report.page.page import write_page
from segfocal.report.sources import read_sources
from segfocal.runs import update_info
from segfocal.runs.history import read_history, write_history
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A good run and one whose files are changed; and what they held before."""
    root = tmp_path_factory.mktemp("odd")
    for name, gamma in (("good", 0.0), ("odd", 2.0)):
        run = fake_run(root / f"logs/{name}", gamma=gamma, extra={"tags": ["long"]})
        write_history(run, {"model": {"gamma": gamma}}, command=["segfocal", "fit"])
        change = {"key": "a", "old": 1, "new": 2}
        write_history(run, {"model": {}}, command=["segfocal"], step=3, changes=[change])
    return root


@pytest.fixture
def logs(pair):
    kept = pair / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(pair / "logs/odd", kept)
    yield pair / "logs"
    restore(pair / "logs")


def restore(logs):
    shutil.rmtree(logs / "odd")
    shutil.copytree(logs.parent / "kept", logs / "odd")


def check_views(logs, views=tuple(TITLES)):
    watcher = Watcher(logs)
    for view in views:
        _, _, content, _ = update(watcher, f"?view={view}", look="light", shown=None)
        assert content is not no_update
        if view in ("runs", "leaderboard", "provenance"):
            assert "good" in str(content)


def refusal(read, run):
    try:
        read(run)
    except SegfocalError as error:
        return str(error)
    return ""


def read_all(logs):
    """Read as every command does; a run may be refused in one line, but breaks nothing."""
    odd = RunPaths(logs / "odd")
    for said in (refusal(read, odd) for read in (read_info, read_history)):
        assert "\n" not in said
        assert not said or "odd" in said
    sources = read_sources([logs / "good", logs / "odd"])
    assert "good" in sources.scores["name"].to_list()
    assert all("\n" not in reason for _, reason in sources.left_out + sources.damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_files_are_read_or_named(logs, kind):
    for seed in range(20):
        mutate(logs / "odd" / kind, seed=seed)
        read_all(logs)
        restore(logs)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_files_break_no_view_and_no_page(logs, kind, capsys):
    for seed in range(3):
        mutate(logs / "odd" / kind, seed=100 + seed)
        check_views(logs)
        assert main(["report", str(logs), "--terminal"]) == 0
        assert "good" in capsys.readouterr().out
        sources = read_sources([logs / "good", logs / "odd"])
        write_page(sources, logs.parent / "page", title="t", overwrite=True)
        assert "good" in (logs.parent / "page/index.html").read_text()
        restore(logs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_odd_files_are_read_or_named(logs, kind):
    for seed in range(500):
        mutate(logs / "odd" / kind, seed=1000 + seed)
        read_all(logs)
        restore(logs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_odd_files_break_no_command(logs, kind, capsys):
    for seed in range(60):
        mutate(logs / "odd" / kind, seed=5000 + seed)
        check_views(logs, (tuple(TITLES)[seed % len(TITLES)], "runs"))
        assert main(["report", str(logs), "--terminal"]) == 0
        assert "good" in capsys.readouterr().out
        restore(logs)


@pytest.mark.parametrize("place", ["versions", "status", "seeds", "class_names", "checkpoints", "timings"])
def test_a_key_of_another_type_is_named(logs, place, capsys):
    path = logs / "odd/run.json"
    content = json.loads(path.read_text())
    for value in VALUES[:20]:
        path.write_text(json.dumps(content | {place: value}))
        read_all(logs)
    path.write_text(json.dumps(content | {place: 5}))
    assert main(["report", str(logs), "--terminal"]) == 0
    out = capsys.readouterr().out
    assert "left out: odd" in out
    assert place in out


def test_aliases_that_multiply_are_named_at_once(logs):
    (logs / "odd/config.yaml").write_text(BOMB)
    check_views(logs)
    damaged = dict(read_sources([logs / "good", logs / "odd"]).damaged)
    assert "config.yaml cannot be read" in damaged["odd"]


def test_a_damaged_table_is_named_in_every_display(logs, capsys, tmp_path):
    (logs / "odd/curves.parquet").write_bytes(b"PAR1 no table")
    assert main(["report", str(logs), "--terminal"]) == 0
    assert "curves.parquet cannot be read" in capsys.readouterr().out
    write_page(read_sources([logs / "good", logs / "odd"]), tmp_path / "page", title="t")
    assert "curves.parquet cannot be read" in (tmp_path / "page/index.html").read_text()
    _, _, content, _ = update(Watcher(logs), "?view=runs", look="light", shown=None)
    assert "curves.parquet cannot be read" in str(content)


def test_nothing_is_made_from_a_configuration(logs, tmp_path):
    mark = tmp_path / "made"
    (logs / "odd/config.yaml").write_text(
        f"model:\n  class_path: pathlib.Path.touch\n  init_args: {{self: {mark}}}\n"
        f"data: !!python/object/apply:os.mkdir [{mark}]\n"
    )
    check_views(logs)
    assert main(["report", str(logs), "--out", str(tmp_path / "page")]) == 0
    assert not mark.exists()


def test_what_update_writes_can_be_read(logs):
    update_info(logs / "odd", timings={"fit_s": float("nan")}, thresholds=[0.5], seeds={"process": 3})
    assert read_info(logs / "odd")["timings"]["fit_s"] is None
