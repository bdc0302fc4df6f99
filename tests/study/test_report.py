"""The numbers of a report, against effects that were put into the folder and against scipy."""

import math

import numpy as np
import pytest
from report_studies import FakeStudy, only, table
from scipy import stats

from segfocal.runs.signedrank import holm
from segfocal.study.report import build_report

NOISE = np.round(np.random.default_rng(0).normal(size=(3, 8)) * 0.01, 4)
GAIN = 0.02


def noisy(arm, seed, cluster, image, label):
    """The arms share what a cluster and a seed are worth; focal2 adds its gain and its own noise."""
    shared = 0.6 + 0.02 * cluster + 0.005 * seed
    return shared + (GAIN + NOISE[seed, cluster] if arm == "focal2" else 0.0)


@pytest.fixture(scope="module")
def noisy_report(tmp_path_factory):
    root = tmp_path_factory.mktemp("noisy")
    return build_report(FakeStudy(score=noisy, contrasts=(("focal2", "ce"),)).write(root))


def test_the_difference_is_the_effect_that_was_put_in(noisy_report):
    row = only(noisy_report, "comparisons", role="primary")
    difference = GAIN + NOISE
    assert row["difference"] == pytest.approx(difference.mean(), abs=1e-9)
    assert (row["seeds"], row["clusters"], row["covers"]) == (3, 8, "seeds and clusters")
    assert row["p"] == pytest.approx(stats.wilcoxon(difference.mean(axis=0), method="exact").pvalue)
    assert (row["wins"], row["ties"]) == ((difference.mean(axis=0) > 0).sum(), 0)
    assert row["seed_share"] + row["cluster_share"] + row["residual_share"] == pytest.approx(1)


def test_the_interval_is_that_of_an_anova_table(noisy_report):
    """Mean squares from numpy's own sums, the quantile from scipy."""
    difference = GAIN + NOISE
    seeds, clusters = difference.shape
    by_seed = clusters * difference.mean(axis=1).var(ddof=1)
    by_cluster = seeds * difference.mean(axis=0).var(ddof=1)
    total = ((difference - difference.mean()) ** 2).sum()
    rest = (seeds - 1) * (clusters - 1)
    residual = (total - by_seed * (seeds - 1) - by_cluster * (clusters - 1)) / rest
    variance = by_seed + by_cluster - residual
    assert variance > residual
    freedom = variance**2 / (by_seed**2 / (seeds - 1) + by_cluster**2 / (clusters - 1) + residual**2 / rest)
    plain = stats.t.ppf(0.975, freedom) ** 2 * variance / difference.size
    parts = {
        seeds - 1: max(by_seed - residual, 0),
        clusters - 1: max(by_cluster - residual, 0),
        rest: residual,
    }
    own = sum(stats.t.ppf(0.975, k) ** 2 * part for k, part in parts.items()) / difference.size
    half = math.sqrt(max(plain, own))
    row = only(noisy_report, "comparisons", role="primary")
    assert (row["low"], row["high"]) == pytest.approx((difference.mean() - half, difference.mean() + half))


def test_means_are_over_seeds_and_clusters(noisy_report):
    where = {"metric": "dice", "threshold": "fixed", "class": "foreground"}
    baseline = only(noisy_report, "scores", arm="ce", **where)
    assert baseline["mean"] == pytest.approx(0.6 + 0.02 * 3.5 + 0.005)
    assert baseline["low"] < baseline["mean"] < baseline["high"]
    arm = only(noisy_report, "scores", arm="focal2", **where)
    row = only(noisy_report, "comparisons", role="primary")
    assert arm["mean"] - baseline["mean"] == pytest.approx(row["difference"], abs=1e-9)


def test_every_score_is_there_under_a_name_that_says_its_mean(noisy_report):
    names = {row["metric"] for row in table(noisy_report, "scores", arm="focal2")}
    each = {"dice", "iou", "precision", "recall"}
    assert names == each | {f"dataset_{name}" for name in each}
    assert {row["metric"] for row in table(noisy_report, "comparisons")} == names
    dice = only(noisy_report, "scores", arm="ce", metric="dice")["mean"]
    assert only(noisy_report, "scores", arm="ce", metric="recall")["mean"] == pytest.approx(dice)


def test_a_clear_effect_is_better_and_none_is_not_resolved(tmp_path):
    def score(arm, seed, cluster, image, label):
        bump = {"ce": 0.0, "focal2": 0.03, "l2": 0.0, "worse": -0.03}[arm]
        return 0.6 + bump + 0.001 * ((seed * 3 + cluster * 5 + len(arm)) % 7)

    arms = ("ce", "focal2", "l2", "worse")
    study = FakeStudy(score=score, arms=arms, contrasts=tuple((arm, "ce") for arm in arms[1:]))
    report = build_report(study.write(tmp_path))
    primary = table(report, "comparisons", role="primary")
    assert [row["verdict"] for row in primary] == ["better", "not resolved", "worse"]
    assert [row["p_holm"] for row in primary] == pytest.approx(holm([row["p"] for row in primary]))
    assert report["conclusions"] == [row["sentence"] for row in primary]
    assert [row["strictest_level"] for row in primary] == pytest.approx([0.05 / 3] * 3)
    ranks = {row["arm"]: row["first"] for row in table(report, "ranking")}
    assert ranks == {"ce": 0.0, "focal2": 1.0, "l2": 0.0, "worse": 0.0}
    assert [row["rank"] for row in table(report, "ranking")][3] == 4.0


def test_holm_counts_every_planned_contrast(tmp_path):
    """Three contrasts on one data set and the same on another without finished cells: six in all."""
    study = FakeStudy(score=noisy, datasets=("vessels", "nuclei"))
    study.missing = tuple(entry["id"] for entry in study.cells() if entry["dataset"] == "nuclei")
    report = build_report(study.write(tmp_path))
    here, there = table(report, "comparisons", role="primary")
    assert here["p_holm"] == pytest.approx(2 * here["p"])
    assert (there["verdict"], there["difference"], there["p_holm"]) == ("no data", None, None)
    assert there["sentence"] == "focal2 - ce on nuclei: no seed and image that both arms finished."


def test_few_clusters_are_undecidable_whatever_the_outcome(tmp_path):
    def score(arm, seed, cluster, image, label):
        return 0.5 + (0.3 + 0.001 * cluster if arm == "focal2" else 0.0)

    report = build_report(FakeStudy(score=score, clusters=4).write(tmp_path))
    row = only(report, "comparisons", role="primary")
    assert (row["smallest_p"], row["p"], row["decidable"]) == (0.125, 0.125, False)
    assert row["verdict"] == "undecidable"
    assert "undecidable, 4 clusters allow no p below .12 and .05 is needed (at least 6" in row["sentence"]


def test_seeds_that_disagree_are_not_resolved_though_the_test_says_so(tmp_path):
    """All clusters agree on the average over seeds, but one of three trainings made the difference."""

    def score(arm, seed, cluster, image, label):
        return 0.5 + (0.09 * (seed == 0) + 0.0001 * (cluster + 1) if arm == "focal2" else 0.0)

    row = only(build_report(FakeStudy(score=score).write(tmp_path)), "comparisons", role="primary")
    assert row["p_holm"] < 0.05
    assert row["low"] < 0 < row["high"]
    assert row["verdict"] == "not resolved"
    assert row["seed_share"] > 0.95
    assert row["clusters_needed"] is None
    assert "the seeds differ too much, about" in row["sentence"]


def test_one_seed_is_said(tmp_path):
    row = only(
        build_report(FakeStudy(score=noisy, seeds=(0,)).write(tmp_path)), "comparisons", role="primary"
    )
    assert row["covers"] == "clusters"
    assert "One seed only: other seeds may differ" in row["sentence"]
    low, high = stats.ttest_1samp(GAIN + NOISE[0], 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_clusters_needed_is_said_where_nothing_is_resolved(tmp_path):
    """Cluster differences of mean 0.5 and standard deviation 1 point: 32 clusters (EVALUATION's example)."""
    steps = np.array([-1.5, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5])
    steps = np.round(0.005 + 0.01 * steps / steps.std(ddof=1), 6)

    def score(arm, seed, cluster, image, label):
        return 0.5 + (steps[cluster] if arm == "focal2" else 0.0)

    study = FakeStudy(score=score, seeds=(0,), pixels=lambda cluster: 1_000_000)
    row = only(build_report(study.write(tmp_path)), "comparisons", role="primary")
    assert row["verdict"] == "not resolved"
    assert row["clusters_needed"] == 32
    assert "about 32 clusters would be needed" in row["sentence"]


def test_images_of_a_patient_are_one_cluster(tmp_path):
    def score(arm, seed, cluster, image, label):
        return 0.5 + 0.01 * cluster + (0.02 * image + 0.01 * (cluster % 3) if arm == "focal2" else 0.0)

    study = FakeStudy(score=score, images=2)
    row = only(build_report(study.write(tmp_path / "grouped")), "comparisons", role="primary")
    differences = [0.01 + 0.01 * (cluster % 3) for cluster in range(8)]
    assert row["clusters"] == 8
    assert row["difference"] == pytest.approx(np.mean(differences))
    study.grouped = False
    alone = only(build_report(study.write(tmp_path / "alone")), "comparisons", role="primary")
    assert alone["clusters"] == 16
    assert alone["difference"] == pytest.approx(row["difference"])


def test_folds_add_their_clusters(tmp_path):
    study = FakeStudy(score=noisy, folds=4)
    whole = build_report(FakeStudy(score=noisy).write(tmp_path / "whole"))
    folded = build_report(study.write(tmp_path / "folds"))
    for name in ("scores", "comparisons", "ranking"):
        assert folded["tables"][name] == whole["tables"][name]


def test_a_missing_fold_costs_its_clusters_and_a_missing_seed_itself(tmp_path):
    study = FakeStudy(score=noisy, folds=4, failed={"vessels-1-focal2-1-3": "out of memory"})
    report = build_report(study.write(tmp_path / "fold"))
    row = only(report, "comparisons", role="primary")
    kept = [cluster for cluster in range(8) if cluster % 4 != 3]
    assert (row["seeds"], row["clusters"]) == (3, 6)
    assert (row["seeds_left_out"], row["clusters_left_out"]) == (0, 2)
    assert row["difference"] == pytest.approx((GAIN + NOISE[:, kept]).mean())
    study = FakeStudy(score=noisy, missing=("vessels-1-focal2-1-0",))
    report = build_report(study.write(tmp_path / "seed"))
    row = only(report, "comparisons", role="primary")
    assert (row["seeds"], row["clusters"], row["seeds_left_out"]) == (2, 8, 1)
    assert row["difference"] == pytest.approx((GAIN + NOISE[[0, 2]]).mean())
    assert only(report, "scores", arm="ce", metric="dice")["seeds"] == 3
    assert [row["seeds"] for row in table(report, "ranking")] == [2, 2]


def test_dataset_scores_come_from_summed_counts(tmp_path):
    def score(arm, seed, cluster, image, label):
        return 0.4 + 0.1 * (cluster % 2) + (0.1 * (cluster == 0) if arm == "focal2" else 0.0)

    sizes = [8000 if cluster == 0 else 1000 for cluster in range(8)]
    study = FakeStudy(score=score, pixels=lambda cluster: sizes[cluster])
    report = build_report(study.write(tmp_path))
    for arm in ("ce", "focal2"):
        values = np.array([score(arm, 0, cluster, 0, "") for cluster in range(8)])
        per_image = only(report, "scores", arm=arm, metric="dice")["mean"]
        pooled = only(report, "scores", arm=arm, metric="dataset_dice")
        assert per_image == pytest.approx(values.mean())
        assert pooled["mean"] == pytest.approx(np.average(values, weights=sizes))
        iou = only(report, "scores", arm=arm, metric="dataset_iou")["mean"]
        assert iou == pytest.approx(pooled["mean"] / (2 - pooled["mean"]))
    row = only(report, "comparisons", metric="dataset_dice")
    assert row["difference"] == pytest.approx(0.1 * 8 / 15)
    assert (row["p"], row["verdict"]) == (None, "not tested")
    assert row["low"] < row["difference"] < row["high"]


def test_classes_and_their_foreground_mean(tmp_path):
    bumps = {"background": 0.3, "disc": 0.01, "cup": 0.03}

    def score(arm, seed, cluster, image, label):
        return 0.5 + 0.01 * cluster + (bumps[label] + 0.001 * cluster if arm == "focal2" else 0.0)

    common = {"score": score, "classes": tuple(bumps)}
    study = FakeStudy(**common, task="multiclass", kinds=("argmax",))
    report = build_report(study.write(tmp_path / "multiclass"))
    row = only(report, "comparisons", role="primary")
    assert (row["threshold"], row["class"]) == ("argmax", "foreground")
    assert row["difference"] == pytest.approx(0.02 + 0.0035)
    for label, bump in bumps.items():
        found = only(report, "comparisons", metric="dice", **{"class": label})
        assert found["difference"] == pytest.approx(bump + 0.0035)
        assert (found["role"], found["p_holm"]) == ("exploratory", None)
    every = build_report(FakeStudy(**common, task="multilabel").write(tmp_path / "multilabel"))
    assert only(every, "comparisons", role="primary")["difference"] == pytest.approx(0.34 / 3 + 0.0035)


def test_the_tuned_threshold_leads_where_all_have_it(tmp_path):
    study = FakeStudy(score=noisy, kinds=("fixed", "tuned"))
    report = build_report(study.write(tmp_path / "both"))
    row = only(report, "comparisons", role="primary")
    assert row["threshold"] == "tuned"
    fixed = only(report, "comparisons", metric="dice", threshold="fixed")
    assert (fixed["role"], fixed["p_holm"]) == ("exploratory", None)
    tuned = only(report, "scores", metric="dice", threshold="tuned", arm="ce")
    plain = only(report, "scores", metric="dice", threshold="fixed", arm="ce")
    assert tuned["mean"] == pytest.approx(plain["mean"] + 0.01)


def test_other_pairs_are_exploratory(tmp_path):
    def score(arm, seed, cluster, image, label):
        return 0.5 + 0.01 * ("ce", "focal1", "focal2").index(arm) + 0.0001 * cluster * (arm != "ce")

    study = FakeStudy(score=score, arms=("ce", "focal1", "focal2"), contrasts=(("focal2", "focal1"),))
    report = build_report(study.write(tmp_path))
    primary = only(report, "comparisons", role="primary")
    assert (primary["arm"], primary["baseline"]) == ("focal2", "focal1")
    assert primary["difference"] == pytest.approx(0.01)
    others = table(report, "comparisons", role="exploratory", metric="dice")
    assert [(row["arm"], row["baseline"]) for row in others] == [("focal1", "ce"), ("focal2", "ce")]
    assert [row["verdict"] for row in others] == ["suggests better"] * 2
    assert all("exploratory, suggests that" in row["sentence"] for row in others)


def test_training_ends_and_their_gap(tmp_path):
    logged = {
        "train/dataset_dice": 0.9,
        "val/dataset_dice": 0.7,
        "norm/all": 3.0,
        "penalty/L1/sparsity": 0.25,
    }
    report = build_report(FakeStudy(score=noisy, metrics={"ce": logged}).write(tmp_path))
    values = {row["name"]: row["mean"] for row in table(report, "training", arm="ce")}
    assert values == pytest.approx({**logged, "gap/dataset_dice": 0.2})
    other = {row["name"]: row["mean"] for row in table(report, "training", arm="focal2")}
    assert other == pytest.approx(
        {"train/dataset_dice": 0.1, "val/dataset_dice": 0.1, "gap/dataset_dice": 0.0}
    )
    assert only(report, "training", arm="ce", name="norm/all")["cells"] == 3


def test_calibration_by_kind_and_what_is_absent(tmp_path):
    kinds = {"raw": (0.3, 0.2), "posterior": (0.25, 0.2), "temperature": (0.2, 0.2)}
    report = build_report(FakeStudy(curves={"focal2": kinds, "ce": {"raw": (0.2, 0.2)}}).write(tmp_path))
    where = {"class": "mean", "region": "all"}
    for kind, (p, share) in kinds.items():
        values = {row["score"]: row["mean"] for row in table(report, "calibration", arm="focal2", kind=kind)}
        brier = share * (1 - p) ** 2 + (1 - share) * p**2
        nll = -share * math.log(p) - (1 - share) * math.log(1 - p)
        assert values == pytest.approx({"ece": p - share, "brier": brier, "nll": nll}, abs=1e-9)
    assert only(report, "calibration", arm="ce", kind="raw", score="ece", **where)["mean"] == 0
    absent = {row["kind"]: row["status"] for row in table(report, "calibration", arm="ce", mean=None)}
    assert absent == {"posterior": "not valid for this loss", "temperature": "not fitted"}


def test_underconfidence_is_an_error_too_and_folds_fall_together(tmp_path):
    """Two folds, one too sure and one not enough: pooled over the seed's images they cancel, bin by bin."""
    study = FakeStudy(curves={"ce": {"raw": (0.3, 0.36)}})
    report = build_report(study.write(tmp_path / "under"))
    ece = {"arm": "ce", "kind": "raw", "score": "ece"}
    assert only(report, "calibration", **ece)["mean"] == pytest.approx(0.06)

    class TwoFolds(FakeStudy):
        def write_pixels(self, paths, kind, probability, share, common):
            sure = paths.root.parent.name[-2:] == "-0"
            super().write_pixels(paths, kind, probability, share + (0.02 if sure else -0.04), common)

    folded = TwoFolds(curves={"ce": {"raw": (0.3, 0.3)}}, folds=2, seeds=(0,))
    report = build_report(folded.write(tmp_path / "folds"))
    assert only(report, "calibration", **ece)["mean"] == pytest.approx(0.01)


def test_intervals_stay_within_what_is_possible(tmp_path):
    def score(arm, seed, cluster, image, label):
        return 0.05 + 0.9 * seed * (arm == "ce")

    logged = {"train/dataset_dice": 0.99, "val/dataset_dice": 0.01}
    study = FakeStudy(score=score, seeds=(0, 1), metrics={"ce": logged})
    report = build_report(study.write(tmp_path))
    found = only(report, "scores", arm="ce", metric="dice")
    assert (found["low"], found["high"]) == (0.0, 1.0)
    row = only(report, "comparisons", role="primary")
    assert (row["low"], row["high"], row["verdict"]) == (-1.0, 1.0, "not resolved")
    assert only(report, "comparisons", metric="dataset_dice")["low"] == -1.0


def test_times_and_cells(tmp_path):
    study = FakeStudy(failed={"vessels-1-focal2-0-0": "killed\nby hand"}, missing=("vessels-1-focal2-1-0",))
    report = build_report(study.write(tmp_path))
    times = only(report, "times", arm="ce")
    assert (times["cells"], times["mean_s"], times["total_s"], times["fit_s"]) == (3, 11.0, 33.0, 5.0)
    assert report["counts"] == {"planned": 6, "done": 4, "failed": 1, "missing": 1, "unusable": 0}
    assert only(report, "cells", status="failed")["reason"] == "killed\nby hand"
    assert only(report, "cells", status="missing")["id"] == "vessels-1-focal2-1-0"


def test_fractions_and_data_sets_stay_apart(tmp_path):
    def score(arm, seed, cluster, image, label):
        return 0.5 + (0.02 + 0.001 * cluster if arm == "focal2" else 0.0)

    study = FakeStudy(score=score, datasets=("vessels", "nuclei"), fractions=(0.25, 1.0))
    report = build_report(study.write(tmp_path))
    primary = table(report, "comparisons", role="primary")
    places = [(row["dataset"], row["fraction"]) for row in primary]
    assert places == [("vessels", 0.25), ("vessels", 1.0), ("nuclei", 0.25), ("nuclei", 1.0)]
    assert all(row["p_holm"] == pytest.approx(4 * row["p"]) for row in primary)
    assert "on vessels (25 % of the training groups): " in primary[0]["sentence"]


class RareStudy(FakeStudy):
    """The class rare lies in ``holding`` clusters; elsewhere nothing of it is predicted, or ``found`` px."""

    holding, found = 0, 0

    def row(self, name, index, label, value, pixels):
        row = super().row(name, index, label, value, pixels)
        if label != "rare" or int(name[5:7]) < self.holding:
            return row
        row |= {"tp": 0, "fp": self.found, "fn": 0, "tn": 5, "pixels": self.found + 5}
        return row | dict.fromkeys(("dice", "iou", "precision", "recall"), 0.0 if self.found else None)


@pytest.mark.parametrize("holding", [0, 1, 2, 8])
@pytest.mark.parametrize("found", [0, 50])
def test_a_class_in_few_or_no_clusters_has_the_scores_it_can_have(tmp_path, holding, found):
    study = RareStudy(score=noisy, classes=("vessel", "rare"))
    study.holding, study.found = holding, found
    report = build_report(study.write(tmp_path))
    values = np.array([[noisy("ce", seed, place, 0, "") for place in range(8)] for seed in range(3)])
    every = np.round(values * 10_000) / 10_000
    where = {"arm": "ce", "threshold": "fixed"}
    images = every[:, :holding].sum(1) / (8 if found else holding) if holding else None
    rows = table(report, "scores", **where, metric="dice", **{"class": "rare"})
    assert [row["mean"] for row in rows] == (
        [] if images is None else [pytest.approx(images.mean(), abs=1e-9)]
    )
    whole = only(report, "scores", **where, metric="dice", **{"class": "foreground"})["mean"]
    means = every.mean(1) if images is None else (every.mean(1) + images) / 2
    assert whole == pytest.approx(means.mean(), abs=1e-9)
    if not holding and not found:
        assert not table(report, "scores", **where, metric="dataset_dice", **{"class": "rare"})
        return
    row = only(report, "scores", **where, metric="dataset_dice", **{"class": "rare"})
    pooled = 2e4 * every[:, :holding].sum(1) / (2e4 * holding + found * (8 - holding))
    assert row["mean"] == pytest.approx(pooled.mean(), abs=1e-9)
    # without the one cluster that holds it there is no score, and so no spread
    assert (row["low"] is None) == (holding == 1 and not found)
    assert (row["seeds"], row["clusters"]) == (3, 8)


class QuietSeed(FakeStudy):
    """Half of the images are empty; all seeds but the first find something in them, which scores 0."""

    def rows(self, entry, kind):
        rows, groups = super().rows(entry, kind)
        for row in rows[len(rows) // 2 :]:
            quiet = entry["seed"] == 0
            row |= {"tp": 0, "fp": 0 if quiet else 9, "fn": 0}
            row |= dict.fromkeys(("dice", "iou", "precision", "recall"), None if quiet else 0.0)
        return rows, groups


def test_a_seed_without_false_positives_is_not_left_out_of_the_mean(tmp_path):
    def score(arm, seed, cluster, image, label):
        return 0.5 + 0.01 * seed + 0.02 * cluster

    report = build_report(QuietSeed(score=score, seeds=tuple(range(8))).write(tmp_path))
    each = [np.mean([score("ce", seed, place, 0, "") for place in range(4)]) for seed in range(8)]
    expected = np.mean([each[0], *(mean / 2 for mean in each[1:])])
    row = only(report, "scores", arm="ce", metric="dice", threshold="fixed", **{"class": "foreground"})
    assert row["mean"] == pytest.approx(expected, abs=1e-4)
    assert (row["seeds"], row["seeds_left_out"]) == (8, 0)


class MixedPolicies(FakeStudy):
    """The last image is empty, and nothing is found in it; one arm counts that as 1."""

    def rows(self, entry, kind):
        rows, groups = super().rows(entry, kind)
        one = entry["arm"] == "focal2"
        names = ("dice", "iou", "precision", "recall")
        rows[-1] |= {"tp": 0, "fp": 0, "fn": 0} | dict.fromkeys(names, 1.0 if one else None)
        return [row | {"empty": "one" if one else "nan", "background": False} for row in rows], groups


def test_arms_of_different_policies_are_counted_alike(tmp_path):
    report = build_report(MixedPolicies().write(tmp_path))
    where = {"metric": "dice", "threshold": "fixed", "class": "foreground"}
    means = [only(report, "scores", arm=arm, **where)["mean"] for arm in ("ce", "focal2")]
    assert means == [pytest.approx(0.5), pytest.approx(0.5)]
    assert only(report, "comparisons", role="primary")["difference"] == 0
    assert "all are counted as under nan" in report["classes"]["vessels"]
