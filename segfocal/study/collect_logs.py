"""What the cells of a study logged last, and what they took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from segfocal.runs.intervals import crossed_interval
from segfocal.runs.read import scan_metrics
from segfocal.study.collect import Cell, Collection
from segfocal.study.report_differences import interval_columns, limited

TRAIN, VAL, GAP = "train/dataset_dice", "val/dataset_dice", "gap/dataset_dice"
_PREFIXES = ("norm/", "distance/", "penalty/")

Row = dict[str, Any]


def training_rows(found: Collection) -> list[Row]:
    """Return the last logged Dice of training and validation, their gap, norms, distances and penalties.

    The training value is gathered over the steps since the one before, on augmented patches and with
    changing weights; the validation value is of whole images with the last weights. Norms are logged where
    penalties are in use.

    Args:
        found: The study.

    Returns:
        Rows of the table ``training``, by data set, fraction, arm and name; folds of a seed are averaged,
        then seeds, and the interval is over seeds.
    """
    logged = scan_metrics([cell.run for cell in found.done])
    wanted = pl.col("name").is_in([TRAIN, VAL])
    for prefix in _PREFIXES:
        wanted = wanted | pl.col("name").str.starts_with(prefix)
    last = logged.filter(wanted).group_by("run", "name", maintain_order=True)
    table = last.agg(pl.col("value").sort_by("step", maintain_order=True).last()).collect()
    by_run: dict[str, dict[str, float]] = {}
    for run, name, value in table.iter_rows():
        by_run.setdefault(run, {})[name] = value
    for values in by_run.values():
        if TRAIN in values and VAL in values:
            values[GAP] = values[TRAIN] - values[VAL]
    rows: list[Row] = []
    for where, cells in arms_of(found):
        own = [(cell, by_run.get(cell.run.as_posix(), {})) for cell in cells]
        names = {name for _, values in own for name in values}
        for name in sorted(names, key=lambda name: (not name.endswith("dataset_dice"), name)):
            known = {cell: values[name] for cell, values in own if name in values}
            low, high = (-1.0 if name == GAP else 0.0), (1.0 if name in (TRAIN, VAL, GAP) else math.inf)
            means = limited(over_seeds(known), low=low, high=high)
            if means:
                rows.append({**where, "name": name, **means, "cells": len(known)})
    return rows


def time_rows(found: Collection) -> list[Row]:
    """Return rows of the table ``times``: seconds of the finished cells, by data set, fraction and arm."""
    rows: list[Row] = []
    for where, cells in arms_of(found):
        whole = [cell.seconds for cell in cells if cell.seconds is not None]
        fits = [cell.info["timings"]["fit_s"] for cell in cells if "fit_s" in cell.info.get("timings", {})]
        row = {**where, "cells": len(cells)}
        if whole:
            row |= {"mean_s": sum(whole) / len(whole), "lowest_s": min(whole), "highest_s": max(whole)}
            row |= {"total_s": sum(whole)}
        rows.append(row | ({"fit_s": sum(fits) / len(fits)} if fits else {}))
    return rows


def arms_of(found: Collection) -> list[tuple[Row, list[Cell]]]:
    """Return data set, fraction and arm with its finished cells, in the order of the plan."""
    groups: dict[tuple[str, float, str], list[Cell]] = {}
    for dataset, fraction in found.places:
        for arm in found.arms:
            groups[dataset, fraction, arm] = []
    for cell in found.done:
        groups[cell.dataset, cell.fraction, cell.arm].append(cell)
    return [
        ({"dataset": dataset, "fraction": fraction, "arm": arm}, cells)
        for (dataset, fraction, arm), cells in groups.items()
        if cells
    ]


def over_seeds(values: Mapping[Cell, float]) -> Row:
    """Average folds, then seeds.

    Args:
        values: One number per cell; NaN counts as none.

    Returns:
        Columns mean, low, high, covers and seeds; empty where there is no number.
    """
    by_seed: dict[int, list[float]] = {}
    for cell, value in values.items():
        if not math.isnan(value):
            by_seed.setdefault(cell.seed, []).append(value)
    return seeds_interval([sum(own) / len(own) for _, own in sorted(by_seed.items())])


def seeds_interval(values: Sequence[float]) -> Row:
    """Return mean, low, high, covers and seeds of one number per seed; empty without any."""
    if not values:
        return {}
    columns = interval_columns(crossed_interval([[value] for value in values]), name="mean")
    return {key: value for key, value in columns.items() if key != "clusters"}
