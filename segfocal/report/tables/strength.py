"""Strength curves: score and generalisation gap of arms that differ in one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

STRENGTH_SCHEMA = pl.Schema(
    {
        "setting": pl.String(),
        "line": pl.String(),
        "strength": pl.Float64(),
        "arm": pl.String(),
        "dice": pl.Float64(),
        "dice_low": pl.Float64(),
        "dice_high": pl.Float64(),
        "gap": pl.Float64(),
    }
)


def strength_table(settings: pl.DataFrame, board: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """Find the numbers in which arms differ while all else is equal.

    Args:
        settings: Of ``arm_settings``: key and a column per arm.
        board: Of ``leaderboard``.
        curves: Of ``learning_curves``.

    Returns:
        Per setting and line (the arms that differ in it alone; ``line`` is the first's name), strengths
        rising: the arm, its Dice with interval, and gap, training minus validation Dice over the data set at
        the end of training, null where it was not logged.

    Example:
        >>> settings = pl.DataFrame({"key": ["decay"], "a": ["0"], "b": ["0.1"]})
        >>> board = pl.DataFrame({"arm": ["a", "b"], "dice": [0.5, 0.6], "dice_low": None, "dice_high": None})
        >>> empty = pl.DataFrame(schema={"arm": pl.String, "name": pl.String, "mean": pl.Float64})
        >>> strength_table(settings, board, empty)["strength"].to_list()
        [0.0, 0.1]
    """
    keys = settings["key"].to_list()
    configs = {arm: dict(zip(keys, settings[arm], strict=True)) for arm in settings.columns[1:]}
    scores = {row["arm"]: row for row in board.iter_rows(named=True)}
    gaps = _gaps(curves)
    rows = [
        {"setting": key, "line": line[0][1], "strength": strength, "arm": arm, "gap": gaps.get(arm)}
        | {name: scores[arm][name] for name in ("dice", "dice_low", "dice_high")}
        for key in keys
        for line in _lines(key, configs, scores)
        for strength, arm in line
    ]
    return pl.DataFrame(rows, schema=STRENGTH_SCHEMA)


def _lines(
    key: str, configs: Mapping[str, Mapping[str, str]], scores: Mapping[str, Any]
) -> list[list[tuple[float, str]]]:
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float, str]]] = {}
    for arm, config in configs.items():
        strength = _number(config[key])
        if strength is not None and arm in scores:
            rest = tuple((name, value) for name, value in config.items() if name != key)
            groups.setdefault(rest, []).append((strength, arm))
    return [sorted(line) for line in groups.values() if len({strength for strength, _ in line}) > 1]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return 0.0 if text == "null" else None


def _gaps(curves: pl.DataFrame) -> dict[str, float]:
    last = curves.group_by("arm", "name", maintain_order=True).agg(pl.col("mean").last())
    values = {(arm, name): value for arm, name, value in last.iter_rows()}
    names = ("train/dataset_dice", "val/dataset_dice")
    return {
        arm: values[arm, names[0]] - values[arm, names[1]]
        for arm, name in values
        if name == names[0] and (arm, names[1]) in values
    }
