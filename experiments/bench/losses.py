"""Time and memory of the losses beside the peers: forward, backward and both, in turns, in one process.

Problems: image and volume, the default on a CPU; images, street, organs, small and body, that on CUDA; on
both tokens, many tokens and vocabulary, which are rows (N, C).
A CPU takes problems of up to 2^23 logits, which is at most some seconds per call; larger ones are left out.
Space is halved until the inputs and 12 float32 copies of the logits fit into free memory. Before anything is
timed, every provider is checked against its formula in float64 on the same data; where one is wrong, nothing
is printed or written, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import torch

from experiments.bench import plot
from experiments.bench.check import WrongNumberError, check_all
from experiments.bench.measure import BOTH, IN_A_ROW, Settings, measure
from experiments.bench.problems import DEFAULT, PROBLEMS, Problem, chosen
from experiments.bench.providers import Provider, providers
from experiments.bench.rows import RESULTS, Row, append, context
from experiments.bench.timing import copy_rate, cpu_clock, cuda_clock

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    found = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="experiments.bench.losses",
    )
    add = found.add_argument
    add("--device", default="cpu", choices=tuple(DEFAULT))
    add("--threads", type=int, default=torch.get_num_threads())
    add("--rounds", type=int, default=30)
    add("--only", nargs="+", choices=tuple(PROBLEMS), metavar="PROBLEM", help=", ".join(PROBLEMS))
    add("--dtypes", nargs="+", choices=tuple(DTYPES), default=list(DTYPES))
    add("--without", nargs="+", default=[], metavar="LIBRARY", help="peers to leave out")
    add(
        "--compiled-peers",
        action=argparse.BooleanOptionalAction,
        help="peers under torch.compile too; by default on CUDA, slow to compile on a CPU",
    )
    add("--compile-limit", type=float, default=60.0, help="seconds after which compiling a peer is given up")
    add("--minutes", type=float, default=float("inf"), help="compile no more peers after so many minutes")
    add("--commit", help="commit to write where the checkout has no git")
    add("--write", action="store_true", help="append to results.csv and draw losses.svg")
    add("--out", type=Path, default=RESULTS.parent, help="folder of both, by default that of this file")
    return found


def show(problem: Problem, dtype: str, rows: list[Row]) -> None:
    """Print a line per provider: medians in ms, p20 and p80 of both passes, memory in MiB."""
    print(f"\n{problem.stem} {problem} {dtype}; a copy moves {rows[0].copy_gbps:.0f} GB/s")
    head = f"  {'':34s}{'forward':>10s}{'backward':>10s}{'both':>10s}  (p20 .. p80)"
    print(f"{head:88s}{'x floor':>8s}{'kept':>9s}{'peak':>9s}{'in a row':>10s}")
    groups: dict[str, dict[str, Row]] = {}
    for row in rows:
        name = row.provider if row.how == "plain" else f"{row.provider}, {row.how}"
        groups.setdefault(name, {})[row.mode] = row
    for name, modes in groups.items():
        both = modes[BOTH]
        single = [modes[mode].value if mode in modes else None for mode in ("forward", "backward")]
        times = "".join(f"{blank(value, 3):>10s}" for value in (*single, both.value))
        line = f"  {name:34s}{times}  ({both.p20:.3f} .. {both.p80:.3f})"
        line = f"{line:88s}{blank(both.times_floor, 1):>8s}"
        row = modes[IN_A_ROW].value if IN_A_ROW in modes else None
        print(
            f"{line}{blank(both.kept_mib, 1):>9s}{blank(both.peak_mib, 1):>9s}{blank(row, 3):>10s}",
            flush=True,
        )


def blank(value: float | None, digits: int) -> str:
    """Write a number, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def settings_from(options: argparse.Namespace) -> Settings:
    """Measure the copy, and gather what holds for all problems."""
    clock = cuda_clock() if options.device == "cuda" else cpu_clock
    wanted = options.compiled_peers
    wanted = options.device == "cuda" if wanted is None else wanted
    end = time.monotonic() + 60 * options.minutes
    return Settings(
        device=options.device,
        rounds=options.rounds,
        clock=clock,
        copy_rate=copy_rate(options.device, clock, options.rounds),
        compile_limit=options.compile_limit,
        context=context(options.device, options.commit),
        compile_peers=lambda: wanted and time.monotonic() < end,
    )


def run(options: argparse.Namespace) -> None:
    """Check everything, then measure and write problem by problem."""
    settings = settings_from(options)
    problems = list(chosen(options.only, options.device))
    offered = {
        stem: providers(stem, options.device, options.without)
        for stem in dict.fromkeys(problem.stem for problem in problems)
    }
    right: dict[tuple[str, str], list[Provider]] = {}
    for problem in problems:
        for dtype in options.dtypes:
            found = check_all(problem, offered[problem.stem], DTYPES[dtype], options.device)
            right[problem.name, dtype] = found
    for problem in problems:
        for dtype in options.dtypes:
            rows = measure(problem, DTYPES[dtype], right[problem.name, dtype], settings)
            show(problem, dtype, rows)
            if options.write:
                append(rows, options.out / RESULTS.name)
                plot.write(options.out / RESULTS.name)


def main(argv: list[str] | None = None) -> int:
    """Return 0, or 1 where a number is wrong."""
    options = parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peers' own deprecations
        try:
            run(options)
        except WrongNumberError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
