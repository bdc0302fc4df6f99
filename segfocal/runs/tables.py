"""Whether the tables of a run hold what a reader can show; each file is looked at once per version."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.runs.records import MOST_CLASSES

# columns that say what a row is about: a null there would be another kind of row
_KEYS = (
    *("stage", "name", "checkpoint", "threshold_kind", "class_name", "class_index"),
    *("curve", "kind", "region", "side", "loss_name", "low", "high"),
)
_SHARES = ("dice", "iou", "precision", "recall", "lesion_f1", "cldice", "nsd")
_COUNTS = (
    *("tp", "fp", "fn", "tn", "lesion_tp", "lesion_fp", "lesion_fn", "pixels", "positives", "epoch"),
    "class_index",
)
_LARGEST_COUNT = 2**53  # beyond, sums as floats are no longer exact


def check_table(path: Path, schema: Mapping[str, Any]) -> None:
    """Raise unless every value of a run's table can be shown.

    Args:
        path: A parquet file.
        schema: Of its columns.

    Raises:
        SegfocalError: With the file's name and one line that says why: a null where a row says what it is
            about, a score outside of 0 to 1, a count that is negative or absurd, an endless text.
        PolarsError, OSError: Where it is no such table.
    """
    state = path.stat()
    problem = _table_problem(path, state.st_mtime_ns, state.st_size, tuple(schema.items()))
    if problem:
        raise SegfocalError(f"{path.name} cannot be read: {problem}")


@lru_cache(maxsize=4096)
def _table_problem(path: Path, stamp: int, size: int, schema: tuple[tuple[str, Any], ...]) -> str:
    """Look once per version of the file."""
    types = dict(schema)
    try:
        table = pl.read_parquet(path, glob=False).lazy()
    except pl.exceptions.PanicException:  # which is no Exception: of pages that contradict their headers
        return "its pages are damaged"
    found = table.collect_schema()
    wrong = {name: kind for name, kind in types.items() if name in found and found[name] != kind}
    if wrong:
        name = next(iter(wrong))
        return f"its column {name} must be {types[name]}, got {found[name]}"
    tests: dict[str, pl.Expr] = {}
    for name, kind in types.items():
        if name in found:
            tests |= _tests(name, kind)
    missing = [name for name in types if name in _KEYS and name not in found]
    if missing:
        return f"its column {missing[0]} is missing"
    row = table.select(expr.any().fill_null(False).alias(text) for text, expr in tests.items()).collect()
    return next((text for text in row.columns if row.height and row[text][0]), "")


def _tests(name: str, kind: Any) -> dict[str, pl.Expr]:
    """What a row must not be, in words."""
    value = pl.col(name)
    found: dict[str, pl.Expr] = {}
    if name in _KEYS:
        found[f"{name} is missing in a row"] = value.is_null()
    if kind == pl.String:
        found[f"{name} holds a text of more than 10,000 characters"] = value.str.len_bytes() > 10_000
    if name in _SHARES:
        found[f"{name} lies outside of 0 to 1"] = value.is_not_nan() & ~value.is_between(-1e-6, 1 + 1e-6)
    if name in _COUNTS:
        most = MOST_CLASSES if name == "class_index" else _LARGEST_COUNT
        found[f"{name} lies outside of 0 to {most}"] = ~value.is_between(0, most)
    return found
