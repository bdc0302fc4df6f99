"""concentration.parquet: how the loss is spread over the pixels, as histograms of the loss per pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from segfocal.errors import SegfocalError, check_range
from segfocal.runs.cases import replace_rows
from segfocal.runs.layout import RunPaths

CONCENTRATION_SCHEMA = pl.Schema(
    {
        "stage": pl.String,
        "checkpoint": pl.String,  # first 12 digits of its sha256; "" for weights that are in no file
        "loss_name": pl.String,  # class of the pixel loss, such as FocalLoss
        "side": pl.String,  # positive or negative; in multiclass negative is the background, class 0
        "low": pl.Float64,  # the bin holds low <= loss < high, in nats before the reduction
        "high": pl.Float64,
        "elements": pl.Int64,  # pixels; of binary and multilabel tasks pixels times classes
        "loss": pl.Float64,  # their exact sum
    }
)
SHARES_SCHEMA = pl.Schema(
    {
        "side": pl.String,
        "fraction": pl.Float64,  # of the side's elements, the hardest first
        "elements": pl.Int64,  # on the side
        "share": pl.Float64,  # of the side's loss
        "share_of_all": pl.Float64,  # of the loss of both sides
    }
)


def write_concentration(
    paths: RunPaths, columns: Mapping[str, ArrayLike], *, stage: str, checkpoint: str, loss_name: str
) -> None:
    """Put the histograms of one evaluation into concentration.parquet, in place of those of the same one.

    Args:
        paths: The run directory's paths.
        columns: What ``LossConcentration.histograms()`` returns.
        stage: "val", "test" or any other name.
        checkpoint: sha256 of the checkpoint, of which 12 digits are kept; "" for weights that are in no file.
        loss_name: Of the pixel loss.

    Raises:
        SegfocalError: Where a column is missing, the old file is damaged, or the disk is full or read-only.
    """
    same = {"stage": stage, "checkpoint": checkpoint[:12]}
    given = {**same, "loss_name": loss_name}
    missing = [name for name in CONCENTRATION_SCHEMA if name not in columns and name not in given]
    if missing:
        raise SegfocalError(f"columns for {paths.concentration.name} lack {', '.join(missing)}.")
    table = pl.DataFrame({name: np.asarray(values).tolist() for name, values in columns.items()})
    table = table.with_columns(pl.lit(value).alias(name) for name, value in given.items())
    rows = table.select(pl.col(name).cast(dtype) for name, dtype in CONCENTRATION_SCHEMA.items())
    replace_rows(paths.concentration, rows, same=same)


def loss_shares(histograms: pl.DataFrame, *, fractions: Iterable[float]) -> pl.DataFrame:
    """Return the share of the loss that the hardest pixels carry, positives and negatives apart.

    Args:
        histograms: Columns side, low, elements and loss of ``CONCENTRATION_SCHEMA``, of one evaluation or of
            several that are to be pooled.
        fractions: Parts of the side's elements, in (0, 1]; the hardest ``ceil(fraction * elements)`` count.

    Returns:
        Columns of ``SHARES_SCHEMA``: ``elements`` are those on the side, ``share`` is of the side's loss,
        ``share_of_all`` of the loss of both sides. Of the one bin that a fraction cuts, its elements carry
        its mean: bins are 1/16 of an octave wide, so that it is off by 6 % of that bin at most. A side
        without elements or without loss has no rows.

    Raises:
        SegfocalError: For fractions out of range.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, figure 4 (which sorts the easiest first).

    Example:
        >>> bins = {"side": ["negative"] * 2, "low": [0.1, 2.0], "elements": [9, 1], "loss": [1.0, 2.0]}
        >>> loss_shares(pl.DataFrame(bins), fractions=[0.1])["share"].round(3).to_list()
        [0.667]
    """
    parts = np.array(list(fractions), np.float64)
    for part in parts.tolist():
        check_range("fractions", part, low=0.0, high=1.0, open_low=True)
    total = histograms["loss"].sum()
    tables = [SHARES_SCHEMA.to_frame()]
    for side in ("positive", "negative"):
        rows = histograms.filter(pl.col("side") == side).group_by("low").agg(pl.col("elements", "loss").sum())
        rows = rows.sort("low", descending=True)
        carried = float(rows["loss"].sum())
        if carried > 0:
            counts = np.append(0.0, rows["elements"].cum_sum().to_numpy())
            sums = np.append(0.0, rows["loss"].cum_sum().to_numpy())
            hardest = np.ceil(np.round(parts * counts[-1], 6))  # 0.3 of 10 elements are 3
            reached = np.interp(hardest, counts, sums)
            shares = {"share": reached / sums[-1], "share_of_all": reached / total}
            facts = (pl.lit(side).alias("side"), pl.lit(int(counts[-1]), dtype=pl.Int64).alias("elements"))
            table = pl.DataFrame({"fraction": parts, **shares}).with_columns(*facts)
            tables.append(table.select(SHARES_SCHEMA.names()))
    return pl.concat(tables)
