"""Mean scores per run, evaluation and class, from cases.parquet; read once, kept while the file stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.runs.layout import RunPaths
from segfocal.runs.read import scan_cases
from segfocal.runs.scores import dice, iou

KEYS = ("run", "stage", "checkpoint", "threshold_kind", "class_index", "class_name")
SCORES = ("dice", "iou", "precision", "recall")
MEASURED = ("hd95", "nsd", "lesion_f1", "cldice")  # null where a run did not record them

Stamp = tuple[int, int]  # modification time in ns, size in bytes


@dataclass(frozen=True)
class Gathered:
    """Scores of many runs, with what is needed to read only what changed.

    Args:
        table: One row per ``KEYS``: ``images``, ``background`` (whether means over classes leave it out),
            ``empty`` (what empty masks score), ``older`` (whether it is from before there was one definition,
            and read under it), the means over images of ``SCORES`` (null where no image holds the class) and
            of ``MEASURED`` with the ``distance_unit`` of hd95, and ``dataset_dice``, ``dataset_iou`` from
            summed counts.
        stamps: Run to the file's state when it was read.
        problems: Run to why its file cannot be read.
    """

    table: pl.DataFrame
    stamps: dict[str, Stamp] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def gather(run_dirs: Sequence[Path], *, before: Gathered | None = None) -> Gathered:
    """Read ``cases.parquet`` of many runs in one lazy scan.

    Args:
        run_dirs: Run directories; those without the file add nothing.
        before: What an earlier call returned: files that did not change since are not read again.

    Returns:
        Scores of exactly these runs.

    Example:
        >>> gather([]).table.height
        0
    """
    stamps = {run.as_posix(): stamp for run in run_dirs if (stamp := _stamp(run)) is not None}
    old = Gathered(_empty()) if before is None else before
    same = [run for run, stamp in stamps.items() if old.stamps.get(run) == stamp]
    changed = [run for run in stamps if run not in set(same)]
    kept = old.table.filter(pl.col("run").is_in(same))
    table, problems = _read(changed)
    problems |= {run: text for run, text in old.problems.items() if run in set(same)}
    return Gathered(pl.concat([kept, table]), stamps, problems)


def _stamp(run: Path) -> Stamp | None:
    try:
        state = RunPaths(run).cases.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _read(runs: list[str]) -> tuple[pl.DataFrame, dict[str, str]]:
    """One scan; where a file is damaged each file alone, so that one bad run hides no other."""
    if not runs:
        return _empty(), {}
    try:
        return _means(scan_cases(runs)), {}
    except (SegfocalError, pl.exceptions.PolarsError, OSError) as error:
        if len(runs) == 1:
            said = str(error).splitlines()[0].removeprefix("cases.parquet cannot be read: ")
            return _empty(), {runs[0]: f"cases.parquet cannot be read: {said}"}
    parts = [_read([run]) for run in runs]
    problems = {run: text for _, found in parts for run, text in found.items()}
    return pl.concat([table for table, _ in parts]), problems


def _means(cases: pl.LazyFrame) -> pl.DataFrame:
    counts = ("tp", "fp", "fn")
    means = (
        cases.group_by(KEYS)
        .agg(
            pl.len().cast(pl.Int64).alias("images"),
            *(pl.when(~_absent()).then(pl.col(score).mean()).alias(score) for score in (*SCORES, *MEASURED)),
            pl.col("background").fill_null(False).any(),
            pl.col("empty").is_null().any().alias("older"),
            pl.col("empty").drop_nulls().first().fill_null("nan").alias("empty"),
            pl.col("distance_unit").drop_nulls().first(),
            *(pl.col(count).sum() for count in counts),
            pl.col("epoch").max(),
            pl.col("step").max(),
        )
        .sort(KEYS)
        .collect()
    )
    summed = [means[count] for count in counts]
    together = {"dataset_dice": dice(*summed), "dataset_iou": iou(*summed)}
    return means.with_columns(pl.Series(name, values) for name, values in together.items()).drop("fp", "fn")


def _absent() -> pl.Expr:
    """Whether no image of a group holds the class, so that it has no mean (but under the policy "one")."""
    one = (pl.col("empty") == "one").fill_null(False).any()
    return (pl.col("tp").sum() + pl.col("fn").sum() == 0) & ~one


def _empty() -> pl.DataFrame:
    return _means(scan_cases([]))


def pick(table: pl.DataFrame, runs: pl.DataFrame, *, stage: str, tuned: bool = False) -> pl.DataFrame:
    """Keep one evaluation per run: a stage, a kind of threshold, and the best checkpoint.

    Args:
        table: Of ``Gathered``, or any table with ``run``, ``stage``, ``checkpoint`` and maybe
            ``threshold_kind``.
        runs: Of ``runs_table``.
        stage: "val" or "test".
        tuned: Take the threshold chosen on validation; else 0.5, or in multiclass the argmax.

    Returns:
        Its rows with ``arm`` and ``name`` added. Rows of other checkpoints than a run's best are left out
        (``other_weights`` says so); where nobody knows the best, the checkpoint that comes last in the file.
    """
    rows = table.filter(pl.col("stage") == stage)
    if "threshold_kind" in rows.columns:
        kinds = ["tuned" if tuned else "fixed", "argmax"]
        rows = rows.filter(pl.col("threshold_kind").is_in(kinds))
    names = runs.select("run", "arm", "name", pl.col("checkpoint").alias("best"))
    rows = rows.join(names, on="run", how="inner", maintain_order="left")
    is_best = pl.col("checkpoint") == pl.col("best")
    last = pl.col("checkpoint") == pl.col("checkpoint").last().over("run")
    known = pl.col("best").is_not_null()
    return rows.filter(pl.when(known).then(is_best).otherwise(last)).drop("best")


def other_weights(table: pl.DataFrame, runs: pl.DataFrame, *, stage: str) -> dict[str, str]:
    """Say which runs have scores of a stage, but none of their best checkpoint.

    Args:
        table: Of ``Gathered``.
        runs: Of ``runs_table``.
        stage: "val" or "test".

    Returns:
        Run to the steps of both, and the command that scores the best.
    """
    command = "test" if stage == "test" else "validate"
    found: dict[str, str] = {}
    for run, best, best_step in runs.select("run", "checkpoint", "best_step").iter_rows():
        rows = table.filter((pl.col("run") == run) & (pl.col("stage") == stage))
        if best is None or not rows.height or best in rows["checkpoint"]:
            continue
        newest = rows.sort("epoch", nulls_last=False).row(-1, named=True)
        scored = newest["checkpoint"][:7] if newest["step"] is None else f"step {newest['step']}"
        shown = best[:7] if best_step is None else f"step {best_step}"
        found[run] = f"scores are of {scored}, best.ckpt is {shown}: run segfocal {command} --run {run}"
    return found


def stages(table: pl.DataFrame) -> list[str]:
    """Return the stages that have rows, "test" first, then "val", then others by name."""
    found = sorted(table["stage"].unique().to_list())
    return sorted(found, key=lambda stage: {"test": 0, "val": 1}.get(stage, 2))
