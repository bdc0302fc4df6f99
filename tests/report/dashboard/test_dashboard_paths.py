"""Nothing outside LOGDIR is read, whatever an address, a name or a link says."""

from pathlib import Path

import pytest
from fake_runs import fake_run

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.answers import update
from segfocal.report.dashboard.app import create_app
from segfocal.report.dashboard.confine import divide, inside
from segfocal.report.dashboard.watch import Watcher
from segfocal.runs.layout import RunPaths
from segfocal.runs.pictures import case_stem

WORDS = {"stage": "test", "stem": "a", "layer": "image"}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    root = tmp_path_factory.mktemp("paths")
    fake_run(root / "logs/group/good", pictures=True)
    fake_run(root / "outside", pictures=True, class_names=("secret-class",))
    linked = fake_run(root / "logs/linked")
    linked.cases.unlink()
    linked.cases.symlink_to(root / "outside/cases.parquet")
    (root / "logs/pictures").mkdir()
    for name in ("run.json", "cases.parquet"):
        (root / "logs/pictures" / name).write_bytes((root / "logs/group/good" / name).read_bytes())
    (root / "logs/pictures/cases").symlink_to(root / "outside/cases")
    (root / "logs/link").symlink_to(root / "outside")
    (root / "logs/loop").symlink_to(root / "logs/loop")
    return root / "logs"


@pytest.fixture(scope="module")
def client(logs):
    return create_app(Watcher(logs), host="127.0.0.1", port=8050, token=None).server.test_client()


def ask(client, **words):
    return client.get("/picture", base_url="http://127.0.0.1:8050", query_string=WORDS | words)


@pytest.mark.parametrize(
    "part", ["..", "../outside", "/etc", "a/../../b", "link", "link/run.json", "loop", "\0"]
)
def test_inside_refuses_what_leads_out(logs, part):
    with pytest.raises(SegfocalError):
        inside(logs, part)


def test_inside_keeps_what_stays(logs):
    assert inside(logs, "group", "good", "none.json") == logs / "group/good/none.json"


def test_runs_whose_files_are_links_out_are_named_not_read(logs):
    watcher = Watcher(logs)
    assert {run.name for run in watcher.found().runs} == {"good", "pictures"}
    assert {run.name: file for run, file in watcher.found().refused.items()} == {"linked": "cases.parquet"}
    sources = watcher.sources()
    assert ("linked", "cases.parquet is a link out of LOGDIR") in sources.left_out
    shown = str(update(watcher, "?view=classes", look=None, shown=None))
    assert "secret-class" not in shown
    assert str(logs) not in shown


def test_links_within_are_followed(tmp_path):
    run = fake_run(tmp_path / "logs/a")
    run.cases.rename(tmp_path / "logs/kept.parquet")
    run.cases.symlink_to(tmp_path / "logs/kept.parquet")
    runs, refused = divide(tmp_path / "logs", [run.root])
    assert runs == [run.root]
    assert not refused


def test_a_picture_of_a_run_is_shown(client):
    answer = ask(client, run="group/good")
    assert answer.status_code == 200
    assert answer.data[:3] == b"\xff\xd8\xff"
    assert ask(client, run="group/good", layer="errors", **{"class": "0"}).data[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "words",
    [
        {"run": "../outside"},
        {"run": "link"},
        {"run": "group/../../outside"},
        {"run": "pictures"},
        {"run": "linked"},
        {"run": ""},
        {"run": "group/good", "stage": "../../../../outside/cases/test"},
        {"run": "group/good", "stem": "../../../../../outside/cases/test/a"},
        {"run": "group/good", "stem": case_stem("../../etc/passwd")},
        {"run": "group/good", "stem": "a\0"},
        {"run": "group/good", "stem": "x" * 5000},
        {"run": "group/good", "layer": "config"},
        {"run": "group/good", "layer": "errors", "class": "99999"},
        {"run": "group/good", "layer": "errors", "class": "-1"},
    ],
)
def test_no_address_leads_to_another_picture(client, words):
    answer = ask(client, **words)
    assert answer.status_code == 404
    assert answer.text == "no such picture\n"


def names_of_files():
    """Of every file that the paths of a run name, folders and weights left out."""
    paths = RunPaths("run")
    named = [getattr(paths, name) for name in dir(RunPaths) if isinstance(getattr(RunPaths, name), property)]
    return sorted(path.name for path in named if isinstance(path, Path) and path.suffix)


@pytest.mark.parametrize("name", names_of_files())
def test_a_link_of_every_file_of_a_run_is_refused(name, tmp_path):
    run, outside = fake_run(tmp_path / "logs/a"), tmp_path / "outside"
    file = run.root / name
    outside.write_bytes(file.read_bytes() if file.exists() else b"")
    file.unlink(missing_ok=True)
    file.symlink_to(outside)
    assert {found.name: said for found, said in Watcher(tmp_path / "logs").found().refused.items()} == {
        "a": name
    }


def test_the_files_of_a_run_are_all_under_the_check():
    files = [path.name for path in RunPaths("run").files]
    assert sorted(files) == names_of_files()
    assert len(files) >= 8
