"""Cells on a Ray cluster: extra ``[cluster]``. Its computers share the study's folder and the data."""

from __future__ import annotations

from typing import Any

from segfocal.errors import SegfocalError
from segfocal.study.engines import Engine, Job, execute


class RayEngine(Engine):
    """One Ray task per cell.

    Args:
        address: Of a cluster; None takes the one that RAY_ADDRESS names, else starts one on this computer.
        cpus: Processors of each cell.
        gpus: GPUs of each cell.
        retries: Of a cell whose computer was lost.

    Raises:
        SegfocalError: Where Ray is missing or the cluster cannot be reached.
    """

    def __init__(self, *, address: str | None, cpus: int, gpus: float, retries: int) -> None:
        self.ray = _ray()
        try:
            self.ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SegfocalError(
                f"no Ray cluster at {address}: {error}. Start one with `ray start`."
            ) from error
        self.remote = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries)(execute)
        self.running: dict[Any, str] = {}

    def start(self, job: Job) -> None:
        """Submit a task."""
        self.running[self.remote.remote(job)] = job.cell

    def ended(self) -> list[tuple[str, int]]:
        """Return the tasks that ended."""
        if not self.running:
            return []
        known = list(self.running)
        done, _ = self.ray.wait(known, num_returns=len(known), timeout=0)
        return [(self.running.pop(task), self._code(task)) for task in done]

    def stop(self) -> None:
        """Cancel what runs; the process of a cell dies with its worker."""
        for task in self.running:
            self.ray.cancel(task, force=True)
        self.running.clear()
        self.ray.shutdown()

    def _code(self, task: Any) -> int:
        try:
            return int(self.ray.get(task))
        except (self.ray.exceptions.RayError, self.ray.exceptions.TaskCancelledError):
            return -1  # the worker or its computer was lost more often than Ray retries


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SegfocalError("--engine ray needs Ray: pip install 'segfocal[cluster]'.") from error
    return ray
