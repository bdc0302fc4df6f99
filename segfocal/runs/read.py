"""Read many run directories at once, lazily; what a run does not have is simply not there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.imbalance.background import BACKGROUND_NAME
from segfocal.runs.calibration import CALIBRATION_SCHEMA
from segfocal.runs.cases import CASES_SCHEMA, OPTIONAL
from segfocal.runs.concentration import CONCENTRATION_SCHEMA
from segfocal.runs.curves import CURVES_SCHEMA
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths
from segfocal.runs.lock import run_state
from segfocal.runs.log import whole_lines
from segfocal.runs.tables import check_table

METRICS_SCHEMA = pl.Schema({"step": pl.Int64, "epoch": pl.Int64, "name": pl.String, "value": pl.Float64})
INFOS_SCHEMA = pl.Schema(
    {
        "run": pl.String,
        "problem": pl.String,  # why run.json cannot be used, else null
        "status": pl.String,  # as `run_state` words it: a killed run is "died"
        "reason": pl.String,
        "created": pl.String,
        "task": pl.String,
        "segfocal": pl.String,  # version
        "git_commit": pl.String,
        "json": pl.String,  # the whole run.json
    }
)


def scan_cases(run_dirs: Iterable[str | Path]) -> pl.LazyFrame:
    """Return cases.parquet of many runs as one lazy table.

    Args:
        run_dirs: Run directories; those without the file add nothing.

    Returns:
        Columns ``run`` (the directory as given) and those of ``CASES_SCHEMA``. Rows from before there was the
        column ``empty`` come under today's definition: both masks empty scores nothing, and class 0 of an
        argmax is the background where its name says so.
    """
    return _one_definition(_scan([RunPaths(run).cases for run in run_dirs], schema=CASES_SCHEMA))


def scan_curves(run_dirs: Iterable[str | Path]) -> pl.LazyFrame:
    """Return curves.parquet of many runs as one lazy table; as ``scan_cases``, with ``CURVES_SCHEMA``."""
    return _scan([RunPaths(run).curves for run in run_dirs], schema=CURVES_SCHEMA)


def scan_calibration(run_dirs: Iterable[str | Path]) -> pl.LazyFrame:
    """Return calibration.parquet of many runs; as ``scan_cases``, with ``CALIBRATION_SCHEMA``."""
    return _scan([RunPaths(run).calibration for run in run_dirs], schema=CALIBRATION_SCHEMA)


def scan_concentration(run_dirs: Iterable[str | Path]) -> pl.LazyFrame:
    """Return concentration.parquet of many runs; as ``scan_cases``, with ``CONCENTRATION_SCHEMA``."""
    return _scan([RunPaths(run).concentration for run in run_dirs], schema=CONCENTRATION_SCHEMA)


def scan_metrics(run_dirs: Iterable[str | Path]) -> pl.LazyFrame:
    """Return metrics.csv of many runs as one table, without torn last lines.

    Args:
        run_dirs: Run directories; those without the file add nothing.

    Returns:
        Columns run, step, epoch, name, value. Where a name was logged twice at a step (before a crash and
        again after resuming), the later line counts.
    """
    tables = [_with_run(pl.LazyFrame(schema=METRICS_SCHEMA), "")]
    for run in run_dirs:
        path = RunPaths(run).metrics
        if path.is_file():
            data = io.BytesIO(whole_lines(path.read_bytes()) or b"step,epoch,name,value\n")
            table = pl.read_csv(data, schema=METRICS_SCHEMA).lazy()
            table = table.unique(["step", "name"], keep="last", maintain_order=True)
            tables.append(_with_run(table, Path(run).as_posix()))
    return pl.concat(tables)


def read_infos(run_dirs: Iterable[str | Path]) -> pl.LazyFrame:
    """Return the main facts of many run.json files.

    Args:
        run_dirs: Run directories. One that cannot be read keeps its row, with the reason under ``problem``,
            so that a report over many runs still opens.

    Returns:
        Columns of ``INFOS_SCHEMA``.
    """
    return pl.LazyFrame([_info_row(Path(run)) for run in run_dirs], schema=INFOS_SCHEMA)


def _info_row(run: Path) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(INFOS_SCHEMA)
    row["run"] = run.as_posix()
    try:
        info = read_info(run)
    except SegfocalError as error:
        return row | {"problem": str(error)}
    versions = {"segfocal": info.get("versions", {}).get("segfocal"), "json": json.dumps(info)}
    versions["status"] = run_state(RunPaths(run), info).text
    return row | {key: info[key] for key in INFOS_SCHEMA if key in info} | versions  # type: ignore[literal-required]


def _scan(paths: list[Path], *, schema: pl.Schema) -> pl.LazyFrame:
    present = [path for path in paths if path.is_file()]
    if not present:
        return _with_run(pl.LazyFrame(schema=schema), "")
    for path in present:
        check_table(path, schema)
    runs = {str(path): path.parent.as_posix() for path in present}
    absent: Any = "insert" if schema.keys() & set(OPTIONAL) else "raise"
    table = pl.scan_parquet(
        present, schema=schema, include_file_paths="run", glob=False, missing_columns=absent
    )
    return table.select(pl.col("run").replace(runs), *schema.names())


def _one_definition(cases: pl.LazyFrame) -> pl.LazyFrame:
    older = pl.col("empty").is_null()
    nothing = older & (pl.col("tp") + pl.col("fp") + pl.col("fn") == 0)
    no_lesion = older & (pl.col("lesion_tp") + pl.col("lesion_fp") + pl.col("lesion_fn") == 0)
    left_out = dict.fromkeys(("dice", "iou", "precision", "recall", "hd95", "nsd", "cldice"), nothing)
    left_out["lesion_f1"] = no_lesion
    first = (pl.col("threshold_kind") == "argmax") & (pl.col("class_index") == 0)
    named = first & pl.col("class_name").str.contains(BACKGROUND_NAME)
    return cases.with_columns(
        pl.col("background").fill_null(named),
        *(pl.when(~no.fill_null(False)).then(pl.col(name)).alias(name) for name, no in left_out.items()),
    )


def _with_run(table: pl.LazyFrame, run: str) -> pl.LazyFrame:
    return table.select(pl.lit(run, dtype=pl.String).alias("run"), pl.all())
