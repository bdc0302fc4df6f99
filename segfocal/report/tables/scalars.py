"""The last value of a few names of metrics.csv, over many runs, without parsing the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from segfocal.runs.layout import RunPaths
from segfocal.runs.log import whole_lines

# what evaluation logs beside the counts: calibration, threshold-free and other scores, where it has them
EXTRA_SCORES = ("ece", "nll", "brier", "aupr", "froc", "tuned_dice")


def last_scalars(
    run_dirs: Iterable[str | Path], *, stage: str, steps: Mapping[str, int | None] | None = None
) -> pl.DataFrame:
    """Return the last logged value of each of ``EXTRA_SCORES`` of a stage.

    Args:
        run_dirs: Run directories; those without ``metrics.csv`` add nothing.
        stage: "val" or "test".
        steps: Run (as POSIX path) to the step of its best checkpoint: values of other steps are those of
            other weights, and left out. Where it is None, every step counts.

    Returns:
        Columns run and one per score, null where a run never logged it.

    Example:
        >>> last_scalars([], stage="test").columns[:2]
        ['run', 'ece']
    """
    names = "|".join(map(re.escape, EXTRA_SCORES))
    line = re.compile(rf"^(\d+),\d+,{re.escape(stage)}/({names}),(\S+)$".encode(), re.MULTILINE)
    rows: list[dict[str, float | str]] = []
    for run in run_dirs:
        found = _last(RunPaths(run).metrics, line, step=(steps or {}).get(Path(run).as_posix()))
        if found:
            rows.append({"run": Path(run).as_posix(), **found})
    schema = {"run": pl.String(), **dict.fromkeys(EXTRA_SCORES, pl.Float64())}
    return pl.DataFrame(rows, schema=schema)


def _last(path: Path, line: re.Pattern[bytes], *, step: int | None) -> dict[str, float]:
    try:
        data = whole_lines(path.read_bytes())
    except OSError:
        return {}
    values: dict[str, float] = {}
    for logged, name, text in line.findall(data):
        if step is not None and int(logged) != step:
            continue
        try:
            values[name.decode()] = float(text)
        except ValueError:  # a damaged line tells nothing
            continue
    return values


def best_first(scores: Sequence[str]) -> dict[str, bool]:
    """Return for each score whether higher is better.

    Example:
        >>> best_first(["dice", "ece"])
        {'dice': True, 'ece': False}
    """
    lower = {"ece", "nll", "brier", "hd95"}
    return {score: score.removeprefix("tuned_") not in lower for score in scores}
