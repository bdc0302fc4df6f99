"""A study folder read back: its plan, and how each of the compared cells ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from segfocal.errors import SegfocalError
from segfocal.runs.info import SCHEMA_VERSION, RunInfo, read_info
from segfocal.runs.layout import RunPaths
from segfocal.runs.records import OutcomeRecord, read_json, read_plan, read_record
from segfocal.study.folder import SCHEMA_VERSION as PLAN_VERSION

_KEYS = ("name", "metric", "baseline", "arms", "contrasts", "cells")

Status = Literal["done", "failed", "missing", "unusable"]


@dataclass(frozen=True, eq=False)
class Cell:
    """One training that is compared.

    Args:
        id: Its name in the study folder.
        arm: Its arm.
        dataset: Its data set.
        fraction: Share of the training groups.
        seed: Its seed.
        fold: Its test fold, None without folds.
        run: Its run directory.
        status: "done"; "failed" with the runner's reason; "missing": not finished, or not begun;
            "unusable": done, but its files cannot be read or hold no test rows.
        reason: Why not done, one line or more; "" otherwise.
        seconds: Wall time, None where unknown.
        info: Its run.json, empty unless done.
        checkpoint: The tested one, first 12 digits of its sha256; known once the scores are read.
    """

    id: str
    arm: str
    dataset: str
    fraction: float
    seed: int
    fold: int | None
    run: Path
    status: Status
    reason: str = ""
    seconds: float | None = None
    info: RunInfo = field(default_factory=RunInfo)
    checkpoint: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what the report says of it, as plain values."""
        names = ("id", "arm", "dataset", "fraction", "seed", "fold", "status", "reason", "seconds")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Collection:
    """What a study folder holds.

    Args:
        name: Of the study.
        metric: Its primary score, a column of the test scores.
        baseline: The arm that the others are compared with.
        arms: Names, in the order of the plan.
        contrasts: The primary comparisons as planned.
        cells: Of kind "arm", in the order of the plan.
    """

    name: str
    metric: str
    baseline: str
    arms: tuple[str, ...]
    contrasts: tuple[Mapping[str, Any], ...]
    cells: tuple[Cell, ...]

    @property
    def done(self) -> list[Cell]:
        """The cells that can be compared."""
        return [cell for cell in self.cells if cell.status == "done"]

    @property
    def places(self) -> list[tuple[str, float]]:
        """Data set and fraction of all planned cells, in the order of the plan."""
        return list(dict.fromkeys((cell.dataset, cell.fraction) for cell in self.cells))


def collect(folder: str | Path) -> Collection:
    """Read plan.json, each cell's cell.json and run.json.

    Args:
        folder: What `segfocal study plan --out` made; it may have been moved.

    Returns:
        The study; cells that failed or are missing are in it.

    Raises:
        SegfocalError: For a folder that is no study, a plan or a run of another schema version, and where no
            cell, or none of the baseline, is done.
    """
    root = Path(folder)
    plan = _read_plan(root)
    planned = [entry for entry in plan["cells"] if entry.get("kind") == "arm"]
    found = Collection(
        name=str(plan["name"]),
        metric=str(plan["metric"]),
        baseline=str(plan["baseline"]),
        arms=tuple(plan["arms"]),
        contrasts=tuple(plan["contrasts"]),
        cells=tuple(_read_cell(root, entry) for entry in planned),
    )
    _check_done(found, root)
    return found


def _read_plan(root: Path) -> dict[str, Any]:
    path = root / "plan.json"
    if not path.is_file():
        what = "holds no plan.json" if root.is_dir() else "is no folder"
        raise SegfocalError(
            f"{root} must be a study folder, but it {what}. `segfocal study plan STUDY.yaml --out {root}` "
            "makes one."
        )
    try:
        plan = read_plan(path)
        version = plan["schema_version"]
        if version == PLAN_VERSION:
            missing = [key for key in _KEYS if key not in plan]
    except (ValueError, TypeError, KeyError) as error:
        raise SegfocalError(
            f"{path} must be the JSON that `segfocal study plan` writes, got a damaged file "
            f"({type(error).__name__}: {error}). Plan the study again into another folder."
        ) from error
    if version != PLAN_VERSION:
        raise SegfocalError(
            f"{path} has schema version {version}, this segfocal reads version {PLAN_VERSION}. "
            "Use the segfocal that planned the study, or plan it again."
        )
    if missing:
        raise SegfocalError(f"{path} lacks {', '.join(missing)}. Plan the study again into another folder.")
    return plan


def _read_cell(root: Path, entry: Mapping[str, Any]) -> Cell:
    folder = root / "cells" / str(entry["id"])
    where: dict[str, Any] = {key: entry[key] for key in ("id", "arm", "dataset", "seed")}
    where |= {"fold": entry.get("fold"), "fraction": float(entry["fraction"]), "run": folder / "run"}
    path = folder / "cell.json"
    if not path.is_file():
        return Cell(**where, status="missing", reason="not finished")
    try:
        ended = read_record(path, OutcomeRecord)
        status, seconds = ended["status"], ended.get("seconds")
    except (ValueError, TypeError, KeyError) as error:
        return Cell(**where, status="unusable", reason=f"cell.json is damaged ({error})")
    if status != "done":
        return Cell(**where, status="failed", reason=str(ended.get("reason") or ""), seconds=seconds)
    try:
        return Cell(**where, status="done", seconds=seconds, info=read_info(where["run"]))
    except SegfocalError as error:
        if _of_another_version(where["run"]):
            raise
        return Cell(**where, status="unusable", reason=str(error), seconds=seconds)


def _of_another_version(run: Path) -> bool:
    """Whether a run.json that could not be used is whole: then all cells need another segfocal."""
    try:
        return bool(read_json(RunPaths(run).info)["schema_version"] != SCHEMA_VERSION)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _check_done(found: Collection, root: Path) -> None:
    if not found.done:
        counts = {status: sum(cell.status == status for cell in found.cells) for status in _reasons(found)}
        said = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none planned"
        raise SegfocalError(
            f"{root} has no finished cell to report ({said}). `segfocal study run {root}` runs them, "
            f"`segfocal study status {root}` says what failed."
        )
    if not any(cell.arm == found.baseline for cell in found.done):
        raise SegfocalError(
            f"the baseline {found.baseline!r} of {root} has no finished cell, so that there is nothing to "
            f"compare with. `segfocal study run {root}` runs what is missing."
        )


def _reasons(found: Collection) -> list[str]:
    return list(dict.fromkeys(cell.status for cell in found.cells))
