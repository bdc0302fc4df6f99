"""Numbers of a report in words, the same in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segfocal.study.report_verdict import bounds, short_p, signed

Row = Mapping[str, Any]


def head(report: Mapping[str, Any]) -> str:
    """Return the line that says what was compared, and what is not in it.

    Example:
        >>> head({"name": "a", "counts": {"planned": 3, "done": 2, "failed": 1, "missing": 0, "unusable": 0}})
        'study a: 2 of 3 cells are compared (1 failed)'
    """
    counts = report["counts"]
    left = [f"{counts[name]} {name}" for name in ("failed", "missing", "unusable") if counts[name]]
    absent = f" ({', '.join(left)})" if left else ""
    return f"study {report['name']}: {counts['done']} of {counts['planned']} cells are compared{absent}"


def arm_lines(report: Mapping[str, Any]) -> list[list[str]]:
    """Return one line per data set, fraction and arm: score, difference, test, verdict, first places.

    Args:
        report: Of ``build_report``.

    Returns:
        Cells of text, under the titles of ``ARM_TITLES``.
    """
    tables, lines = report["tables"], []
    planned = dict.fromkeys((row["dataset"], row["fraction"], row["arm"]) for row in tables["cells"])
    for dataset, fraction, arm in planned:
        place = {"dataset": dataset, "fraction": fraction, "arm": arm}
        ranked = find(tables["ranking"], **place)
        data = dataset + ("" if fraction == 1 else f" ({100 * fraction:g} %)")
        if ranked is None:
            lines.append([data, arm, *[""] * 5, "no data", ""])
            continue
        shown = place | {"metric": ranked["metric"], "class": "foreground"}
        found = find(tables["comparisons"], **place, baseline=report["baseline"], headline=True)
        threshold = ranked["threshold"] if found is None else found["threshold"]
        score = find(tables["scores"], **shown, threshold=threshold)
        against = _against(found, is_baseline=arm == report["baseline"])
        lines.append([data, arm, *_score(score, threshold), *against, _first(ranked)])
    return lines


ARM_TITLES = ("data", "arm", "score", "at", "difference", "p", "Holm", "verdict", "ranks first")


def find(rows: Sequence[Row], *, headline: bool = False, **where: Any) -> Row | None:
    """Return the first row with these values, with ``headline`` the first that has a sentence."""
    for row in rows:
        if all(row[key] == value for key, value in where.items()) and (not headline or row["sentence"]):
            return row
    return None


def interval_text(row: Row, *, digits: int = 4) -> str:
    """Return mean and interval of a row, as ``0.7350 [0.7145, 0.7555]``."""
    ends = "" if row["low"] is None else f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
    return f"{row['mean']:.{digits}f}{ends}"


def difference_text(row: Row) -> str:
    """Return the difference of a row in points with its interval, as ``+0.8 [0.1, 1.5]``."""
    if row["difference"] is None:
        return ""
    return signed(row["difference"]) + ("" if row["low"] is None else f" {bounds(row)}")


def notes(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know to read the numbers, and what is missing from them."""
    rows = report["tables"]["comparisons"]
    primary = sum(row["role"] == "primary" for row in rows)
    found = [
        f"Scores are {report['metric']} per image, averaged over images, then classes, then seeds; "
        f"{'; '.join(f'{name}: {line}' for name, line in report.get('classes', {}).items())}. Intervals are "
        "95 %, two-way random effects over seeds and clusters (patients, sequences; images where there are "
        "none), whose means the differences compare. These are paired by seed and image, in points "
        f"(hundredths), against {report['baseline']}.",
        f"p: Wilcoxon signed-rank on the clusters' seed-averaged differences; Holm: adjusted over the "
        f"primary contrasts named in advance ({primary}). Rows without a Holm p are exploratory: their p is "
        "not adjusted, and they can suggest, not show. The test takes the seeds as given, the interval does "
        "not, and both must agree before an arm is called better or worse.",
    ]
    if any(row["seeds_left_out"] or row["clusters_left_out"] for row in rows):
        found.append(
            "Some arms lack seeds or clusters: each comparison uses those that both arms have, the columns "
            "seeds_left_out and clusters_left_out say how many it could not use."
        )
    if any(row["covers"] == "seeds and clusters" and row["seeds"] == 2 for row in rows):
        found.append(
            "With two seeds an interval covers 92 to 99 % instead of 95; three are the fewest to use."
        )
    found += equal_seeds_notes(report)
    if any(row["exact"] is False for row in rows):
        found.append("Over 100 clusters p is the normal approximation.")
    return found


def equal_seeds_notes(report: Mapping[str, Any]) -> list[str]:
    """Return at most one note: which arms trained the same network under several seeds."""
    equal = [row for row in report["tables"]["scores"] if row["seeds_equal"]]
    if not equal:
        return []
    names = dict.fromkeys(f"{row['arm']} on {row['dataset']}" for row in equal)
    return [
        f"Seeds changed nothing for {', '.join(names)}: their cells have equal scores on every image, and "
        "count as one seed (column seeds_equal). seed_everything draws new weights and dropout alone; order "
        "and crops of data in files need seed_keys: [seed_everything, data.init_args.seed] of the data set "
        "(generated data would draw other test images by it)."
    ]


def _score(row: Row | None, threshold: str) -> list[str]:
    return ["" if row is None else interval_text(row), threshold]


def _against(row: Row | None, *, is_baseline: bool) -> list[str]:
    if row is None:
        return ["", "", "", "baseline" if is_baseline else "no data"]
    p = "" if row["p"] is None else short_p(row["p"])
    adjusted = "" if row["p_holm"] is None else short_p(row["p_holm"])
    return [difference_text(row), p, adjusted, row["verdict"]]


def _first(row: Row) -> str:
    return "" if row["first"] is None else f"{100 * row['first']:.0f} %"
