"""Time several providers of the same result in one process, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from experiments.bench.providers import forced

IN_A_ROW = 50
# about 2 ms: the host has queued a whole step by the time that the device begins it
SLEEP_CYCLES = 4_000_000
FLUSHED_BYTES = 2**28


@dataclass(frozen=True)
class Step:
    """What is timed: ``run`` on what ``prepare`` made, with one of our backends forced."""

    run: Callable[[Any], object]
    prepare: Callable[[], object] = lambda: None
    backend: str | None = None


Clock = Callable[[Step], float]


def cpu_clock(step: Step) -> float:
    """Return the milliseconds of one call.

    With one thread it is the processor time that it took: other programs hardly change that.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    with forced(step.backend):
        state = step.prepare()
        start = clock()
        step.run(state)
        return 1e3 * (clock() - start)


def cuda_clock() -> Clock:
    """Return a clock of the device's own time: caches emptied before each call, dispatch hidden."""
    emptied = torch.empty(FLUSHED_BYTES, dtype=torch.uint8, device="cuda")

    def clock(step: Step) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with forced(step.backend):
            state = step.prepare()
            emptied.zero_()
            torch.cuda._sleep(SLEEP_CYCLES)
            start.record()
            step.run(state)
            end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end)

    return clock


def in_a_row(step: Step) -> float:
    """Return the milliseconds per call of many in a row, until a CUDA device has done them all.

    For small tensors this is the dispatch: what the host needs to launch a step.
    """
    with forced(step.backend):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(IN_A_ROW):
            step.run(step.prepare())
        torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start) / IN_A_ROW


def in_turns(steps: dict[Any, Step], clock: Clock, rounds: int) -> dict[Any, np.ndarray]:
    """Return the median, p20 and p80 in ms of every step.

    Each round runs every step once, after two rounds that do not count.
    """
    for step in (*steps.values(), *steps.values()):
        clock(step)
    times: dict[Any, list[float]] = {key: [] for key in steps}
    for _ in range(rounds):
        for key, step in steps.items():
            times[key].append(clock(step))
    return {key: np.percentile(values, [50, 20, 80]) for key, values in times.items()}


def copy_rate(device: str, clock: Clock, rounds: int) -> float:
    """Return the bytes per second of a copy of a tensor far above the caches, read and write counted."""
    source = torch.ones(2**28 if device == "cuda" else 2**25, device=device)
    sink = torch.empty_like(source)
    step = Step(lambda _: sink.copy_(source))
    median = in_turns({"copy": step}, clock, max(rounds, 5))["copy"][0]
    return 2 * source.nbytes / (1e-3 * median)
