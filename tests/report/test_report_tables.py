"""Tables of the report: from run directories on disk, checked against sums by hand."""

import json
import math

import numpy as np
import polars as pl
import pytest
from fake_runs import case_rows, fake_run

from segfocal.errors import SegfocalError
from segfocal.report.figures.paired import verdict
from segfocal.report.page.page import _left_out
from segfocal.report.page.pictures import pictured_cases
from segfocal.report.sources import read_sources
from segfocal.report.tables.arms import group_arms
from segfocal.report.tables.calibration import calibration_scores, precision_recall, reliability
from segfocal.report.tables.concentration import FRACTIONS, absent, concentration
from segfocal.report.tables.configs import arm_settings, config_difference
from segfocal.report.tables.find import find_runs
from segfocal.report.tables.leaderboard import class_board, heat_map, leaderboard, run_board
from segfocal.report.tables.learning import learning_curves
from segfocal.report.tables.paired import image_scores, paired
from segfocal.report.tables.provenance import class_counts, provenance
from segfocal.report.tables.runs import RUNS_SCHEMA, runs_table
from segfocal.report.tables.scalars import last_scalars
from segfocal.report.tables.scores import gather, pick, stages
from segfocal.runs import MetricsLog, update_info
from segfocal.runs.cases import write_cases
from segfocal.runs.pictures import write_pictured
from segfocal.runs.read import scan_cases

CLASSES = ("lesion", "vessel")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two arms of three seeds, gamma 0 and 2."""
    root = tmp_path_factory.mktemp("logs")
    for seed in range(3):
        fake_run(root / f"ce-{seed}", seed=seed, gamma=0.0, skill=0.4, class_names=CLASSES)
        fake_run(root / f"focal-{seed}", seed=seed, gamma=2.0, skill=0.9, class_names=CLASSES)
    return root


@pytest.fixture(scope="module")
def runs(logs):
    return runs_table(find_runs([logs]))


@pytest.fixture(scope="module")
def scores(logs, runs):
    return pick(gather(find_runs([logs])).table, runs, stage="test")


def dices(*, seed, skill):
    rows = case_rows("abcd", CLASSES, seed=seed, skill=skill)
    return np.array([row["dice"] for row in rows]).reshape(4, 2)


def test_runs_that_differ_only_in_their_seed_are_one_arm(runs):
    arms = dict(runs.select("name", "arm").iter_rows())
    assert set(arms.values()) == {"ce", "focal"}
    assert arms["ce-0"] == arms["ce-2"] == "ce"


def test_the_seed_of_a_split_is_no_seed_of_the_run(tmp_path):
    text = "seed_everything: 0\ndata:\n  init_args:\n    split:\n      seed: {seed}\n"
    found = [fake_run(tmp_path / f"r{seed}", seed=seed, config=text).root for seed in (0, 1)]
    assert len(set(group_arms(found).values())) == 2


def test_leaderboard_orders_arms_by_their_mean_over_seeds(runs, scores, logs):
    scalars = last_scalars(find_runs([logs]), stage="test")
    board = leaderboard(run_board(scores, runs, scalars=scalars))
    assert board["arm"].to_list() == ["focal", "ce"]
    means = [dices(seed=seed, skill=0.9).mean() for seed in range(3)]
    assert board["dice"][0] == pytest.approx(np.mean(means))
    # Student's t for two degrees of freedom at 97.5 %
    half = 4.302652729911275 * np.std(means, ddof=1) / math.sqrt(3)
    assert board["dice_high"][0] - board["dice"][0] == pytest.approx(half)
    assert board["ece"][0] == pytest.approx(0.011)
    assert board["worst_class"][0] == "lesion"
    assert board.select("runs", "images", "trainable", "fit_s").row(0) == (3, 4, 1234, 12.5)


def test_intervals_stay_among_possible_scores(tmp_path):
    found = [fake_run(tmp_path / f"r-{seed}", seed=seed, skill=8.0 * seed).root for seed in range(2)]
    scores = pick(gather(found).table, runs_table(found), stage="test")
    board = class_board(scores)
    assert board.select("runs", "dice_low", "dice_high").row(0) == (2, 0.0, 1.0)


def test_a_single_seed_has_no_interval(tmp_path):
    found = [fake_run(tmp_path / "one").root]
    table = runs_table(found)
    board = class_board(pick(gather(found).table, table, stage="test"))
    assert board.select("dice_low", "dice_high").row(0) == (None, None)


def test_class_board_and_heat_map_hold_every_class(scores):
    board = class_board(scores)
    row = board.filter((pl.col("arm") == "ce") & (pl.col("class_name") == "vessel"))
    assert row["dice"][0] == pytest.approx(np.mean([dices(seed=s, skill=0.4)[:, 1].mean() for s in range(3)]))
    heat = heat_map(scores)
    assert heat.height == 6 * 2
    assert heat.columns[-1] == "dice"


def test_only_the_best_checkpoint_counts(tmp_path):
    run = fake_run(tmp_path / "r")
    table = pl.read_parquet(run.cases)
    other = table.with_columns(pl.lit("f" * 12).alias("checkpoint"), pl.lit(0.0).alias("dice"))
    pl.concat([table, other]).write_parquet(run.cases)
    runs = runs_table([run.root])
    picked = pick(gather([run.root]).table, runs, stage="test")
    assert picked["dice"].to_list() == pytest.approx([table.filter(pl.col("stage") == "test")["dice"].mean()])


def test_files_that_did_not_change_are_not_read_again(logs, monkeypatch):
    found = find_runs([logs])
    first = gather(found)
    read = []

    def noted(run_dirs):
        read.extend(run_dirs)
        return scan_cases(run_dirs)

    monkeypatch.setattr("segfocal.report.tables.scores.scan_cases", noted)
    assert gather(found, before=first).table.equals(first.table)
    assert not read
    gather(found)
    assert len(read) == 6


def test_a_damaged_file_hides_no_other_run(tmp_path):
    good, bad = fake_run(tmp_path / "good"), fake_run(tmp_path / "bad")
    bad.cases.write_bytes(b"PAR1 no table")
    bad.curves.write_bytes(b"")
    gathered = gather([good.root, bad.root])
    assert set(gathered.table["run"]) == {good.root.as_posix()}
    assert "cannot be read" in gathered.problems[bad.root.as_posix()]
    runs = runs_table([good.root, bad.root])
    assert set(reliability(runs, stage="test")["arm"]) <= set(runs["arm"])


def test_half_written_and_foreign_runs_keep_their_row_with_the_reason(tmp_path):
    begun, other = tmp_path / "begun", tmp_path / "other"
    begun.mkdir()
    (begun / "config.yaml").write_text("seed_everything: 0\n")
    run = fake_run(other)
    run.info.write_text(json.dumps(json.loads(run.info.read_text()) | {"schema_version": 99}))
    table = runs_table(find_runs([tmp_path]))
    assert table.schema == RUNS_SCHEMA
    problems = dict(table.select("name", "problem").iter_rows())
    assert "no run.json" in problems["begun"]
    assert "schema version 99" in problems["other"]
    assert set(table["status"]) == {"unreadable"}


def test_no_such_folder_is_an_error_and_an_empty_one_is_not(tmp_path):
    with pytest.raises(SegfocalError, match="no such folder"):
        find_runs([tmp_path / "gone"])
    assert find_runs([tmp_path]) == []


def test_links_below_a_folder_are_not_followed(tmp_path):
    outside = fake_run(tmp_path / "outside" / "run").root
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside.parent)
    assert find_runs([inside]) == []


def test_learning_curves_have_a_band_over_seeds(runs):
    curves = learning_curves(runs)
    row = curves.filter((pl.col("arm") == "ce") & (pl.col("name") == "val/dice") & (pl.col("step") == 30))
    assert row.select("runs", "low", "mean", "high").row(0) == pytest.approx((3, 0.3, 0.31, 0.32))


def test_long_logs_keep_their_last_step(runs):
    curves = learning_curves(runs, points=2)
    steps = curves.filter(pl.col("name") == "train/loss")["step"].unique().to_list()
    assert 30 in steps
    assert len(steps) <= 2


def test_paired_differences_are_those_of_each_image(runs):
    pair = paired(image_scores(runs, stage="test"), arm="focal", baseline="ce")
    expected = np.mean([dices(seed=s, skill=0.9) - dices(seed=s, skill=0.4) for s in range(3)], axis=(0, 2))
    assert sorted(pair.images["difference"]) == pytest.approx(sorted(expected))
    assert pair.comparison.interval.mean == pytest.approx(expected.mean())
    assert (pair.comparison.interval.seeds, pair.comparison.interval.clusters) == (3, 4)


def test_runs_of_unknown_seed_are_compared_by_their_means(runs):
    """The order of paths means nothing."""
    values = image_scores(runs, stage="test").with_columns(pl.lit(None, pl.Int64).alias("seed"))
    pair = paired(values, arm="focal", baseline="ce")
    expected = np.mean([dices(seed=s, skill=0.9) - dices(seed=s, skill=0.4) for s in range(3)])
    assert pair.comparison.interval.mean == pytest.approx(expected)
    assert pair.comparison.interval.seeds == 1
    assert "no seed in common" in verdict(pair)


def test_runs_are_paired_by_seed_and_fold(tmp_path):
    """Folders sort otherwise than seeds; folds test other images; one arm lacks a seed."""
    truth = {}
    for place, (seed, fold) in enumerate([(5, 1), (3, 0), (5, 0), (3, 1)]):
        names = ("a", "b") if fold == 0 else ("c", "d")
        for arm, gamma, skill in (("ce", 0.0, 0.2), ("focal", 2.0, 0.8)):
            number = place if arm == "ce" else 9 - place
            run = tmp_path / f"{arm}-{number}"
            numbers = {"seed": seed, "skill": skill + seed / 9}
            fake_run(run, gamma=gamma, names=names, **numbers)
            truth[arm, seed, fold] = [row["dice"] for row in case_rows(names, ("lesion",), **numbers)]
    fake_run(tmp_path / "ce-7", seed=7, gamma=0.0, skill=0.9)
    runs = runs_table(find_runs([tmp_path]))
    pair = paired(image_scores(runs, stage="test"), arm="focal", baseline="ce")
    cells = [(seed, fold) for seed in (3, 5) for fold in (0, 1)]
    differences = [np.subtract(truth["focal", *cell], truth["ce", *cell]) for cell in cells]
    assert pair.comparison.interval.mean == pytest.approx(np.mean(differences))
    assert (pair.comparison.interval.seeds, pair.comparison.interval.clusters) == (2, 4)
    assert "without seeds 7" in verdict(pair)


def test_images_of_one_group_are_one_cluster(runs):
    values = image_scores(runs, stage="test").with_columns(pl.lit("patient").alias("group"))
    assert paired(values, arm="focal", baseline="ce").comparison.interval.clusters == 1


def test_arms_without_a_common_image_have_no_comparison(runs):
    values = image_scores(runs, stage="test")
    renamed = values.with_columns(
        pl.when(pl.col("arm") == "ce").then(pl.col("name") + "x").otherwise(pl.col("name")).alias("name")
    )
    pair = paired(renamed, arm="focal", baseline="ce")
    assert pair.images.is_empty()
    assert pair.comparison is None


def test_calibration_error_is_the_mean_gap(runs):
    scores = calibration_scores(runs, stage="test")
    middles = (np.arange(15) + 0.5) / 15
    expected = np.mean(np.abs(middles - np.floor(100 * middles**1.3) / 100))
    assert scores["ece"].to_list() == pytest.approx([expected] * 4)
    assert scores.select("arm", "class_name", "runs", "pixels").row(0) == ("ce", "lesion", 3, 3 * 4 * 1500)
    assert reliability(runs, stage="test")["pixels"].sum() == scores["pixels"].sum()


def test_likelihoods_come_from_the_exact_sums_of_each_run(tmp_path):
    found = [fake_run(tmp_path / f"focal-{seed}", seed=seed) for seed in range(2)]
    table = pl.read_parquet(found[1].calibration).with_columns(pl.col("nll") * 3)
    table.write_parquet(found[1].calibration)
    scores = calibration_scores(runs_table([run.root for run in found]), stage="test")
    assert scores["nll"].to_list() == pytest.approx([(300 / 1500 + 900 / 1500) / 2])
    assert scores["brier"].to_list() == pytest.approx([150 / 1500])
    found[1].calibration.unlink()  # a run of before it was written
    scores = calibration_scores(runs_table([run.root for run in found]), stage="test")
    assert scores["nll"].to_list() == pytest.approx([300 / 1500])
    assert scores["runs"].to_list() == [2]


def test_the_loss_of_the_hardest_pixels_is_averaged_over_runs(tmp_path):
    runs = [fake_run(tmp_path / f"focal-{seed}", seed=seed, gamma=2.0).root for seed in range(2)]
    runs += [fake_run(tmp_path / "ce-0", gamma=0.0).root]
    shares = concentration(runs_table(runs), stage="test")
    assert set(shares["hardest"]) == set(FRACTIONS)
    wanted = [
        ("focal", "negative", 0.01, 0.7, 2),
        ("ce-0", "negative", 0.01, 0.5, 1),
        ("ce-0", "positive", 0.1, 0.5, 1),
    ]
    for arm, side, fraction, share, number in wanted:
        rows = shares.filter(
            pl.col("arm") == arm, pl.col("side") == side, (pl.col("hardest") - fraction).abs() < 1e-9
        )
        assert rows["share"].to_list() == pytest.approx([share])
        assert rows["runs"].to_list() == [number]
    whole = shares.filter(pl.col("arm") == "ce-0", pl.col("side") == "positive", pl.col("hardest") == 1.0)
    assert whole["share_of_all"].to_list() == pytest.approx([0.75])


def test_runs_without_a_loss_per_pixel_say_why(tmp_path):
    run = fake_run(tmp_path / "dice", absent={"concentration": "DiceLoss has no loss per pixel."})
    run.concentration.unlink()
    runs = runs_table([run.root])
    assert concentration(runs, stage="test").is_empty()
    assert absent(runs).rows() == [("dice", "dice", "DiceLoss has no loss per pixel.")]


def test_surface_distances_are_shown_per_class_with_their_unit(tmp_path):
    run = fake_run(tmp_path / "mm", class_names=CLASSES, stages=("test",))
    table = pl.read_parquet(run.cases)
    second = pl.col("class_index") == 1
    near = table.with_columns(
        pl.when(second).then(pl.int_range(pl.len()).cast(pl.Float64)).alias("hd95"),
        pl.when(second).then(0.5).alias("nsd"),
        pl.when(second).then(pl.lit("mm")).alias("distance_unit"),
    )
    near.write_parquet(run.cases)
    old = fake_run(tmp_path / "old", gamma=1.0, class_names=CLASSES, stages=("test",))
    runs = runs_table([run.root, old.root])
    scores = pick(gather([run.root, old.root]).table, runs, stage="test")
    board = class_board(scores).filter(pl.col("arm") == "mm")
    assert board.select("class_name", "hd95", "nsd", "distance_unit").rows() == [
        ("lesion", None, None, None),
        ("vessel", 4.0, 0.5, "mm"),  # rows 1, 3, 5, 7
    ]
    ranked = leaderboard(run_board(scores, runs, scalars=last_scalars([], stage="test")))
    known = dict(zip(ranked["arm"], ranked.select("hd95", "distance_unit").rows(), strict=True))
    assert known == {"mm": (4.0, "mm"), "old": (None, None)}


def test_precision_and_recall_end_at_the_share_of_positives_and_one(runs):
    curve = precision_recall(runs, stage="test")
    last = curve.group_by("arm", "class_index", maintain_order=True).last()
    middles = (np.arange(8) + 0.5) / 8
    assert last["recall"].to_list() == [1.0] * 4
    assert last["precision"].to_list() == pytest.approx([np.floor(100 * middles**1.3).mean() / 100] * 4)


def test_config_difference_names_the_settings(runs, logs):
    table = config_difference(logs / "ce-0", logs / "focal-1")
    assert set(table["key"]) == {"seed_everything", "model.loss.init_args.gamma", "data.init_args.seed"}
    assert arm_settings(runs).rows() == [("model.loss.init_args.gamma", "0.0", "2.0")]


def test_provenance_and_counts(runs):
    table = provenance(runs)
    assert table.height == 6
    assert "seed" not in table.columns
    assert set(table["seeds"]) == {"process 0", "process 1", "process 2"}
    counts = class_counts(runs)
    assert counts["runs"].to_list() == [6, 6]
    assert counts["share"][0] == pytest.approx(100 / 20100)


def test_stages_put_the_test_split_first(logs):
    assert stages(gather(find_runs([logs])).table) == ["test", "val"]


def test_a_torn_last_line_of_a_log_is_no_score(tmp_path):
    run = fake_run(tmp_path / "r")
    with run.metrics.open("ab") as file:
        file.write(b"30,1,test/ece,0.9")
    assert last_scalars([run.root], stage="test")["ece"].to_list() == [0.01]


def of_another_best(folder, *, step):
    """A run whose tables and pictures are of step 60, and whose best checkpoint is of a later one."""
    run = fake_run(folder, pictures=True)
    rows = case_rows(("a", "b"), ("lesion",), seed=0, skill=0.9)
    write_cases(run, rows, stage="test", checkpoint="c" * 64, epoch=3, threshold_kind="fixed", step=60)
    update_info(run, checkpoints={"best": {"sha256": "e" * 64, "step": step}})
    return run


def test_scores_of_other_weights_are_left_out_with_both_steps(tmp_path):
    run = of_another_best(tmp_path / "run", step=140)
    fake_run(tmp_path / "good", gamma=0.0)
    sources = read_sources(find_runs([tmp_path]))
    assert sources.scored_runs()["name"].to_list() == ["good"]
    (left,) = sources.left_out
    assert left[0] == "run"
    assert left[1] == f"scores are of step 60, best.ckpt is step 140: run segfocal test --run {run.root}"


def test_where_validation_is_shown_instead_the_old_test_scores_are_named(tmp_path):
    run = of_another_best(tmp_path / "run", step=140)
    rows = case_rows(("a", "b"), ("lesion",), seed=0, skill=0.7)
    write_cases(run, rows, stage="val", checkpoint="e" * 64, epoch=7, threshold_kind="fixed", step=140)
    sources = read_sources([run.root])
    assert (sources.stage, sources.scores["checkpoint"].unique().to_list()) == ("val", ["e" * 12])
    (left,) = sources.left_out
    said = "test scores are of step 60, best.ckpt is step 140: run segfocal test --run"
    assert left == ("run", f"{said} {run.root}")
    assert "Left out of the scores</p>" in _left_out(sources)
    assert read_sources([run.root], stage="val").left_out == []  # asked for


def test_every_table_of_other_weights_is_left_out(tmp_path):
    run = of_another_best(tmp_path / "run", step=140)
    runs = runs_table([run.root])
    for table in (calibration_scores, reliability, precision_recall, concentration):
        assert table(runs, stage="test").height == 0


def test_logged_scores_of_other_steps_are_left_out(tmp_path):
    run = fake_run(tmp_path / "run")
    log = MetricsLog(run.metrics)
    log.append({"test/aupr": 0.25}, step=60, epoch=3)
    log.append({"test/aupr": 0.5}, step=140, epoch=7)
    for step, value in ((60, 0.25), (140, 0.5), (None, 0.5)):
        assert last_scalars([run.root], stage="test", steps={run.root.as_posix(): step})["aupr"][0] == value


def test_pictures_of_other_weights_are_not_shown(tmp_path):
    run = fake_run(tmp_path / "run", pictures=True)
    stems = set(pictured_cases(run.root, "test", checkpoint="e" * 12))
    assert stems  # pictures of older versions do not say whose they are
    write_pictured(run, "test", checkpoint="e" * 64, stems=stems)
    assert set(pictured_cases(run.root, "test", checkpoint="e" * 12)) == stems
    assert pictured_cases(run.root, "test", checkpoint="c" * 12) == {}
    write_pictured(run, "test", checkpoint=None, stems=())  # a kill while they are written
    assert pictured_cases(run.root, "test", checkpoint="e" * 12) == {}
