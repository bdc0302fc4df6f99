"""The problems: shapes, their random logits and labels, and what is done where one does not fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

BINARY, SOFTMAX, ROWS = "binary focal", "softmax focal + dice", "softmax focal of rows"
CPU_LOGITS = 2**23
COPIES = 12


@dataclass(frozen=True)
class Problem:
    """One shape of logits, (N, C, *S); small ones are also run where dispatch is what they cost."""

    name: str
    stem: str
    shape: tuple[int, ...]
    small: bool = False

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))

    @property
    def logits(self) -> int:
        """Number of logits."""
        return math.prod(self.shape)


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("image", BINARY, (1, 1, 1024, 1024)),
        Problem("volume", SOFTMAX, (1, 8, 64, 64, 64)),
        Problem("images", BINARY, (8, 1, 1024, 1024)),
        Problem("street", SOFTMAX, (4, 19, 512, 1024)),
        Problem("organs", SOFTMAX, (2, 14, 128, 128, 128)),
        Problem("small", BINARY, (16, 1, 256, 256), small=True),
        Problem("body", SOFTMAX, (2, 104, 160, 160, 160)),
        Problem("tokens", ROWS, (8192, 27)),
        Problem("many tokens", ROWS, (32768, 27)),
        Problem("vocabulary", ROWS, (1024, 5000)),
    )
}
DEFAULT = {
    "cpu": ("image", "volume", "tokens", "many tokens", "vocabulary"),
    "cuda": ("images", "street", "organs", "small", "body", "tokens", "many tokens", "vocabulary"),
}


def halved(problem: Problem, most_logits: float) -> Problem:
    """Halve the longest axis of space, or the number of rows, until there are no more logits than that."""
    first = 0 if problem.stem == ROWS else 2
    last = 1 if problem.stem == ROWS else len(problem.shape)
    while problem.logits > most_logits and max(problem.shape[first:last]) > 1:
        axis = first + problem.shape[first:last].index(max(problem.shape[first:last]))
        shape = (*problem.shape[:axis], problem.shape[axis] // 2, *problem.shape[axis + 1 :])
        problem = replace(problem, shape=shape)
    return problem


def fit_memory(problem: Problem, free_bytes: int) -> Problem:
    """Halve space until logits, labels in int64 and 12 float32 copies of the logits fit."""
    per_logit = 4 * (1 + COPIES) + 8 / problem.shape[1]
    return halved(problem, free_bytes / per_logit)


def free_memory(device: str) -> int:
    """Return the bytes that can be taken now."""
    if device == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info()[0]
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    return found[0] if found else 4 * 2**30


def chosen(names: list[str] | None, device: str) -> Iterator[Problem]:
    """Give the problems asked for, cut or left out where they do not fit, with a line that says so."""
    for name in names or DEFAULT[device]:
        problem = PROBLEMS[name]
        if device == "cpu" and problem.logits > CPU_LOGITS:
            print(f"skipped: {name} {problem} has more than 2^23 logits, seconds per call on a CPU")
            continue
        fitting = fit_memory(problem, free_memory(device))
        if fitting != problem:
            print(f"cut: {name} {problem} to {fitting}, with 12 copies of it in memory")
        yield fitting


def make(problem: Problem, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Make logits and labels: 2 % foreground, or classes that are equally frequent; of rows in int64."""
    generator = torch.Generator(device).manual_seed(0)
    spread = 3.0 if problem.stem == BINARY else 2.0
    logits = torch.randn(problem.shape, generator=generator, device=device).mul_(spread).to(dtype)
    count, channels, *space = problem.shape
    if problem.stem == BINARY:
        drawn = torch.rand((count, 1, *space), generator=generator, device=device)
        return logits, (drawn < 0.02).to(torch.uint8)
    kind = torch.int64 if problem.stem == ROWS else torch.uint8
    size = (count, *space)
    return logits, torch.randint(0, channels, size, generator=generator, device=device, dtype=kind)


def floor_bytes(problem: Problem, logits: Tensor) -> dict[str, int]:
    """Return the bytes that any implementation must move, by mode; labels are one byte, of rows eight.

    Forward reads logits and labels; backward reads both again and writes the gradient.
    """
    labels = problem.logits // problem.shape[1] * (8 if problem.stem == ROWS else 1)
    forward, backward = logits.nbytes + labels, 2 * logits.nbytes + labels
    return {"forward": forward, "backward": backward, "forward+gradient": forward + backward}
