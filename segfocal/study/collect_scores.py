"""Test scores of a study as arrays: arms x seeds x images x classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from segfocal.imbalance.background import covered
from segfocal.runs.read import scan_cases
from segfocal.runs.scores import all_scores
from segfocal.study.collect import Cell, Collection
from segfocal.study.document import METRICS
from segfocal.study.equal_seeds import distinct_seeds, equal_seeds

COUNTS = ("tp", "fp", "fn")
_COLUMNS = (
    "threshold_kind",
    "name",
    "group",
    "class_index",
    "class_name",
    "background",
    "empty",
    *METRICS,
    *COUNTS,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Scores of the test images of one data set at one fraction.

    Args:
        arms: Names of those with at least one finished cell, in the order of the plan.
        seeds: Rising.
        clusters: Names of patients or sequences, of images where there are none; sorted.
        starts: Where each cluster's images begin; images are sorted by cluster.
        classes: Names by class index.
        foreground: Indices of the classes whose mean is reported: all but the background.
        values: Kind of threshold, then score, to (arms, seeds, images, classes); NaN where there is none.
        counts: Kind of threshold to tp, fp, fn, (arms, seeds, clusters, classes, 3); NaN likewise.
        recounted: Whether cells were scored under several policies for empty masks, so that all are counted
            as under ``nan``.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    clusters: tuple[str, ...]
    starts: NDArray[np.intp]
    classes: tuple[str, ...]
    foreground: tuple[int, ...]
    values: Mapping[str, Mapping[str, Array]]
    counts: Mapping[str, Array]
    recounted: bool = False

    def by_cluster(self, table: Array) -> Array:
        """Return means over each cluster's images of (..., images), NaN ones left out: (..., clusters)."""
        known = np.isfinite(table)
        number = np.add.reduceat(known.astype(np.float64), self.starts, axis=-1)
        return _divide(np.add.reduceat(np.where(known, table, 0.0), self.starts, axis=-1), number)

    def mean(self, table: Array, index: int | None) -> Array:
        """Return the mean over images of (..., images, classes): of a class or over the foreground ones.

        This is the Dice of every other command (``docs/scores.md``): images first, then classes.
        """
        known = np.isfinite(table)
        number = known.sum(axis=-2, dtype=np.float64)
        return self.of_class(_divide(np.where(known, table, 0.0).sum(axis=-2), number), index)

    def of_class(self, table: Array, index: int | None) -> Array:
        """Return one class of (..., classes), or with None the mean over the foreground classes scored."""
        if index is not None:
            return table[..., index]
        chosen = table[..., list(self.foreground)]
        known = np.isfinite(chosen)
        return _divide(np.where(known, chosen, 0.0).sum(axis=-1), known.sum(axis=-1, dtype=np.float64))

    @cached_property
    def repeats(self) -> NDArray[np.intp]:
        """Which seed each seed repeats by equal scores, itself where none: (arms, seeds)."""
        return equal_seeds(np.asarray([[kind[name] for name in METRICS] for kind in self.values.values()]))

    def distinct(self, *arms: str) -> NDArray[np.intp]:
        """Return the places of the seeds to use for arms: of those that are equal for all of them, one."""
        return distinct_seeds(self.repeats[[self.arms.index(arm) for arm in arms]])

    @property
    def covers(self) -> str:
        """Which classes the mean covers, in words."""
        left_out = [index for index in range(len(self.classes)) if index not in self.foreground]
        line = covered(self.classes, left_out[0] if left_out else None)
        note = "; cells differ in what empty masks score (model.empty): all are counted as under nan"
        return line + (note if self.recounted else "")

    @property
    def class_choices(self) -> dict[str, int | None]:
        """What is reported: the foreground's mean, and each class where there are several."""
        each = {name: index for index, name in enumerate(self.classes)} if len(self.classes) > 1 else {}
        return {"foreground": None, **each}


def collect_scores(found: Collection) -> tuple[Collection, dict[tuple[str, float], Scores]]:
    """Read the test rows of all finished cells.

    Args:
        found: The study.

    Returns:
        The study, in which cells without test rows have become unusable; and by data set and fraction the
        scores. An image that several folds of one seed tested counts once: with its mean score, and the sum
        of its counts.
    """
    runs = {cell.run.as_posix(): cell for cell in found.done}
    scan = scan_cases([cell.run for cell in found.done]).filter(pl.col("stage") == "test")
    tested = scan.select("run", "checkpoint").unique().collect()
    chosen, problems = _checkpoints(runs, tested)
    cells = tuple(_tested(cell, chosen, problems) for cell in found.cells)
    wanted = pl.DataFrame(
        list(chosen.items()), schema={"run": pl.String, "checkpoint": pl.String}, orient="row"
    ).lazy()
    every = scan.select("run", "checkpoint", *_COLUMNS)
    rows = every.join(wanted, on=["run", "checkpoint"], maintain_order="left").collect()
    found = replace(found, cells=cells)
    tables: dict[tuple[str, float], Scores] = {}
    for place in found.places:
        own = [cell for cell in found.done if (cell.dataset, cell.fraction) == place]
        if own:
            tables[place] = _scores(found.arms, own, rows)
    return found, tables


def _tested(cell: Cell, chosen: Mapping[str, str], problems: Mapping[str, str]) -> Cell:
    if cell.status == "done" and (run := cell.run.as_posix()) in problems:
        return replace(cell, status="unusable", reason=problems[run])
    return replace(cell, checkpoint=chosen[cell.run.as_posix()]) if cell.status == "done" else cell


def _checkpoints(runs: Mapping[str, Cell], tested: pl.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    """Choose the tested checkpoint of each run: its best; where none is known the last, or the only one."""
    by_run: dict[str, list[str]] = {}
    for run, checkpoint in tested.sort("run", "checkpoint").iter_rows():
        by_run.setdefault(run, []).append(checkpoint)
    chosen, problems = {}, {}
    for run, cell in runs.items():
        held = by_run.get(run, [])
        known = cell.info.get("checkpoints", {})
        best, last = (known.get(which, {}).get("sha256", "")[:12] for which in ("best", "last"))
        if best in held or (not best and last in held):
            chosen[run] = best or last
        elif not best and len(held) == 1:
            chosen[run] = held[0]
        elif held:
            whose = f"are not of best.ckpt ({best[:7]})" if best else "are of several checkpoints"
            problems[run] = f"its test rows {whose}: run segfocal test --run {run}"
        else:
            problems[run] = "holds no test rows: `segfocal test` did not end"
    return chosen, problems


def _scores(arms: Sequence[str], cells: Sequence[Cell], rows: pl.DataFrame) -> Scores:
    present = tuple(arm for arm in arms if any(cell.arm == arm for cell in cells))
    seeds = tuple(sorted({cell.seed for cell in cells}))
    own = rows.filter(pl.col("run").is_in([cell.run.as_posix() for cell in cells]))
    recounted = own["empty"].fill_null("nan").n_unique() > 1
    merged = _merged(_as_nan(own) if recounted else own, cells, arms=present, seeds=seeds)
    images = merged.group_by("name").agg(pl.col("cluster").min()).sort("cluster", "name")
    classes = (
        merged.group_by("class_index")
        .agg(pl.col("class_name").min(), pl.col("background").any())
        .sort("class_index")
    )
    starts = np.flatnonzero(images["cluster"].to_numpy() != images["cluster"].shift(1).to_numpy())
    filled = _filled(merged, images, classes, shape=(len(present), len(seeds)))
    return Scores(
        arms=present,
        seeds=seeds,
        clusters=tuple(images["cluster"].gather(starts).to_list()),
        starts=starts,
        classes=tuple(classes["class_name"].to_list()),
        foreground=tuple(place for place, left_out in enumerate(classes["background"]) if not left_out),
        values={
            kind: dict(zip(METRICS, np.moveaxis(full, -1, 0), strict=False)) for kind, full in filled.items()
        },
        counts={
            kind: np.add.reduceat(full[..., len(METRICS) :], starts, axis=2) for kind, full in filled.items()
        },
        recounted=recounted,
    )


def _as_nan(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows scored anew from their counts, with images that are empty in both masks left out."""
    scores = all_scores(*(rows[count].to_numpy() for count in COUNTS))
    anew = [pl.Series(name, scores[name], nan_to_null=True) for name in METRICS]
    return rows.with_columns(*anew, pl.lit("nan").alias("empty"))


def _merged(
    rows: pl.DataFrame, cells: Sequence[Cell], *, arms: Sequence[str], seeds: Sequence[int]
) -> pl.DataFrame:
    """One row per threshold, arm, seed, image and class, whatever number of folds tested the image."""
    where = pl.DataFrame(
        [(cell.run.as_posix(), arms.index(cell.arm), seeds.index(cell.seed)) for cell in cells],
        schema={"run": pl.String, "arm": pl.Int64, "seed": pl.Int64},
        orient="row",
    )
    keys = ("threshold_kind", "arm", "seed", "name", "class_index")
    own = rows.join(where, on="run", maintain_order="left")
    merged = own.group_by(keys, maintain_order=True).agg(  # in order: the same input, the same bytes
        pl.coalesce("group", "name").min().alias("cluster"),
        pl.col("class_name").min(),
        pl.col("background").fill_null(False).any(),
        (pl.col("empty") == "one").fill_null(False).any().alias("one"),
        *[pl.col(name).fill_nan(None).mean() for name in METRICS],
        *[pl.col(name).sum().cast(pl.Float64) for name in COUNTS],
    )
    held = ((pl.col("tp") + pl.col("fn")).sum() > 0) | pl.col("one").any()  # else it has no mean of its own
    known = held.over("class_index")
    return merged.with_columns(pl.when(known).then(pl.col(name)).alias(name) for name in METRICS)


def _filled(
    merged: pl.DataFrame, images: pl.DataFrame, classes: pl.DataFrame, *, shape: tuple[int, ...]
) -> dict[str, Array]:
    """Return (*shape, images, classes, scores and counts) by kind of threshold."""
    numbered = images.select("name", pl.int_range(pl.len()).alias("image"))
    places = classes.select("class_index", pl.int_range(pl.len()).alias("class"))
    dense = merged.join(numbered, on="name").join(places, on="class_index")
    parts = sorted(dense.partition_by("threshold_kind", as_dict=True).items())
    return {str(kind): _fill(part, (*shape, images.height, classes.height)) for (kind,), part in parts}


def _fill(part: pl.DataFrame, shape: tuple[int, ...]) -> Array:
    names = (*METRICS, *COUNTS)
    full = np.full((*shape, len(names)), np.nan)
    at = tuple(part[name].to_numpy() for name in ("arm", "seed", "image", "class"))
    full[at] = part.select(pl.col(name).cast(pl.Float64).fill_null(float("nan")) for name in names).to_numpy()
    return full


def _divide(total: Array, number: Array) -> Array:
    quotient: Array = np.full(total.shape, np.nan)
    return np.divide(total, number, out=quotient, where=number > 0)
