"""The same provider under torch.compile and under a CUDA graph, or one line that says why not."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from experiments.bench.check import WrongNumberError
from experiments.bench.providers import Provider, forced
from experiments.bench.timing import Step

AGREE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


class TooLong(BaseException):
    """Not an Exception: compilers catch those."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooLong when the block takes longer."""

    def ring(*_: object) -> None:
        raise TooLong(f"more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def value_and_gradient(provider: Provider, leaf: Tensor, target: Tensor) -> Tensor:
    """Run a whole step and return the value."""
    with forced(provider.backend):
        value = provider.loss(leaf, target)
        torch.autograd.grad(value, leaf)
    return value.detach()


def compiled(provider: Provider, leaf: Tensor, target: Tensor, limit: float) -> Provider | None:
    """Compile a provider for these shapes; None where that fails or takes too long.

    Raises:
        WrongNumberError: Ours gives another number than before.
    """
    loss = torch.compile(provider.loss, fullgraph=provider.backend is not None, dynamic=False)
    found = replace(provider, loss=loss, how="torch.compile")
    expected = float(value_and_gradient(provider, leaf, target))
    try:
        with at_most(limit):
            value = float(value_and_gradient(found, leaf, target))
    except (Exception, TooLong) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(f"skipped: {found.label}, {reason[0][:160]}")
        return None
    if math.isclose(value, expected, rel_tol=AGREE[leaf.dtype]):
        return found
    if provider.backend:
        raise WrongNumberError(f"{found.label} gives {value}, {expected} before it was compiled.")
    print(f"skipped: {found.label}, gives {value}, {expected} before it was compiled")
    return None


def graphed(provider: Provider, step: Callable[[], object]) -> Step | None:
    """Capture a step in a CUDA graph; None where that fails."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with forced(provider.backend):
            with torch.cuda.stream(stream):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph):
                held = step()
    except RuntimeError as error:
        print(f"skipped: {provider.name}, cuda graph, {str(error).splitlines()[0][:160]}")
        return None

    def replay(_: object) -> object:
        graph.replay()
        return held

    return Step(replay)
