"""Cells as SLURM jobs through submitit: extra ``[cluster]``. The computers share the study's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.study.engines import Engine, Job, execute
from segfocal.yaml_text import parse_mapping


class SlurmEngine(Engine):
    """One job per cell.

    Args:
        logs: Folder for what submitit writes.
        cpus: Processors of each cell.
        gpus: GPUs of each cell.
        parameters: Further ones of submitit's executor (``slurm_partition``, ``timeout_min``).
        cluster: "slurm", or "local": the same through processes of this computer.

    Raises:
        SegfocalError: Where submitit or SLURM is missing, or a parameter is unknown.
    """

    def __init__(
        self, logs: Path, *, cpus: int, gpus: int, parameters: dict[str, Any], cluster: str = "slurm"
    ) -> None:
        submitit = _submitit()
        try:
            self.executor = submitit.AutoExecutor(folder=logs, cluster=cluster)
            settings = {"cpus_per_task": cpus, "timeout_min": 24 * 60, "name": "segfocal"}
            settings |= {"gpus_per_node": gpus} if gpus else {}
            self.executor.update_parameters(**(settings | parameters))
        except (RuntimeError, NameError, ValueError, TypeError) as error:
            raise SegfocalError(f"--engine slurm: {error}") from error
        self.running: dict[str, Any] = {}

    def start(self, job: Job) -> None:
        """Submit a job."""
        self.running[job.cell] = self.executor.submit(execute, job)

    def ended(self) -> list[tuple[str, int]]:
        """Return the jobs that ended."""
        done = [cell for cell, job in self.running.items() if job.done()]
        return [(cell, _code(self.running.pop(cell))) for cell in done]

    def stop(self) -> None:
        """Cancel what runs or waits in the queue."""
        for job in self.running.values():
            job.cancel(check=False)
        self.running.clear()


def parameters(words: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` words as a mapping.

    Args:
        words: Of ``--slurm``.

    Raises:
        SegfocalError: For a word without a sign of equality.

    Example:
        >>> parameters(["slurm_partition=gpu", "timeout_min=60"])
        {'slurm_partition': 'gpu', 'timeout_min': 60}
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise SegfocalError(f"--slurm must be KEY=VALUE, got {word!r}, e.g. --slurm slurm_partition=gpu.")
        found |= parse_mapping(f"{key}: {value}", what=f"--slurm {word}")
    return found


def _code(job: Any) -> int:
    """A job that was cancelled or lost ends as if it was killed."""
    return -1 if job.exception() is not None else int(job.result())


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise SegfocalError("--engine slurm needs submitit: pip install 'segfocal[cluster]'.") from error
    return submitit
