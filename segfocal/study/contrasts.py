"""What the primary contrasts can show at all, known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segfocal.runs.signedrank import is_decidable, smallest_p
from segfocal.study.document import Study

LEVEL = 0.05


def contrast_table(study: Study, *, clusters: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """Return every primary contrast with the smallest p that it can reach.

    Args:
        study: What is compared.
        clusters: Groups of test images per data set; None where they are not known.

    Returns:
        One mapping per contrast, data set and fraction, as plan.json holds them.
    """
    rows = []
    for contrast in study.contrasts:
        datasets = study.datasets if contrast.dataset is None else [contrast.dataset]
        fractions = study.fractions if contrast.fraction is None else [contrast.fraction]
        rows += [(contrast, dataset, fraction) for dataset in datasets for fraction in fractions]
    return [
        {
            "arm": contrast.arm,
            "baseline": contrast.baseline,
            "dataset": dataset,
            "fraction": fraction,
            "clusters": count,
            "smallest_p": None if count is None else smallest_p(count),
            "level": LEVEL / len(rows),
            "decidable": None if count is None else is_decidable(count, contrasts=len(rows), level=LEVEL),
        }
        for contrast, dataset, fraction in rows
        for count in [clusters[dataset]]
    ]


def contrast_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table as text.

    Args:
        rows: Of `contrast_table`.
    """
    words = {True: "can be decided", False: "CANNOT be decided, whatever comes out", None: "not known"}
    table = [("contrast", "data", "fraction", "clusters", "smallest p", "Holm's level", "")]
    for row in rows:
        smallest = "?" if row["smallest_p"] is None else f"{row['smallest_p']:.2g}"
        names = (f"{row['arm']} - {row['baseline']}", row["dataset"], f"{row['fraction']:g}")
        numbers = (str(row["clusters"] or "?"), smallest, f"{row['level']:.2g}")
        table.append((*names, *numbers, words[row["decidable"]]))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
