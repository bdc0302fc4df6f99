"""Work on many cases by several processes, in order, with a bar on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

import cv2
from rich.console import Console
from rich.progress import track

from segfocal.errors import SegfocalError

_POOL_FROM = 64  # cases; below, starting processes takes longer than it saves

Item = TypeVar("Item")
Found = TypeVar("Found")


def each(
    work: Callable[[Item], Found],
    items: Sequence[Item],
    *,
    processes: int | None,
    what: str,
    pool_from: int = _POOL_FROM,
) -> Iterator[Found]:
    """Yield what a function makes of each item, in order.

    Args:
        work: A function at the top of a module.
        items: What it takes.
        processes: How many at once; None takes one per processor.
        what: What the items are, for the bar on stderr, which a terminal alone shows.
        pool_from: Fewest items for which processes are started.

    Raises:
        SegfocalError: Where a process was killed.
    """
    workers, shown = processes or os.cpu_count() or 1, sys.stderr.isatty()
    bar = {"description": what, "total": len(items), "console": Console(stderr=True), "disable": not shown}
    if workers == 1 or len(items) < pool_from:
        yield from track(map(work, items), **bar)  # type: ignore[arg-type]
        return
    fresh = get_context("spawn")  # a fork inherits the locks of threads that it does not have
    try:
        with ProcessPoolExecutor(workers, fresh, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            yield from track(pool.map(work, items, chunksize=max(1, pool_from // 4)), **bar)  # type: ignore[arg-type]
    except BrokenProcessPool as error:
        raise SegfocalError(
            f"a process that reads the {what} was killed (out of memory?). Use --processes 1."
        ) from error
