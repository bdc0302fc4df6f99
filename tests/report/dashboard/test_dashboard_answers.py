"""What the page is told: every view, filters, what changed, and what survives damaged or vanishing runs."""

import json
import shutil

import pytest
from dash import no_update
from fake_runs import fake_run
from plotly.utils import PlotlyJSONEncoder
from report_studies import FakeStudy

from segfocal.report.dashboard import watch
from segfocal.report.dashboard.answers import address, csv_of, update
from segfocal.report.dashboard.page import TITLES
from segfocal.report.dashboard.progress import read_progress
from segfocal.report.dashboard.selection import Selection, from_query, to_query
from segfocal.report.dashboard.watch import Watcher
from segfocal.report.study import study_numbers
from segfocal.runs import MetricsLog, update_info

HOSTILE = ("<script>alert(1)</script>", "../../etc/passwd", "x" * 300, "\u202eevil\n", "")


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.0)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    root = tmp_path_factory.mktemp("answers")
    for seed in range(2):
        fake_run(root / f"old/ce-{seed}", seed=seed, gamma=0.0, skill=0.4, pictures=True)
        fake_run(root / f"new/focal-{seed}", seed=seed, gamma=2.0, skill=0.9, extra={"tags": ["long"]})
    return root


def told(watcher, search="", **options):
    """The page as the browser gets it."""
    views, controls, content, shown = update(watcher, search, **{"look": "light", "shown": None} | options)
    assert views is not no_update
    return json.dumps([controls, content], cls=PlotlyJSONEncoder), shown


@pytest.mark.parametrize("view", TITLES)
def test_every_view_shows_what_it_is_about(logs, view):
    text, _ = told(Watcher(logs), f"?view={view}")
    words = {
        "runs": "ce-0",
        "leaderboard": "Dice per image",
        "comparisons": "signed-rank",
        "cases": "?view=cases",
    }
    words |= {"settings": "gamma", "provenance": "segfocal fit", "losses": "Slope", "data": "pixels"}
    assert words.get(view, "focal") in text
    assert "No chosen run" not in text or view == "strength"


def test_nothing_is_told_twice(logs):
    watcher = Watcher(logs)
    _, shown = told(watcher, "?view=classes")
    assert update(watcher, "?view=classes", look="light", shown=shown) == (no_update,) * 4
    _, controls, content, _ = update(watcher, "?view=data", look="light", shown=shown)
    assert controls is no_update
    assert content is not no_update


@pytest.mark.parametrize(
    ("query", "arms"), [("arm=ce", {"ce"}), ("tag=long", {"focal"}), ("tag=old", {"ce"})]
)
def test_filters_keep_the_chosen_runs(logs, query, arms):
    text, _ = told(Watcher(logs), f"?view=runs&{query}")
    assert {arm for arm in ("ce", "focal") if f'"{arm}-0"' in text} == arms


def test_a_table_sorts_by_the_column_in_the_address(logs):
    watcher = Watcher(logs)
    up, _ = told(watcher, "?view=leaderboard&sort=leaderboard:dice:up")
    down, _ = told(watcher, "?view=leaderboard&sort=leaderboard:dice:down")
    place = '{"props": {"children": "%s"}, "type": "Td"'
    order = [sorted(("ce", "focal"), key=lambda n, t=t: t.find(place % n)) for t in (up, down)]
    assert place % "ce" in up
    assert order == [["ce", "focal"], ["focal", "ce"]]


def test_cases_of_two_runs_stand_side_by_side(logs):
    text, _ = told(Watcher(logs), "?view=cases&run=old/ce-0&run=new/focal-1&case=b&order=difference")
    assert "picture?run=old%2Fce-0&stage=test&stem=b" in text
    assert "It keeps no pictures of this case." in text  # the second run


def test_two_runs_show_the_settings_in_which_they_differ(logs):
    text, _ = told(Watcher(logs), "?view=settings&run=old/ce-0&run=new/focal-0")
    assert "between the first two runs chosen" in text


def test_a_table_and_a_figure_are_handed_out_as_csv(logs):
    watcher = Watcher(logs)
    answer = csv_of("?view=leaderboard", "leaderboard", watcher=watcher)
    assert answer.data.startswith(b"rank,arm,")
    assert answer.mimetype == "text/csv"
    provenance = csv_of("?view=provenance", "provenance", watcher=watcher).data.decode()
    assert "old/ce-0" in provenance
    assert str(logs) not in provenance
    assert csv_of("?view=leaderboard", "nothing", watcher=watcher).status_code == 404


def test_a_study_names_its_arms(tmp_path):
    FakeStudy(seeds=(0,), clusters=2).write(tmp_path / "logs/study")
    assert set(Watcher(tmp_path / "logs").sources().scores["arm"]) == {"ce", "focal2"}
    (tmp_path / "logs/study/plan.json").write_text('{"cells": [7]}')
    assert Watcher(tmp_path / "logs").sources().runs.height == 2


def test_a_study_has_the_numbers_of_its_own_report(tmp_path):
    FakeStudy(seeds=(0, 1), clusters=3).write(tmp_path / "logs/study")
    shown = Watcher(tmp_path / "logs").sources()
    assert shown.estimates().equals(study_numbers(tmp_path / "logs/study").estimates(tuned=False))
    assert shown.estimates().height == 2
    assert "those of `segfocal study report`" in told(Watcher(tmp_path / "logs"), "?view=leaderboard")[0]


def test_a_new_epoch_is_told_and_read_alone(tmp_path, monkeypatch):
    run, other = fake_run(tmp_path / "a", stages=()), fake_run(tmp_path / "b")
    update_info(run, status="running")
    watcher = Watcher(tmp_path)
    before, shown = told(watcher, "?view=runs")
    assert "0.9876" not in before
    read = []
    scan = watch.read_sources
    monkeypatch.setattr(
        watch, "read_sources", lambda *a, **k: read.append(k["before"].stamps) or scan(*a, **k)
    )
    MetricsLog(run.metrics).append({"val/dice": 0.9876}, step=40, epoch=2)
    after, _ = told(watcher, "?view=runs", shown=shown)
    assert "0.9876" in after
    assert list(read[0]) == [other.root.as_posix()]  # its scores are kept


def test_progress_counts_towards_the_limit(tmp_path):
    config = "seed_everything: {seed}\ntrainer:\n  max_steps: 40\n  max_epochs: {gamma}\n"
    run = fake_run(tmp_path / "a", stages=(), config=config)
    found = read_progress(run.root)
    assert (found.step, found.goal, found.share) == (30, 40, 0.75)
    with run.metrics.open("ab") as file:
        file.write(b"31,two,val/dice\n\xff\xfe,1,2,3\n50,3,val/dice,nan\n60,3,val/d")
    found = read_progress(run.root)
    assert (found.step, found.epoch, found.share) == (50, 3, 1.0)
    assert found.values["val/dice"] == 0.375


@pytest.mark.parametrize("view", ["", *TITLES])
def test_an_empty_or_missing_folder_is_no_error(tmp_path, view):
    assert "No run directories" in told(Watcher(tmp_path), f"?view={view}")[0] or view == "losses"
    assert "No run directories" in told(Watcher(tmp_path / "none"), f"?view={view}")[0] or view == "losses"


@pytest.mark.parametrize("view", TITLES)
def test_one_run_is_enough(tmp_path, view):
    fake_run(tmp_path / "only", pictures=True)
    told(Watcher(tmp_path), f"?view={view}&case=a")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    root = tmp_path_factory.mktemp("damaged")
    for place, name in enumerate(HOSTILE[:1] + HOSTILE[3:4]):
        folder = name.replace("/", "\\").replace("\n", " ")
        fake_run(root / f"{place}{folder}", names=HOSTILE[:4], class_names=HOSTILE[:2], seed=place)
    torn = fake_run(root / "torn")
    torn.cases.write_bytes(b"PAR1 torn")
    torn.curves.write_bytes(b"")
    torn.config.write_text("a: [")
    torn.metrics.write_bytes(b"step,epoch,name,value\n1,1,val/dice,0.5\nnonsense\n9,9,")
    fake_run(root / "old").info.write_text('{"schema_version": 99, "versions": {}}')
    fake_run(root / "list").info.write_text("[1, 2")
    (root / "begun").mkdir()
    (root / "begun/config.yaml").write_bytes(b"\xff\xfe")
    return root


@pytest.mark.parametrize("view", TITLES)
def test_damaged_runs_and_hostile_names_break_nothing(damaged, view):
    text, _ = told(Watcher(damaged), f"?view={view}&case={HOSTILE[1]}")
    assert "root:" not in text
    assert str(damaged) not in text


def test_damaged_runs_are_named_with_the_reason(damaged):
    text, _ = told(Watcher(damaged), "?view=runs")
    for reason in ("schema version 99", "must be JSON", "it holds no run.json", "cannot be read"):
        assert reason in text


@pytest.mark.parametrize("view", TITLES)
def test_a_run_may_go_while_it_is_shown(tmp_path, view):
    gone = fake_run(tmp_path / "gone", pictures=True, gamma=1.0)
    fake_run(tmp_path / "here")
    watcher = Watcher(tmp_path)
    search = f"?view={view}&run=gone&arm=gone&arm=here&case=a&base=gone"
    told(watcher, search)
    shutil.rmtree(gone.root)
    assert "here" in told(watcher, search)[0] or view == "losses"


@pytest.mark.parametrize(
    "search", [None, "", "?", "?view=none&page=x:9999999&sort=::&tuned=9", "?stage=other", "?%ff=%00"]
)
def test_any_address_shows_a_page(logs, search):
    assert "Leaderboard" in told(Watcher(logs), search)[0]


def test_an_address_brings_a_selection_back():
    chosen = Selection("cases", arm=("a&b", "\u202e<i>"), run=("x/y",), case="../ä", sort="t:c:up")
    assert from_query(to_query(chosen)) == chosen
    assert len(from_query("?" + "&".join(f"run={place}" for place in range(9))).run) == 4


def test_controls_change_the_address_only_where_they_differ():
    assert address({"arm": ["a"]}, "?view=runs&page=runs:3") == "?view=runs&arm=a"
    assert address({"arm": [], "stage": "", "tuned": ""}, "?view=runs") is no_update
    assert from_query(address({"run": list("abcdef")}, "")).run == tuple("abcd")
    assert address({"view": "x", "nothing": 1}, "?view=runs") is no_update
