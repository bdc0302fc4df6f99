"""The written report: its files, what they say, and names that mean harm."""

import io
import itertools
import json
import re

import numpy as np
import polars as pl
import pytest
from fake_runs import fake_run
from PIL import Image
from report_studies import FakeStudy, only

from segfocal.__main__ import main
from segfocal.report.figures.leaderboard import heat_map_figure, leaderboard_figure
from segfocal.report.figures.paired import paired_figure, scatter_figure, verdict
from segfocal.report.figures.shown import template
from segfocal.report.names import clean, distinct
from segfocal.report.page.cases import case_browser
from segfocal.report.page.choose import choose_cases
from segfocal.report.page.pictures import error_layer, pictured_cases, probability_layer, read_layers
from segfocal.report.sources import read_sources
from segfocal.report.study import study_baseline, study_numbers, study_runs
from segfocal.report.tables.find import find_runs
from segfocal.report.tables.leaderboard import heat_map, leaderboard, run_board
from segfocal.report.tables.paired import image_scores, paired
from segfocal.report.tables.scalars import last_scalars
from segfocal.report.views import sections
from segfocal.study.report import build_report

HOSTILE = ("<script>alert(1)</script>", "../../etc/passwd", "x" * 300, "a\u202eb", "two\nlines", "\"&'")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    root = tmp_path_factory.mktemp("logs")
    for seed in range(2):
        fake_run(root / f"ce-{seed}", seed=seed, gamma=0.0, skill=0.4, pictures=True)
        fake_run(root / f"focal-{seed}", seed=seed, gamma=2.0, skill=0.9, pictures=True)
    return root


@pytest.fixture(scope="module")
def sources(logs):
    return read_sources(find_runs([logs]))


def data_of(folder):
    text = (folder / "data.js").read_text()
    return json.loads(text.removeprefix("window.SEGFOCAL = ").removesuffix(";\n"))


def write(logs, out, *options):
    assert main(["report", str(logs), "--out", str(out), *options]) == 0
    return out


def test_the_page_is_complete_and_the_same_each_time(logs, tmp_path):
    first, second = write(logs, tmp_path / "a"), write(logs, tmp_path / "b")
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert {"index.html", "data.js", "plotly.min.js", "report.css"} <= {str(path) for path in files}
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)
    assert sum(path.stat().st_size for path in first.rglob("*")) < 10_000_000


def test_the_page_names_nothing_outside_its_folder(logs, tmp_path):
    page = (write(logs, tmp_path / "a") / "index.html").read_text()
    used = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert used
    assert all((tmp_path / "a" / name).exists() for name in used if not name.startswith(("#", "data:")))
    assert "http" not in page.replace("http-equiv", "")


def test_an_old_report_is_replaced_on_request_and_nothing_else_is_touched(logs, tmp_path, capsys):
    out = write(logs, tmp_path / "a")
    (out / "pictures" / "mine.png").write_bytes(b"mine")
    assert main(["report", str(logs), "--out", str(out)]) == 2
    assert "Add --overwrite" in capsys.readouterr().err
    write(logs, out, "--overwrite", "--title", "again")
    assert (out / "pictures" / "mine.png").read_bytes() == b"mine"
    assert "again" in (out / "index.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (out / "index.html").write_text("edited")
    assert main(["report", str(logs), "--out", str(out), "--overwrite"]) == 2
    assert "was edited since" in capsys.readouterr().err
    assert main(["report", str(logs), "--out", str(logs)]) == 2
    assert "must not lie in what the command reads" in capsys.readouterr().err


def test_pictures_of_a_folder_with_a_data_js_stay(logs, tmp_path, capsys):
    (tmp_path / "site/pictures").mkdir(parents=True)
    (tmp_path / "site/data.js").write_text("mine")
    (tmp_path / "site/pictures/a.png").write_bytes(b"mine")
    assert main(["report", str(logs), "--out", str(tmp_path / "site"), "--overwrite"]) == 2
    assert "data.js exists and is not listed" in capsys.readouterr().err
    assert (tmp_path / "site/pictures/a.png").read_bytes() == b"mine"


def test_views_hold_every_part(sources):
    keys = [part.key for part in sections(sources)]
    wanted = ["leaderboard", "classes", "comparisons", "learning", "strength", "calibration"]
    wanted += ["precision-recall", "concentration", "data", "settings", "provenance"]
    assert keys == wanted


def test_figure_keys_and_words_are_there_for_all(sources):
    shown = [figure for part in sections(sources) for figure in part.figures]
    assert len({one.key for one in shown}) == len(shown)
    for one in shown:
        assert re.fullmatch(r"[a-z0-9-]+", one.key)
        assert one.title
        assert len(one.alt) > 20
        assert one.figure.layout.xaxis.title.text is not None
        assert one.data.height


def test_strength_curves_join_arms_that_differ_in_one_number(sources):
    (part,) = [part for part in sections(sources) if part.key == "strength"]
    assert part.tables[0].frame["strength"].to_list() == [0.0, 2.0]
    assert part.tables[0].frame["setting"].unique().to_list() == ["model.loss.init_args.gamma"]


def test_the_figures_draw_the_tables(sources):
    board = leaderboard(run_board(sources.scores, sources.runs, scalars=sources.scalars))
    drawn = leaderboard_figure(board).figure.data[0]
    assert list(drawn.x) == board["dice"].to_list()
    half = drawn.error_x.array[0]
    assert half == pytest.approx(board["dice_high"][0] - board["dice"][0])
    heat = heat_map_figure(heat_map(sources.scores)).figure.data[0]
    assert np.shape(heat.z) == (4, 1)


def test_a_comparison_that_few_clusters_cannot_decide_says_so(sources):
    pair = paired(image_scores(sources.runs, stage="test"), arm="focal", baseline="ce")
    assert "Undecidable" in verdict(pair)
    assert "2 seeds, 4 clusters" in verdict(pair)
    assert list(paired_figure(pair).figure.data[0].y) == pytest.approx(
        [100 * value for value in pair.images["difference"]]
    )
    assert len(scatter_figure(pair).figure.data[1].x) == 4


def test_both_looks_have_readable_ink():
    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for look in ("light", "dark"):
        layout = template(look).layout
        dark, light = sorted(map(luminance, (layout.font.color, layout.paper_bgcolor)))
        assert (light + 0.05) / (dark + 0.05) > 7


def test_hostile_names_are_text_everywhere(tmp_path):
    for number, name in enumerate(HOSTILE):
        folder = tmp_path / "logs" / ("r" + name.replace("/", "_"))[:200]
        fake_run(folder, seed=number, names=[name, "b"], class_names=[name], pictures=number in (0, 3, 5))
    out = write(tmp_path / "logs", tmp_path / "out", "--title", HOSTILE[0])
    page, data = (out / "index.html").read_text(), (out / "data.js").read_text()
    assert "<script>alert" not in page
    assert not set("<>&") & set(data)
    assert "\u202e" not in page
    figures = json.dumps(data_of(out)["figures"])
    assert "&lt;script&gt;" in figures
    assert "<script" not in figures
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize("make", ["none", "half", "other-version", "untested", "one"])
def test_poor_folders_still_give_a_page_that_says_what_is_missing(make, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    if make == "half":
        (logs / "r").mkdir()
        (logs / "r" / "metrics.csv").write_text("step,epoch,name,value\n1,0,tra")
    if make in ("untested", "one"):
        fake_run(logs / "r", stages=() if make == "untested" else ("val",))
    if make == "other-version":
        run = fake_run(logs / "r")
        run.info.write_text(run.info.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    page = (write(logs, tmp_path / "out") / "index.html").read_text()
    said = {
        "none": "No runs were found",
        "half": "holds no run.json",
        "other-version": "schema version 9",
        "untested": "no scores of the test split",
        "one": "Scores of the val split",
    }
    assert said[make] in page


def test_cases_hold_pictures_and_scores_of_every_run(sources):
    browser = case_browser(sources)
    assert [run["name"] for run in browser.content["runs"]] == ["ce-0", "ce-1", "focal-0", "focal-1"]
    assert {case["name"] for case in browser.content["cases"]} == set("abcd")
    for case in browser.content["cases"]:
        for slices in case["pictures"]:
            paths = [slices[0][kind] for kind in ("image", "reference", "prediction")]
            paths += [slices[0]["errors"]["0"], slices[0]["probability"]["0"]]
            assert set(paths) <= set(browser.files)
        assert all(0 < scores[0] < 1 for scores in case["scores"])
    images = {case["pictures"][run][0]["image"] for case in browser.content["cases"] for run in range(4)}
    assert len(images) == 1  # all fake images are alike: written once


def test_the_error_layer_tells_hits_from_both_errors():
    reference = np.array([[1, 1, 0, 0, 255]], np.uint8)
    prediction = np.array([[1, 0, 1, 0, 1]], np.uint8)
    picture = Image.open(io.BytesIO(error_layer(reference, prediction))).convert("RGBA")
    colours = [picture.getpixel((place, 0)) for place in range(5)]
    assert [colour[:3] for colour in colours[:3]] == [(255, 255, 255), (86, 180, 233), (230, 159, 0)]
    assert colours[3][3] == 0
    assert colours[4][:3] == (120, 120, 120)
    scale = (
        Image.open(io.BytesIO(probability_layer(np.array([[0, 255]], np.uint8))))
        .convert("RGBA")
        .convert("RGB")
    )
    assert scale.getpixel((0, 0)) == (0, 34, 78)
    assert scale.getpixel((1, 0)) == (254, 232, 56)


def test_slices_of_a_volume_belong_to_one_case(tmp_path):
    folder = tmp_path / "cases" / "test"
    folder.mkdir(parents=True)
    for name in ("heart@003.image.png", "heart@007.image.png", "mail@home.image.png"):
        (folder / name).write_bytes(b"")
    found = pictured_cases(tmp_path, "test")
    assert found["heart"] == {"003": "heart@003", "007": "heart@007"}
    assert found["mail@home"] == {"": "mail@home"}


def test_a_picture_that_leads_out_of_the_run_is_not_read(logs, tmp_path):
    run = fake_run(tmp_path / "r", pictures=True).root
    options = {"class_names": ["lesion"], "task": "binary"}
    assert read_layers(run, "test", "a", **options) is not None
    picture = run / "cases" / "test" / "a.image.png"
    picture.unlink()
    picture.symlink_to(logs / "ce-0" / "cases" / "test" / "a.image.png")
    assert read_layers(run, "test", "a", **options) is None
    (run / "cases" / "test" / "b.image.png").write_bytes(b"no picture")
    assert read_layers(run, "test", "b", **options) is None


def test_chosen_cases_hold_the_worst_the_middle_and_the_most_different():
    names = [f"{place:02d}" for place in range(60)]
    rows = [(run, name, place / 60) for place, name in enumerate(names) for run in "ab"]
    table = pl.DataFrame(rows, schema=["run", "name", "value"], orient="row")
    apart = (pl.col("run") == "b") & (pl.col("name") == "50")
    table = table.with_columns(pl.when(apart).then(0.2).otherwise(pl.col("value")).alias("value"))
    chosen = choose_cases(table, available=names)
    assert len(chosen) == 24
    assert {"00", "50", "30"} <= set(chosen)
    assert choose_cases(table, available=names, count=None) == sorted(
        names, key=lambda n: (table.filter(pl.col("name") == n)["value"].mean(), n)
    )


def test_the_terminal_shows_arms_and_what_was_left_out(logs, tmp_path, capsys):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed_everything: 1\n")
    assert main(["report", str(logs), str(tmp_path / "begun"), "--terminal"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("focal") < shown.index(" ce ")
    assert "left out: begun: it holds no run.json" in shown


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "needs --out DIR"),
        (["--out", "x"], "needs RUNS"),
        (["gone", "--out", "x"], "no such folder"),
        (["{logs}", "--out", "x", "--baseline", "focl"], "Did you mean 'focal'"),
        (["{logs}", "--out", "x", "--stage", "tset"], "Did you mean 'test'"),
        (["{logs}", "--out", "x", "--study", "{logs}"], "no readable plan.json"),
    ],
    ids=["out", "runs", "folder", "baseline", "stage", "study"],
)
def test_wrong_words_name_the_remedy(words, part, logs, capsys):
    assert main(["report", *(word.format(logs=logs) for word in words)]) == 2
    assert part in capsys.readouterr().err


def skilled(arm, seed, cluster, image, label):
    """Arms, seeds, patients and images that all differ, the second image of a patient much."""
    return round({"ce": 0.5, "focal2": 0.6}[arm] + 0.01 * seed + 0.02 * cluster % 0.07 + 0.1 * image, 4)


def uneven(study):
    """Patients with one image and with two: a mean over patients is none over images."""
    rows = study.rows

    def fewer(entry, kind):
        found, groups = rows(entry, kind)
        return [row for row in found if row["name"] != "image03b"], groups

    study.rows = fewer
    return study


@pytest.mark.parametrize(("kinds", "folds"), [(("fixed",), 1), (("fixed", "tuned"), 2), (("argmax",), 3)])
def test_a_study_has_the_same_numbers_in_both_reports(kinds, folds, tmp_path):
    study = uneven(FakeStudy(skilled, kinds=kinds, folds=folds, images=2, clusters=6, datasets=("a", "b")))
    root = study.write(tmp_path / "study")
    report, kind = build_report(root), kinds[-1]
    numbers = study_numbers(root)
    assert numbers.tuned is (kind == "tuned")
    runs = study_runs(root)
    sources = read_sources(
        list(runs),
        arms={run.as_posix(): arm for run, arm in runs.items()},
        tuned=numbers.tuned,
        study=numbers,
        baseline="ce, a",
    )
    board = leaderboard(
        run_board(sources.scores, sources.runs, scalars=sources.scalars), known=sources.estimates()
    )
    for arm, data in itertools.product(("ce", "focal2"), "ab"):
        where = {"arm": arm, "dataset": data, "threshold": kind, "class": "foreground"}
        row = only(report, "scores", metric="dice", **where)
        own = board.row(by_predicate=pl.col("arm") == f"{arm}, {data}", named=True)
        expected = [row[key] for key in ("mean", "low", "high")]
        assert [own[key] for key in ("dice", "dice_low", "dice_high")] == pytest.approx(expected)
        together = only(report, "scores", metric="dataset_dice", **where)
        assert own["dataset_dice"] == pytest.approx(together["mean"])
        pair = numbers.comparison(f"focal2, {data}", f"ce, {data}", tuned=numbers.tuned)
        row = only(report, "comparisons", arm="focal2", dataset=data, metric="dice", role="primary")
        assert (pair.interval.mean, pair.test.p_value) == pytest.approx((row["difference"], row["p"]))
    assert numbers.comparison("focal2, b", "ce, a", tuned=numbers.tuned) is None


def test_a_study_has_one_page_wherever_its_own_report_was_written(tmp_path, monkeypatch, capsys):
    root = FakeStudy(skilled, kinds=("fixed", "tuned")).write(tmp_path / "study")
    report, pages = build_report(root), []
    monkeypatch.chdir(tmp_path)
    for out in (None, "elsewhere", "another/inside"):
        if out is not None:
            assert main(["study", "report", "study", "--out", out]) == 0
        assert main(["report", "--study", "study", "--out", f"page-{len(pages)}"]) == 0
        pages.append((tmp_path / f"page-{len(pages)}" / "index.html").read_text())
    assert pages[0] == pages[1] == pages[2]
    assert report["conclusions"][0].split(":")[0] in pages[0]


def test_cells_that_failed_are_not_in_the_report_of_a_study(tmp_path, capsys):
    failed = {"vessels-1-focal2-1-0": "no memory"}
    root = FakeStudy(skilled, failed=failed).write(tmp_path / "study")
    assert len(study_runs(root)) == 5
    assert study_baseline(root) == "ce"
    assert main(["report", "--study", str(root), "--terminal"]) == 0
    nothing = FakeStudy(skilled, missing=tuple(cell["id"] for cell in FakeStudy(skilled).cells()))
    assert main(["report", "--study", str(nothing.write(tmp_path / "none")), "--terminal"]) == 0
    assert "No run has scores" in capsys.readouterr().out


def test_arms_of_other_data_are_named_and_not_compared(tmp_path, capsys):
    for arm, gamma, data in (("ce", 0.0, "d"), ("focal", 2.0, "d"), ("road", 3.0, "e")):
        for seed in range(2):
            facts = {"data": {"sha256": data * 64}, "gamma": gamma, "skill": gamma / 4}
            fake_run(tmp_path / "logs" / f"{arm}-{seed}", seed=seed, **facts)
    sources = read_sources(find_runs([tmp_path / "logs"]), baseline="ce")
    said = "ce, focal (data dddddddd); road (data eeeeeeee)"
    assert said in sources.other_data()
    [table] = next(part for part in sections(sources) if part.key == "comparisons").tables
    found = dict(table.frame.select("arm", "found").iter_rows())
    assert found["road"] == "not compared: other data, whose images are not the same"
    assert "points" in found["focal"]
    assert main(["report", str(tmp_path / "logs"), "--terminal"]) == 0
    assert said in capsys.readouterr().out


def test_other_splits_and_thresholds_can_be_shown(logs):
    sources = read_sources(find_runs([logs]), stage="val", baseline="focal-1")
    assert (sources.stage, sources.baseline) == ("val", "focal")
    assert set(last_scalars(sources.scores["run"].unique(), stage="val")["ece"]) == {0.01, 0.011}
    assert read_sources(find_runs([logs]), tuned=True).scores.is_empty()


def test_names_become_short_plain_and_distinct():
    assert [clean(name, longest=20) for name in HOSTILE[2:5]] == [
        "x" * 10 + "…" + "x" * 9,
        "a b",
        "two lines",
    ]
    assert clean("\n") == "(no name)"
    assert len(set(distinct(["x" * 300, "x" * 301, "x" * 48]))) == 3


def test_arms_of_other_training_images_are_compared_on_the_same_test_images(tmp_path, capsys):
    """Training fractions change what is trained on alone."""
    for gamma, whole in ((1.0, "a"), (2.0, "b")):
        hashes = {"train": whole * 64, "val": "c" * 64, "test": "d" * 64}
        data = {"sha256": whole * 64, "splits": hashes}
        for seed in (0, 1):
            fake_run(tmp_path / "runs" / f"{whole}{seed}", seed=seed, gamma=gamma, data=data)
    sources = read_sources(find_runs([tmp_path / "runs"]))
    assert set().union(*sources.data_of().values()) == {"d" * 64}
    assert sources.other_data() == ""
    assert len(sources.data_of()) == 2
    # where one arm's test images are others, it is apart
    data = {"sha256": "a" * 64, "splits": {"train": "a" * 64, "val": "c" * 64, "test": "e" * 64}}
    fake_run(tmp_path / "runs" / "other", seed=0, gamma=3.0, data=data)
    assert "Comparable are only arms" in read_sources(find_runs([tmp_path / "runs"])).other_data()
    assert read_sources(find_runs([tmp_path / "runs"]), stage="val").other_data() == ""
