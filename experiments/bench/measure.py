"""Measure the providers of one problem in one dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.bench.memory import kept_mib, peak_mib
from experiments.bench.problems import Problem, floor_bytes, make
from experiments.bench.providers import Provider, forced, target_for
from experiments.bench.rows import Row, version
from experiments.bench.timing import Clock, Step, in_a_row, in_turns
from experiments.bench.variants import compiled, graphed

BOTH, IN_A_ROW = "forward+gradient", "calls in a row"


@dataclass(frozen=True)
class Settings:
    """What is the same for all problems of a run."""

    device: str
    rounds: int
    clock: Clock
    copy_rate: float
    compile_limit: float
    context: dict[str, str]
    compile_peers: Callable[[], bool]


Key = tuple[str, str, str]


@dataclass(frozen=True)
class Case:
    """One provider with its tensors."""

    provider: Provider
    leaf: Tensor
    target: Tensor

    def value(self) -> Tensor:
        """Run the forward pass."""
        return self.provider.loss(self.leaf, self.target)

    def step(self) -> tuple[Tensor, ...]:
        """Run both passes."""
        return torch.autograd.grad(self.value(), self.leaf)

    def steps(self) -> dict[str, Step]:
        """Return what is timed, by mode."""
        backend = self.provider.backend
        return {
            "forward": Step(lambda _: self.value(), backend=backend),
            "backward": Step(
                lambda value: torch.autograd.grad(value, self.leaf), self.value, backend=backend
            ),
            BOTH: Step(lambda _: self.step(), backend=backend),
        }

    def memory(self, device: str) -> dict[str, float | None]:
        """Return the MiB kept between the passes, and on CUDA the peak; hooks do not see compiled code."""
        with forced(self.provider.backend):
            plain = self.provider.how == "plain"
            kept = kept_mib(self.provider.loss, self.leaf, self.target) if plain else None
            return {"kept_mib": kept, "peak_mib": peak_mib(self.step) if device == "cuda" else None}


def cases(problem: Problem, leaf: Tensor, labels: Tensor, providers: list[Provider]) -> Iterator[Case]:
    """Give the providers that the memory suffices for, with a line on those that it does not."""
    targets: dict[torch.dtype | None, Tensor] = {}
    for provider in providers:
        if provider.takes not in targets:
            targets[provider.takes] = target_for(provider, leaf, labels)
        case = Case(provider, leaf, targets[provider.takes])
        try:
            with forced(provider.backend):
                case.step()
        except torch.OutOfMemoryError:
            print(f"skipped: {provider.label} on {problem}, out of memory")
            torch.cuda.empty_cache()
            continue
        yield case


def compiled_cases(problem: Problem, plain: list[Case], settings: Settings) -> Iterator[Case]:
    """Give the peers under torch.compile, and for small tensors in any case ours and torch's own."""
    torch.compiler.reset()
    for case in plain:
        provider = case.provider
        if provider.backend == "eager":
            continue
        always = problem.small and (provider.backend or provider.library == "torch")
        if not always and (provider.backend or not settings.compile_peers()):
            continue
        if found := compiled(case.provider, case.leaf, case.target, settings.compile_limit):
            yield Case(found, case.leaf, case.target)


def graph_steps(plain: list[Case]) -> dict[Key, Step]:
    """Return ours and torch's own under a CUDA graph."""
    found = {}
    for case in plain:
        provider = case.provider
        if provider.backend == "triton" or provider.library == "torch":
            step = graphed(provider, case.step)
            if step is not None:
                found[provider.name, "cuda graph", BOTH] = step
    return found


def time_all(problem: Problem, every: list[Case], settings: Settings) -> dict[Key, np.ndarray]:
    """Return median, p20 and p80 of everything, in turns."""
    steps: dict[Key, Step] = {}
    for case in every:
        provider = case.provider
        steps |= {(provider.name, provider.how, mode): step for mode, step in case.steps().items()}
    small = problem.small and settings.device == "cuda"
    if small:
        steps |= graph_steps([case for case in every if case.provider.how == "plain"])
    times = in_turns(steps, settings.clock, settings.rounds)
    if small:
        loops = {(*key[:2], IN_A_ROW): step for key, step in steps.items() if key[2] == BOTH}
        times |= in_turns(loops, in_a_row, min(settings.rounds, 10))
    return times


def rows_of(
    problem: Problem, every: list[Case], times: dict[Key, np.ndarray], settings: Settings
) -> list[Row]:
    """Put numbers into rows."""
    leaf = every[0].leaf
    floors = floor_bytes(problem, leaf)
    memory = {case.provider.label: case.memory(settings.device) for case in every}
    libraries = {case.provider.name: case.provider.library for case in every}
    rows = []
    for (name, how, mode), (median, p20, p80) in times.items():
        size = floors[BOTH if mode == IN_A_ROW else mode]
        numbers: dict[str, Any] = {"value": float(median), "p20": float(p20), "p80": float(p80)}
        numbers["floor_ms"] = 1e3 * size / settings.copy_rate
        numbers["times_floor"] = float(median) / numbers["floor_ms"]
        numbers["floor_gbps"] = 1e-6 * size / float(median)
        numbers["copy_gbps"] = 1e-9 * settings.copy_rate
        held = memory.get(name if how == "plain" else f"{name}, {how}", {"kept_mib": None, "peak_mib": None})
        what = {"stem": problem.stem, "provider": name, "how": how, "mode": mode, "unit": "ms"}
        what |= {"version": version(libraries[name]), "shape": str(problem)}
        rows.append(Row(**what, dtype=str(leaf.dtype)[6:], **numbers, **held, **settings.context))
    return rows


def measure(problem: Problem, dtype: torch.dtype, providers: list[Provider], settings: Settings) -> list[Row]:
    """Measure all providers of a problem that have passed the check."""
    logits, labels = make(problem, dtype, settings.device)
    leaf = logits.requires_grad_()
    plain = list(cases(problem, leaf, labels, providers))
    every = [*plain, *compiled_cases(problem, plain, settings)]
    return rows_of(problem, every, time_all(problem, every, settings), settings)
