"""A study on disk: the plan, and a folder per cell with its lock, its run and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from segfocal.errors import SegfocalError
from segfocal.runs.records import OutcomeRecord, read_plan, read_record
from segfocal.study.locks import is_locked

SCHEMA_VERSION = 1
_KEYS = ("name", "baseline", "arms", "contrasts", "cells")
State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class CellPaths:
    """The paths of one cell; nothing is created or read.

    Args:
        root: Its folder.
    """

    root: Path

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.root / "run"

    @property
    def config(self) -> Path:
        """The merged configuration."""
        return self.root / "config.yaml"

    @property
    def outcome(self) -> Path:
        """How it ended: cell.json."""
        return self.root / "cell.json"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the cell; its content says which attempt that is."""
        return self.root / "lock"

    @property
    def log(self) -> Path:
        """What the process wrote."""
        return self.root / "log.txt"

    def read_outcome(self) -> dict[str, Any] | None:
        """Return cell.json, or None before the cell ended."""
        try:
            content: dict[str, Any] = read_record(self.outcome, OutcomeRecord)
            content["status"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError) as error:
            raise SegfocalError(
                f"{self.outcome} is damaged ({error}). Remove it: the cell runs again."
            ) from error
        return content

    def last_lines(self, count: int = 12) -> str:
        """Return the end of the log.

        Args:
            count: Lines.
        """
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 8192))
                text = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-count:])

    def state(self) -> State:
        """Return how the cell stands."""
        outcome = self.read_outcome()
        if outcome is not None:
            return "done" if outcome["status"] == "done" else "failed"
        return "running" if is_locked(self.lock) else "waiting"


@dataclass(frozen=True)
class StudyFolder:
    """A planned study.

    Args:
        root: Its folder.
    """

    root: Path

    @property
    def plan_file(self) -> Path:
        """What `segfocal study plan` computed."""
        return self.root / "plan.json"

    @property
    def text_file(self) -> Path:
        """The study file as it was given."""
        return self.root / "study.yaml"

    def data_files(self, sha256: str) -> Path:
        """Return where the hashes of a data set's files are kept.

        Args:
            sha256: Of the data set.
        """
        return self.root / "data" / f"{sha256[:16]}.json"

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The content of plan.json.

        Raises:
            SegfocalError: Where it is missing, damaged or of another version.
        """
        try:
            content = read_plan(self.plan_file)
            missing = [key for key in _KEYS if key not in content]
        except FileNotFoundError as error:
            raise SegfocalError(
                f"{self.root} is no study: it holds no plan.json. `segfocal study plan STUDY.yaml --out "
                f"{self.root}` makes one."
            ) from error
        except ValueError as error:
            raise SegfocalError(
                f"{self.plan_file} is damaged ({error}). Plan again into another folder."
            ) from error
        if content.get("schema_version") != SCHEMA_VERSION:
            raise SegfocalError(
                f"{self.plan_file} has schema version {content.get('schema_version')}, this segfocal reads "
                f"{SCHEMA_VERSION}. Plan again into another folder."
            )
        if missing:
            raise SegfocalError(
                f"{self.plan_file} lacks {', '.join(missing)}. Plan again into another folder."
            )
        return content

    @cached_property
    def cells(self) -> dict[str, dict[str, Any]]:
        """The cells by name, each after those it needs."""
        return {cell["id"]: cell for cell in self.plan["cells"]}

    def paths(self, cell: str) -> CellPaths:
        """Return the paths of a cell.

        Args:
            cell: Its name.
        """
        return CellPaths(self.root / "cells" / cell)
