"""How often the 95 % interval covers the truth, and how often the test errs, for crossed seeds and clusters.

python experiments/statistics/coverage.py [--repeats 2000] [--write]

Every repetition draws a table of differences of mean 0: an effect per seed, one per cluster, and a residual.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from segfocal.runs.crossed import crossed_variance, half_width
from segfocal.runs.intervals import crossed_interval
from segfocal.runs.signedrank import signed_rank

RESULTS = Path(__file__).with_name("coverage.csv")
DESIGNS = [(3, 4), (3, 8), (3, 28), (3, 100), (5, 4), (5, 8), (5, 28), (5, 100), (2, 8), (2, 28)]
# standard deviations of seed, cluster and residual, in those of clusters
MIXES = {
    "vessels": (0.35, 1.0, 0.55),
    "equal": (1.0, 1.0, 1.0),
    "seeds small": (0.2, 1.0, 1.0),
    "seeds large": (1.0, 0.3, 0.3),
    "no seed effect": (0.0, 1.0, 1.0),
    "no effects": (0.0, 0.0, 1.0),
}
LOW, HIGH = 0.93, 0.98


def draw(rng: np.random.Generator, design: tuple[int, int], mix: str, repeats: int) -> np.ndarray:
    """Return (repeats, seeds, clusters) of mean 0."""
    (seeds, clusters), (by_seed, by_cluster, rest) = design, MIXES[mix]
    table = by_seed * rng.normal(size=(repeats, seeds, 1))
    table = table + by_cluster * rng.normal(size=(repeats, 1, clusters))
    return table + rest * rng.normal(size=(repeats, seeds, clusters))


def coverage(tables: np.ndarray) -> dict[str, float]:
    """Return the share of intervals that hold 0: ours, Satterthwaite's alone, all pairs as independent."""
    size, mean = tables[0].size, np.abs(tables.mean(axis=(1, 2)))
    _, variance, freedom = crossed_variance(tables)
    plain = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    pooled = stats.t.ppf(0.975, size - 1) * tables.std(axis=(1, 2), ddof=1) / math.sqrt(size)
    ours = half_width(tables)
    first = crossed_interval(tables[0])  # the function a report calls
    assert math.isclose(first.high - first.mean, ours[0])
    widths = {"segfocal": ours, "satterthwaite alone": plain, "pairs as independent": pooled}
    return {f"coverage, {name}": float((mean <= half).mean()) for name, half in widths.items()}


def errors(tables: np.ndarray) -> dict[str, float]:
    """Return the share of repetitions with a difference, by the test alone and by a report's verdict."""
    p = np.array([signed_rank(table.mean(axis=0)).p_value for table in tables])
    apart = np.abs(tables.mean(axis=(1, 2))) > half_width(tables)
    return {
        "false, test alone": float((p <= 0.05).mean()),
        "false, verdict": float(((p <= 0.05) & apart).mean()),
    }


def rows(repeats: int, *, designs: list[tuple[int, int]], mixes: list[str]) -> Iterator[dict[str, Any]]:
    """Return one row per design, mix and figure."""
    for design in designs:
        for mix in mixes:
            rng = np.random.default_rng([*design, list(MIXES).index(mix)])
            tables = draw(rng, design, mix, repeats)
            for figure, share in (coverage(tables) | errors(tables)).items():
                where = {"seeds": design[0], "clusters": design[1], "mix": mix, "figure": figure}
                yield where | {"share": share, "repeats": repeats}


def table(found: list[dict[str, Any]], figure: str) -> str:
    """Return one figure as Markdown: designs down, mixes across."""
    mixes = list(dict.fromkeys(row["mix"] for row in found))
    lines = [f"| seeds x clusters | {' | '.join(mixes)} |", f"|---|{'---|' * len(mixes)}"]
    for design in dict.fromkeys((row["seeds"], row["clusters"]) for row in found):
        own = {
            row["mix"]: row["share"]
            for row in found
            if (row["seeds"], row["clusters"]) == design and row["figure"] == figure
        }
        shares = (f"{own[mix]:.3f}".removeprefix("0") for mix in mixes)
        lines.append(f"| {design[0]} x {design[1]} | {' | '.join(shares)} |")
    return "\n".join(lines)


def write(found: list[dict[str, Any]]) -> None:
    """Replace coverage.csv; every row says when and from which commit."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(
        git, capture_output=True, text=True, check=False, cwd=RESULTS.parent
    ).stdout.strip()
    date = datetime.date.today().isoformat()
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*found[0], "commit", "date"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "commit": commit, "date": date} for row in found)


def main(argv: list[str] | None = None) -> int:
    """Simulate, print the tables, and say which coverages lie outside 93 to 98 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="replace coverage.csv")
    options = parser.parse_args(argv)
    found = list(rows(options.repeats, designs=DESIGNS, mixes=list(MIXES)))
    for figure in dict.fromkeys(row["figure"] for row in found):
        print(f"{figure}\n\n{table(found, figure)}\n")
    outside = [
        f"{row['seeds']} x {row['clusters']} {row['mix']} {row['share']:.3f}"
        for row in found
        if row["figure"] == "coverage, segfocal" and not LOW <= row["share"] <= HIGH
    ]
    print(f"outside {LOW} .. {HIGH}: {'; '.join(outside) or 'none'}")
    if options.write:
        write(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
