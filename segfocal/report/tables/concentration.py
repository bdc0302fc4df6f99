"""Which pixels carry the loss, from the histograms of concentration.parquet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from segfocal.errors import SegfocalError
from segfocal.report.tables.scores import pick
from segfocal.runs.concentration import loss_shares
from segfocal.runs.read import scan_concentration

FRACTIONS = tuple(float(part) for part in np.geomspace(1e-4, 1.0, 33).round(12))
TABLED = tuple(FRACTIONS[place] for place in (8, 16, 24, 32))  # 0.1 %, 1 %, 10 % and all
CONCENTRATION_SCHEMA = pl.Schema(
    {
        "arm": pl.String,
        "loss_name": pl.String,
        "side": pl.String,
        "hardest": pl.Float64,  # part of the side's pixels, the hardest first
        "share": pl.Float64,  # of the side's loss
        "share_low": pl.Float64,  # over runs
        "share_high": pl.Float64,
        "share_of_all": pl.Float64,  # of the loss of both sides
        "runs": pl.Int64,
    }
)


def concentration(runs: pl.DataFrame, *, stage: str) -> pl.DataFrame:
    """Return the share of the loss that the hardest pixels carry.

    Args:
        runs: Of ``runs_table``; only those whose ``concentration.parquet`` can be read.
        stage: "val" or "test".

    Returns:
        Columns of ``CONCENTRATION_SCHEMA``: means over the runs of an arm, with their range, at each of
        ``FRACTIONS``; positives first.

    Example:
        >>> from segfocal.report.tables.runs import runs_table
        >>> concentration(runs_table([]), stage="test").height
        0
    """
    tables = []
    for run in runs["run"].to_list():
        try:
            spread = pick(scan_concentration([Path(run)]).collect(), runs, stage=stage)
        except (SegfocalError, pl.exceptions.PolarsError, OSError):
            continue  # a damaged file hides its own curve, no other's
        if spread.height:
            facts = [pl.lit(spread[name][0]).alias(name) for name in ("arm", "loss_name")]
            tables.append(loss_shares(spread, fractions=FRACTIONS).with_columns(facts))
    if not tables:
        return CONCENTRATION_SCHEMA.to_frame()
    keys = ("arm", "loss_name", "side", "hardest")
    return (
        pl.concat(tables)
        .rename({"fraction": "hardest"})
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("share").mean(),
            pl.col("share").min().alias("share_low"),
            pl.col("share").max().alias("share_high"),
            pl.col("share_of_all").mean(),
            pl.len().cast(pl.Int64).alias("runs"),
        )
        .select(CONCENTRATION_SCHEMA.names())
    )


def absent(runs: pl.DataFrame) -> pl.DataFrame:
    """Return the runs whose loss has no value per pixel.

    Args:
        runs: Of ``runs_table``.

    Returns:
        name, arm and reason.
    """
    rows = []
    for name, arm, text in runs.select("name", "arm", "json").iter_rows():
        found = json.loads(text or "{}").get("absent")
        reason = found.get("concentration") if isinstance(found, dict) else None
        if reason:
            rows.append({"name": name, "arm": arm, "reason": str(reason)})
    return pl.DataFrame(rows, schema=dict.fromkeys(("name", "arm", "reason"), pl.String()))
