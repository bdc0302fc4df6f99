"""What differs between configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.runs.layout import RunPaths
from segfocal.yaml_text import read_yaml

MISSING = "(absent)"


def flat_config(run: str | Path) -> dict[str, str]:
    """Return ``config.yaml`` as dotted keys.

    Args:
        run: A run directory.

    Returns:
        Key to value as text; empty where there is no readable file.
    """
    try:
        content = read_yaml(RunPaths(run).config, what="the configuration")
    except SegfocalError:
        return {}
    return dict(_leaves(content, ""))


def config_difference(first: str | Path, second: str | Path) -> pl.DataFrame:
    """Return the settings in which two runs differ.

    Args:
        first: A run directory.
        second: Another.

    Returns:
        key, first, second; "(absent)" where one of them lacks the key.
    """
    return differing({"first": flat_config(first), "second": flat_config(second)})


def arm_settings(runs: pl.DataFrame, *, most: int = 200) -> pl.DataFrame:
    """Return the settings in which arms differ, by the configuration of each arm's first run.

    Args:
        runs: Of ``runs_table``.
        most: Arms to look at.

    Returns:
        key and one column per arm.
    """
    firsts = runs.group_by("arm", maintain_order=True).first().head(most)
    configs = {arm: flat_config(run) for arm, run in firsts.select("arm", "run").iter_rows()}
    return differing({arm: config for arm, config in configs.items() if config})


def differing(configs: Mapping[str, Mapping[str, str]]) -> pl.DataFrame:
    """Return the keys whose values are not all the same.

    Args:
        configs: Name to flat configuration.

    Returns:
        key and one column per name.

    Example:
        >>> differing({"a": {"gamma": "1", "seed": "0"}, "b": {"gamma": "2", "seed": "0"}}).rows()
        [('gamma', '1', '2')]
    """
    keys = dict.fromkeys(key for config in configs.values() for key in config)
    rows = [[key, *(config.get(key, MISSING) for config in configs.values())] for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    # a configuration named "key" must not take the place of the first column
    names = ["key", *(f"{name} " if name == "key" else name for name in configs)]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _leaves(value: Any, key: str) -> list[tuple[str, str]]:
    if not isinstance(value, Mapping) or not value:
        return [(key, "null" if value is None else str(value))]
    below = [(f"{key}.{name}" if key else str(name), part) for name, part in value.items()]
    return [leaf for name, part in below for leaf in _leaves(part, name)]
