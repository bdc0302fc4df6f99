"""The simulation behind the interval, cheaply: one design of each kind, fewer repetitions."""

import csv

from experiments.statistics import coverage


def test_the_interval_covers_and_pooling_does_not():
    found = list(coverage.rows(300, designs=[(3, 8)], mixes=["vessels"]))
    shares = {row["figure"]: row["share"] for row in found}
    assert 0.92 <= shares["coverage, segfocal"] <= 1.0
    assert shares["coverage, pairs as independent"] < 0.85
    assert shares["false, verdict"] <= min(0.08, shares["false, test alone"])
    assert "| 3 x 8 | ." in coverage.table(found, "coverage, segfocal")


def test_the_kept_figures_lie_within_the_bounds():
    """All designs from 3 x 4 to 5 x 100 wherever seeds, clusters or both have an effect."""
    rows = list(csv.DictReader(coverage.RESULTS.read_text().splitlines()))
    assert {row["repeats"] for row in rows} == {"2000"}
    own = [row for row in rows if row["figure"] == "coverage, segfocal" and int(row["seeds"]) >= 3]
    assert {(int(row["seeds"]), int(row["clusters"])) for row in own} == set(coverage.DESIGNS[:8])
    assert all(
        coverage.LOW <= float(row["share"]) <= coverage.HIGH for row in own if row["mix"] != "no effects"
    )


def test_the_command_prints_tables_and_names_what_is_outside(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(coverage, "DESIGNS", [(3, 4)])
    monkeypatch.setattr(coverage, "RESULTS", tmp_path / "coverage.csv")
    assert coverage.main(["--repeats", "20", "--write"]) == 0
    said = capsys.readouterr().out
    assert "outside 0.93 .. 0.98: " in said
    assert len((tmp_path / "coverage.csv").read_text().splitlines()) == 1 + 6 * 5
